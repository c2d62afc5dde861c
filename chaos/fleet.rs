//! Masters as processes on hosts of a private world, each on a disk that can lose its power.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{Address, Call, Client, Endpoints, Kubeconfig};
use identity::{ReloadableCert, tls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cluster::run;
use crate::{Disk, Error, Trouble, World};

const API_PORT: u16 = 6443;
const PEER_PORT: u16 = 6444;
/// How long a sync of a healthy disk takes, as on a good SSD.
const SYNC: Duration = Duration::from_millis(1);
/// Few entries between snapshots, so that members which were away get one.
const SNAPSHOT_EVERY: u64 = 300;
/// How long one question may take.
const QUESTION: Duration = Duration::from_millis(1_500);
/// How much of a log is quoted.
const LOG_LINES: usize = 12;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What runs as a master: the program, and what comes before `--config FILE`.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

/// How a master's timers are set; milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// Heartbeat.
    pub heartbeat: u64,
    /// Shortest election timeout.
    pub election_min: u64,
    /// Longest election timeout.
    pub election_max: u64,
}

impl Default for Timers {
    /// What `config/master.yaml` holds.
    fn default() -> Self {
        Self { heartbeat: 60, election_min: 150, election_max: 350 }
    }
}

/// What one master says about the cluster.
#[derive(Debug, Clone)]
pub struct View {
    /// Its raft id.
    pub id: u64,
    /// Whether it leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Its revision.
    pub revision: u64,
    /// Checksum over the whole history up to the revision.
    pub chain: String,
    /// Index of its newest snapshot.
    pub snapshot: u64,
}

struct Seat {
    child: Option<Child>,
    frozen: bool,
    // Dropped last: it unmounts.
    disk: Disk,
}

/// Masters and simulated nodes, started one by one. Dropping it ends all of them.
pub struct Fleet {
    world: World,
    folder: PathBuf,
    program: Program,
    barque: PathBuf,
    timers: Timers,
    seats: Vec<Seat>,
    nodes: Vec<Child>,
    kubeconfig: PathBuf,
}

impl Fleet {
    /// Starts `masters` masters of `program`, one after the other, and waits until all vote.
    ///
    /// # Errors
    /// [`Error::Late`] when one does not get ready; its log says why.
    pub async fn start(
        world: World,
        folder: &Path,
        barque: &Path,
        program: Program,
        masters: usize,
        timers: Timers,
    ) -> Result<Self, Error> {
        let seats = (0..masters)
            .map(|number| {
                let disk = Disk::mount_with(&seat_dir(folder, number), SYNC)?;
                Ok(Seat { child: None, frozen: false, disk })
            })
            .collect::<Result<_, Error>>()?;
        let kubeconfig = folder.join("kubeconfig");
        let (folder, barque) = (folder.to_owned(), barque.to_owned());
        let mut fleet = Self { world, folder, program, barque, timers, seats, nodes: Vec::new(), kubeconfig };
        fleet.configure(0, None)?;
        fleet.launch(0)?;
        let record = seat_dir(&fleet.folder, 0).join("master.json");
        wait("the first master's identity", Duration::from_secs(20), async || Ok(record.exists().then_some(())))
            .await?;
        let servers = (0..masters).map(|host| Self::address(host).to_string()).collect::<Vec<_>>().join(",");
        let text = run(Command::new(&fleet.barque)
            .args(["kubeconfig", "--servers", &servers, "--dir"])
            .arg(seat_dir(&fleet.folder, 0)))?;
        std::fs::write(&fleet.kubeconfig, text).map_err(Error::system("write the kubeconfig"))?;
        fleet.ready(0).await?;
        // Tokens are kept in it; the founder makes it as the first thing that it does as a leader.
        let first = fleet.client(0)?;
        wait("the system's namespace", Duration::from_secs(20), async || {
            Ok(Some(first.json(Call::get("/api/v1/namespaces/kube-system").deadline(QUESTION)).await?))
        })
        .await?;
        for host in 1..masters {
            let token = fleet.token("master")?;
            let path = fleet.folder.join(format!("token-{host}"));
            std::fs::write(&path, token).map_err(Error::system("write a token"))?;
            fleet.configure(host, Some(&path))?;
            fleet.launch(host)?;
        }
        fleet.all_ready().await?;
        Ok(fleet)
    }

    /// Starts simulated nodes beside the masters and waits until they are Ready.
    ///
    /// # Errors
    /// [`Error::Late`] when one does not get Ready.
    pub async fn add_nodes(&mut self, nodes: usize) -> Result<(), Error> {
        let masters = (0..self.seats.len()).map(|host| Self::address(host).to_string()).collect::<Vec<_>>().join(",");
        for number in 1..=nodes {
            let (name, token) = (format!("node-{number}"), self.token("node")?);
            let dir = self.folder.join(&name);
            let mut command = Command::new(&self.barque);
            command.args(["node", "--masters", &masters, "--token", token.trim(), "--name", &name, "--dir"]);
            command.arg(&dir).args(["--runtime", "sim", "--address", "10.77.0.1"]);
            let file = json!({"port": 10_250 + number, "gateway": format!("127.0.0.1:{}", 7_500 + number)});
            let config = self.folder.join(format!("{name}.json"));
            std::fs::write(&config, file.to_string()).map_err(Error::system("write a node's configuration"))?;
            command.arg("--config").arg(&config);
            self.nodes.push(self.spawn(command, &name)?);
        }
        let client = self.client(0)?;
        wait("Ready nodes", Duration::from_secs(30), async || {
            let list = client.json(Call::get("/api/v1/nodes").deadline(QUESTION)).await?;
            let ready = |node: &Value| {
                let conditions = node["status"]["conditions"].as_array();
                conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
            };
            let count = list["items"].as_array().map_or(0, |items| items.iter().filter(|node| ready(node)).count());
            Ok((count == nodes).then_some(()))
        })
        .await
    }

    /// Number of masters.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The network between the masters.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Where a master's API listens.
    pub fn address(host: usize) -> std::net::SocketAddr {
        (World::address(host), API_PORT).into()
    }

    /// A client of one master only.
    ///
    /// # Errors
    /// [`Error::Client`] when the kubeconfig cannot be used.
    pub fn client(&self, host: usize) -> Result<Client, Error> {
        let file = Kubeconfig::load(&self.kubeconfig)?;
        let own = file.credential.clone().map(ReloadableCert::new).transpose()?;
        let only: Address = Self::address(host).to_string().parse()?;
        Ok(Client::new(Endpoints::in_order([only])?, tls::api_client(&file.trust, own)?))
    }

    /// Starts a master that does not run.
    ///
    /// # Errors
    /// [`Error::System`] when its program cannot be started.
    pub fn launch(&mut self, host: usize) -> Result<(), Error> {
        if self.seats[host].child.is_some() {
            return Ok(());
        }
        let mut command = self.world.command(host, &self.program.path);
        command.args(&self.program.arguments).arg("--config").arg(self.config_path(host));
        let child = self.spawn(command, &format!("master-{}", host + 1))?;
        self.seats[host].child = Some(child);
        Ok(())
    }

    /// Ends a master at once, as a crash of its process does. Its disk keeps what was written.
    ///
    /// # Errors
    /// [`Error::System`] when the signal cannot be sent.
    pub fn kill(&mut self, host: usize) -> Result<(), Error> {
        if let Some(mut child) = self.seats[host].child.take() {
            child.kill().and_then(|()| child.wait()).map_err(Error::system("kill a master"))?;
        }
        self.seats[host].frozen = false;
        Ok(())
    }

    /// Cuts the power of these masters: their processes end, and what their disks had not synced is gone. Returns how many
    /// bytes were lost.
    ///
    /// # Errors
    /// [`Error::System`] when one cannot be killed, or its disk not be cut.
    pub fn cut_power(&mut self, hosts: &[usize]) -> Result<u64, Error> {
        for host in hosts {
            self.kill(*host)?;
        }
        let mut dropped = 0;
        for host in hosts {
            self.seats[*host].disk.cut_power()?;
            dropped += self.seats[*host].disk.counters().bytes_dropped;
        }
        Ok(dropped)
    }

    /// Stops a master's process where it is.
    ///
    /// # Errors
    /// [`Error::System`] when the signal cannot be sent.
    pub fn freeze(&mut self, host: usize) -> Result<(), Error> {
        self.seats[host].frozen = true;
        self.signal(host, Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// [`Error::System`] when the signal cannot be sent.
    pub fn thaw(&mut self, host: usize) -> Result<(), Error> {
        self.seats[host].frozen = false;
        self.signal(host, Signal::SIGCONT)
    }

    /// From now on a master's disk behaves like this.
    pub fn trouble(&self, host: usize, trouble: Trouble) {
        self.seats[host].disk.trouble(trouble);
    }

    /// Ends every fault: thaws, heals, repairs disks, starts what does not run.
    ///
    /// # Errors
    /// As the single steps.
    pub fn mend(&mut self) -> Result<(), Error> {
        self.world.heal()?;
        for host in 0..self.seats.len() {
            self.trouble(host, Trouble::None);
            if self.seats[host].frozen {
                self.thaw(host)?;
            }
            self.reap(host)?;
            self.launch(host)?;
        }
        Ok(())
    }

    /// Forgets a master's process if it has ended by itself, and tells whether it had.
    ///
    /// # Errors
    /// [`Error::System`] when the process cannot be asked.
    pub fn reap(&mut self, host: usize) -> Result<bool, Error> {
        let Some(child) = &mut self.seats[host].child else { return Ok(false) };
        let ended = child.try_wait().map_err(Error::system("ask for a master's end"))?.is_some();
        if ended {
            self.seats[host].child = None;
        }
        Ok(ended)
    }

    /// What a master says now; `None` when it does not answer.
    pub async fn view(&self, host: usize) -> Option<View> {
        let client = self.client(host).ok()?;
        let shown = client.json(Call::get("/barque/v1/status").deadline(QUESTION)).await.ok()?;
        Some(View {
            id: shown["id"].as_u64()?,
            leads: shown["role"] == "leader",
            term: shown["term"].as_u64()?,
            revision: shown["revision"].as_u64()?,
            chain: shown["chain"].as_str()?.to_owned(),
            snapshot: shown["snapshot"].as_u64().unwrap_or(0),
        })
    }

    /// The leader and its term, once there is one.
    ///
    /// # Errors
    /// [`Error::Late`] when none shows within twenty seconds.
    pub async fn leader(&self) -> Result<(usize, u64), Error> {
        wait("a leader", Duration::from_secs(20), async || {
            let mut best = None;
            for host in 0..self.seats.len() {
                if self.seats[host].child.is_none() || self.seats[host].frozen {
                    continue;
                }
                if let Some(view) = self.view(host).await.filter(|view| view.leads) {
                    best = best.max(Some((view.term, host)));
                }
            }
            Ok(best.map(|(term, host)| (host, term)))
        })
        .await
    }

    /// Waits until every master is ready.
    ///
    /// # Errors
    /// [`Error::Late`] with the end of the log of the master that is not.
    pub async fn all_ready(&self) -> Result<(), Error> {
        for host in 0..self.seats.len() {
            self.ready(host).await?;
        }
        Ok(())
    }

    /// Waits until a master is ready.
    ///
    /// # Errors
    /// [`Error::Late`] with the end of its log.
    pub async fn ready(&self, host: usize) -> Result<(), Error> {
        let client = self.client(host)?;
        let master = Self::address(host).to_string().parse::<Address>()?;
        let what = format!("master {} ready", host + 1);
        let ready = wait(&what, Duration::from_secs(30), async || {
            let answer = client.request_to(&master, Call::get("/readyz").deadline(QUESTION)).await?;
            Ok(answer.status.is_success().then_some(()))
        });
        ready.await.map_err(|error| {
            let log = std::fs::read_to_string(self.log_path(&format!("master-{}", host + 1))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            match error {
                Error::Late { what, seconds, detail } => {
                    Error::Late { what, seconds, detail: format!("{detail}; its log ends:\n{tail}") }
                }
                other => other,
            }
        })
    }

    /// Log of a process.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn config_path(&self, host: usize) -> PathBuf {
        self.folder.join(format!("master-{}.json", host + 1))
    }

    fn configure(&self, host: usize, token: Option<&Path>) -> Result<(), Error> {
        let address = World::address(host);
        let mut file = json!({
            "name": format!("master-{}", host + 1), "dir": seat_dir(&self.folder, host),
            "api": {"listen": format!("{address}:{API_PORT}")}, "peers": {"listen": format!("{address}:{PEER_PORT}")},
            "timers": {
                "heartbeatMs": self.timers.heartbeat, "electionMsMin": self.timers.election_min,
                "electionMsMax": self.timers.election_max, "snapshotEvery": SNAPSHOT_EVERY,
            },
        });
        if let Some(token) = token {
            file["join"] = json!({"masters": [Self::address(0).to_string()], "tokenFile": token});
        }
        std::fs::write(self.config_path(host), file.to_string()).map_err(Error::system("write a configuration"))
    }

    fn token(&self, role: &str) -> Result<String, Error> {
        let mut command = Command::new(&self.barque);
        run(command.args(["token", "create", "--role", role, "--kubeconfig"]).arg(&self.kubeconfig))
    }

    fn spawn(&self, mut command: Command, name: &str) -> Result<Child, Error> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path(name));
        let log = log.map_err(Error::system("open a log"))?;
        let errors = log.try_clone().map_err(Error::system("open a log"))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map_err(Error::system(format!("start {name}")))
    }

    fn signal(&self, host: usize, signal: Signal) -> Result<(), Error> {
        let Some(child) = &self.seats[host].child else { return Ok(()) };
        // `nsenter` has become the master: it runs no child of its own.
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        kill(pid, signal).map_err(std::io::Error::from).map_err(Error::system("signal a master"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let seats = self.seats.iter_mut().filter_map(|seat| seat.child.take());
        for mut child in seats.chain(self.nodes.drain(..)) {
            // It may have ended by itself; either way nothing is left.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn seat_dir(folder: &Path, host: usize) -> PathBuf {
    folder.join(format!("disk-{}", host + 1))
}

/// Waits until `look` finds something.
///
/// # Errors
/// [`Error::Late`] when it does not in time, with the last error seen.
pub async fn wait<T>(
    what: &str,
    patience: Duration,
    look: impl AsyncFn() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        let seen = look().await;
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if began.elapsed() > patience {
            let detail = seen.err().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(Error::Late { what: what.to_owned(), seconds: patience.as_secs(), detail });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
