//! Connections: TLS, HTTP/1.1 and HTTP/2, limits, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base::Stopping;
use futures::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use identity::Caller;
use objects::Status;
use rustls::ServerConfig;
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use crate::api::Api;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::options::Options;
use crate::{reply, router};

/// How long a client may take to send the head of a request; also how long an idle HTTP/1.1 connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(75);
/// Most bytes of a request's headers.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Streams in one HTTP/2 connection; upstream's default. A client-go process puts all its watches into one.
const STREAMS_MAX: u32 = 250;
/// How often an HTTP/2 peer is asked whether it lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_DEADLINE: Duration = Duration::from_secs(15);
/// After a failed accept (no file descriptors left, most likely): how long to wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// So many failures in a row are no passing shortage.
const ACCEPT_FAILURES_MAX: u32 = 1200;

/// Serves the API on `listener` until `stopping`; then closes watches, lets open requests finish for a while and returns.
///
/// # Errors
/// [`Error::Accept`] when the listener fails for good.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    store: Store,
    cluster: Arc<dyn Cluster>,
    stopping: Stopping,
) -> Result<(), Error> {
    let api = Api::new(options, store, cluster, stopping.clone());
    let room = Arc::new(Semaphore::new(api.options.connections_max.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut failures = 0;
    while let Some(accepted) = stopping.unless(accept(&listener, &room)).await {
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, from, permit)) => {
                failures = 0;
                let (api, tls, watcher) = (Arc::clone(&api), Arc::clone(&tls), graceful.watcher());
                connections.spawn(async move {
                    let _permit = permit;
                    connection(api, tls, (stream, from), watcher).await;
                });
            }
            Err(source) => {
                failures += 1;
                if failures > ACCEPT_FAILURES_MAX {
                    return Err(Error::Accept(source));
                }
                error!(error = %source, "a connection could not be accepted");
                stopping.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    info!(connections = connections.len(), "the API drains");
    let drained = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    if tokio::time::timeout(api.options.drain, drained).await.is_err() {
        debug!("connections that did not end in time are cut off");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, permit))
}

async fn connection(
    api: Arc<Api>,
    tls: Arc<ServerConfig>,
    (stream, from): (TcpStream, SocketAddr),
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small events must not wait for more.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (stream, caller) = match identity::handshake::accept(tls, stream).await {
        Ok(accepted) => accepted,
        Err(error) if error.is_hangup() => {
            debug!(%from, %error, "a caller went away");
            return;
        }
        Err(error) => {
            api.strangers.line(|left_out| warn!(%from, %error, left_out, "a caller of the API was refused"));
            return;
        }
    };
    let _counted = api.metrics.connection();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let request = request.map(|body| body.map_err(std::io::Error::other).boxed_unsync());
        let (api, caller) = (Arc::clone(&api), caller.clone());
        async move { Ok::<_, Infallible>(guarded(api, from, caller, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_DEADLINE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    let serving = watcher.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
    if let Err(error) = serving.await {
        debug!(%error, "a connection ended early");
    }
}

/// A defect in one handler costs one answer, not the connection with all its watches.
async fn guarded(
    api: Arc<Api>,
    from: SocketAddr,
    caller: Caller,
    request: Request<crate::body::Incoming>,
) -> reply::Response {
    match AssertUnwindSafe(router::answer(api, from, caller, request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            error!("a request handler panicked");
            reply::status(&Status::internal("the request handler failed"))
        }
    }
}
