//! Fake masters for tests: real sockets, real TLS, and every way of failing.

use crate::{Address, Client, Endpoints, Options};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use identity::{Authority, ReloadableCert, tls};
use rustls::{ClientConfig, ServerConfig};
use serde_json::Value;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) type Body = BoxBody<Bytes, Infallible>;
type Handler = dyn Fn(Call) -> Option<Response<Body>> + Send + Sync;

/// One cluster for all tests of a process.
pub(crate) static CLUSTER: LazyLock<Authority> = LazyLock::new(|| Authority::generate("fake").unwrap());

/// What a fake master was asked.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// A master on loopback. Dropping it kills it: its port refuses and its connections break.
pub(crate) struct FakeMaster {
    pub(crate) address: Address,
    frozen: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeMaster {
    /// A master that answers with `handler`; where that returns `None` it never answers.
    pub(crate) async fn start(handler: impl Fn(Call) -> Option<Response<Body>> + Send + Sync + 'static) -> Self {
        Self::start_with(server_tls(), handler).await
    }

    pub(crate) async fn start_with(
        tls: Arc<ServerConfig>,
        handler: impl Fn(Call) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, tls, handler)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        handler: impl Fn(Call) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap().into();
        let frozen = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let handler: Arc<Handler> = Arc::new(handler);
        let parts = (frozen.clone(), calls.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let (frozen, calls, connections) = parts;
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let stream = Freezable { stream, frozen: frozen.clone() };
                let (tls, handler, calls) = (tls.clone(), handler.clone(), calls.clone());
                serving.spawn(async move {
                    let Ok((stream, _)) = identity::handshake::accept(tls, stream).await else { return };
                    let service = service_fn(move |request| answer(request, handler.clone(), calls.clone()));
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, frozen, calls, connections, task }
    }

    /// A master that is ready and answers every other call with its own name.
    pub(crate) async fn ready(name: &'static str) -> Self {
        Self::start(move |_| Some(json(200, &serde_json::json!({"master": name})))).await
    }

    /// Stops moving bytes, as a process under SIGSTOP does; its kernel still accepts connections.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends it and waits until its port is free.
    pub(crate) async fn kill(self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Result<Response<Body>, Infallible> {
    let (method, path) = (request.method().to_string(), request.uri().path_and_query().unwrap().to_string());
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let call = Call { method, path, body };
    calls.lock().unwrap().push(call.clone());
    match handler(call) {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

pub(crate) fn server_tls() -> Arc<ServerConfig> {
    server_tls_of(&CLUSTER)
}

pub(crate) fn server_tls_of(authority: &Authority) -> Arc<ServerConfig> {
    let own = ReloadableCert::new(authority.api_serving(1, &[]).unwrap()).unwrap();
    tls::api_server(&authority.clients().unwrap(), own).unwrap()
}

pub(crate) fn client_tls() -> Arc<ClientConfig> {
    tls::api_client(&CLUSTER.serving().unwrap(), None).unwrap()
}

pub(crate) fn client(masters: &[&FakeMaster]) -> Client {
    let endpoints = Endpoints::in_order(masters.iter().map(|master| master.address.clone())).unwrap();
    let options = Options { connect_deadline: Duration::from_millis(500), ..Options::default() };
    Client::with_options(endpoints, client_tls(), options)
}

pub(crate) fn json(status: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed();
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap()
}

/// An answer whose body arrives through the returned sender, as that of a watch.
pub(crate) fn stream() -> (mpsc::UnboundedSender<Bytes>, Response<Body>) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    (sender, Response::new(BodyExt::boxed(StreamBody::new(frames))))
}

/// Waits until `condition` holds, or fails the test after a generous while.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never: {what}");
}

struct Freezable {
    stream: TcpStream,
    frozen: Arc<AtomicBool>,
}

impl Freezable {
    fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Freezable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Freezable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
