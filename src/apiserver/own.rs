//! Barque's own endpoints, and those about this process: health, version, metrics, status, join, heartbeat.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Method};
use identity::Token;
use objects::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use store::Beat;
use tokio::time::Instant;
use tracing::warn;

use crate::api::Api;
use crate::authorization;
use crate::body;
use crate::errors;
use crate::metrics;
use crate::reply::{self, Response};
use crate::route::{Health, Own};
use crate::router::{Call, shown};
use crate::version;

/// Added to the answer of `/readyz` where this master leads: gateways prefer it.
const LEADS: &str = "barque-leads";
/// Largest join request: two signing requests and a token take a few KiB.
const JOIN_BYTES_MAX: usize = 64 * 1024;
/// Largest heartbeat.
const HEARTBEAT_BYTES_MAX: usize = 4 * 1024;
/// How long a heartbeat may take: an agent that hears nothing by then tries another master.
const HEARTBEAT_DEADLINE: Duration = Duration::from_millis(800);

/// Answers `/livez`, `/healthz` and `/readyz`.
pub fn health(api: &Api, which: Health, verbose: bool) -> Response {
    let text = "text/plain; charset=utf-8";
    match which {
        Health::Live if verbose => reply::of(200, text, "[+]ping ok\nlivez check passed\n"),
        Health::Live => reply::of(200, text, "ok"),
        Health::Ready => {
            let readiness = api.cluster.readiness();
            let mut reasons = readiness.reasons;
            if api.stopping.is_stopping() {
                reasons.push("this API server is stopping".into());
            }
            if readiness.ready && reasons.is_empty() {
                let words = if verbose { "[+]ping ok\n[+]cluster ok\nreadyz check passed\n" } else { "ok" };
                let mut response = reply::of(200, text, words);
                if readiness.leads {
                    response.headers_mut().insert(LEADS, HeaderValue::from_static("true"));
                }
                return response;
            }
            let lines: String = reasons.iter().map(|reason| format!("[-]cluster failed: {reason}\n")).collect();
            reply::of(503, text, format!("[+]ping ok\n{lines}readyz check failed\n"))
        }
    }
}

/// Answers `/version`.
pub fn version() -> Response {
    reply::value(200, &version::body())
}

/// Answers `/metrics`.
///
/// # Errors
/// 403 for callers that may not see everything.
pub fn metrics(call: &Call) -> Result<Response, Status> {
    if !authorization::is_almighty(&call.caller) {
        return Err(forbidden_path(call, "get", "/metrics"));
    }
    let text = call.api.metrics.exposition(&call.api.cluster.extra_metrics());
    Ok(reply::of(200, metrics::CONTENT_TYPE, text))
}

/// Answers `/barque/v1/…`, apart from `join`.
///
/// # Errors
/// 405 for other methods, 403 for callers that are not meant, 503 when the leader cannot be reached.
pub async fn own(call: &Call, which: Own, body: body::Incoming) -> Result<Response, Status> {
    match (which, &call.method) {
        (Own::Status, &Method::GET) => Ok(reply::value(200, &call.api.cluster.status())),
        (Own::Heartbeat, &Method::POST) => heartbeat(call, body).await,
        _ => Err(errors::method_not_allowed()),
    }
}

/// Answers a join request; its token says who asks.
///
/// # Errors
/// 405 for other methods, 413 and 429 for too much, and what the cluster refuses.
pub async fn join(api: &Api, from: SocketAddr, method: &Method, body: body::Incoming) -> Result<Response, Status> {
    let mut joiner = Joiner::default();
    let outcome = let_in(api, method, body, &mut joiner).await;
    if let Err(status) = &outcome {
        let (Joiner { role, name, token }, reason) = (joiner, shown(&status.message));
        api.refused_joins.line(|left_out| {
            warn!(%from, role, name, token, code = status.code, reason, left_out, "a join was refused");
        });
    }
    outcome
}

/// Who wants to join, as a log may show it.
#[derive(Default)]
struct Joiner {
    role: String,
    name: String,
    /// The token without its secret.
    token: String,
}

impl Joiner {
    fn of(request: &Value) -> Self {
        let text = |field: &str| request[field].as_str().unwrap_or_default();
        // What does not parse may be most of a secret.
        let token = text("token").parse::<Token>().map_or_else(|_| "malformed".to_owned(), |token| token.to_string());
        Self { role: shown(text("role")), name: shown(text("name")), token }
    }
}

async fn let_in(api: &Api, method: &Method, body: body::Incoming, joiner: &mut Joiner) -> Result<Response, Status> {
    if method != Method::POST {
        return Err(errors::method_not_allowed());
    }
    api.admit_join()?;
    let bytes = body::read(body, JOIN_BYTES_MAX).await?;
    // What does not parse may hold a token: it is not quoted.
    let request: Value =
        serde_json::from_slice(&bytes).map_err(|_| Status::bad_request("the join request is not JSON"))?;
    *joiner = Joiner::of(&request);
    api.cluster.admit(request).await.map(|answer| reply::value(200, &answer))
}

#[derive(Deserialize)]
struct Heartbeat {
    node: String,
    uid: String,
}

async fn heartbeat(call: &Call, body: body::Incoming) -> Result<Response, Status> {
    let bytes = body::read(body, HEARTBEAT_BYTES_MAX).await?;
    let Heartbeat { node, uid } = serde_json::from_slice(&bytes)
        .map_err(|error| Status::bad_request(format!("a heartbeat holds node and uid: {error}")))?;
    if call.caller.node() != Some(node.as_str()) {
        return Err(forbidden_path(call, "post", "/barque/v1/heartbeat"));
    }
    call.api
        .store
        .heartbeat(Beat { node, uid }, Instant::now() + HEARTBEAT_DEADLINE)
        .await
        .map_err(|error| Status::unavailable(format!("no leader took the heartbeat: {error}")))?;
    Ok(reply::value(200, &json!({"masters": call.api.cluster.masters()})))
}

/// 403 about a path that is no resource, in upstream's words.
pub fn forbidden_path(call: &Call, verb: &str, path: &str) -> Status {
    Status::new(403, "Forbidden", format!("forbidden: User {:?} cannot {verb} path {path:?}", call.caller.user))
}
