//! A local cluster of real processes, started by `barque up` and removed when dropped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use client::{Client, Endpoints, Kubeconfig};
use identity::{ReloadableCert, tls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Error;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the engine may take to kill a node's containers.
const KILLING: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Number of masters.
    pub masters: u8,
    /// Number of nodes.
    pub nodes: u8,
    /// `docker` or `sim`.
    pub runtime: &'static str,
}

/// A master as `barque status` shows it.
#[derive(Debug, Clone)]
pub struct Master {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// `leader`, `follower`, …
    pub role: String,
}

/// A node as `barque status` shows it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The process of its agent; 0 when it does not run.
    pub pid: i32,
    /// Whether it is Ready.
    pub ready: bool,
}

/// A running cluster. Dropping it stops and removes everything, also after a panic.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    folder: tempfile::TempDir,
    shape: Shape,
    up_seconds: f64,
    kubectl: PathBuf,
}

impl Cluster {
    /// Starts a cluster with the given `barque` binary and waits until every node is Ready.
    ///
    /// # Errors
    /// [`Error::Command`] with what `barque up` printed.
    pub fn start(binary: &Path, shape: Shape) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("barque-").tempdir().map_err(Error::system("make a folder"))?;
        let mut cluster = Self { binary: binary.to_owned(), folder, shape, up_seconds: 0.0, kubectl: kubectl_binary() };
        let began = Instant::now();
        cluster.up()?;
        cluster.up_seconds = began.elapsed().as_secs_f64();
        Ok(cluster)
    }

    /// The `barque` binary that belongs to the running program.
    ///
    /// # Errors
    /// [`Error::System`] when there is none.
    pub fn binary_beside() -> Result<PathBuf, Error> {
        program_beside("barque")
    }

    /// Starts what is not running, and waits until every node is Ready.
    ///
    /// # Errors
    /// [`Error::Command`] with what `barque up` printed.
    pub fn up(&self) -> Result<(), Error> {
        let (masters, nodes) = (self.shape.masters.to_string(), self.shape.nodes.to_string());
        let arguments = ["up", "--detach", "--masters", &masters, "--nodes", &nodes, "--runtime", self.shape.runtime];
        self.barque(&arguments).map(|_| ())
    }

    /// Seconds from the start of the first process to the last node's readiness.
    pub fn up_seconds(&self) -> f64 {
        self.up_seconds
    }

    /// The cluster's folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The kubeconfig; its default context is the gateway.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// Runs `barque ARGUMENTS --dir FOLDER`.
    ///
    /// # Errors
    /// [`Error::Command`] when it does not end with 0.
    pub fn barque(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--dir").arg(self.dir());
        run(&mut command)
    }

    /// What `barque status -o json` shows.
    ///
    /// # Errors
    /// [`Error::Command`], or [`Error::Answer`] when it is not JSON.
    pub fn status(&self) -> Result<Value, Error> {
        let text = self.barque(&["status", "-o", "json"])?;
        serde_json::from_str(&text).map_err(|error| Error::Answer(format!("{error}: {text}")))
    }

    /// The masters.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn masters(&self) -> Result<Vec<Master>, Error> {
        Ok(list(&self.status()?["masters"])
            .iter()
            .map(|master| Master { name: text(&master["name"]), pid: pid(&master["pid"]), role: text(&master["role"]) })
            .collect())
    }

    /// The nodes.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(list(&self.status()?["nodes"])
            .iter()
            .map(|node| Node { name: text(&node["name"]), pid: pid(&node["pid"]), ready: node["ready"] == true })
            .collect())
    }

    /// The leader, once there is one.
    ///
    /// # Errors
    /// [`Error::Late`] when none shows within ten seconds.
    pub fn leader(&self) -> Result<Master, Error> {
        self.wait("a leader", Duration::from_secs(10), || {
            Ok(self.masters()?.into_iter().find(|master| master.role == "leader"))
        })
    }

    /// Term of the newest leader.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn term(&self) -> Result<u64, Error> {
        self.status()?["term"].as_u64().ok_or_else(|| Error::Answer("the status has no term".into()))
    }

    /// Sends a signal to one of this cluster's processes.
    ///
    /// # Errors
    /// [`Error::Answer`] for a pid that is not this cluster's.
    pub fn signal(&self, pid: i32, signal: Signal) -> Result<(), Error> {
        let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.dir().to_string_lossy();
        if pid <= 1 || !String::from_utf8_lossy(&command_line).contains(&*ours) {
            return Err(Error::Answer(format!("process {pid} is not of this cluster")));
        }
        kill(Pid::from_raw(pid), signal)
            .map_err(|errno| std::io::Error::from_raw_os_error(errno as i32))
            .map_err(Error::system(format!("signal process {pid}")))
    }

    /// Waits until a process that was told to end has ended, so that [`Cluster::up`] finds it gone.
    ///
    /// # Errors
    /// [`Error::Late`] when it still runs after fifteen seconds.
    pub fn ended(&self, pid: i32) -> Result<(), Error> {
        self.wait(&format!("the end of process {pid}"), Duration::from_secs(15), || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = status.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
            Ok((state.is_empty() || state.starts_with('Z')).then_some(()))
        })
    }

    /// Kills a node as a power cut would: its agent and its containers.
    ///
    /// # Errors
    /// [`Error::Late`] when the engine does not kill them.
    pub fn kill_node(&self, node: &Node) -> Result<(), Error> {
        self.signal(node.pid, Signal::SIGKILL)?;
        let label = format!("label=io.barque.node={}", node.name);
        let cluster = format!("label=io.barque.cluster={}", self.id()?);
        // A container may end by itself between the list and the kill, and an agent's last call may still start one.
        self.wait("the node's containers to be dead", KILLING, || {
            let listed = run(Command::new("docker").args(["ps", "-q", "--filter", &label, "--filter", &cluster]))?;
            let ids: Vec<&str> = listed.split_whitespace().collect();
            if ids.is_empty() {
                return Ok(Some(()));
            }
            run(Command::new("docker").arg("kill").args(ids)).map(|_| None)
        })
    }

    /// Copies what the processes have logged, and the cluster's status as it is now, to a folder that stays.
    ///
    /// # Errors
    /// [`Error::System`] when it cannot be copied.
    pub fn keep_logs(&self) -> Result<PathBuf, Error> {
        let kept = tempfile::Builder::new().prefix("barque-logs-").tempdir().map_err(Error::system("make a folder"))?;
        let entries = std::fs::read_dir(self.dir()).map_err(Error::system("list the cluster's folder"))?;
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().join("log").is_file()) {
            let copy = kept.path().join(entry.file_name());
            std::fs::copy(entry.path().join("log"), copy).map_err(Error::system("copy a log"))?;
        }
        // A cluster in trouble may have no status; its error says something too.
        let status = self.status().map_or_else(|error| error.to_string(), |status| format!("{status:#}"));
        std::fs::write(kept.path().join("status"), status).map_err(Error::system("keep the status"))?;
        Ok(kept.keep())
    }

    /// Ids of this cluster's running containers.
    ///
    /// # Errors
    /// [`Error::Command`] when the engine does not answer.
    pub fn containers(&self) -> Result<BTreeSet<String>, Error> {
        let cluster = format!("label=io.barque.cluster={}", self.id()?);
        let listed = run(Command::new("docker").args(["ps", "-q", "--filter", &cluster]))?;
        Ok(listed.split_whitespace().map(str::to_owned).collect())
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// [`Error::Answer`] when the founder's record cannot be read.
    pub fn id(&self) -> Result<String, Error> {
        let path = self.dir().join("master-1/master.json");
        let record = std::fs::read_to_string(&path).map_err(Error::system(format!("read {}", path.display())))?;
        let record: Value = serde_json::from_str(&record).map_err(|error| Error::Answer(error.to_string()))?;
        record["cluster"].as_str().map(str::to_owned).ok_or_else(|| Error::Answer("the record has no cluster".into()))
    }

    /// A client that goes through the gateway only, as kubectl does.
    ///
    /// # Errors
    /// [`Error::Client`] when the kubeconfig cannot be used.
    pub fn gateway_client(&self) -> Result<Client, Error> {
        self.client(|name| name == "barque")
    }

    /// A client of one master.
    ///
    /// # Errors
    /// [`Error::Client`] when the kubeconfig cannot be used.
    pub fn master_client(&self, master: &str) -> Result<Client, Error> {
        self.client(|name| name == master)
    }

    /// A client that knows all masters and goes through no gateway.
    ///
    /// # Errors
    /// [`Error::Client`] when the kubeconfig cannot be used.
    pub fn masters_client(&self) -> Result<Client, Error> {
        self.client(|name| name != "barque")
    }

    fn client(&self, wanted: impl Fn(&str) -> bool) -> Result<Client, Error> {
        let file = Kubeconfig::load(&self.kubeconfig())?;
        let own = file.credential.clone().map(ReloadableCert::new).transpose()?;
        let servers = file.servers.iter().filter(|server| wanted(&server.name)).map(|server| server.address.clone());
        Ok(Client::new(Endpoints::in_order(servers)?, tls::api_client(&file.trust, own)?))
    }

    /// The same cluster, driven by another kubectl.
    pub fn with_kubectl(mut self, kubectl: PathBuf) -> Self {
        self.kubectl = kubectl;
        self
    }

    /// Runs `kubectl ARGUMENTS` with this cluster's kubeconfig; the client of [`Cluster::with_kubectl`], else the one named by
    /// `KUBECTL`, else the one on the PATH.
    ///
    /// # Errors
    /// [`Error::Command`] when it does not end with 0.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        run(&mut self.kubectl_command(arguments))
    }

    /// The command that [`Cluster::kubectl`] runs, for tests that want its pieces.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command
    }

    /// Waits until `look` finds something.
    ///
    /// # Errors
    /// [`Error::Late`] when it does not in time, with the last error seen.
    pub fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        look: impl Fn() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        loop {
            let seen = look();
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if began.elapsed() > patience {
                let detail = seen.err().map(|error| format!(": {error}")).unwrap_or_default();
                return Err(Error::Late { what: what.to_owned(), seconds: patience.as_secs(), detail });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A program of this workspace: beside the running one, or one folder above it (test binaries).
///
/// # Errors
/// [`Error::System`] when it is not built.
pub fn program_beside(name: &str) -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::system("find this program"))?;
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(missing)
        .map_err(Error::system(format!("find the program `{name}`; build it with `cargo build --workspace`")))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A frozen process takes no SIGTERM; wake all of them first.
        for master in self.masters().unwrap_or_default() {
            let _ = self.signal(master.pid, Signal::SIGCONT);
        }
        if let Err(error) = self.barque(&["down", "--purge"]) {
            eprintln!("the cluster in {} could not be removed: {error}", self.dir().display());
        }
    }
}

/// kubectl as named by `KUBECTL`, on the PATH, or as `make test` has fetched it.
pub fn kubectl_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("KUBECTL") {
        return named.into();
    }
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file()));
    on_path.unwrap_or_else(|| clients_folder().join("kubectl-1.37"))
}

/// Where `make test` keeps the clients that it fetches.
pub fn clients_folder() -> PathBuf {
    std::env::var_os("BARQUE_CLIENTS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/barque/clients"))
}

/// Runs a command to its end and returns what it printed on stdout.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let Output { status, stdout, stderr } = command.output().map_err(Error::system(format!("run {shown}")))?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(text);
    }
    let output = format!("{}{text}", String::from_utf8_lossy(&stderr)).trim().to_owned();
    Err(Error::Command { command: shown, status: status.to_string(), output })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

fn pid(value: &Value) -> i32 {
    value.as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0)
}
