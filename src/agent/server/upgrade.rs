//! What a request becomes: a WebSocket or a SPDY connection, and the protocol that both sides speak on it.

use super::refuse;
use crate::limits::{FRAME_BYTES_MAX, SESSION_LINGER};
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request};
use axum::response::Response;
use http::header::{CONNECTION, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use objects::Status;
use spdy::upgrade::{self, Asked};
use spdy::{Incoming, Limits};
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// The protocols of one endpoint, the preferred ones first.
pub(super) struct Spoken {
    pub websocket: &'static [&'static str],
    pub spdy: &'static [&'static str],
}

/// How the conversation goes on, and in which protocol.
pub(super) enum Agreed {
    WebSocket(WebSocketUpgrade, &'static str),
    Spdy(OnUpgrade, &'static str),
}

impl Agreed {
    /// Reads what a request asks to become. Nothing has been answered yet.
    ///
    /// # Errors
    /// 400 for what is no upgrade, 403 when no protocol is common, as upstream's handshake has it.
    pub async fn on(request: Request, spoken: &Spoken) -> Result<Self, Status> {
        match upgrade::asked(request.headers()) {
            Asked::Nothing => {
                Err(Status::bad_request("unable to upgrade: a WebSocket or a SPDY/3.1 request is expected"))
            }
            Asked::WebSocket(offered) => {
                let protocol = upgrade::choose(&offered, spoken.websocket).ok_or_else(|| {
                    Status::bad_request(format!(
                        "unable to upgrade: the subprotocol must be one of {:?}",
                        spoken.websocket
                    ))
                })?;
                let (mut parts, _) = request.into_parts();
                let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
                    .await
                    .map_err(|rejection| Status::bad_request(format!("unable to upgrade: {rejection}")))?;
                Ok(Self::WebSocket(upgrade.protocols([protocol]).max_message_size(FRAME_BYTES_MAX), protocol))
            }
            Asked::Spdy(offered) => {
                // A client that offers nothing is older than the negotiation, and so speaks the oldest.
                let oldest = spoken.spdy.last().copied().filter(|_| offered.is_empty());
                let protocol = oldest.or_else(|| upgrade::choose(&offered, spoken.spdy)).ok_or_else(|| {
                    let message = format!(
                        "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {:?}",
                        spoken.spdy
                    );
                    Status::new(403, "Forbidden", message)
                })?;
                Ok(Self::Spdy(hyper::upgrade::on(request), protocol))
            }
        }
    }
}

/// Answers 101 to a SPDY request; `then` gets the bytes behind it.
pub(super) fn to_spdy<F>(
    upgrading: OnUpgrade,
    protocol: &'static str,
    then: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let answer = Response::builder()
        .status(http::StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, upgrade::SPDY)
        .header(upgrade::PROTOCOL_VERSION, protocol)
        .body(Body::empty());
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return refuse(&Status::internal(error)),
    };
    base::task::spawn("session", async move {
        match upgrading.await {
            Ok(io) => then(TokioIo::new(io)).await,
            Err(error) => tracing::debug!(%error, "a client left before its connection was one of SPDY"),
        }
    });
    answer
}

/// Serves a SPDY connection until the client ends it, or until `act` is done and what it said has arrived.
pub(super) async fn serve<Io, F>(io: Io, limits: Limits, act: impl FnOnce(Incoming) -> F)
where
    Io: AsyncRead + AsyncWrite,
    F: Future<Output = ()>,
{
    let (connection, incoming, driver) = spdy::serve(io, limits);
    let mut driving = pin!(driver.run());
    let outcome = tokio::select! {
        outcome = &mut driving => outcome,
        () = act(incoming) => {
            connection.drain(SESSION_LINGER);
            driving.await
        }
    };
    tracing::debug!(?outcome, "a SPDY connection has ended");
}
