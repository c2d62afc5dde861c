//! Exec, attach and port-forward as they pass through: what reaches an agent, and agents that answer what nobody asked for.

use std::net::SocketAddr;

use http::HeaderValue;
use hyper_util::rt::TokioIo;
use identity::{Authority, KeyRequest, handshake, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::wire::{DEADLINE, Served, own, served, text};
use super::*;

/// What reached the agent, head by head.
type Heads = Arc<Mutex<Vec<String>>>;

/// An agent that writes what `answer` makes of a request's head, then sends back what it gets in capitals.
async fn agent(authority: &Authority, heads: Heads, answer: fn(&str) -> String) -> SocketAddr {
    let key = KeyRequest::generate("test").unwrap();
    let certificate = authority.agent_serving(key.request_pem(), "n1").unwrap();
    let config = tls::agent_server(&authority.clients().unwrap(), own(key.complete(certificate).unwrap())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok((mut stream, _)) = handshake::accept(Arc::clone(&config), stream).await else { continue };
            let heads = Arc::clone(&heads);
            tokio::spawn(async move {
                let (mut head, mut piece) = (String::new(), [0; 1024]);
                while !head.ends_with("\r\n\r\n") {
                    let Ok(count @ 1..) = stream.read(&mut piece).await else { return };
                    head.push_str(std::str::from_utf8(&piece[..count]).unwrap());
                }
                heads.lock().unwrap().push(head.clone());
                stream.write_all(answer(&head).as_bytes()).await.unwrap();
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    let capitals = piece[..count].to_ascii_uppercase();
                    stream.write_all(&capitals).await.unwrap();
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// What this agent says depends on the name of the pod.
fn answer(head: &str) -> String {
    let line = |name: &str| {
        let found = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        found.map(str::to_owned).unwrap_or_default()
    };
    let upgrade = line("upgrade:");
    let sized = |code: &str, body: &str| format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError",
        "message": "unable to upgrade connection: it is not running"});
    match head.split('/').nth(3).and_then(|rest| rest.split([' ', '?', '/']).next()) {
        Some("good") => {
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nset-cookie: a=b\r\n{upgrade}\r\n\r\n")
        }
        Some("other") => "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n".into(),
        Some("silent") => "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        Some("plain") => sized("200 OK", "here you are"),
        Some("moved") => {
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://127.0.0.1:1/secrets\r\ncontent-length: 0\r\n\r\n"
                .into()
        }
        // A second answer hides behind the first.
        Some("twice") => format!("{}{}", sized("500 No", &status.to_string()), sized("200 OK", "smuggled")),
        _ => "HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nwhich pod".into(),
    }
}

async fn with_agent() -> (Served, Heads) {
    let (served, heads) = (served().await, Heads::default());
    let address = agent(&served.authority, Arc::clone(&heads), answer).await;
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": address.ip().to_string()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}}}});
    served.world.post("/api/v1/nodes", &node).await.expect(201);
    for name in ["good", "other", "silent", "plain", "moved", "twice"] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!("n1");
        served.world.post("/api/v1/namespaces/d/pods", &pod).await.expect(201);
    }
    (served, heads)
}

/// As kubectl asks at first, and as it asks again.
const WAYS: [(&str, &str, &str); 2] =
    [("GET", "websocket", "sec-websocket-protocol"), ("POST", "SPDY/3.1", "x-stream-protocol-version")];

fn ask(way: (&str, &str, &str), path: &str) -> Request<Full<Bytes>> {
    let (method, upgrade, protocol) = way;
    let path = format!("/api/v1/namespaces/d/pods/{path}");
    let request = Request::builder().method(method).uri(path).header("host", "test");
    let request = request.header("connection", "Upgrade").header("upgrade", upgrade).header(protocol, "some.k8s.io");
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn agents_that_do_not_upgrade_are_refused_alike_and_not_believed() {
    let (served, _) = with_agent().await;
    let rows = [
        ("other", 500, "the agent became Some(\"h2c\")"),
        ("silent", 500, "the agent"),
        ("plain", 500, "the agent answered 200: here you are"),
        ("moved", 500, "the agent answered 307"),
        ("twice", 500, "unable to upgrade connection: it is not running"),
        ("none", 404, "pods \"none\" not found"),
    ];
    for action in ["portforward", "exec?command=ls", "attach?stdout=true"] {
        for (pod, code, words) in rows {
            let mut said = Vec::new();
            for way in WAYS {
                let (found, body) = text(served.over_http1(true, ask(way, &format!("{pod}/{action}"))).await).await;
                assert!(found == code && body.contains("\"Status\""), "{pod} {action}: {found} {body}");
                let status: Value = serde_json::from_str(&body).unwrap();
                said.push((status["reason"].clone(), status["message"].as_str().unwrap().replace(way.1, "it")));
            }
            assert!(said[0].1.contains(words), "{said:?}");
            assert_eq!(said[0], said[1], "both attempts are told the same");
        }
    }
}

#[tokio::test]
async fn only_what_makes_the_upgrade_reaches_the_agent_and_comes_back() {
    let (served, heads) = with_agent().await;
    for (way, action) in
        [(WAYS[0], "portforward?ports=80"), (WAYS[1], "portforward"), (WAYS[1], "exec?command=a%20b&stdin=1&x=y")]
    {
        let mut request = ask(way, &format!("good/{action}"));
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("impersonate-user", "root"),
            ("impersonate-group", "system:masters"),
            ("x-remote-user", "root"),
            ("x-forwarded-for", "10.0.0.1"),
            ("cookie", "secret"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        // The names of headers that only this connection is about may not smuggle any away.
        request.headers_mut().insert("connection", HeaderValue::from_static("upgrade, x-stream-protocol-version"));
        let mut response = served.over_http1(true, request).await;
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["upgrade"], way.1);
        assert!(!response.headers().contains_key("set-cookie"));
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("in time").unwrap();
        assert_eq!(answer, "HELLO");
    }
    let heads = heads.lock().unwrap();
    let lines: Vec<&str> = heads.iter().filter_map(|head| head.lines().next()).collect();
    let expected = [
        "GET /portForward/d/good?ports=80 HTTP/1.1",
        "POST /portForward/d/good HTTP/1.1",
        "POST /exec/d/good/main?command=a%20b&stdin=1 HTTP/1.1",
    ];
    assert_eq!(lines, expected);
    for head in heads.iter() {
        assert!(!head.contains("secret") && !head.contains("root") && !head.contains("10.0.0.1"), "{head}");
    }
}

#[tokio::test]
async fn an_upgrade_with_a_body_reaches_nobody() {
    let (served, heads) = with_agent().await;
    for way in WAYS {
        let (mut parts, _) = ask(way, "good/portforward").into_parts();
        parts.method = http::Method::POST;
        let request = Request::from_parts(parts, Full::from("POST /exec/d/good/main HTTP/1.1\r\n\r\n"));
        let (code, body) = text(served.over_http1(true, request).await).await;
        assert!(code == 400 && body.contains("has no body"), "{code} {body}");
    }
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn connecting_is_for_those_who_may_create() {
    let world = World::new().await;
    for action in ["exec", "attach", "portforward"] {
        for method in ["GET", "POST"] {
            let eve = Caller::authenticated("eve", Vec::<String>::new());
            let path = format!("/api/v1/namespaces/d/pods/p/{action}");
            let status = world.send(eve, method, &path, &[], b"").await.expect(403);
            let expected = format!("cannot create resource \"pods/{action}\"");
            assert!(status["message"].as_str().unwrap().contains(&expected), "{status}");
        }
    }
}

fn proxied(method: &str, path: &str) -> Request<Full<Bytes>> {
    let path = format!("/api/v1/namespaces/d/pods/{path}");
    Request::builder().method(method).uri(path).header("host", "test").body(Full::default()).unwrap()
}

#[tokio::test]
async fn requests_are_proxied_to_pods_and_redirects_left_to_the_client() {
    let (served, heads) = with_agent().await;
    let mut request = proxied("DELETE", "plain:8080/proxy/a//b?x=%2e&y");
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("impersonate-user", "root"),
        ("impersonate-group", "system:masters"),
        ("connection", "x-own"),
        ("x-own", "root"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let answer = served.over_http1(true, request).await;
    assert_eq!(text(answer).await, (200, "here you are".to_owned()));
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("DELETE /proxy/d/plain/8080?uri=%2Fa%2F%2Fb%3Fx%3D%252e%26y HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("secret") && !head.contains("root"), "{head}");

    let moved = served.over_http1(true, proxied("GET", "moved/proxy/")).await;
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (307, &HeaderValue::from_static("https://127.0.0.1:1/secrets"))
    );
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("GET /proxy/d/moved/80?uri=%2F HTTP/1.1\r\n"), "{head}");
    let (code, body) = text(served.over_http1(true, proxied("GET", "good/proxy/")).await).await;
    assert!(code == 500 && body.contains("unasked"), "{code} {body}");
    heads.lock().unwrap().clear();

    let mut response = served.over_http1(true, ask(WAYS[0], "good/proxy/socket")).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["upgrade"]),
        (101, &HeaderValue::from_static("websocket"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(&answer, b"HELLO");
    heads.lock().unwrap().clear();

    // What is no pod, no port, or no honest path reaches nobody.
    for (path, expected, words) in [
        ("none/proxy/", 404, "pods \"none\" not found"),
        ("plain:0/proxy/", 400, "invalid pod request \"plain:0\""),
        ("https:plain:443/proxy/", 400, "plain HTTP only"),
        ("plain/proxy/../../../../nodes", 400, "steps that climb"),
        ("plain/proxy/%2e%2e/x", 400, "steps that climb"),
        ("plain/proxy/a%00", 400, "steps that climb"),
        ("plain%2f..%2fgood/proxy/", 404, "could not find"),
        ("plain//proxy/", 404, "could not find"),
    ] {
        let (code, body) = text(served.over_http1(true, proxied("GET", path)).await).await;
        let status: Value = serde_json::from_str(&body).unwrap();
        assert!(code == expected && status["message"].as_str().unwrap().contains(words), "{path}: {code} {body}");
    }
    assert!(heads.lock().unwrap().is_empty());
    for (method, verb) in [("GET", "get"), ("POST", "create"), ("DELETE", "delete")] {
        let eve = Caller::authenticated("eve", Vec::<String>::new());
        let path = "/api/v1/namespaces/d/pods/plain/proxy/a";
        let status = served.world.send(eve, method, path, &[], b"").await.expect(403);
        assert!(
            status["message"].as_str().unwrap().contains(&format!("cannot {verb} resource \"pods/proxy\"")),
            "{status}"
        );
    }
}
