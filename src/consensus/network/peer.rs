//! The calling side: a connection to each other master that keeps itself up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::{Shutdown, Stopping};
use rustls::ClientConfig;
use tokio::io::{self, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};

use super::frame::{self, Kind};
use super::message::{Hello, Request, Response};

/// How long connecting, the handshake and the hello may take together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Between two attempts to connect: constant, because a master that is back must be found at once.
const RECONNECT_EVERY: Duration = Duration::from_millis(60);
/// Between two pings; an answer must come before the next one is due, and two may be missed.
const PING_EVERY: Duration = Duration::from_millis(500);
const PING_DEADLINE: Duration = Duration::from_millis(1_500);
/// Frames that wait to be sent; who is faster waits until its own deadline.
const FRAMES_MAX: usize = 256;
/// Bytes that one write takes along.
const WRITE_BYTES: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The question was never sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The connection broke after the question was sent.
    #[error("the connection broke before the answer came")]
    Lost,
    /// No answer came in time.
    #[error("no answer in time")]
    Timeout,
}

/// Who calls, and how.
pub struct Caller {
    pub cluster: String,
    pub id: u64,
    pub tls: Arc<ClientConfig>,
}

/// The connections to all other masters.
pub struct Peers {
    caller: Arc<Caller>,
    peers: Mutex<HashMap<u64, Arc<Peer>>>,
    stopping: Stopping,
}

impl Peers {
    /// No connections yet; all end with `stopping`.
    pub fn new(caller: Caller, stopping: Stopping) -> Arc<Self> {
        Arc::new(Self { caller: Arc::new(caller), peers: Mutex::default(), stopping })
    }

    /// The connection to a master at this address; begins to connect when it is new. Does not wait.
    pub fn get(&self, id: u64, address: &str) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get(&id) {
            Some(known) if known.address == address => Arc::clone(known),
            _ => {
                let peer = Peer::start(Arc::clone(&self.caller), id, address.to_owned(), &self.stopping);
                peers.insert(id, Arc::clone(&peer));
                peer
            }
        }
    }

    /// Ends the connections to masters that are no longer members.
    pub fn retain(&self, keep: impl Fn(u64) -> bool) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| keep(*id));
    }

    /// When a master last answered anything.
    pub fn last_answer(&self, id: u64) -> Option<Instant> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&id).and_then(|peer| *peer.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The connection to one master. Ends when dropped.
pub struct Peer {
    id: u64,
    address: String,
    link: Arc<Mutex<Option<Link>>>,
    answered: Arc<Mutex<Option<Instant>>>,
    scope: Shutdown,
}

/// A connection that stands.
#[derive(Clone)]
struct Link {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

/// Who waits for which answer; `None` once the connection is broken.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Response>>>>>;

impl Drop for Peer {
    fn drop(&mut self) {
        self.scope.trigger();
    }
}

impl Peer {
    fn start(caller: Arc<Caller>, id: u64, address: String, stopping: &Stopping) -> Arc<Self> {
        let scope = stopping.child();
        let (link, answered) = (Arc::default(), Arc::default());
        let keeping = keep(caller, id, address.clone(), Arc::clone(&link), Arc::clone(&answered));
        let stop = scope.stopping();
        base::task::spawn("peer", async move {
            // Ends with the scope; nothing to hand back.
            let _ = stop.unless(keeping).await;
        });
        Arc::new(Self { id, address, link, answered, scope })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`]; only [`CallError::NotSent`] says that the other side has certainly not seen the question.
    pub async fn call(&self, request: &Request, deadline: Instant) -> Result<Response, CallError> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let link = link.ok_or_else(|| CallError::NotSent(format!("master {} is not connected", self.id)))?;
        link.call(request, deadline).await
    }
}

impl Link {
    async fn call(&self, request: &Request, deadline: Instant) -> Result<Response, CallError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes =
            frame::encode(Kind::Request, number, request).map_err(|error| CallError::NotSent(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        match self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(waiting) => waiting.insert(number, reply),
            None => return Err(CallError::NotSent("the connection just broke".into())),
        };
        // Whatever ends this call early takes its entry along.
        let _entry = Entry { waiting: &self.waiting, number };
        match timeout_at(deadline, self.frames.send(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(CallError::NotSent("the connection just broke".into())),
            Err(_) => return Err(CallError::NotSent("the connection is stuck".into())),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(CallError::Lost),
            Err(_) => Err(CallError::Timeout),
        }
    }
}

struct Entry<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            waiting.remove(&self.number);
        }
    }
}

/// Connects for ever. Says so once per change, not once per attempt.
async fn keep(
    caller: Arc<Caller>,
    id: u64,
    address: String,
    link: Arc<Mutex<Option<Link>>>,
    answered: Arc<Mutex<Option<Instant>>>,
) {
    let set = |value: Option<Link>| *link.lock().unwrap_or_else(PoisonError::into_inner) = value;
    let mut last_failure = String::new();
    loop {
        let connecting = timeout(CONNECT_DEADLINE, connect(&caller, id, &address)).await;
        let failure = match connecting.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
            Ok(stream) => {
                info!(peer = id, %address, "connected to a peer");
                last_failure.clear();
                let error = serve_link(stream, &set, &answered).await;
                set(None);
                format!("the connection broke: {error}")
            }
            Err(error) => format!("cannot connect: {error}"),
        };
        if failure != last_failure {
            info!(peer = id, %address, "{failure}");
            last_failure = failure;
        }
        tokio::time::sleep(RECONNECT_EVERY).await;
    }
}

/// A byte stream in both directions.
trait Duplex: io::AsyncRead + io::AsyncWrite + Send + Unpin {}
impl<T: io::AsyncRead + io::AsyncWrite + Send + Unpin> Duplex for T {}

type Stream = Box<dyn Duplex>;

async fn connect(caller: &Caller, id: u64, address: &str) -> io::Result<Stream> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = identity::names::peer_server_name(id);
    let tls = identity::handshake::connect(Arc::clone(&caller.tls), name, tcp, CONNECT_DEADLINE);
    let mut stream = tls.await.map_err(io::Error::other)?;
    let hello = Hello { cluster: caller.cluster.clone(), from: caller.id, to: id };
    stream.write_all(&frame::encode(Kind::Hello, 0, &hello)?).await?;
    stream.flush().await?;
    let answer = frame::read(&mut stream).await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match answer.message::<Response>()? {
        Response::Done => Ok(Box::new(stream)),
        Response::Refused(reason) => Err(io::Error::other(format!("refused: {reason}"))),
        other => Err(frame::invalid(format!("a hello was answered by {other:?}"))),
    }
}

/// Serves calls over a connection until it breaks.
async fn serve_link(stream: Stream, set: &impl Fn(Option<Link>), answered: &Mutex<Option<Instant>>) -> io::Error {
    let (input, output) = io::split(stream);
    let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
    let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
    let link = Link { frames, waiting: Arc::clone(&waiting), next: Arc::new(AtomicU64::new(1)) };
    set(Some(link.clone()));
    let reading = async {
        let mut input = BufReader::with_capacity(WRITE_BYTES, input);
        loop {
            let frame = match frame::read(&mut input).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return io::Error::from(io::ErrorKind::UnexpectedEof),
                Err(error) => return error,
            };
            let response = match frame.message::<Response>() {
                Ok(response) => response,
                Err(error) => return error,
            };
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            let asked = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut()
                .and_then(|waiting| waiting.remove(&frame.number));
            if let Some(reply) = asked {
                // Whoever asked may have gone.
                let _ = reply.send(response);
            }
        }
    };
    let error = tokio::select! {
        error = reading => error,
        error = write_frames(output, outgoing) => error,
        error = ping(&link) => error,
    };
    // Dropping the senders tells everyone who waits.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    error
}

/// Writes frames; those that wait share a write and a flush.
pub async fn write_frames(mut output: impl io::AsyncWrite + Unpin, mut frames: mpsc::Receiver<Vec<u8>>) -> io::Error {
    let mut buffer = Vec::new();
    loop {
        let Some(first) = frames.recv().await else { return io::Error::from(io::ErrorKind::BrokenPipe) };
        buffer.clear();
        buffer.extend_from_slice(&first);
        while buffer.len() < WRITE_BYTES {
            match frames.try_recv() {
                Ok(next) => buffer.extend_from_slice(&next),
                Err(_) => break,
            }
        }
        let written = async {
            output.write_all(&buffer).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            return error;
        }
        // One large append must not keep its size in memory for ever.
        if buffer.capacity() > 2 * WRITE_BYTES {
            buffer = Vec::new();
        }
    }
}

async fn ping(link: &Link) -> io::Error {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if let Err(error) = link.call(&Request::Ping, Instant::now() + PING_DEADLINE).await {
            debug!(%error, "a ping was not answered");
            return io::Error::new(io::ErrorKind::TimedOut, "a ping was not answered");
        }
    }
}
