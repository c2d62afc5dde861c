//! The unmodified kubectl against a server that knows one pod: exec and port-forward over SPDY, and port-forward as
//! SPDY within a WebSocket. Also an example of how axum's types plug in.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use futures::future::ready;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use spdy::portforward::{self, Options};
use spdy::remotecommand::{self, Version, Wishes};
use spdy::upgrade::{self, Asked};
use spdy::{Incoming, Limits, Tunnel};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn resource(name: &str, kind: &str, verbs: &[&str]) -> Value {
    json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs})
}

async fn discovery() -> Json<Value> {
    Json(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
        resource("pods", "Pod", &["get", "list"]),
        resource("pods/exec", "PodExecOptions", &["create", "get"]),
        resource("pods/portforward", "PodPortForwardOptions", &["create", "get"]),
    ]}))
}

async fn pod() -> Json<Value> {
    Json(json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "default", "uid": "7"},
        "spec": {"containers": [{"name": "main", "image": "main"}]}, "status": {"phase": "Running"}}))
}

/// Answers 101 and hands on what comes after, or refuses.
fn upgraded<F>(
    mut request: Request,
    spoken: &[&'static str],
    then: impl FnOnce(TokioIo<hyper::upgrade::Upgraded>, &'static str) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Asked::Spdy(offered) = upgrade::asked(request.headers()) else { return refusal() };
    let Some(protocol) = upgrade::choose(&offered, spoken) else { return refusal() };
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(io) = upgrading.await {
            then(TokioIo::new(io), protocol).await;
        }
    });
    let answer = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", upgrade::SPDY);
    answer.header(upgrade::PROTOCOL_VERSION, protocol).body(Body::empty()).expect("a valid answer")
}

fn refusal() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "SPDY was expected", "reason": "BadRequest", "code": 400});
    (http::StatusCode::BAD_REQUEST, Json(status)).into_response()
}

async fn exec(request: Request) -> Response {
    let query = request.uri().query().unwrap_or("").to_owned();
    let wished = |what: &str| query.contains(&format!("{what}=true"));
    let (stdin, stdout, stderr, tty) = (wished("stdin"), wished("stdout"), wished("stderr"), wished("tty"));
    let wishes = Wishes { stdin, stdout, stderr, tty };
    upgraded(request, &remotecommand::PROTOCOLS, move |io, protocol| async move {
        let (connection, mut incoming, driver) = spdy::serve(io, Limits::default());
        let driving = tokio::spawn(driver.run());
        let version = Version::of(protocol).expect("one that was chosen");
        let mut streams =
            remotecommand::gather(&mut incoming, wishes, version, PATIENCE).await.expect("a living session");
        let mut input = String::new();
        if let Some(stdin) = &mut streams.stdin {
            stdin.read_to_string(&mut input).await.expect("a living session");
        }
        streams
            .stdout
            .as_mut()
            .expect("a stream that kubectl asks for")
            .write_all(input.to_uppercase().as_bytes())
            .await
            .expect("a living session");
        streams
            .stderr
            .as_mut()
            .expect("a stream that kubectl asks for")
            .write_all(b"that was all")
            .await
            .expect("a living session");
        let status = json!({"metadata": {}, "status": "Failure", "message": "exit status 3", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        streams.finish(version, &status, PATIENCE).await.expect("a living session");
        connection.drain(PATIENCE);
        let _ = driving.await;
    })
}

/// Port 7 echoes, everything else refuses.
async fn dial(port: u16) -> Result<DuplexStream, String> {
    if port != 7 {
        return Err("connection refused".to_owned());
    }
    let (near, far) = duplex(1000);
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(far);
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.shutdown().await;
    });
    Ok(near)
}

async fn forward<Io: AsyncRead + AsyncWrite + Send + 'static>(io: Io) {
    let (_connection, mut incoming, driver): (_, Incoming, _) = spdy::serve(io, Limits::default());
    let driving = tokio::spawn(driver.run());
    portforward::serve(&mut incoming, Options::new("pod web, uid 7"), dial).await;
    driving.abort();
}

async fn port_forward(request: Request) -> Response {
    upgraded(request, &[portforward::PROTOCOL], |io, _| forward(io))
}

async fn tunnelled_port_forward(socket: WebSocketUpgrade) -> Response {
    socket.protocols([portforward::TUNNEL]).on_upgrade(|socket| async move {
        let binary = socket.filter_map(|message| {
            ready(match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                Ok(Message::Text(_)) => Some(Err(axum::Error::new("a text message"))),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
        });
        forward(Tunnel::new(binary.with(|bytes: Bytes| ready(Ok::<_, axum::Error>(Message::Binary(bytes)))))).await;
    })
}

/// The address of a server that knows one way to forward ports: a client that falls back to the other is refused.
async fn server(tunnel: bool) -> String {
    let pods = "/api/v1/namespaces/default/pods/web";
    let versions = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
    let version = json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4", "platform": "linux/amd64"});
    let router = Router::new()
        .route("/api", get(|| async { Json(versions) }))
        .route("/apis", get(|| async { Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})) }))
        .route("/version", get(|| async { Json(version) }))
        .route("/api/v1", get(discovery))
        .route(pods, get(pod))
        .route(&format!("{pods}/exec"), any(exec))
        .route(&format!("{pods}/portforward"), if tunnel { any(tunnelled_port_forward) } else { any(port_forward) });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// kubectl on the PATH, or as `make test` has fetched it, with nothing of this machine's configuration. `None` where there is none,
/// which CI does not put up with.
fn kubectl(server: &str, home: &Path, environment: (&str, &str), arguments: &[&str]) -> Option<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let fetched = std::env::var_os("BARQUE_CLIENTS")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/barque/clients")));
    let mut places = std::env::split_paths(&paths).map(|folder| folder.join("kubectl"));
    let program = places
        .find(|file| file.is_file())
        .or_else(|| fetched.map(|folder| folder.join("kubectl-1.37")).filter(|file| file.is_file()));
    let Some(program) = program else {
        assert!(std::env::var_os("CI").is_none(), "there is no kubectl: `make test` fetches one");
        eprintln!("NOT RUN: there is no kubectl here");
        return None;
    };
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", paths)
        .env("HOME", home)
        .env("KUBECONFIG", "/dev/null")
        .env(environment.0, environment.1);
    command.args(["--server", server, "--cache-dir"]).arg(home).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

#[tokio::test]
async fn kubectl_execs_over_spdy() {
    let (server, home) = (server(false).await, tempfile::tempdir().unwrap());
    let spdy = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
    let arguments = ["exec", "-i", "web", "--", "shout"];
    let Some(mut command) = kubectl(&server, home.path(), spdy, &arguments) else {
        return;
    };
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("hello ".repeat(20_000).as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout.len(), 120_000, "{errors}");
    assert!(output.stdout.starts_with(b"HELLO HELLO"));
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.starts_with("that was all"), "{errors}");
}

/// Forwards three connections side by side.
async fn forwards(tunnel: bool) {
    let (server, home) = (server(tunnel).await, tempfile::tempdir().expect("a folder"));
    let environment = ("KUBECTL_PORT_FORWARD_WEBSOCKETS", if tunnel { "true" } else { "false" });
    let arguments = ["port-forward", "--address", "127.0.0.1", "pod/web", ":7"];
    let Some(mut command) = kubectl(&server, home.path(), environment, &arguments) else {
        return;
    };
    let mut child = command.spawn().expect("kubectl");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("text");
    let Some(line) = first else {
        let output = child.wait_with_output().await.expect("an end");
        panic!("kubectl ended: {}", String::from_utf8_lossy(&output.stderr));
    };
    let address =
        line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let echoes = (0..3_u8).map(|number| {
        let address = address.clone();
        async move {
            let (mut reader, mut writer) = TcpStream::connect(address).await.expect("a connection").into_split();
            let sent = vec![number; 100_000];
            let mut back = Vec::new();
            let writing = async {
                writer.write_all(&sent).await.expect("an open connection");
                writer.shutdown().await.expect("an open connection");
            };
            let (_, read) = tokio::join!(writing, reader.read_to_end(&mut back));
            read.expect("an echo");
            assert!(back == sent);
        }
    });
    timeout(PATIENCE, futures::future::join_all(echoes)).await.expect("echoes in time");
    child.kill().await.expect("a living kubectl");
}

#[tokio::test]
async fn kubectl_forwards_over_spdy() {
    forwards(false).await;
}

#[tokio::test]
async fn kubectl_forwards_within_a_websocket() {
    forwards(true).await;
}
