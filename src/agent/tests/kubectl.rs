//! The unmodified kubectl against a whole API server and a whole agent, with containers that are simulated: exec, attach and
//! port-forward, over WebSocket and over SPDY.

use apiserver::{Cluster, Readiness};
use base::Shutdown;
use client::kubeconfig::{Kubeconfig, Server};
use client::{Client, Endpoints};
use futures::future::BoxFuture;
use identity::{Authority, KeyRequest, ReloadableCert, Seal, tls};
use objects::Status;
use runtime::Scope;
use runtime::sim::{Sim, SimOptions};
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use store::testing::Direct;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

struct Master {
    agent_tls: Arc<ClientConfig>,
    seal: Arc<Seal>,
    address: SocketAddr,
}

impl Cluster for Master {
    fn readiness(&self) -> Readiness {
        Readiness { ready: true, reasons: Vec::new(), leads: true }
    }

    fn status(&self) -> Value {
        json!({})
    }

    fn masters(&self) -> Vec<String> {
        vec![format!("https://{}", self.address)]
    }

    fn admit(&self, _: Value) -> BoxFuture<'_, Result<Value, Status>> {
        Box::pin(async { Err(Status::unauthorized()) })
    }

    fn agent_tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.agent_tls)
    }

    fn signing_seal(&self) -> Arc<Seal> {
        Arc::clone(&self.seal)
    }

    fn extra_metrics(&self) -> String {
        String::new()
    }
}

/// How kubectl is to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    WebSocket,
    Spdy,
}

struct World {
    kubectl: PathBuf,
    dir: tempfile::TempDir,
    // Ends both when it is dropped.
    _ending: base::shutdown::TriggerOnDrop,
}

impl World {
    /// `None` where there is no kubectl, which CI does not put up with.
    async fn start() -> Option<Self> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&paths).map(|folder| folder.join("kubectl")).find(|file| file.is_file());
        let Some(kubectl) = found else {
            assert!(std::env::var_os("CI").is_none(), "there is no kubectl on the PATH");
            eprintln!("NOT RUN: there is no kubectl here");
            return None;
        };
        let (dir, ending) = (tempfile::tempdir().expect("a part of the world"), Shutdown::new());
        let authority = Authority::generate("streams").expect("a part of the world");
        let seal = Arc::new(authority.signing_seal().expect("a part of the world"));
        let (serving, clients) =
            (authority.serving().expect("a part of the world"), authority.clients().expect("a part of the world"));
        let own = |credential| ReloadableCert::new(credential).expect("a part of the world");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a part of the world");
        let address = listener.local_addr().expect("a part of the world");
        let agent_tls = tls::agent_client(&serving, own(authority.master_client(1).expect("a part of the world")))
            .expect("a part of the world");
        let api = apiserver::serve(
            apiserver::Options::default(),
            listener,
            tls::api_server(&clients, own(authority.api_serving(1, &[]).expect("a part of the world")))
                .expect("a part of the world"),
            Direct::start().0,
            Arc::new(Master { agent_tls, seal, address }),
            ending.stopping(),
        );
        tokio::spawn(api);

        let request = KeyRequest::generate("n").expect("a part of the world");
        let certificate = authority.node_client(request.request_pem(), "n").expect("a part of the world");
        let node = own(request.complete(certificate).expect("a part of the world"));
        let endpoints = Endpoints::in_order([address.into()]).expect("a part of the world");
        let client = Client::new(endpoints, tls::api_client(&serving, Some(node)).expect("a part of the world"));
        let request = KeyRequest::generate("n").expect("a part of the world");
        let certificate = authority.agent_serving(request.request_pem(), "n").expect("a part of the world");
        let server = tls::agent_server(&clients, own(request.complete(certificate).expect("a part of the world")))
            .expect("a part of the world");
        let sim = Sim::open(Scope::new("streams", "n").expect("a part of the world"), SimOptions::default())
            .expect("a part of the world");
        let (any, host) = (([127, 0, 0, 1], 0).into(), [127, 0, 0, 1].into());
        let mut options = agent::Options::new("n", "streams", dir.path().join("agent"), any, host);
        options.memory_dir = None;
        tokio::spawn(agent::run(options, Arc::new(sim), Arc::new(client), server, ending.stopping()));

        let config = Kubeconfig {
            current: "master".into(),
            servers: vec![Server { name: "master".into(), address: address.into() }],
            user: "admin".into(),
            trust: serving,
            credential: Some(authority.administrator("admin").expect("a part of the world")),
        };
        config.save(&dir.path().join("config")).expect("a part of the world");
        Some(Self { kubectl, dir, _ending: ending.trigger_on_drop() })
    }

    fn command(&self, way: Way, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        let websockets = if way == Way::WebSocket { "true" } else { "false" };
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.dir.path().join("config"))
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs kubectl to its end, with this input.
    async fn run(&self, way: Way, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(way, arguments).spawn().expect("a part of the world");
        let mut stdin = child.stdin.take().expect("a part of the world");
        let running = async {
            let writing = async move {
                // Whoever reads no input ends without it.
                let _ = stdin.write_all(input).await;
                drop(stdin);
            };
            tokio::join!(child.wait_with_output(), writing).0
        };
        timeout(PATIENCE, running)
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} goes on"))
            .expect("a part of the world")
    }

    async fn create(&self, object: &Value) {
        let output = self.run(Way::Spdy, &["create", "-f", "-"], object.to_string().as_bytes()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// A pod with a container that listens on port 7 and one that repeats its input, running.
    async fn pod(&self) {
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})).await;
        // There is no leader here whose duties would make keys for tokens.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
            "automountServiceAccountToken": false});
        self.create(&account).await;
        let container = |name: &str, command: &[&str]| json!({"name": name, "image": "web:1", "command": command, "imagePullPolicy": "IfNotPresent", "stdin": true});
        let containers =
            [container("port", &["listen", "7"]), container("parrot", &["cat"]), container("web", &["web", "80"])];
        let spec = json!({"nodeName": "n", "containers": containers});
        self.create(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})).await;
        let wait = ["wait", "--for=condition=Ready", "pod/p", "--timeout=50s"];
        let output = self.run(Way::Spdy, &wait, b"").await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_execs_and_attaches_either_way() {
    let Some(world) = World::start().await else { return };
    world.pod().await;
    for way in [Way::WebSocket, Way::Spdy] {
        let input = "hello ".repeat(20_000);
        let output = world.run(way, &["exec", "-i", "p", "-c", "port", "--", "cat"], input.as_bytes()).await;
        assert!(output.status.success(), "{way:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout) == input, "{way:?}: {} bytes came back", output.stdout.len());
        let failing = ["exec", "p", "-c", "port", "--", "sh", "-c", "echo in; echo oh >&2; exit 3"];
        let output = world.run(way, &failing, b"").await;
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), "in\n"), "{way:?}");
        assert!(text(&output.stderr).starts_with("oh\n"), "{way:?}: {}", text(&output.stderr));

        let mut child = world.command(way, &["attach", "-i", "p", "-c", "parrot"]).spawn().unwrap();
        let mut typing = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        typing.write_all(b"ahoy\n").await.unwrap();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
        assert_eq!(line.as_deref(), Some("ahoy"), "{way:?}");
        child.kill().await.unwrap();
    }
    let raw = ["get", "--raw", "/api/v1/namespaces/default/pods/p:80/proxy/a?b=c"];
    let output = world.run(Way::Spdy, &raw, b"").await;
    assert!(text(&output.stdout).starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", text(&output.stderr));
    // What is refused reads the same, whatever was tried first.
    let refused = [
        (["exec", "q", "-c", "a", "--", "ls"], "pods \"q\" not found"),
        (["exec", "p", "-c", "a", "--", "ls"], "container a is not valid for pod p"),
    ];
    for (arguments, words) in refused {
        let mut said = Vec::new();
        for way in [Way::WebSocket, Way::Spdy] {
            let output = world.run(way, &arguments, b"").await;
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            said.push(text(&output.stderr));
        }
        assert!(said[0].contains(words), "{said:?}");
        assert_eq!(said[0], said[1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_forwards_ports_either_way() {
    let Some(world) = World::start().await else { return };
    world.pod().await;
    for way in [Way::WebSocket, Way::Spdy] {
        // Two local ports: one leads to an open port, one to nothing.
        for open in [true, false] {
            let ports = if open { ":7" } else { ":9" };
            let arguments = ["port-forward", "--address", "127.0.0.1", "pod/p", ports];
            let mut child = world.command(way, &arguments).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
            let Some(line) = line else {
                panic!("{way:?}: {}", text(&child.wait_with_output().await.unwrap().stderr));
            };
            let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next());
            let address: SocketAddr = address.expect("an address").parse().unwrap();
            if open {
                let echoes = (0..3_u8).map(|number| echo(address, vec![number; 100_000]));
                timeout(PATIENCE, futures::future::join_all(echoes)).await.expect("echoes in time");
            } else {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut nothing = Vec::new();
                // An end or a reset: kubectl closes what it cannot forward.
                let _ = timeout(PATIENCE, stream.read_to_end(&mut nothing)).await.expect("an end in time");
                assert!(nothing.is_empty());
                let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
                let said = timeout(PATIENCE, errors.next_line()).await.expect("a line in time").unwrap();
                let said = said.expect("an error");
                assert!(said.contains("error forwarding port 9 to pod p, uid "), "{way:?}: {said}");
                assert!(said.contains("connection refused"), "{way:?}: {said}");
            }
            child.kill().await.unwrap();
        }
    }
}

async fn echo(address: SocketAddr, sent: Vec<u8>) {
    let (mut reader, mut writer) = TcpStream::connect(address).await.expect("an open connection").into_split();
    let writing = async {
        writer.write_all(&sent).await.expect("an open connection");
        writer.shutdown().await.expect("an open connection");
    };
    let mut back = Vec::new();
    let ((), read) = tokio::join!(writing, reader.read_to_end(&mut back));
    read.expect("an open connection");
    assert!(back == sent, "{} bytes came back", back.len());
}
