//! Connections that become something else: the client's upgraded connection is joined to one with the agent, and the bytes
//! are theirs.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use objects::Status;
use spdy::upgrade::{Asked, SPDY};
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::agent_proxy::{self, Found};
use crate::reply::{self, Response};
use crate::router::Call;

/// Headers by which the two sides agree on a protocol, in both directions. Nothing else of a request reaches an agent.
const AGREEING: [&str; 6] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
    "x-stream-protocol-version",
];

/// Asks the agent to do `action` and joins the streams behind its 101. WebSocket and SPDY requests are refused in the same words,
/// because clients try one after the other and show the last refusal.
///
/// # Errors
/// 400 when the request is no upgrade or has a body, 500 when the agent cannot be reached or becomes something else; whatever the
/// agent answers instead of 101. A connection that an agent has not upgraded is never used again.
pub async fn join(
    call: &Call,
    found: &Found<'_>,
    action: &'static str,
    understood: &[&str],
    permit: OwnedSemaphorePermit,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    let becomes = becomes(&call.headers)?;
    let mut passed =
        vec![(CONNECTION, HeaderValue::from_static("Upgrade")), (UPGRADE, HeaderValue::from_static(becomes))];
    passed.extend(copied(&agreeing(), &call.headers));
    let method = if call.method == Method::POST { Method::POST } else { Method::GET };
    let response = found.ask(method, action, understood, &passed).await?;
    if response.status() != 101 {
        return Err(agent_proxy::refusal(response).await);
    }
    tie(call, response, becomes, permit, upgrade)
}

/// Answers with an agent's 101 and joins the streams behind it.
///
/// # Errors
/// 500 when the agent became something else.
pub fn tie(
    call: &Call,
    mut response: http::Response<Incoming>,
    becomes: &'static str,
    permit: OwnedSemaphorePermit,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    let agreeing = agreeing();
    let same = response.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    if !same.is_some_and(|protocol| protocol.eq_ignore_ascii_case(becomes)) {
        return Err(Status::internal(format!("the agent became {same:?} where {becomes} was asked for")));
    }
    let mut answer = reply::of(101, "text/plain", Vec::new());
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(becomes));
    headers.extend(copied(&agreeing, response.headers()));
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

/// What a request asks to become. One with a body asks for nothing that is known: where the body ends and the new protocol begins
/// would be for each reader on the way to guess.
pub(super) fn becomes(headers: &HeaderMap) -> Result<&'static str, Status> {
    let becomes = match spdy::upgrade::asked(headers) {
        Asked::Spdy(_) => SPDY,
        Asked::WebSocket(_) => "websocket",
        Asked::Nothing => return Err(Status::bad_request("Upgrade request required")),
    };
    let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    if !empty || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Status::bad_request("a request to upgrade has no body: leave it out"));
    }
    Ok(becomes)
}

fn agreeing() -> Vec<HeaderName> {
    AGREEING.iter().map(|name| HeaderName::from_static(name)).collect()
}

fn copied(names: &[HeaderName], from: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let of =
        |name: &HeaderName| from.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect::<Vec<_>>();
    names.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_upgrade_without_a_body_is_one() {
        let upgrade = [("connection", "keep-alive, Upgrade")];
        type Row = (&'static [(&'static str, &'static str)], Result<&'static str, &'static str>);
        let rows: [Row; 8] = [
            (&[("upgrade", "websocket")], Ok("websocket")),
            (&[("upgrade", "SPDY/3.1"), ("content-length", "0")], Ok("SPDY/3.1")),
            (&[("upgrade", "h2c")], Err("Upgrade request required")),
            (&[], Err("Upgrade request required")),
            (&[("upgrade", "SPDY/3.1"), ("content-length", "5")], Err("has no body")),
            (&[("upgrade", "SPDY/3.1"), ("content-length", "0"), ("content-length", "7")], Err("has no body")),
            (&[("upgrade", "websocket"), ("transfer-encoding", "chunked")], Err("has no body")),
            (&[("upgrade", "websocket"), ("transfer-encoding", "identity")], Err("has no body")),
        ];
        for (given, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in upgrade.iter().chain(given) {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            match (becomes(&headers), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(status), Err(words)) => {
                    assert!(status.code == 400 && status.message.contains(words), "{status:?}")
                }
                (found, expected) => panic!("{found:?} instead of {expected:?} for {given:?}"),
            }
        }
    }
}
