//! Port-forward: for each forwarded connection the client opens an error stream and a data stream that name the same
//! request.
//!
//! Upstream: `httpstream.go` in kubelet's cri/streaming/portforward for the pairs, `portforward.go` in client-go's
//! tools/portforward for what a client expects.

use crate::connection::{Arrival, Incoming, Stream};
use crate::frame::{ResetCode, StreamId};
use crate::headers::Headers;
use base::{TaskGroup, within};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tracing::debug;

/// The protocol's name, in `X-Stream-Protocol-Version`.
pub const PROTOCOL: &str = "portforward.k8s.io";

/// The WebSocket subprotocol under which it is tunnelled.
pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

const PORT: &str = "port";
const REQUEST_ID: &str = "requestid";

/// How long a client may take to take an error's text.
const TEXT_DEADLINE: Duration = Duration::from_secs(30);

/// Which of the two streams of a request this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Carries text for the user when forwarding fails, nothing when it does not.
    Error,
    /// Carries the connection's bytes.
    Data,
}

/// What the headers of a stream ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Error or data.
    pub kind: Kind,
    /// The port in the pod, not 0.
    pub port: u16,
    /// What the two streams of one connection have in common.
    pub request: String,
}

impl Wish {
    /// Reads the headers of stream `id`. Clients of old give no request: theirs is guessed from the numbers of two
    /// streams that were opened one after the other, as upstream does.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub fn read(headers: &Headers, id: StreamId) -> Result<Self, String> {
        let port = headers.get(PORT).filter(|port| !port.is_empty()).ok_or("\"port\" header is required")?;
        let port = match port.parse::<u16>() {
            Ok(0) => return Err(format!("port {port:?} must be > 0")),
            Ok(port) => port,
            Err(error) => return Err(format!("unable to parse {port:?} as a port: {error}")),
        };
        let kind = match headers.get(crate::STREAM_TYPE) {
            Some("error") => Kind::Error,
            Some("data") => Kind::Data,
            None | Some("") => return Err("\"streamType\" header is required".to_owned()),
            Some(other) => return Err(format!("invalid stream type {other:?}")),
        };
        let request = match (headers.get(REQUEST_ID), kind) {
            (Some(request), _) if !request.is_empty() => request.to_owned(),
            (_, Kind::Error) => id.to_string(),
            (_, Kind::Data) => id.saturating_sub(2).to_string(),
        };
        Ok(Self { kind, port, request })
    }

    /// The headers of a stream that asks for this.
    pub fn headers(&self) -> Headers {
        let kind = match self.kind {
            Kind::Error => "error",
            Kind::Data => "data",
        };
        let headers = Headers::new().with(crate::STREAM_TYPE, kind).with(PORT, self.port.to_string());
        headers.with(REQUEST_ID, self.request.clone())
    }
}

/// Both streams of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair<S> {
    /// The request they have in common.
    pub request: String,
    /// The port that the data stream names.
    pub port: u16,
    /// The error stream.
    pub error: S,
    /// The data stream.
    pub data: S,
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Added<S> {
    /// Its other half has yet to come.
    Waits,
    /// It was the second of its request.
    Completes(Pair<S>),
    /// Its request has such a stream already, and both wait for the other kind. The stream is handed back.
    Surplus(S),
}

/// A stream whose other half has not come.
#[derive(Debug, PartialEq, Eq)]
pub struct Lone<S> {
    /// Its request.
    pub request: String,
    /// Which of the two it is.
    pub kind: Kind,
    /// The stream.
    pub stream: S,
    port: u16,
    since: Instant,
}

/// Streams that wait for their other half. Pure: the clock is the caller's, and how many wait is bounded by how many
/// streams a connection may have.
#[derive(Debug)]
pub struct Pairs<S> {
    waiting: BTreeMap<String, Lone<S>>,
    patience: Duration,
}

impl<S> Pairs<S> {
    /// None yet; a stream waits for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { waiting: BTreeMap::new(), patience }
    }

    /// Adds a stream.
    pub fn add(&mut self, wish: Wish, stream: S, now: Instant) -> Added<S> {
        let Wish { kind, port, request } = wish;
        let Some(lone) = self.waiting.remove(&request) else {
            self.waiting.insert(request.clone(), Lone { request, kind, stream, port, since: now });
            return Added::Waits;
        };
        match (lone.kind, kind) {
            (Kind::Error, Kind::Data) => Added::Completes(Pair { request, port, error: lone.stream, data: stream }),
            (Kind::Data, Kind::Error) => {
                Added::Completes(Pair { request, port: lone.port, error: stream, data: lone.stream })
            }
            _ => {
                self.waiting.insert(request, lone);
                Added::Surplus(stream)
            }
        }
    }

    /// When the first of those that wait has waited long enough.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.values().map(|lone| lone.since + self.patience).min()
    }

    /// Takes out those that have waited long enough.
    pub fn expire(&mut self, now: Instant) -> Vec<Lone<S>> {
        let patience = self.patience;
        self.waiting.extract_if(.., |_, lone| lone.since + patience <= now).map(|(_, lone)| lone).collect()
    }
}

/// How port-forwarding is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is forwarded to, for messages: `pod web, uid 7d…`.
    pub target: String,
    /// How long a stream waits for the other of its pair; upstream's `DefaultStreamCreationTimeout` is 30 seconds.
    pub pair: Duration,
    /// How long connecting to a port may take.
    pub dial: Duration,
}

impl Options {
    /// With upstream's deadlines.
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), pair: Duration::from_secs(30), dial: Duration::from_secs(30) }
    }
}

/// Forwards connections until the peer opens no more, and those that are open have ended. `dial` connects to a port of
/// the target; its error is text for the user. Dropping the future ends every forwarded connection.
pub async fn serve<D, F, Io>(incoming: &mut Incoming, options: Options, dial: D)
where
    D: Fn(u16) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Io, String>> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut pairs: Pairs<Stream> = Pairs::new(options.pair);
    let (options, dial) = (Arc::new(options), Arc::new(dial));
    let tasks = TaskGroup::new("port-forward");
    loop {
        let expiry = pairs.next_expiry();
        let waited = async {
            match expiry {
                Some(expiry) => tokio::time::sleep_until(expiry).await,
                None => std::future::pending().await,
            }
        };
        let arrival = tokio::select! {
            arrival = incoming.next() => arrival,
            () = waited => {
                for lone in pairs.expire(Instant::now()) {
                    debug!(request = lone.request, "a stream waited in vain for its other half");
                    if lone.kind == Kind::Error {
                        let text = format!("(request={}) timed out waiting for streams", lone.request);
                        tasks.spawn("refusal", say(lone.stream, text));
                    }
                }
                continue;
            }
        };
        let Some(arrival) = arrival else { break };
        let Some((wish, stream)) = admit(arrival) else { continue };
        let request = wish.request.clone();
        match pairs.add(wish, stream, Instant::now()) {
            Added::Waits => {}
            Added::Completes(pair) => {
                let (options, dial) = (Arc::clone(&options), Arc::clone(&dial));
                tasks.spawn("connection", async move {
                    let dialed = within(options.dial, "connecting to the port", dial(pair.port)).await;
                    let dialed = dialed.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
                    forward(pair, &options.target, dialed).await;
                });
            }
            // Dropped, and so reset: the pair it wanted to belong to goes on waiting.
            Added::Surplus(_) => debug!(request, "a request has two streams of one kind"),
        }
    }
    tasks.join().await;
}

/// Accepts a stream whose headers make sense.
fn admit(arrival: Arrival) -> Option<(Wish, Stream)> {
    match Wish::read(arrival.headers(), arrival.id()) {
        Ok(wish) => Some((wish, arrival.accept())),
        Err(reason) => {
            debug!(reason, "a stream was refused");
            arrival.refuse(ResetCode::CANCEL);
            None
        }
    }
}

/// Joins one pair to the connection made for it.
async fn forward<Io: AsyncRead + AsyncWrite>(pair: Pair<Stream>, target: &str, dialed: Result<Io, String>) {
    let Pair { port, error, mut data, .. } = pair;
    let io = match dialed {
        Ok(io) => io,
        Err(reason) => {
            say(error, format!("error forwarding port {port} to {target}: {reason}")).await;
            let _ = data.shutdown().await;
            return;
        }
    };
    let (mut from_target, mut to_target) = tokio::io::split(io);
    let (mut from_client, mut to_client) = data.into_split();
    let mut error = Some(error);
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_target).await?;
        to_target.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from_target, &mut to_client).await?;
        to_client.shutdown().await?;
        // Clients wait for the end of the error stream once the data has ended, some without ending their own
        // direction: so the end of one cannot wait for the end of the other.
        if let Some(mut error) = error.take() {
            error.shutdown().await?;
        }
        Ok::<(), std::io::Error>(())
    };
    // A connection that breaks midway breaks for the client too, by a reset. No text is sent for it: kubectl takes any
    // text as the end of all forwarding.
    if let Err(broken) = tokio::try_join!(up, down) {
        debug!(error = %broken, port, "a forwarded connection broke");
    }
    if let Some(mut error) = error.take() {
        let _ = error.shutdown().await;
    }
}

/// Sends text on an error stream and ends it.
async fn say(mut error: Stream, text: String) {
    debug!(text, "port-forwarding failed");
    let sent = within(TEXT_DEADLINE, "the sending of an error", async {
        error.write_all(text.as_bytes()).await?;
        error.shutdown().await
    });
    // Whoever cannot be told is gone.
    let _ = sent.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &str, port: &str, request: &str) -> Headers {
        Headers::new().with("streamType", kind).with("port", port).with("requestID", request)
    }

    fn wish(kind: Kind, port: u16, request: &str) -> Wish {
        Wish { kind, port, request: request.to_owned() }
    }

    #[test]
    fn headers_say_what_a_stream_is_for() {
        let rows: [(Headers, StreamId, Result<Wish, &str>); 10] = [
            (headers("data", "80", "7"), 9, Ok(wish(Kind::Data, 80, "7"))),
            (headers("error", "80", ""), 9, Ok(wish(Kind::Error, 80, "9"))),
            (headers("data", "80", ""), 11, Ok(wish(Kind::Data, 80, "9"))),
            (headers("data", "80", ""), 1, Ok(wish(Kind::Data, 80, "0"))),
            (headers("data", "0", "7"), 9, Err("port \"0\" must be > 0")),
            (headers("data", "", "7"), 9, Err("\"port\" header is required")),
            (headers("data", "70000", "7"), 9, Err("unable to parse \"70000\" as a port")),
            (headers("data", "-1", "7"), 9, Err("unable to parse \"-1\" as a port")),
            (headers("", "80", "7"), 9, Err("\"streamType\" header is required")),
            (headers("stdin", "80", "7"), 9, Err("invalid stream type \"stdin\"")),
        ];
        for (headers, id, expected) in rows {
            match (Wish::read(&headers, id), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(read), Err(expected)) => assert!(read.starts_with(expected), "{read}"),
                (read, expected) => panic!("{read:?} instead of {expected:?}"),
            }
        }
        let back = wish(Kind::Error, 443, "3");
        assert_eq!(Wish::read(&back.headers(), 1), Ok(back));
    }

    #[test]
    fn streams_find_their_other_half_in_any_order() {
        let now = Instant::now();
        let mut pairs = Pairs::new(Duration::from_secs(30));
        assert_eq!(pairs.add(wish(Kind::Error, 80, "a"), 1, now), Added::Waits);
        assert_eq!(pairs.add(wish(Kind::Data, 81, "b"), 3, now), Added::Waits);
        assert_eq!(pairs.add(wish(Kind::Error, 80, "a"), 5, now), Added::Surplus(5));
        let pair =
            |request: &str, port, error, data| Added::Completes(Pair { request: request.into(), port, error, data });
        assert_eq!(pairs.add(wish(Kind::Data, 80, "a"), 7, now), pair("a", 80, 1, 7));
        assert_eq!(pairs.add(wish(Kind::Error, 9, "b"), 9, now), pair("b", 81, 9, 3), "the data stream's port counts");
        assert_eq!(pairs.next_expiry(), None);
    }

    #[test]
    fn a_lone_stream_waits_so_long_and_no_longer() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pairs = Pairs::new(second * 30);
        let _ = pairs.add(wish(Kind::Error, 80, "a"), 1, start);
        let _ = pairs.add(wish(Kind::Data, 80, "b"), 3, start + second);
        assert_eq!(pairs.next_expiry(), Some(start + second * 30));
        assert_eq!(pairs.expire(start + second * 29), []);
        let expired: Vec<_> =
            pairs.expire(start + second * 30).into_iter().map(|lone| (lone.kind, lone.stream)).collect();
        assert_eq!(expired, [(Kind::Error, 1)]);
        assert_eq!(pairs.next_expiry(), Some(start + second * 31));
    }
}
