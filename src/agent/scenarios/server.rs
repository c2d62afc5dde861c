//! Logs and exec through the agent's own port.

use super::*;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn connect(port: u16) -> tokio_rustls::client::TlsStream<TcpStream> {
    let own = ReloadableCert::new(CLUSTER.master_client(1).unwrap()).unwrap();
    let tls = tls::agent_client(&CLUSTER.serving().unwrap(), own).unwrap();
    let name = identity::names::agent_server_name("n").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    identity::handshake::connect(tls, name, stream, Duration::from_secs(5)).await.unwrap()
}

async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> http::Response<hyper::body::Incoming> {
    ask(port, "GET", path, headers).await
}

pub(super) async fn ask(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> http::Response<hyper::body::Incoming> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connect(port).await)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "n");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

pub(super) async fn text(response: http::Response<hyper::body::Incoming>) -> (u16, String) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&bytes).into_owned())
}

const UPGRADE: [(&str, &str); 5] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
];

/// Writes one masked binary frame, as a WebSocket client must.
pub(super) async fn send(stream: &mut (impl AsyncWriteExt + Unpin), payload: &[u8]) {
    let mut frame = vec![0x82, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await.unwrap();
}

/// Reads frames until the server closes; the payloads of binary ones.
pub(super) async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    loop {
        let mut head = [0; 2];
        if stream.read_exact(&mut head).await.is_err() {
            return payloads;
        }
        let length = match head[1] & 0x7f {
            126 => stream.read_u16().await.unwrap().into(),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[0] & 0x0f {
            2 => payloads.push(payload),
            8 => return payloads,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_exec_are_served_to_masters_only() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    let mut spec = server();
    spec["containers"][0]["command"] = json!(["sh", "-c", "echo one; echo two; sleep infinity"]);
    cluster.put(POD, pod(spec));
    ready(&cluster).await;

    let log = |query: &str| format!("/containerLogs/ns/p/a{query}");
    eventually("the log is there", async || {
        let (code, log) = text(get(agent.port, &log(""), &[]).await).await;
        (code == 200 && log.contains("one") && log.ends_with("two\n")).then_some(())
    })
    .await;
    assert_eq!(text(get(agent.port, &log("?tailLines=1"), &[]).await).await, (200, "two\n".to_owned()));
    let refusals = [
        ("/containerLogs/ns/p/b", 400, "container b is not valid for pod p"),
        ("/containerLogs/ns/q/a", 404, "pods \\\"q\\\" not found"),
        ("/containerLogs/ns/p/a?previous=true", 400, "previous terminated container"),
        ("/containerLogs/ns/p/a?tailLines=x", 400, "tailLines"),
        ("/exec/ns/p/a?command=true&stdout=1", 400, "WebSocket"),
        ("/exec/ns/p/a?stdout=1", 400, "at least one command"),
        ("/nonsense", 404, "could not find"),
    ];
    for (path, code, words) in refusals {
        let (found, body) = text(get(agent.port, path, &[]).await).await;
        assert!(found == code && body.contains(words) && body.contains("\"Status\""), "{path}: {found} {body}");
    }
    assert_eq!(text(get(agent.port, "/healthz", &[]).await).await, (200, "ok".to_owned()));

    let path = "/exec/ns/p/a?command=sh&command=-c&command=echo+hi%3B+exit+3&stdout=1&stderr=1";
    let response = get(agent.port, path, &UPGRADE).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let payloads = receive(&mut stream).await;
    let (last, output) = payloads.split_last().unwrap();
    assert_eq!(output.concat(), b"\x01hi\n");
    assert_eq!(last[0], 3);
    let status: Value = serde_json::from_slice(&last[1..]).unwrap();
    assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));

    let response = get(agent.port, "/exec/ns/p/a?command=cat&stdin=1&stdout=1", &UPGRADE).await;
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    send(&mut stream, b"\0ahoy\n").await;
    send(&mut stream, &[255, 0]).await;
    let payloads = receive(&mut stream).await;
    assert!(payloads.iter().any(|payload| payload.starts_with(b"\x01ahoy")), "{payloads:?}");
    assert!(String::from_utf8_lossy(payloads.last().unwrap()).contains("Success"));

    let missing = UPGRADE.map(|(name, value)| (name, if name.ends_with("Protocol") { "other" } else { value }));
    let (code, body) = text(get(agent.port, path, &missing).await).await;
    assert!(code == 400 && body.contains("subprotocol"), "{code} {body}");

    // An administrator of the cluster is no master.
    let own = ReloadableCert::new(CLUSTER.administrator("root").unwrap()).unwrap();
    let tls = tls::agent_client(&CLUSTER.serving().unwrap(), own).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", agent.port)).await.unwrap();
    let name = identity::names::agent_server_name("n").unwrap();
    if let Ok(mut stream) = identity::handshake::connect(tls, name, stream, Duration::from_secs(5)).await {
        // The client's side of a TLS 1.3 handshake ends before the server has judged its certificate.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: n\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    agent.stop().await;
}
