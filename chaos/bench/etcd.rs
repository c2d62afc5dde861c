//! Three etcd members from Debian's package, and puts to them over gRPC: the yardstick.
//!
//! The client speaks gRPC by hand (one message, five bytes of frame), so that neither side pays for a library.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use chaos::Error;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::load::{Outcome, Requests, drive};

/// Bytes of each value.
const VALUE_BYTES: usize = 1_024;

/// Three members on loopback, ended when dropped.
pub struct Trio {
    members: Vec<Child>,
    ports: Vec<u16>,
    // Removed after the members have ended.
    _folder: tempfile::TempDir,
}

impl Trio {
    /// Starts the members and waits until puts succeed.
    pub async fn start() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("etcd-").tempdir().map_err(Error::system("make a folder"))?;
        let ports: Vec<(u16, u16)> = (0..3).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<_, Error>>()?;
        let initial: Vec<String> =
            ports.iter().enumerate().map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}")).collect();
        let initial = initial.join(",");
        let mut trio =
            Self { members: Vec::new(), ports: ports.iter().map(|(client, _)| *client).collect(), _folder: folder };
        for (number, (client, peer)) in ports.iter().enumerate() {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let data = trio._folder.path().join(format!("m{number}"));
            let child = Command::new("etcd")
                .args([
                    "--name",
                    &format!("m{number}"),
                    "--initial-cluster-state",
                    "new",
                    "--initial-cluster",
                    &initial,
                ])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--log-level", "error"])
                .arg("--data-dir")
                .arg(&data)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(Error::system("start etcd (apt-get install etcd-server)"))?;
            trio.members.push(child);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(mut client) = Writer::connect(trio.ports[0], "warm".into()).await
                && client.send(0).await
            {
                return Ok(trio);
            }
            if Instant::now() > deadline {
                return Err(Error::Late { what: "etcd".into(), seconds: 20, detail: String::new() });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Measures puts, spread over all members.
    pub async fn puts(&self, clients: usize, duration: Duration, round: usize) -> Result<Outcome, Error> {
        let mut writers = Vec::new();
        for number in 0..clients {
            let port = self.ports[number % self.ports.len()];
            writers.push(Writer::connect(port, format!("e{clients}-{round}-{number}")).await?);
        }
        drive(writers, duration).await
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended already needs no more.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

struct Writer {
    sender: SendRequest<Full<Bytes>>,
    uri: String,
    prefix: String,
}

impl Writer {
    async fn connect(port: u16, prefix: String) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Error::system("reach etcd"))?;
        stream.set_nodelay(true).map_err(Error::system("set up a connection"))?;
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| Error::Answer(error.to_string()))?;
        // Its end shows as failed sends.
        tokio::spawn(connection);
        Ok(Self { sender, uri: format!("http://127.0.0.1:{port}/etcdserverpb.KV/Put"), prefix })
    }
}

impl Requests for Writer {
    async fn send(&mut self, number: u64) -> bool {
        let body = put_request(format!("{}-{number}", self.prefix).as_bytes(), &[b'x'; VALUE_BYTES]);
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body));
        let Ok(request) = request else { return false };
        let Ok(answer) = self.sender.send_request(request).await else { return false };
        let Ok(collected) = answer.into_body().collect().await else { return false };
        collected.trailers().and_then(|trailers| trailers.get("grpc-status")).is_some_and(|status| status == "0")
    }
}

/// A gRPC frame with an `etcdserverpb.PutRequest`: key is field 1, value is field 2.
fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    for (tag, field) in [(0x0a, key), (0x12, value)] {
        message.put_u8(tag);
        let mut length = field.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(field);
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

fn free_port() -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(Error::system("find a free port"))?;
    Ok(listener.local_addr().map_err(Error::system("read a port"))?.port())
}
