//! Exec, attach and port-forward over SPDY through the agent's own port.

use super::server::{ask, receive, send, text};
use super::*;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use spdy::portforward::{Kind, Wish};
use spdy::remotecommand::{self, Streams, TerminalSize, Version, Wishes};
use spdy::{Connection, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// An agent with one pod that runs.
struct World {
    _dir: tempfile::TempDir,
    _master: Master,
    sim: Sim,
    cluster: Arc<Cluster>,
    agent: Agent,
}

impl World {
    async fn with(spec: Value) -> Self {
        let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
        let master = Master::start(&cluster).await;
        let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
        cluster.put(POD, pod(spec));
        ready(&cluster).await;
        Self { _dir: dir, _master: master, sim, cluster, agent }
    }

    /// Upgrades to SPDY.
    async fn upgrade(&self, method: &str, path: &str, protocol: &str) -> TokioIo<Upgraded> {
        let headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocol)];
        let response = ask(self.agent.port, method, path, &headers).await;
        assert_eq!(response.status(), 101, "{path}: {:?}", text(response).await);
        assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
        assert_eq!(response.headers()["x-stream-protocol-version"], protocol);
        TokioIo::new(hyper::upgrade::on(response).await.unwrap())
    }

    /// Runs a command, and gives its streams.
    async fn exec(&self, method: &str, command: &str, wishes: Wishes, version: Version) -> (Connection, Streams) {
        let word = |name: &str, wished: bool| if wished { format!("&{name}=1") } else { String::new() };
        let Wishes { stdin, stdout, stderr, tty } = wishes;
        let flags = [("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("tty", tty)];
        let flags: String = flags.map(|(name, wished)| word(name, wished)).concat();
        let path = format!("/exec/ns/p/a?command=sh&command=-c&command={command}{flags}");
        let protocol = remotecommand::PROTOCOLS.into_iter().find(|it| Version::of(it) == Some(version)).unwrap();
        let connection = client(self.upgrade(method, &path, protocol).await);
        let streams = within(remotecommand::open(&connection, wishes, version)).await.unwrap();
        (connection, streams)
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn client<Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static>(io: Io) -> Connection {
    let (connection, _, driver) = spdy::connect(io, Limits::default());
    tokio::spawn(driver.run());
    connection
}

async fn all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// The two streams of a forwarded connection, opened as client-go does.
async fn forwarded(client: &Connection, port: u16) -> (spdy::Stream, spdy::Stream) {
    let wish = |kind| Wish { kind, port, request: port.to_string() };
    let mut error = within(client.open(wish(Kind::Error).headers())).await.unwrap();
    error.shutdown().await.unwrap();
    (error, within(client.open(wish(Kind::Data).headers())).await.unwrap())
}

fn listening() -> Value {
    let mut spec = server();
    spec["containers"][0]["command"] = json!(["listen", "7"]);
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_before_any_upgrade_and_in_the_same_words() {
    let mut spec = listening();
    spec["restartPolicy"] = json!("Never");
    let world = World::with(spec).await;
    let port = world.agent.port;
    let websocket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let spdy = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")];
    let alike = async |path: &str, code: u16, words: &str| {
        let protocols = if path.contains("portForward") {
            ["SPDY/3.1+portforward.k8s.io", "portforward.k8s.io"]
        } else {
            ["v5.channel.k8s.io", "v4.channel.k8s.io"]
        };
        let first = [&websocket[..], &[("Sec-WebSocket-Protocol", protocols[0])]].concat();
        let second = [&spdy[..], &[("X-Stream-Protocol-Version", protocols[1])]].concat();
        let said = [
            text(ask(port, "GET", path, &first).await).await,
            text(ask(port, "POST", path, &second).await).await,
            text(ask(port, "GET", path, &second).await).await,
        ];
        assert!(said[0].0 == code && said[0].1.contains(words), "{path}: {said:?}");
        assert!(said.iter().all(|one| *one == said[0]), "{path}: {said:?}");
    };
    alike("/exec/ns/q/a?command=true&stdout=1", 404, "pods \\\"q\\\" not found").await;
    alike("/exec/ns/p/b?command=true&stdout=1", 400, "container b is not valid for pod p").await;
    alike("/exec/ns/p/a?command=true", 400, "you must specify at least 1 of stdin, stdout, stderr").await;
    alike("/exec/ns/p/a?stdout=1", 400, "at least one command").await;
    alike("/attach/ns/q/a?stdout=1", 404, "pods \\\"q\\\" not found").await;
    alike("/portForward/ns/q", 404, "pods \\\"q\\\" not found").await;
    // No protocol in common, or none at all.
    let rows = [
        ("/exec/ns/p/a?command=true&stdout=1", "portforward.k8s.io", 403, "server accepts [\\\"v4.channel.k8s.io"),
        ("/portForward/ns/p", "v3.channel.k8s.io", 403, "unable to negotiate protocol: client supports"),
    ];
    for (path, protocol, code, words) in rows {
        let headers = [&spdy[..], &[("X-Stream-Protocol-Version", protocol)]].concat();
        let (found, body) = text(ask(port, "POST", path, &headers).await).await;
        assert!(found == code && body.contains(words), "{found} {body}");
        let headers = [&websocket[..], &[("Sec-WebSocket-Protocol", protocol)]].concat();
        let (found, body) = text(ask(port, "GET", path, &headers).await).await;
        assert!(found == 400 && body.contains("subprotocol"), "{found} {body}");
        let (found, body) = text(ask(port, "POST", path, &[]).await).await;
        assert!(found == 400 && body.contains("a WebSocket or a SPDY/3.1 request is expected"), "{found} {body}");
    }
    // What has ended cannot be talked to.
    let id = running(&world.sim).await[0].id.clone();
    world.sim.end(&id, 1, false).unwrap();
    eventually("the pod has failed", async || (world.cluster.get(POD)?["status"]["phase"] == "Failed").then_some(()))
        .await;
    alike("/exec/ns/p/a?command=true&stdout=1", 500, "container not found (\\\"a\\\"): it is not running").await;
    alike("/attach/ns/p/a?stdout=1", 500, "container not found (\\\"a\\\"): it is not running").await;
    eventually("its sandbox has ended", async || {
        world.sim.list().await.unwrap().sandboxes.iter().all(|it| !it.state.is_running()).then_some(())
    })
    .await;
    eventually("the agent has seen it", async || {
        let headers = [&spdy[..], &[("X-Stream-Protocol-Version", "portforward.k8s.io")]].concat();
        (ask(port, "GET", "/portForward/ns/p", &headers).await.status() == 500).then_some(())
    })
    .await;
    alike("/portForward/ns/p", 500, "pod not found (\\\"p_ns\\\"): it is not running").await;
    world.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_run_over_spdy_in_every_version() {
    let world = World::with(server()).await;
    let output = Wishes { stdout: true, stderr: true, ..Wishes::default() };
    for (method, version) in [("POST", Version::V4), ("GET", Version::V4), ("POST", Version::V3), ("POST", Version::V1)]
    {
        let (_connection, mut streams) =
            world.exec(method, "echo+hi%3B+echo+oh+%3E%262%3B+exit+3", output, version).await;
        let said = (all(streams.stdout.as_mut().unwrap()).await, all(streams.stderr.as_mut().unwrap()).await);
        assert_eq!(said, ("hi\n".to_owned(), "oh\n".to_owned()), "{version:?}");
        let ending = all(&mut streams.error).await;
        if version == Version::V4 {
            let status: Value = serde_json::from_str(&ending).unwrap();
            assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        } else {
            assert_eq!(ending, "command terminated with non-zero exit code: exit status 3", "{version:?}");
        }
    }
    // More than any buffer on the way holds, with the client's end of input as the program's.
    let wishes = Wishes { stdin: true, stdout: true, ..Wishes::default() };
    let (_connection, streams) = world.exec("POST", "cat", wishes, Version::V4).await;
    let Streams { stdin, stdout, mut error, .. } = streams;
    let (mut stdin, mut stdout) = (stdin.unwrap(), stdout.unwrap());
    let sent = "0123456789".repeat(300_000);
    let writing = async {
        stdin.write_all(sent.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let (back, ()) = within(async { tokio::join!(all(&mut stdout), writing) }).await;
    assert!(back == sent, "{} bytes came back", back.len());
    assert!(all(&mut error).await.contains("Success"));
    // A terminal, which is told its size.
    let wishes = Wishes { stdin: true, stdout: true, tty: true, ..Wishes::default() };
    let (_connection, mut streams) = world.exec("POST", "echo+hi", wishes, Version::V4).await;
    let size = TerminalSize { width: 80, height: 24 }.encode();
    // The program may have ended before it hears of it.
    let _ = streams.resize.as_mut().unwrap().write_all(&size).await;
    assert_eq!(all(streams.stdout.as_mut().unwrap()).await, "hi\r\n");
    // A session that is open does not hold up the agent's end.
    let (_connection, mut streams) = world.exec("POST", "sleep+infinity", output, Version::V4).await;
    world.agent.stop().await;
    let mut rest = Vec::new();
    let _ = within(streams.stdout.as_mut().unwrap().read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_joins_the_container_over_spdy() {
    let mut spec = server();
    spec["containers"][0]["command"] = json!(["cat"]);
    spec["containers"][0]["stdin"] = json!(true);
    let world = World::with(spec).await;
    let io = world.upgrade("POST", "/attach/ns/p/a?stdin=1&stdout=1&stderr=1", "v4.channel.k8s.io").await;
    let connection = client(io);
    let wishes = Wishes { stdin: true, stdout: true, stderr: true, tty: false };
    let mut streams = within(remotecommand::open(&connection, wishes, Version::V4)).await.unwrap();
    streams.stdin.as_mut().unwrap().write_all(b"ahoy").await.unwrap();
    let mut back = [0; 4];
    within(streams.stdout.as_mut().unwrap().read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"ahoy");
    world.agent.stop().await;
}

/// Three connections side by side, one that is refused, and one more after that.
async fn forwards(client: &Connection) {
    let echoes = (0..3_u8).map(|number| async move {
        let (_error, data) = {
            let wish = |kind| Wish { kind, port: 7, request: format!("echo {number}") };
            let mut error = client.open(wish(Kind::Error).headers()).await.unwrap();
            error.shutdown().await.unwrap();
            (error, client.open(wish(Kind::Data).headers()).await.unwrap())
        };
        let (mut reader, mut writer) = data.into_split();
        let sent = vec![number; 200_000];
        let writing = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let ((), read) = tokio::join!(writing, reader.read_to_end(&mut back));
        read.unwrap();
        assert!(back == sent);
    });
    within(futures::future::join_all(echoes)).await;
    let (mut error, mut data) = forwarded(client, 9).await;
    let said = all(&mut error).await;
    assert!(said.starts_with("error forwarding port 9 to pod p, uid u: dial tcp 10."), "{said}");
    assert!(said.contains(":9: connect: connection refused"), "{said}");
    assert_eq!(all(&mut data).await, "");
    let (_error, mut data) = forwarded(client, 7).await;
    data.write_all(b"again").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(all(&mut data).await, "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_over_spdy() {
    let world = World::with(listening()).await;
    for method in ["POST", "GET"] {
        forwards(&client(world.upgrade(method, "/portForward/ns/p", "portforward.k8s.io").await)).await;
    }
    // The container's end is that of its connections, and the next is refused; one of the next container is not.
    let client = client(world.upgrade("POST", "/portForward/ns/p", "portforward.k8s.io").await);
    let (_error, mut data) = forwarded(&client, 7).await;
    data.write_all(b"x").await.unwrap();
    assert_eq!(within(data.read_u8()).await.unwrap(), b'x');
    let id = running(&world.sim).await[0].id.clone();
    world.sim.end(&id, 1, false).unwrap();
    assert!(within(data.read_u8()).await.is_err());
    eventually("the next container listens", async || {
        running(&world.sim).await.first().is_some_and(|it| it.id != id).then_some(())
    })
    .await;
    let (_error, mut data) = forwarded(&client, 7).await;
    data.write_all(b"y").await.unwrap();
    assert_eq!(within(data.read_u8()).await.unwrap(), b'y');
    // Open connections do not hold up the agent's end.
    world.agent.stop().await;
    assert!(within(data.read_u8()).await.is_err());
}

/// The bytes within the binary messages of a WebSocket, from the client's side.
fn untunnelled(socket: TokioIo<Upgraded>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let (mut from, mut to) = tokio::io::split(far);
    let (mut reader, mut writer) = tokio::io::split(socket);
    tokio::spawn(async move {
        // As small as a frame's fields may come.
        let mut piece = [0; 100];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            send(&mut writer, &piece[..count]).await;
        }
    });
    tokio::spawn(async move {
        loop {
            let mut head = [0; 2];
            if reader.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = match head[1] {
                126 => u64::from(reader.read_u16().await.unwrap()),
                127 => reader.read_u64().await.unwrap(),
                length => length.into(),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            reader.read_exact(&mut payload).await.unwrap();
            if head[0] & 0x0f == 2 && to.write_all(&payload).await.is_err() {
                return;
            }
        }
    });
    near
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_within_a_websocket() {
    let world = World::with(listening()).await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "SPDY/3.1+portforward.k8s.io"),
    ];
    let open = async || {
        let response = ask(world.agent.port, "GET", "/portForward/ns/p", &headers).await;
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
        TokioIo::new(hyper::upgrade::on(response).await.unwrap())
    };
    forwards(&client(untunnelled(open().await))).await;
    // What is no SPDY, and a message that is no bytes, end the connection in order.
    for frame in [&b"\x82\x88\0\0\0\0\x80\x01\0\x01\0\0\0\0"[..], b"\x81\x82\0\0\0\0hi"] {
        let mut socket = open().await;
        socket.write_all(frame).await.unwrap();
        within(receive(&mut socket)).await;
    }
    world.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_over_channels_as_the_python_client_asks() {
    let world = World::with(listening()).await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "v4.channel.k8s.io"),
    ];
    for (query, words) in [("", "\\\"port\\\" is required"), ("?ports=7,x", "\\\"x\\\" is no port")] {
        let (code, body) =
            text(ask(world.agent.port, "GET", &format!("/portForward/ns/p{query}"), &headers).await).await;
        assert!(code == 400 && body.contains(words), "{code} {body}");
    }
    let response = ask(world.agent.port, "GET", "/portForward/ns/p?ports=7,9", &headers).await;
    assert_eq!(response.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    // A channel for errors, one that nobody asked for, an empty message, and then one that is meant.
    for message in [&b"\x01x"[..], b"\x08x", b"", b"\0ahoy"] {
        send(&mut socket, message).await;
    }
    let mut seen: [Vec<u8>; 4] = Default::default();
    let all_said = |seen: &[Vec<u8>; 4]| seen[0].ends_with(b"ahoy") && seen[3].ends_with(b"(simulated)");
    while !all_said(&seen) {
        let mut head = [0; 2];
        within(socket.read_exact(&mut head)).await.unwrap();
        let length = match head[1] {
            126 => within(socket.read_u16()).await.unwrap().into(),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        within(socket.read_exact(&mut payload)).await.unwrap();
        if head[0] & 0x0f == 2 {
            seen[usize::from(payload[0])].extend_from_slice(&payload[1..]);
        }
    }
    assert_eq!((&seen[0][..], &seen[1][..], &seen[2][..]), (&b"\x07\0ahoy"[..], &b"\x07\0"[..], &b"\x09\0"[..]));
    let error = String::from_utf8_lossy(&seen[3][2..]);
    assert!(error.starts_with("error forwarding port 9 to pod p, uid u: dial tcp 10."), "{error}");
    // The end of the last connection is that of the WebSocket.
    let id = running(&world.sim).await[0].id.clone();
    world.sim.end(&id, 1, false).unwrap();
    within(receive(&mut socket)).await;
    world.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_proxied_to_a_pods_port() {
    let mut spec = server();
    spec["containers"][0]["command"] = json!(["web", "80"]);
    let world = World::with(spec).await;
    let port = world.agent.port;
    let response = ask(port, "PUT", "/proxy/ns/p/80?uri=%2Fa%2Fb%3Fx%3D1%2B2", &[("x-asked", "yes")]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-simulated"]),
        (200, &http::HeaderValue::from_static("yes"))
    );
    // What is about the pod's own connection ends here.
    assert!(!response.headers().contains_key("keep-alive") && !response.headers().contains_key("x-private"));
    let (_, head) = text(response).await;
    assert!(head.starts_with("PUT /a/b?x=1+2 HTTP/1.1\r\n") && head.contains("x-asked: yes"), "{head}");
    assert!(head.contains("host: 10.") && head.contains(":80\r\n"), "{head}");
    let moved = ask(port, "GET", "/proxy/ns/p/80?uri=%2Fmoved", &[]).await;
    assert_eq!(moved.status(), 302);
    assert_eq!(ask(port, "GET", "/proxy/ns/p/80?uri=%2Fgone", &[]).await.status(), 410);
    for (path, code, words) in [
        ("/proxy/ns/p/81?uri=%2F", 503, "error trying to reach service: dial tcp 10."),
        ("/proxy/ns/q/80?uri=%2F", 404, "pods \\\"q\\\" not found"),
        ("/proxy/ns/p/80?uri=%2F%0d%0ax", 400, "cannot be asked for"),
    ] {
        let (found, body) = text(ask(port, "GET", path, &[]).await).await;
        assert!(found == code && body.contains(words), "{path}: {found} {body}");
    }
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let response = ask(port, "GET", "/proxy/ns/p/80?uri=%2Fsocket", &upgrade).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["upgrade"]),
        (101, &http::HeaderValue::from_static("websocket"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    within(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"hello");
    world.agent.stop().await;
}
