//! The same over real connections: TLS, both versions of HTTP, an agent behind the server, and the end of it all.

use std::net::SocketAddr;

use base::Shutdown;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::{KeyRequest, ReloadableCert, handshake, names, tls};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct Served {
    pub(super) authority: Authority,
    address: SocketAddr,
    pub(super) world: World,
    stop: Shutdown,
    task: tokio::task::JoinHandle<Result<(), crate::Error>>,
}

pub(super) fn own(credential: identity::Credential) -> Arc<ReloadableCert> {
    ReloadableCert::new(credential).unwrap()
}

pub(super) async fn served() -> Served {
    let authority = Authority::generate("test").unwrap();
    let server = tls::api_server(&authority.clients().unwrap(), own(authority.api_serving(1, &[]).unwrap())).unwrap();
    let agent_tls = tls::agent_client(&authority.serving().unwrap(), own(authority.master_client(1).unwrap())).unwrap();
    let stop = Shutdown::new();
    let world = World::build(Options::default(), stop.stopping(), agent_tls).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = crate::serve(
        Options { drain: Duration::from_secs(2), ..Options::default() },
        listener,
        server,
        world.api.store.clone(),
        Arc::clone(&world.cluster) as Arc<dyn Cluster>,
        stop.stopping(),
    );
    Served { authority, address, world, stop, task: tokio::spawn(serving) }
}

impl Served {
    async fn dial(&self, known: bool, http2: bool) -> tokio_rustls::client::TlsStream<TcpStream> {
        let credential = known.then(|| own(self.authority.administrator("admin").unwrap()));
        let config = tls::api_client(&self.authority.serving().unwrap(), credential).unwrap();
        let mut config = (*config).clone();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = names::host_server_name("127.0.0.1").unwrap();
        handshake::connect(Arc::new(config), name, stream, DEADLINE).await.unwrap()
    }

    pub(super) async fn over_http1(&self, known: bool, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.dial(known, false).await)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.unwrap()
    }
}

fn request(method: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Request::builder().method(method).uri(path).header("host", "test").body(Full::new(body.into())).unwrap()
}

pub(super) async fn text(response: http::Response<Incoming>) -> (u16, String) {
    let code = response.status().as_u16();
    let bytes = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn certificates_say_who_calls() {
    let served = served().await;
    let (code, _) = text(served.over_http1(true, request("GET", "/api/v1/namespaces", &Value::Null)).await).await;
    assert_eq!(code, 200);
    let (code, _) = text(served.over_http1(false, request("GET", "/api/v1/namespaces", &Value::Null)).await).await;
    assert_eq!(code, 401);
    let (code, body) = text(served.over_http1(false, request("GET", "/readyz", &Value::Null)).await).await;
    assert_eq!((code, body.as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_token_says_who_calls_where_no_certificate_does() {
    let served = served().await;
    served.world.govern();
    let ring = super::tokens::new_ring();
    served.world.post("/api/v1/namespaces/kube-system/secrets", &ring.secret(&SEAL).unwrap()).await.expect(201);
    let issuing = "/api/v1/namespaces/d/serviceaccounts/default/token";
    let (code, issued) = text(served.over_http1(true, request("POST", issuing, &json!({}))).await).await;
    assert_eq!(code, 201, "{issued}");
    let token = serde_json::from_str::<Value>(&issued).unwrap()["status"]["token"].as_str().unwrap().to_owned();
    let who = |known: bool, token: String| {
        let served = &served;
        async move {
            let mut asking = request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({}));
            asking.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            let (code, answer) = text(served.over_http1(known, asking).await).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            (code, answer["status"]["userInfo"]["username"].as_str().unwrap_or("").to_owned())
        }
    };
    assert_eq!(who(false, token.clone()).await, (201, "system:serviceaccount:d:default".to_owned()));
    assert_eq!(who(true, token.clone()).await, (201, "admin".to_owned()));
    assert_eq!(who(false, format!("{token}A")).await, (401, String::new()));
}

#[tokio::test]
async fn a_watch_flows_over_both_versions_and_ends_when_the_server_stops() {
    let served = served().await;
    let path = "/api/v1/namespaces/d/configmaps?watch=1";
    let first = served.over_http1(true, request("GET", path, &Value::Null)).await;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(served.dial(true, true).await)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("https://test{path}");
    let second = sender.send_request(Request::get(uri).body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    served.world.post("/api/v1/namespaces/d/configmaps", &config_map("a")).await.expect(201);
    let mut bodies = [first.into_body(), second.into_body()];
    for body in &mut bodies {
        let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("in time").unwrap().unwrap();
        let line: Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
        assert_eq!((&line["type"], &line["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    }
    served.stop.trigger();
    for body in bodies {
        // HTTP/2 may close a stream with an empty frame.
        let rest = tokio::time::timeout(DEADLINE, body.collect()).await.expect("in time").expect("a clean end");
        assert!(rest.to_bytes().is_empty());
    }
    tokio::time::timeout(DEADLINE, served.task).await.expect("drained in time").unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_told_so_over_both_versions() {
    let served = served().await;
    let path = "/api/v1/namespaces/d/configmaps";
    let body = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(4 << 20)}});
    let (code, first) = text(served.over_http1(true, request("POST", path, &body)).await).await;
    assert_eq!(code, 413, "{first}");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(served.dial(true, true).await)).await.unwrap();
    tokio::spawn(connection);
    let post = Request::post(format!("https://test{path}")).body(Full::<Bytes>::new(body.to_string().into())).unwrap();
    let (code, second) = text(sender.send_request(post).await.unwrap()).await;
    assert_eq!(code, 413, "{second}");
    for answer in [first, second] {
        let status: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&status["reason"], &status["code"]), (&json!("RequestEntityTooLarge"), &json!(413)));
    }
    // The connection serves on.
    let get = Request::get(format!("https://test{path}")).body(Full::<Bytes>::default()).unwrap();
    let (code, list) = text(sender.send_request(get).await.unwrap()).await;
    assert_eq!(code, 200);
    assert_eq!(serde_json::from_str::<Value>(&list).unwrap()["items"], json!([]));
}

/// An agent that answers what the tests ask for.
async fn agent(authority: &Authority, node: &str) -> SocketAddr {
    let key = KeyRequest::generate("test").unwrap();
    let certificate = authority.agent_serving(key.request_pem(), node).unwrap();
    let config: Arc<ServerConfig> =
        tls::agent_server(&authority.clients().unwrap(), own(key.complete(certificate).unwrap())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok((stream, _)) = handshake::accept(Arc::clone(&config), stream).await else { continue };
            let service = hyper::service::service_fn(agent_answer);
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

async fn agent_answer(mut request: Request<Incoming>) -> Result<http::Response<Full<Bytes>>, std::convert::Infallible> {
    let asked = request.uri().to_string();
    let answer = http::Response::builder();
    let answer = if asked.starts_with("/containerLogs/d/p/main") {
        answer.body(Full::new(format!("asked {asked}\n").into()))
    } else if asked.starts_with("/exec/d/p/main?command=echo&command=a%20b&stdin=true") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        answer
            .status(101)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", protocol)
            .body(Full::default())
    } else if asked.starts_with("/attach") {
        answer.status(302).header("location", "https://127.0.0.1:1/secrets").body(Full::default())
    } else {
        answer.status(400).body(Full::new("the container is not running".into()))
    };
    Ok(answer.unwrap())
}

#[tokio::test]
async fn logs_and_exec_reach_the_agent_of_the_pods_node() {
    let served = served().await;
    let address = agent(&served.authority, "n1").await;
    let register = |name: &str, address: SocketAddr| {
        json!({"metadata": {"name": name}, "status": {
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address.ip().to_string()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}}}})
    };
    served.world.post("/api/v1/nodes", &register("n1", address)).await.expect(201);
    // A node that records another's address gets nothing: the certificate there does not bear its name.
    served.world.post("/api/v1/nodes", &register("n2", address)).await.expect(201);
    let running = json!({"status": {"containerStatuses": [
        {"name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    for (name, node) in [("p", "n1"), ("q", "n2")] {
        let mut body = pod(name);
        body["spec"]["nodeName"] = json!(node);
        served.world.post("/api/v1/namespaces/d/pods", &body).await.expect(201);
        let path = format!("/api/v1/namespaces/d/pods/{name}");
        let waiting = served.world.get(&format!("{path}/log")).await.expect(400);
        assert_eq!(
            waiting["message"],
            format!("container \"main\" in pod \"{name}\" is waiting to start: ContainerCreating")
        );
        served.world.patch(&format!("{path}/status"), "merge-patch", &running).await.expect(200);
    }
    let logs = "/api/v1/namespaces/d/pods/p/log?tailLines=5&timestamps=true&pretty=true";
    let (code, body) = text(served.over_http1(true, request("GET", logs, &Value::Null)).await).await;
    assert_eq!((code, body.as_str()), (200, "asked /containerLogs/d/p/main?tailLines=5&timestamps=true\n"));
    let other = served.world.get("/api/v1/namespaces/d/pods/q/log").await;
    assert!(other.code == 500 && other.text.contains("cannot be reached"), "{other:?}");

    let exec = |path: &str| {
        Request::get(path.to_owned())
            .header("host", "test")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", "v5.channel.k8s.io")
            .body(Full::<Bytes>::default())
            .unwrap()
    };
    let path = "/api/v1/namespaces/d/pods/p/exec?command=echo&command=a+b&stdin=true";
    let mut response = served.over_http1(true, exec(path)).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["sec-websocket-protocol"]),
        (101, &http::HeaderValue::from_static("v5.channel.k8s.io"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(&answer, b"olleh");

    let (code, body) =
        text(served.over_http1(true, exec("/api/v1/namespaces/d/pods/p/exec?command=other")).await).await;
    assert!(code == 400 && body.contains("the container is not running"), "{body}");
    let (code, body) = text(served.over_http1(true, exec("/api/v1/namespaces/d/pods/p/attach?stdin=true")).await).await;
    assert!(code == 500 && body.contains("the agent answered 302"), "redirects are not followed: {body}");
    let plain = request("GET", path, &Value::Null);
    let (code, body) = text(served.over_http1(true, plain).await).await;
    assert!(code == 400 && body.contains("Upgrade request required"), "{body}");
}
