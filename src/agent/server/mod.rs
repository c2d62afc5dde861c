//! The agent's own port: logs, exec, attach, port-forward and proxying, for masters only (the TLS set-up refuses everybody else).

mod channelled;
mod channels;
mod forward;
pub(crate) mod logs;
mod proxy;
mod query;
mod session;
mod streams;
mod upgrade;
mod websocket;

use crate::context::Context;
use crate::limits::{CONNECTIONS_MAX, FORWARDED_MAX, SESSIONS_MAX};
use crate::pod::view;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base::{Backoff, LogLimit, Stopping, TaskGroup};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use objects::Status;
use runtime::Container;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Served {
    pub context: Arc<Context>,
    pub sessions: Arc<Semaphore>,
    /// Connections to pods.
    pub forwarded: Arc<Semaphore>,
    pub stopping: Stopping,
}

impl Served {
    /// A place among the sessions.
    ///
    /// # Errors
    /// 503 when all are taken.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.sessions).try_acquire_owned();
        place.map_err(|_| Status::unavailable("too many sessions on this node"))
    }
}

/// Serves on `listener` until `stopping`.
pub(crate) async fn serve(context: Arc<Context>, listener: TcpListener, tls: Arc<ServerConfig>, stopping: Stopping) {
    let (sessions, forwarded) = (Arc::new(Semaphore::new(SESSIONS_MAX)), Arc::new(Semaphore::new(FORWARDED_MAX)));
    let served = Served { context, sessions, forwarded, stopping: stopping.clone() };
    let router = router(served);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskGroup::new("agent server");
    // One limit for each kind of line.
    let (strangers, crowds) = (Arc::new(LogLimit::default()), LogLimit::default());
    let mut trouble = Backoff::doubling(Duration::from_millis(10), Duration::from_secs(1));
    while let Some(accepted) = stopping.unless(listener.accept()).await {
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                stopping.unless(trouble.wait()).await;
                continue;
            }
        };
        trouble.reset();
        let Ok(place) = connections.clone().try_acquire_owned() else {
            crowds.line(|left_out| {
                tracing::warn!(%from, limit = CONNECTIONS_MAX, left_out, "too many connections; refusing one");
            });
            continue;
        };
        let (tls, router, strangers) = (tls.clone(), router.clone(), Arc::clone(&strangers));
        tasks.spawn("connection", async move {
            let _place = place;
            let stream = match identity::handshake::accept(tls, stream).await {
                Ok((stream, _)) => stream,
                Err(error) if error.is_hangup() => {
                    tracing::debug!(%from, %error, "a caller went away");
                    return;
                }
                Err(error) => {
                    strangers
                        .line(|left_out| tracing::warn!(%from, %error, left_out, "a caller of the agent was refused"));
                    return;
                }
            };
            let service = TowerToHyperService::new(router);
            let builder = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    tasks.abort_and_join().await;
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::answer))
        .route("/exec/{namespace}/{pod}/{container}", get(session::exec).post(session::exec))
        .route("/attach/{namespace}/{pod}/{container}", get(session::attach).post(session::attach))
        .route("/portForward/{namespace}/{pod}", get(forward::answer).post(forward::answer))
        .route("/proxy/{namespace}/{pod}/{port}", any(proxy::answer))
        .fallback(|| async { refuse(&Status::no_such_path()) })
        .with_state(served)
}

async fn pods(State(served): State<Served>) -> Response {
    let items: Vec<serde_json::Value> =
        served.context.pods().iter().filter_map(|pod| serde_json::to_value(pod.as_ref()).ok()).collect();
    axum::Json(serde_json::json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}))
        .into_response()
}

/// A refusal as the API says it.
pub(crate) fn refuse(status: &Status) -> Response {
    let code = http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(status.to_value().to_string()));
    *response.status_mut() = code;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// Which container a path is about: namespace, pod and container.
pub(crate) type Target = Path<(String, String, String)>;

/// The pod that a path names, and the instances of the container, the newest first.
pub(crate) fn find(context: &Context, target: &Target) -> Result<(Arc<Pod>, Vec<Container>), Status> {
    let Path((namespace, name, container)) = target;
    let pod = context.pod_by_name(namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    if view::container(&pod, container).is_none() {
        return Err(Status::bad_request(format!("container {container} is not valid for pod {name}")));
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let look = context.observer.look();
    let found = look.pods.get(uid).map(|(_, observed)| observed.instances(container).cloned().collect());
    Ok((pod, found.unwrap_or_default()))
}

/// A runtime's refusal in the API's words.
pub(crate) fn of_runtime(error: &runtime::Error) -> Status {
    match error {
        runtime::Error::NotFound { .. } => Status::new(404, "NotFound", error.to_string()),
        runtime::Error::NotRunning { .. } | runtime::Error::Invalid { .. } => Status::bad_request(error.to_string()),
        runtime::Error::Timeout { .. } => Status::timeout(error.to_string()),
        runtime::Error::EngineUnreachable { .. } => Status::unavailable(error.to_string()),
        _ => Status::internal(error),
    }
}
