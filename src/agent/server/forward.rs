//! Port-forward: connections to a pod's ports, each a pair of SPDY streams, plain or within a WebSocket, or a pair of channels.

use super::query::Query;
use super::upgrade::{Agreed, Spoken, serve, to_spdy};
use super::{Served, channelled, refuse};
use crate::context::Context;
use crate::limits::{FORWARD_STREAMS_MAX, SESSION_IDLE_MAX, SPDY_UNREAD_MAX};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::{Sink, Stream};
use objects::Status;
use runtime::{Connection, Sandbox};
use spdy::portforward::{self, Options};
use spdy::{Limits, Tunnel};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};

const SPOKEN: Spoken =
    Spoken { websocket: &[portforward::TUNNEL, channelled::PROTOCOL], spdy: &[portforward::PROTOCOL] };

pub(super) async fn answer(
    State(served): State<Served>,
    Path((namespace, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    begin(served, &namespace, &name, &query, request).await.unwrap_or_else(|status| refuse(&status))
}

async fn begin(
    served: Served,
    namespace: &str,
    name: &str,
    query: &Query,
    request: Request,
) -> Result<Response, Status> {
    let pod = served.context.pod_by_name(namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    if sandbox(&served.context, &uid).is_none() {
        let full = format!("{name}_{namespace}");
        let message = format!("unable to upgrade connection: pod not found ({full:?}): it is not running");
        return Err(Status::new(500, "InternalError", message));
    }
    let agreed = Agreed::on(request, &SPOKEN).await?;
    let place = served.place()?;
    let stopping = served.stopping.clone();
    let target = format!("pod {name}, uid {uid}");
    let ports = Ports { served, uid, moved: Arc::default() };
    Ok(match agreed {
        Agreed::WebSocket(upgrade, channelled::PROTOCOL) => {
            let numbers = channelled::ports(query)?;
            upgrade.on_upgrade(move |socket| async move {
                let _place = place;
                stopping.unless(channelled::forward(socket, target, numbers, ports, SESSION_IDLE_MAX)).await;
            })
        }
        Agreed::WebSocket(upgrade, _) => upgrade.on_upgrade(move |socket| async move {
            let _place = place;
            let bytes = Tunnel::new(Messages { socket, closing: false });
            stopping.unless(forward(bytes, target, ports, SESSION_IDLE_MAX)).await;
        }),
        Agreed::Spdy(upgrading, protocol) => to_spdy(upgrading, protocol, move |io| async move {
            let _place = place;
            stopping.unless(forward(io, target, ports, SESSION_IDLE_MAX)).await;
        }),
    })
}

/// The running sandbox of a pod.
pub(super) fn sandbox(context: &Context, uid: &str) -> Option<Sandbox> {
    context.observer.look().pods.get(uid).and_then(|(_, observed)| observed.sandbox().cloned())
}

/// Forwards connections until the client ends, or no byte was moved for `idle`.
async fn forward<Io: AsyncRead + AsyncWrite>(io: Io, target: String, ports: Ports, idle: Duration) {
    let limits = Limits { streams: FORWARD_STREAMS_MAX, unread_in_all: SPDY_UNREAD_MAX, ..Limits::default() };
    let moved = Arc::clone(&ports.moved);
    let ports = Arc::new(ports);
    serve(io, limits, async |mut incoming| {
        let dial = move |port| {
            let ports = Arc::clone(&ports);
            async move { ports.dial(port).await }
        };
        let lull = async { while tokio::time::timeout(idle, moved.notified()).await.is_ok() {} };
        tokio::select! {
            () = portforward::serve(&mut incoming, Options::new(target), dial) => {}
            () = lull => tracing::debug!("a port-forward is idle"),
        }
    })
    .await;
}

/// The ports of one pod.
pub(super) struct Ports {
    served: Served,
    uid: String,
    /// Told whenever bytes move.
    moved: Arc<Notify>,
}

impl Ports {
    /// Returns when bytes have moved.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Connects to a port of the pod's present sandbox: it may have got another meanwhile. The address is the engine's, never one
    /// that somebody wrote into the pod's status.
    pub async fn dial(&self, port: u16) -> Result<Forwarded, String> {
        let Served { context, forwarded, .. } = &self.served;
        let place = Arc::clone(forwarded)
            .try_acquire_owned()
            .map_err(|_| "too many connections are forwarded on this node".to_owned())?;
        let sandbox = sandbox(context, &self.uid).ok_or("the pod is not running")?;
        let connection = context.runtime.dial(&sandbox, port).await.map_err(|error| error.to_string())?;
        self.moved.notify_one();
        Ok(Forwarded { connection, moved: Arc::clone(&self.moved), _place: place })
    }
}

/// A connection to a pod, which tells when bytes move.
pub(super) struct Forwarded {
    connection: Connection,
    moved: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.connection.as_mut().poll_read(context, into))?;
        self.moved.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(self.connection.as_mut().poll_write(context, bytes))?;
        self.moved.notify_one();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.connection.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.connection.as_mut().poll_shutdown(context)
    }
}

/// A WebSocket as the binary messages of a tunnel.
struct Messages {
    socket: WebSocket,
    closing: bool,
}

impl Stream for Messages {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => Some(Ok(bytes)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Text(_))) => Some(Err(axum::Error::new("a text message within a tunnel"))),
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(Message::Close(_))) | None => None,
            });
        }
    }
}

impl Sink<Bytes> for Messages {
    type Error = axum::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), axum::Error>> {
        Pin::new(&mut self.socket).poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, bytes: Bytes) -> Result<(), axum::Error> {
        Pin::new(&mut self.socket).start_send(Message::Binary(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), axum::Error>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// client-go takes only a close with a code for an orderly end.
    fn poll_close(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), axum::Error>> {
        if !self.closing {
            ready!(Pin::new(&mut self.socket).poll_ready(context))?;
            self.closing = true;
            let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
            Pin::new(&mut self.socket).start_send(Message::Close(Some(normal)))?;
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }
}
