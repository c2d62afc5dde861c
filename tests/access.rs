//! Who is not let in: strangers and tokens that are no good are refused by real processes, in one clear line, and the log
//! of whoever refused says who it was and why. Containers are simulated.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos::{Cluster, Shape};
use client::{Address, Call, Client, Endpoints};
use identity::{Authority, Credential, KeyRequest, ReloadableCert, Role, Token, names, tls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const BARQUE: &str = env!("CARGO_BIN_EXE_barque");
/// For what happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A small cluster, and what its masters know.
struct House {
    cluster: Cluster,
    authority: Authority,
    master: u64,
    api: SocketAddr,
    peers: SocketAddr,
}

impl House {
    fn new(nodes: u8) -> Self {
        let shape = Shape { masters: 1, nodes, runtime: "sim" };
        let cluster = Cluster::start(Path::new(BARQUE), shape).expect("a cluster");
        let folder = cluster.dir().join("master-1");
        let (authority, _) = master::administrator(&folder).expect("an authority");
        let read = |name: &str| read_json(&folder.join(name));
        let (config, record) = (read("config.json"), read("master.json"));
        let port = |key: &str| config[key]["listen"].as_str().expect(key).parse().expect(key);
        let (api, peers, master) = (port("api"), port("peers"), record["id"].as_u64().expect("an id"));
        Self { cluster, authority, master, api, peers }
    }

    /// A client of the API that shows this certificate.
    fn client(&self, own: Option<Credential>) -> Arc<ClientConfig> {
        tls::api_client(&self.authority.serving().expect("the serving authority"), own.map(reloadable))
            .expect("a client's TLS")
    }

    /// The code that a GET is answered with.
    async fn get(&self, own: Option<Credential>, path: &str) -> u16 {
        let client =
            Client::new(Endpoints::parse(&self.api.to_string()).expect("the master's address"), self.client(own));
        let master: Address = self.api.to_string().parse().expect("the master's address");
        client.request_to(&master, Call::get(path)).await.expect("an answer").status.as_u16()
    }

    /// Waits until one line of a process's log has all these words, and returns it.
    fn logged(&self, process: &str, words: &[&str]) -> String {
        let path = self.cluster.dir().join(process).join("log");
        let look = || {
            let log = std::fs::read_to_string(&path).expect("a log");
            Ok(log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned))
        };
        let line = self.cluster.wait("a line of the log", PATIENCE, look).unwrap_or_else(|error| {
            panic!("{error}: {words:?} in\n{}", std::fs::read_to_string(&path).unwrap_or_default())
        });
        assert!(line.contains(" WARN "), "{line}");
        line
    }

    /// A token whose record the cluster keeps; it expires in an hour, or expired a minute ago.
    async fn token(&self, role: Role, expired: bool, uses: Option<u32>) -> Token {
        let token =
            Token::new(role, self.authority.serving().expect("the serving authority").hash().expect("its hash"));
        let now = base::clock::now();
        let expires = if expired { now - Duration::from_secs(60) } else { now + Duration::from_secs(3_600) };
        let secret = token.record(expires, uses).secret();
        let admin = self.cluster.master_client("master-1").expect("a client");
        admin.create("/api/v1/namespaces/kube-system/secrets", &secret).await.expect("a secret");
        token
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

fn reloadable(credential: Credential) -> Arc<ReloadableCert> {
    ReloadableCert::new(credential).expect("a credential that can be used")
}

/// Connects once and expects to be refused: in TLS 1.3 a client learns it only by reading. Returns its own address.
async fn turned_away(address: SocketAddr, tls: Arc<ClientConfig>, name: ServerName<'static>) -> SocketAddr {
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    let own = stream.local_addr().expect("its own address");
    if let Ok(mut stream) = identity::handshake::connect(tls, name, stream, PATIENCE).await {
        let heard = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an end");
        assert!(heard.is_err(), "{address} let a stranger in");
    }
    own
}

/// `barque node` with this token, in this folder, on the loopback address with this last number.
fn node(house: &House, folder: &Path, (name, token): (&str, &str), address: u8) -> Command {
    let mut command = Command::new(BARQUE);
    command.args(["node", "--masters", &house.api.to_string(), "--token", token, "--name", name, "--dir"]);
    command.arg(folder).args(["--address", &format!("127.0.0.{address}"), "--runtime", "sim"]);
    command
}

/// How `barque node` ends with this token: its exit code and what it says.
fn join(house: &House, name: &str, token: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a new folder");
    ending(&mut node(house, folder.path(), (name, token), 200))
}

/// A process that is killed with its test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }
}

/// Which of them ends first.
fn first_to_end(racers: &mut [Running]) -> usize {
    let began = Instant::now();
    loop {
        if let Some(first) = racers.iter_mut().position(|racer| racer.0.try_wait().expect("a child").is_some()) {
            return first;
        }
        assert!(began.elapsed() < PATIENCE, "none of them ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exit code and the standard error of a command that is to end by itself.
fn ending(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let began = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().expect("it is killed");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A command that was refused ends with 1 and says why in one line.
fn one_line((code, errors): &(Option<i32>, String), words: &[&str]) {
    assert_eq!(*code, Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("barque: "), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is missing in: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_and_the_log_names_them() {
    let house = House::new(1);
    let foreign = Authority::generate("elsewhere").expect("another authority");

    // The API: a caller without a certificate is nobody, one of another cluster does not even get to ask.
    assert_eq!(house.get(None, "/api/v1/nodes").await, 401);
    house
        .logged("master-1", &["a request was refused", "from=127.0.0.1:", "/api/v1/nodes", "code=401", "Unauthorized"]);
    let host = names::host_server_name("127.0.0.1").expect("a server name");
    let intruder = house.client(Some(foreign.administrator("admin").expect("a foreign credential")));
    let from = turned_away(house.api, intruder, host.clone()).await;
    let words = ["a caller of the API was refused", &format!("from={from}"), "issued by another authority"];
    house.logged("master-1", &words);

    // A node that wants what is not its own.
    let folder = house.cluster.dir().join("node-1");
    let node =
        Credential::load(&folder.join("client.json")).expect("a credential that can be read").expect("a certificate");
    assert_eq!(house.get(Some(node.clone()), "/api/v1/namespaces/kube-system/secrets").await, 403);
    house.logged("master-1", &["a request was refused", "system:node:node-1", "code=403", "secrets", "forbidden"]);

    // The masters' own port.
    let name = names::peer_server_name(house.master);
    let from =
        turned_away(house.peers, tls::unchecked_client().expect("a client without a certificate"), name.clone()).await;
    house.logged("master-1", &["a caller of the peer port was refused", &format!("from={from}"), "no certificate"]);
    let other_master = reloadable(foreign.master_peer(house.master).expect("a foreign credential"));
    let intruder =
        tls::peer_client(&house.authority.peers().expect("the peers' authority"), other_master).expect("a peer's TLS");
    let from = turned_away(house.peers, intruder, name).await;
    house.logged("master-1", &["a caller of the peer port was refused", &format!("from={from}"), "another authority"]);

    // The agent's port: masters only.
    let config = read_json(&folder.join("config.json"));
    let agent = format!("{}:{}", config["address"].as_str().expect("the agent's address"), config["port"])
        .parse()
        .expect("the agent's address and port");
    let name = names::agent_server_name("node-1").expect("a server name");
    let serving = house.authority.serving().expect("the serving authority");
    let client = |own: Credential| tls::agent_client(&serving, reloadable(own)).expect("a caller's TLS");
    for (tls, reason) in [
        (tls::unchecked_client().expect("a client without a certificate"), "no certificate was shown"),
        (client(foreign.master_client(house.master).expect("a foreign credential")), "issued by another authority"),
        (client(node), "does not belong to a master"),
    ] {
        let from = turned_away(agent, tls, name.clone()).await;
        house.logged("node-1", &["a caller of the agent was refused", &format!("from={from}"), reason]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_no_good_are_refused_and_the_log_names_them() {
    let house = House::new(0);
    let hash = house.authority.serving().expect("the serving authority").hash().expect("its hash");
    let rows = [
        (house.token(Role::Node, true, None).await, "the join token expired at"),
        (Token::new(Role::Node, hash), "the join token is not known to this cluster"),
        (house.token(Role::Master, false, None).await, "lets a master join, not a node"),
    ];
    for (number, (token, reason)) in rows.iter().enumerate() {
        let name = format!("late-{number}");
        let ended = join(&house, &name, &token.expose());
        one_line(&ended, &["joining was refused", reason, "barque token create"]);
        let line = house.logged("master-1", &["a join was refused", &name, &token.to_string(), "code=401", reason]);
        let secret = token.expose();
        assert!(!line.contains(secret.split('.').nth(3).expect("the token's secret")), "{line}");
    }
    let nodes =
        house.cluster.master_client("master-1").expect("a client").get("/api/v1/nodes").await.expect("the nodes");
    assert_eq!(nodes["items"], serde_json::json!([]), "nothing came in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_used_up_by_whoever_joins_with_it() {
    let house = House::new(0);
    let create = |uses: &[&str]| {
        let mut command = Command::new(BARQUE);
        command.args(["token", "create", "--role", "node", "--kubeconfig"]).arg(house.cluster.kubeconfig()).args(uses);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a token in UTF-8").trim().to_owned()
    };
    let came_in = |folder: &Path| {
        let look = || Ok(folder.join("node.json").exists().then_some(()));
        house.cluster.wait("a node that is in", PATIENCE, look).expect("the node joins");
    };

    // One machine for each token, unless it says more.
    let token = create(&[]);
    let first = tempfile::tempdir().expect("a new folder");
    let running = Running::start(node(&house, first.path(), ("first", &token), 201));
    came_in(first.path());
    one_line(&join(&house, "second", &token), &["joining was refused", "used up", "barque token create"]);
    house.logged("master-1", &["a join was refused", "second", "used up", "code=401"]);
    drop(running);

    // An answer that was lost: the request has reached the cluster, and nothing of it came back.
    let token = create(&["--uses", "1"]);
    let folder = tempfile::tempdir().expect("a new folder");
    let key = |file: &str| KeyRequest::kept(&folder.path().join(file), "third").expect("a key");
    let (client, serving) = (key("joining-client.pem"), key("joining-serving.pem"));
    let request = serde_json::json!({
        "role": "node", "name": "third", "csr": client.request_pem(), "servingCsr": serving.request_pem(),
    });
    let masters = Endpoints::parse(&house.api.to_string()).expect("the master's address");
    client::join(&masters, &token.parse().expect("a token"), &request, PATIENCE).await.expect("an answer");
    let running = Running::start(node(&house, folder.path(), ("third", &token), 202));
    came_in(folder.path());
    assert!(!folder.path().join("joining-client.pem").exists(), "no longer needed");
    drop(running);
    one_line(&join(&house, "third", &token), &["used up"]);

    // Two at once for one use.
    let token = create(&[]);
    let folders = [tempfile::tempdir().expect("a new folder"), tempfile::tempdir().expect("a new folder")];
    let racing = |number: usize| {
        let address = 203 + u8::try_from(number).expect("a small number");
        Running::start(node(&house, folders[number].path(), (&format!("racer-{number}"), &token), address))
    };
    let mut racers = [racing(0), racing(1)];
    let lost = first_to_end(&mut racers);
    assert_eq!(racers[lost].0.try_wait().expect("a child").and_then(|status| status.code()), Some(1));
    came_in(folders[1 - lost].path());
    assert!(!folders[lost].path().join("node.json").exists());
    house.logged("master-1", &["a join was refused", &format!("racer-{lost}"), "used up"]);

    // A token for several.
    let token = create(&["--uses", "2"]);
    for (number, address) in [(1, 205), (2, 206)] {
        let folder = tempfile::tempdir().expect("a new folder");
        let _running = Running::start(node(&house, folder.path(), (&format!("many-{number}"), &token), address));
        came_in(folder.path());
    }
    one_line(&join(&house, "many-3", &token), &["used up"]);
}

#[test]
fn a_nodes_folder_of_another_cluster_is_refused() {
    let (one, other) = (House::new(0), House::new(0));
    let folder = tempfile::tempdir().expect("a new folder");
    let create = |house: &House| {
        let arguments = ["token", "create", "--role", "node", "--kubeconfig"];
        let output = Command::new(BARQUE).args(arguments).arg(house.cluster.kubeconfig()).output().expect("it runs");
        String::from_utf8(output.stdout).expect("a token in UTF-8").trim().to_owned()
    };
    let running = Running::start(node(&one, folder.path(), ("mover", &create(&one)), 210));
    let look = || Ok(folder.path().join("node.json").exists().then_some(()));
    one.cluster.wait("a node that is in", PATIENCE, look).expect("the node joins");
    drop(running);
    let before = read_json(&folder.path().join("node.json"));
    let words = [
        &*folder.path().display().to_string(),
        &one.cluster.id().expect("the cluster's id"),
        "another cluster's",
        "empty the folder",
    ];
    one_line(&ending(&mut node(&other, folder.path(), ("mover", &create(&other)), 210)), &words);
    assert_eq!(read_json(&folder.path().join("node.json")), before, "the folder is as it was");
}

#[test]
fn a_folder_of_another_cluster_is_refused() {
    let (one, other) = (House::new(0), House::new(0));
    let tokens = [&one, &other].map(|house| {
        let hash = house.authority.serving().expect("the serving authority").hash().expect("its hash");
        Token::new(Role::Master, hash).expose()
    });
    for house in [&one, &other] {
        house.cluster.barque(&["down"]).expect("it stops");
    }
    let folder = tempfile::tempdir().expect("a new folder");
    let dir = folder.path().join("master");
    let copy = |what: &Path| {
        let done = Command::new("cp").arg("-r").arg(what).arg(&dir).status().expect("cp");
        assert!(done.success(), "{}", what.display());
    };
    let own = |house: &House, what: &str| house.cluster.dir().join("master-1").join(what);
    let mut config = read_json(&own(&one, "config.json"));
    config["dir"] = dir.display().to_string().into();
    let run = |config: &Value| {
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        ending(Command::new(BARQUE).args(["master", "--config"]).arg(&path))
    };

    // The log of another cluster's master beside this one's record and keys.
    std::fs::create_dir(&dir).expect("a folder for the master");
    copy(&own(&one, "master.json"));
    copy(&own(&one, "pki"));
    copy(&own(&other, "data"));
    let (ours, theirs) =
        (one.cluster.id().expect("the cluster's id"), other.cluster.id().expect("the other cluster's id"));
    let data = dir.join("data").display().to_string();
    let whose = format!("master {} of cluster {theirs}", other.master);
    one_line(&run(&config), &[&data, &whose, &format!("this is master {} of cluster {ours}", one.master), "join anew"]);

    // A whole folder of one cluster, told to join the other: it neither moves nor silently stays.
    std::fs::remove_dir_all(dir.join("data")).expect("the other's log is removed");
    copy(&own(&one, "data"));
    let token_file = folder.path().join("token");
    config["join"] = serde_json::json!({"masters": [other.api.to_string()], "tokenFile": token_file});
    std::fs::write(&token_file, &tokens[1]).expect("the token is written");
    let words = [&*dir.display().to_string(), &ours, "another cluster's", "empty the folder", "take the token out"];
    one_line(&run(&config), &words);

    // With a token of its own cluster, or none that can be read, it runs.
    for token in [&*tokens[0], "gone"] {
        std::fs::write(&token_file, token).expect("the token is written");
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let mut command = Command::new(BARQUE);
        command.args(["master", "--config"]).arg(&path);
        let mut running = Running::start(command);
        let look = || Ok(std::net::TcpStream::connect(one.api).is_ok().then_some(()));
        one.cluster.wait("the master's API", PATIENCE, look).expect("the master serves");
        assert!(running.0.try_wait().expect("a child").is_none(), "it runs");
    }
}
