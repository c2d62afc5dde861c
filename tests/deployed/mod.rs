//! Masters and nodes as docs/deployment.md starts them: processes of their own, each with a file, a folder and an address.
//!
//! What `barque up` makes is [`chaos::Cluster`]; this is for what only the longer way can show.

// Each test program uses its own part.
#![allow(dead_code)]

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use client::{Address, Call, Client, Endpoints, Kubeconfig};
use identity::{ReloadableCert, tls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The program under test.
pub const BARQUE: &str = env!("CARGO_BIN_EXE_barque");
/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "{what} did not come about within {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Free ports at an address; all are held until all are drawn, so that none comes twice.
pub fn free_ports<const N: usize>(address: &str) -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind((address, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}

/// A process, what it writes going to a file. Killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command; its output is added to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let errors = file.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("it starts");
        Self { child, log: log.to_owned() }
    }

    /// Starts `barque ARGUMENTS`.
    pub fn barque(arguments: &[&str], log: &Path) -> Self {
        Self::start(Command::new(BARQUE).args(arguments), log)
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Signals it.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let log = self.log.clone();
        until(&format!("the end of the process that logs to {}", log.display()), || self.ended())
    }

    /// Stops it in order, which must end with 0.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.wait().signal(), Some(Signal::SIGKILL as i32));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master's place: what is in its configuration file.
pub struct Place {
    /// Its folder; the data lies in `data` below it, the configuration beside it.
    pub dir: PathBuf,
    /// `host:port` of its API.
    pub api: String,
    /// `host:port` for other masters.
    pub peers: String,
    config: PathBuf,
    log: PathBuf,
}

impl Place {
    /// Writes the configuration of a master at `address`, which is the sample of `config/` with names and places filled in.
    pub fn make(folder: &Path, name: &str, address: &str, join: Option<(&str, &Path)>) -> Self {
        let [api, peers] = free_ports::<2>(address).map(|port| format!("{address}:{port}"));
        let (config, log) = (folder.join(format!("{name}.yaml")), folder.join(format!("{name}.log")));
        let place = Self { dir: folder.join(name), api, peers, config, log };
        let mut text = include_str!("../../config/master.yaml")
            .replace("name: master-1", &format!("name: {name}"))
            .replace("/var/lib/barque/master", &place.dir.display().to_string());
        for (port, own) in [("6443", &place.api), ("6444", &place.peers)] {
            text = text.replace(&format!("10.0.0.1:{port}"), own).replace(&format!("0.0.0.0:{port}"), own);
        }
        if let Some((master, token)) = join {
            text.push_str(&format!("join: {{masters: ['{master}'], tokenFile: '{}'}}\n", token.display()));
        }
        std::fs::write(&place.config, text).expect("a file");
        place
    }

    /// Changes the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("a file");
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&self.config, text.replace(from, to)).expect("a file");
    }

    /// The arguments that run it.
    pub fn arguments(&self) -> [&str; 3] {
        ["master", "--config", self.config.to_str().expect("a name")]
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Runs the master.
    pub fn start(&self) -> Running {
        Running::barque(&self.arguments(), &self.log)
    }

    /// Runs the master and waits until it is ready.
    pub fn start_ready(&self) -> Running {
        let mut running = self.start();
        self.ready(&mut running);
        running
    }

    /// Waits until the master is ready.
    pub fn ready(&self, running: &mut Running) {
        let caller = until("the master's certificates", || {
            assert!(running.ended().is_none(), "the master has ended: {}", running.log());
            self.dir.join("master.json").exists().then(|| self.caller())
        });
        until("a ready master", || {
            assert!(running.ended().is_none(), "the master has ended: {}", running.log());
            (caller.get("/readyz")?.0 == 200).then_some(())
        });
    }

    /// An administrator's kubeconfig for these servers, made by `barque kubeconfig` from this master's folder.
    pub fn kubeconfig(&self, path: &Path, servers: &[&str]) {
        let servers = servers.join(",");
        let dir = self.dir.to_str().expect("a name");
        std::fs::write(path, barque(&["kubeconfig", "--dir", dir, "--servers", &servers])).expect("a file");
    }

    /// An administrator who speaks to this master alone.
    pub fn caller(&self) -> Caller {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        self.kubeconfig(&path, &[&self.api]);
        Caller::new(&path)
    }
}

/// Runs `barque ARGUMENTS`, which must succeed, and returns its standard output.
pub fn barque(arguments: &[&str]) -> String {
    let output = Command::new(BARQUE).args(arguments).output().expect("barque starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "barque {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `kubectl LINE` with a kubeconfig: what it printed, or what it complained.
pub fn kubectl(kubeconfig: &Path, line: &str) -> Result<String, String> {
    let mut command = Command::new(chaos::kubectl_binary());
    let output = command.arg("--kubeconfig").arg(kubeconfig).args(line.split_whitespace()).output();
    let output = output.expect("kubectl starts; make test fetches it");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// An administrator of the cluster, one call at a time.
pub struct Caller {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    /// The user of a kubeconfig, who speaks to its servers.
    pub fn new(kubeconfig: &Path) -> Self {
        let file = Kubeconfig::load(kubeconfig).expect("a kubeconfig");
        let own = file.credential.clone().map(ReloadableCert::new).transpose().expect("a certificate");
        let servers = Endpoints::in_order(file.servers.iter().map(|server| server.address.clone()));
        let client = Client::new(servers.expect("servers"), tls::api_client(&file.trust, own).expect("TLS"));
        Self { client, runtime: tokio::runtime::Runtime::new().expect("a runtime") }
    }

    fn server(&self) -> Address {
        self.client.endpoints().current()
    }

    /// GET, once: the status code and the body; `None` without an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.call(Call::get(path).deadline(Duration::from_secs(10)))
    }

    /// Creates a ConfigMap with that many bytes; whether it was acknowledged.
    pub fn create(&self, name: &str, bytes: usize) -> bool {
        let value = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"filler": "x".repeat(bytes)},
        });
        let call = Call::new(http::Method::POST, "/api/v1/namespaces/default/configmaps").json(&value);
        self.call(call.deadline(Duration::from_secs(10))).is_some_and(|(code, _)| code == 201)
    }

    fn call(&self, call: Call) -> Option<(u16, String)> {
        let answer = self.runtime.block_on(self.client.request_to(&self.server(), call)).ok()?;
        Some((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
    }
}
