//! One connection to one master: TCP, TLS and HTTP, each step with a deadline, and pings that notice
//! a frozen peer.

use crate::Address;
use crate::limits::{PING_DEADLINE, PING_INTERVAL};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The protocol that a server must agree to for HTTP/2.
const ALPN_HTTP2: &[u8] = b"h2";

/// A connection on which requests can be sent.
#[derive(Debug)]
pub(crate) enum Connection {
    /// Carries many requests at once; clones share the connection.
    Http2(http2::SendRequest<Full<Bytes>>),
    /// Carries one request at a time.
    Http1(http1::SendRequest<Full<Bytes>>),
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    /// Whether the server may have seen it.
    pub(crate) sent: bool,
    /// What happened.
    pub(crate) reason: String,
}

impl Connection {
    /// Connects to `address` within `deadline`.
    pub(crate) async fn open(
        address: &Address,
        tls: Arc<ClientConfig>,
        deadline: Duration,
    ) -> Result<Self, ConnectFailure> {
        let end = Instant::now() + deadline;
        let connecting = TcpStream::connect((address.host(), address.port()));
        let stream = match tokio::time::timeout_at(end, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ConnectFailure::refused(&error)),
            Err(_) => return Err(ConnectFailure::silent("it does not accept connections", deadline)),
        };
        // Small messages matter more than full packets here; failing to say so only slows them.
        let _ = stream.set_nodelay(true);
        let name = identity::names::host_server_name(address.host()).map_err(ConnectFailure::other)?;
        let left = end.saturating_duration_since(Instant::now());
        let stream = match identity::handshake::connect(tls, name, stream, left).await {
            Ok(stream) => stream,
            Err(identity::Error::HandshakeTimeout(_)) => {
                return Err(ConnectFailure::silent("it accepts connections but does not answer", deadline));
            }
            Err(error) => return Err(ConnectFailure::other(error)),
        };
        let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        let io = TokioIo::new(stream);
        let opening = async { if speaks_http2 { open_http2(io).await } else { open_http1(io).await } };
        match tokio::time::timeout_at(end, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(ConnectFailure::other(error)),
            Err(_) => Err(ConnectFailure::silent("it does not speak HTTP", deadline)),
        }
    }

    /// Whether requests can no longer be sent on it.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http2(sender) => sender.is_closed(),
            Self::Http1(sender) => sender.is_closed(),
        }
    }

    /// Sends `request`, whose URI is only a path and query, and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        address: &Address,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendFailure> {
        let not_sent = |error: &dyn std::fmt::Display| SendFailure { sent: false, reason: error.to_string() };
        match self {
            Self::Http2(sender) => {
                *request.uri_mut() = absolute(address, request.uri()).map_err(|error| not_sent(&error))?;
                sender.ready().await.map_err(|error| not_sent(&explain(&error)))?;
                sender.try_send_request(request).await.map_err(failure)
            }
            Self::Http1(sender) => {
                let host = HeaderValue::from_str(&address.authority()).map_err(|error| not_sent(&error))?;
                request.headers_mut().insert(HOST, host);
                sender.ready().await.map_err(|error| not_sent(&explain(&error)))?;
                sender.try_send_request(request).await.map_err(failure)
            }
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct ConnectFailure {
    /// The peer's kernel says that nobody listens: certain at once, unlike silence.
    pub(crate) refused: bool,
    /// What happened.
    pub(crate) reason: String,
}

impl ConnectFailure {
    fn refused(error: &std::io::Error) -> Self {
        Self { refused: error.kind() == std::io::ErrorKind::ConnectionRefused, reason: error.to_string() }
    }

    fn silent(what: &str, deadline: Duration) -> Self {
        Self { refused: false, reason: format!("{what} within {deadline:?}") }
    }

    fn other(error: impl std::fmt::Display) -> Self {
        Self { refused: false, reason: error.to_string() }
    }
}

/// The error with its causes: hyper keeps the interesting part in the source.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn open_http2<S>(io: TokioIo<S>) -> Result<Connection, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE)
        .handshake(io)
        .await?;
    tokio::spawn(drive(driver));
    Ok(Connection::Http2(sender))
}

async fn open_http1<S>(io: TokioIo<S>) -> Result<Connection, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = http1::Builder::new().handshake(io).await?;
    tokio::spawn(drive(driver));
    Ok(Connection::Http1(sender))
}

/// Moves the connection's bytes until it ends. Its users see the error on their own requests.
async fn drive(driver: impl Future<Output = Result<(), hyper::Error>>) {
    if let Err(error) = driver.await {
        tracing::debug!(error = %explain(&error), "a connection to a master ended");
    }
}

fn absolute(address: &Address, path: &Uri) -> Result<Uri, http::Error> {
    let path = path.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme("https").authority(address.authority()).path_and_query(path).build()
}

/// What h2 says of a stream that the server promises not to have looked at (RFC 9113, 8.7).
const REFUSED_STREAM: &str = "refused stream before processing";

/// The request is given back exactly when none of it was written.
fn failure(mut error: TrySendError<Request<Full<Bytes>>>) -> SendFailure {
    let given_back = error.take_message().is_some();
    let reason = explain(error.error());
    SendFailure { sent: !given_back && !reason.contains(REFUSED_STREAM), reason }
}
