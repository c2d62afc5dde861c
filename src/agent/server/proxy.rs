//! Plain HTTP to a port of a pod, for the API's `pods/proxy`: one request is passed on, and its answer back.

use super::forward::sandbox;
use super::query::Query;
use super::{Served, refuse};
use crate::limits::PROXY_HEAD_DEADLINE;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use base::within;
use futures::StreamExt;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use objects::Status;
use spdy::upgrade::strip_hops;

pub(super) async fn answer(
    State(served): State<Served>,
    Path((namespace, name, port)): Path<(String, String, u16)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    let uri = query.get("uri").filter(|uri| uri.starts_with('/')).unwrap_or("/");
    pass(&served, (&namespace, &name, port), uri, request).await.unwrap_or_else(|status| refuse(&status))
}

/// Passes a request on. Redirects are answers like any other, for the client to judge.
async fn pass(
    served: &Served,
    (namespace, name, port): (&str, &str, u16),
    uri: &str,
    mut request: Request,
) -> Result<Response, Status> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Status::new(503, "ServiceUnavailable", format!("error trying to reach service: {error}"))
    };
    let pod = served.context.pod_by_name(namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let sandbox = sandbox(&served.context, uid).ok_or_else(|| unreachable(&format!("pod {name} is not running")))?;
    let place = served.place()?;
    let connection = served.context.runtime.dial(&sandbox, port).await.map_err(|error| unreachable(&error))?;
    let (mut sender, driving) =
        http1::handshake(TokioIo::new(connection)).await.map_err(|error| unreachable(&error))?;
    base::task::spawn("proxied connection", async move {
        if let Err(error) = driving.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended early");
        }
    });
    let client = hyper::upgrade::on(&mut request);
    let wanted = request.headers().get(UPGRADE).cloned();
    let (mut parts, body) = request.into_parts();
    strip_hops(&mut parts.headers);
    if let Some(wanted) = &wanted {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(UPGRADE, wanted.clone());
    }
    let host = sandbox.address.unwrap_or(served.context.options.address);
    let host = HeaderValue::from_str(&std::net::SocketAddr::new(host, port).to_string()).map_err(Status::internal)?;
    parts.headers.insert(HOST, host);
    let mut passed = http::Request::builder()
        .method(parts.method)
        .uri(uri)
        .body(body)
        .map_err(|_| Status::bad_request(format!("error trying to reach service: {uri:?} cannot be asked for")))?;
    *passed.headers_mut() = parts.headers;
    let mut response = within(PROXY_HEAD_DEADLINE, "the pod's answer", sender.send_request(passed))
        .await
        .map_err(|error| unreachable(&error))?
        .map_err(|error| unreachable(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(wanted) = wanted else {
            return Err(unreachable(&"the pod changed the protocol unasked"));
        };
        let pod = hyper::upgrade::on(&mut response);
        let stopping = served.stopping.clone();
        base::task::spawn("proxied stream", async move {
            let _place = place;
            let joined = async {
                let (client, pod) = tokio::try_join!(client, pod)?;
                let copied = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(pod)).await;
                // Either side may end a stream whenever it likes.
                tracing::debug!(outcome = ?copied, "a proxied stream has ended");
                Ok::<(), hyper::Error>(())
            };
            if let Some(Err(error)) = stopping.unless(joined).await {
                tracing::debug!(%error, "a proxied stream could not be joined");
            }
        });
        let headers = response.headers_mut();
        strip_hops(headers);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, wanted);
        return Ok(response.map(|_| Body::empty()));
    }
    strip_hops(response.headers_mut());
    let (parts, body) = response.into_parts();
    let bytes = body.into_data_stream().map(move |piece| {
        // The place and the connection are kept as long as the answer is read.
        let _ = (&place, &sender);
        piece
    });
    Ok(Response::from_parts(parts, Body::from_stream(bytes)))
}
