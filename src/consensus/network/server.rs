//! The answering side: takes connections of other masters and hands their questions on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::LogLimit;
use futures::future::BoxFuture;
use rustls::ServerConfig;
use tokio::io::{self, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::frame::{self, Kind};
use super::message::{Hello, Request, Response};
use super::peer::write_frames;

/// How long a caller may take to say hello after the handshake.
const HELLO_DEADLINE: Duration = Duration::from_secs(2);
/// Questions of one connection that are worked on at once; further ones wait in the socket.
const WORK_MAX: usize = 512;
/// Connections at once: a handful of masters, and room for half-dead ones of theirs.
const CONNECTIONS_MAX: usize = 64;
const ANSWERS_MAX: usize = 256;
const READ_BYTES: usize = 256 << 10;

/// Answers questions of a master.
pub type Answer = Arc<dyn Fn(u64, Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// Who answers.
pub struct Server {
    pub cluster: String,
    pub id: u64,
    pub tls: Arc<ServerConfig>,
    pub answer: Answer,
}

/// Takes connections until it is dropped.
pub async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    let refusals = Arc::new(LogLimit::default());
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            // One of them has to end first.
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((tcp, from)) => {
                let (server, refusals) = (Arc::clone(&server), Arc::clone(&refusals));
                connections.spawn(async move {
                    if let Err(error) = connection(server, &refusals, tcp, from).await {
                        debug!(%from, %error, "a peer's connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, for one; at once again would only burn the processor.
                warn!(%error, "a peer's connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(server: Arc<Server>, refusals: &LogLimit, tcp: TcpStream, from: SocketAddr) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let accepted = identity::handshake::accept(Arc::clone(&server.tls), tcp).await;
    let (stream, caller) = accepted.map_err(|error| {
        if !error.is_hangup() {
            refusals.line(|left_out| warn!(%from, %error, left_out, "a caller of the peer port was refused"));
        }
        io::Error::other(error)
    })?;
    let (input, mut output) = io::split(stream);
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let hello = timeout(HELLO_DEADLINE, frame::read(&mut input)).await??;
    let hello = hello.filter(|frame| frame.kind == Kind::Hello).ok_or_else(|| frame::invalid("no hello"))?;
    let hello: Hello = hello.message()?;
    if let Err(reason) = admit(&hello, &server.cluster, server.id, caller.master()) {
        refusals.line(|left_out| {
            warn!(%from, id = hello.from, user = %caller.user, %reason, left_out, "a caller of the peer port was refused");
        });
        output.write_all(&frame::encode(Kind::Hello, 0, &Response::Refused(reason.clone()))?).await?;
        output.shutdown().await?;
        return Err(io::Error::other(reason));
    }
    output.write_all(&frame::encode(Kind::Hello, 0, &Response::Done)?).await?;
    output.flush().await?;

    let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
    let reading = async {
        let work = Arc::new(Semaphore::new(WORK_MAX));
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(frame) = frame::read(&mut input).await? {
            let request: Request = frame.message()?;
            let permit = Arc::clone(&work).acquire_owned().await.map_err(io::Error::other)?;
            let (answer, answers, number) = ((server.answer)(hello.from, request), answers.clone(), frame.number);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let response = answer.await;
                let bytes = frame::encode(Kind::Response, number, &response)
                    .or_else(|error| frame::encode(Kind::Response, number, &Response::Refused(error.to_string())));
                if let Ok(bytes) = bytes {
                    // The connection may be gone; the caller learns it by itself.
                    let _ = answers.send(bytes).await;
                }
                drop(permit);
            });
        }
        Ok(())
    };
    tokio::select! {
        ended = reading => ended,
        error = write_frames(output, outgoing) => Err(error),
    }
}

/// Whether a caller may speak: a master of this cluster, under the id of its own certificate, that means this one.
fn admit(hello: &Hello, cluster: &str, id: u64, certified: Option<u64>) -> Result<(), String> {
    if certified != Some(hello.from) {
        return Err(format!("the certificate is not that of master {}", hello.from));
    }
    if hello.cluster != cluster {
        return Err(format!("this is cluster {cluster}, not {}", hello.cluster));
    }
    if hello.to != id {
        return Err(format!("this is master {id}, not {}", hello.to));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_certified_master_of_this_cluster_is_heard() {
        let hello = Hello { cluster: "c".into(), from: 1, to: 2 };
        assert!(admit(&hello, "c", 2, Some(1)).is_ok());
        for (cluster, id, certified) in [("d", 2, Some(1)), ("c", 3, Some(1)), ("c", 2, Some(9)), ("c", 2, None)] {
            admit(&hello, cluster, id, certified).unwrap_err();
        }
    }
}
