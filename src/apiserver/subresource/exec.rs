//! `/exec` and `/attach`: the client's upgraded connection is joined to one with the agent; the bytes are theirs.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, Method};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use objects::Status;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::agent_proxy::{self, Found};
use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::write;

/// Headers that make up an upgrade, of WebSocket and SPDY alike, in both directions.
const UPGRADE_HEADERS: [&str; 8] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
    "x-stream-protocol-version",
];

/// Parameters that the agent understands.
const PASSED: [&str; 5] = ["command", "stdin", "stdout", "stderr", "tty"];

/// Answers 101 and joins the streams. WebSocket and SPDY requests are refused in the same words, because clients try one
/// after the other and show the last refusal.
///
/// # Errors
/// 404 when there is no such pod, 400 when nothing can be run in it, 500 when the agent cannot be reached; whatever the agent
/// answers instead of 101.
pub async fn exec(
    call: &Call,
    target: &Target,
    action: &'static str,
    permit: OwnedSemaphorePermit,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    let (_, pod) = write::read(call, target).await?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        let what = if action == "exec" { "exec into" } else { "attach to" };
        return Err(Status::bad_request(format!(
            "cannot {what} a container in a completed pod; current phase is {phase}"
        )));
    }
    let found = Found::of(call, target, &pod)?;
    if action == "exec" && call.query.get("command").is_none() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    if !call.headers.contains_key(UPGRADE) || !call.headers.contains_key(CONNECTION) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let names: Vec<HeaderName> = UPGRADE_HEADERS.iter().map(|name| HeaderName::from_static(name)).collect();
    let passed: Vec<_> = names
        .iter()
        .flat_map(|name| call.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())))
        .collect();
    let method = if call.method == Method::POST { Method::POST } else { Method::GET };
    let mut response = found.ask(method, action, &PASSED, &passed).await?;
    if response.status() != 101 {
        return Err(agent_proxy::refusal(response).await);
    }
    let mut answer = reply::of(101, "text/plain", Vec::new());
    answer.headers_mut().clear();
    for name in &names {
        for value in response.headers().get_all(name) {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    let agent = hyper::upgrade::on(&mut response);
    let (stopping, counted) = (call.api.stopping.clone(), call.api.metrics.longrunning());
    base::task::spawn("stream", async move {
        let _held = (permit, counted);
        let joined = async {
            let (client, agent) = tokio::try_join!(upgrade, agent)?;
            let copied = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(agent)).await;
            // Either side may end a stream whenever it likes.
            debug!(outcome = ?copied, "a stream has ended");
            Ok::<(), hyper::Error>(())
        };
        if let Some(Err(error)) = stopping.unless(joined).await {
            debug!(%error, "a stream could not be joined");
        }
    });
    Ok(answer)
}
