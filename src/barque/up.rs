//! `barque up`: a local cluster of separate processes. On a folder that exists, what does not run is started, and what ends
//! under it, because it was told to a moment before, is started again.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use client::{Address, Call, Client, Endpoints, Kubeconfig};
use identity::{Authority, ReloadableCert, Role, Token, tls};
use serde_json::Value;

use crate::cli::{RuntimeChoice, UpArgs};
use crate::config::{JoinFile, MasterFile, NodeFile, PortFile, TimersFile};
use crate::layout::{self, GATEWAY, Layout, LocalMaster};
use crate::members::Members;
use crate::process::{self, Standing};
use crate::progress::Progress;
use crate::{Error, config, status, token};

/// How long a phase may take before `up` gives up; a cold disk may be slow, a cluster that needs longer is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Starts the cluster and waits until every node is Ready.
pub async fn run(args: UpArgs) -> Result<(), Error> {
    let mut progress = Progress::new();
    let dir = layout::absolute(&args.dir)?;
    let known = Layout::load(&dir)?;
    let again = known.is_some();
    let layout = match known {
        Some(known) => {
            if known.masters.len() != usize::from(args.masters) || known.nodes.len() != usize::from(args.nodes) {
                progress.note(&format!(
                    "{} has {} masters and {} nodes already; they are kept",
                    dir.display(),
                    known.masters.len(),
                    known.nodes.len()
                ));
            }
            known
        }
        None => {
            let runtime = choose_runtime(args.runtime, &mut progress).await?;
            let plan = Layout::plan(args.masters, args.nodes, runtime)?;
            plan.save(&dir)?;
            plan
        }
    };
    let members = Members::new(dir.clone());
    let mut up = Up { dir, layout, members };
    up.start_known_masters(&mut progress).await?;
    let admin = up.administrator()?;
    up.wait_ready(&admin, 1, &mut progress).await?;
    up.start_others(&admin, &mut progress).await?;
    up.write_kubeconfig(&admin)?;
    loop {
        up.wait_ready(&admin, up.layout.masters.len(), &mut progress).await?;
        up.wait_nodes(&admin, &mut progress).await?;
        progress.done();
        if up.members.are_running() {
            break;
        }
        progress.note("a process was told to end meanwhile; it is started again");
    }
    let kubeconfig = layout::kubeconfig_path(&up.dir);
    eprintln!(
        "  {} in {:.1} s\n\n  kubectl --kubeconfig {} get nodes\n",
        if again { "The cluster runs" } else { "A new cluster runs" },
        progress.seconds(),
        kubeconfig.display()
    );
    if args.detach { Ok(()) } else { status::live(&up.dir).await }
}

/// Takes Docker where an engine answers; says so in one line where none does.
async fn choose_runtime(wanted: RuntimeChoice, progress: &mut Progress) -> Result<RuntimeChoice, Error> {
    let probe = async || {
        // Nothing is run under this name; it only serves to ask whether an engine answers.
        let scope = runtime::Scope::new("probe", "probe")?;
        runtime::docker::Docker::new(scope, None)?.ping().await
    };
    match wanted {
        RuntimeChoice::Sim => Ok(RuntimeChoice::Sim),
        RuntimeChoice::Docker => probe().await.map(|()| RuntimeChoice::Docker).map_err(Error::from),
        RuntimeChoice::Auto => match probe().await {
            Ok(()) => Ok(RuntimeChoice::Docker),
            Err(error) => {
                progress.note(&format!("{error}; going on with simulated containers: nothing really runs"));
                Ok(RuntimeChoice::Sim)
            }
        },
    }
}

struct Up {
    dir: std::path::PathBuf,
    layout: Layout,
    members: Members,
}

/// An administrator of the cluster, with a client that knows all its masters.
struct Administrator {
    authority: Authority,
    credential: identity::Credential,
    client: Client,
}

impl Up {
    /// After everything was stopped, one master alone is no quorum: all that have joined before start before any is waited for.
    async fn start_known_masters(&mut self, progress: &mut Progress) -> Result<(), Error> {
        progress.begin("first master");
        let masters = self.layout.masters.clone();
        for (position, master) in masters.iter().enumerate() {
            if position == 0 || self.master_record(master).exists() {
                self.start_master(master, None)?;
            }
        }
        let record = self.master_record(&masters[0]);
        self.wait("the first master's identity", &masters[0].name, progress, async || Ok(record.exists())).await
    }

    /// The file that a master has once it has founded or joined the cluster.
    fn master_record(&self, master: &LocalMaster) -> std::path::PathBuf {
        layout::process_dir(&self.dir, &master.name).join("master.json")
    }

    fn start_master(&mut self, master: &LocalMaster, join: Option<JoinFile>) -> Result<(), Error> {
        let folder = layout::process_dir(&self.dir, &master.name);
        let port = |port: u16| PortFile { listen: ([127, 0, 0, 1], port).into(), advertise: None };
        let file = MasterFile {
            name: master.name.clone(),
            dir: folder.clone(),
            api: port(master.api),
            peers: port(master.peers),
            names: Vec::new(),
            join,
            timers: TimersFile::default(),
        };
        let path = folder.join("config.json");
        // A file that somebody has edited since stays as it is.
        if !path.exists() {
            config::write(&path, &file)?;
        }
        self.members.bring(&master.name, &["master", "--config", &path.display().to_string()])
    }

    fn administrator(&self) -> Result<Administrator, Error> {
        let founder = layout::process_dir(&self.dir, &self.layout.masters[0].name);
        let (authority, credential) = master::administrator(&founder)?;
        let own = ReloadableCert::new(credential.clone())?;
        let tls = tls::api_client(&authority.serving()?, Some(own))?;
        let endpoints = Endpoints::parse(&self.layout.api_addresses().join(","))?;
        Ok(Administrator { authority, credential, client: Client::new(endpoints, tls) })
    }

    /// Waits until the first `count` masters are ready; when these are all, also until they vote, for before they do the loss of
    /// one stops the cluster.
    async fn wait_ready(&mut self, admin: &Administrator, count: usize, progress: &mut Progress) -> Result<(), Error> {
        if count > 1 {
            progress.begin("masters ready");
        }
        // A second master votes only once there is a third.
        let vote = count > 2 && count == self.layout.masters.len();
        for master in self.layout.masters.clone().iter().take(count) {
            let address = Address::new("127.0.0.1", master.api)?;
            let ask = async |path: &str| {
                let call = Call::get(path).deadline(Duration::from_secs(1));
                admin.client.request_to(&address, call).await.ok().filter(|answer| answer.status.is_success())
            };
            let probe = async || {
                if ask("/readyz").await.is_none() {
                    return Ok(false);
                }
                let votes = |view: Value| matches!(view["role"].as_str(), Some("leader" | "follower"));
                let view = if vote { ask("/barque/v1/status").await } else { return Ok(true) };
                Ok(view.is_some_and(|answer| answer.json("the status").is_ok_and(votes)))
            };
            self.wait(&format!("{} ready", master.name), &master.name, progress, probe).await?;
        }
        Ok(())
    }

    async fn start_others(&mut self, admin: &Administrator, progress: &mut Progress) -> Result<(), Error> {
        progress.begin("other masters and nodes");
        // Where tokens are kept: the founder makes it as the first thing that it does as a leader.
        let founder = self.layout.masters[0].name.clone();
        let probe = async || Ok(admin.client.get("/api/v1/namespaces/kube-system").await.is_ok());
        self.wait("the system's namespace", &founder, progress, probe).await?;
        let addresses = self.layout.api_addresses();
        for master in self.layout.masters.clone().iter().skip(1) {
            let token_file = self.token_file(admin, Role::Master, &master.name).await?;
            // Only the founder is known to serve already; the others are still coming up.
            self.start_master(master, Some(JoinFile { masters: addresses[..1].to_vec(), token_file }))?;
        }
        for (position, node) in self.layout.nodes.clone().iter().enumerate() {
            let folder = layout::process_dir(&self.dir, &node.name);
            let mut masters = addresses.clone();
            let count = masters.len();
            masters.rotate_left(position % count);
            let file = NodeFile {
                name: Some(node.name.clone()),
                dir: Some(folder.clone()),
                masters,
                token_file: Some(self.token_file(admin, Role::Node, &node.name).await?),
                address: Some(node.address),
                port: Some(node.port),
                host_port_address: Some(node.address),
                gateway: Some(([127, 0, 0, 1], node.gateway).into()),
                runtime: Some(self.layout.runtime),
                share: u32::try_from(self.layout.nodes.len()).ok(),
                labels: std::collections::BTreeMap::new(),
            };
            let path = folder.join("config.json");
            if !self.members.is_running(&node.name) {
                config::write(&path, &file)?;
            }
            self.members.bring(&node.name, &["node", "--config", &path.display().to_string()])?;
        }
        let listen = format!("127.0.0.1:{}", self.layout.gateway);
        let kubeconfig = layout::kubeconfig_path(&self.dir).display().to_string();
        self.write_kubeconfig(admin)?;
        let arguments =
            ["gateway", "--masters", &addresses.join(","), "--listen", &listen, "--kubeconfig", &kubeconfig];
        self.members.bring(GATEWAY, &arguments)
    }

    /// A token in a file of the process that will use it; one that has joined already needs none.
    async fn token_file(&self, admin: &Administrator, role: Role, name: &str) -> Result<std::path::PathBuf, Error> {
        let folder = layout::process_dir(&self.dir, name);
        let path = folder.join("token");
        let joined = folder.join("master.json").exists() || folder.join("node.json").exists();
        if !joined && process::standing(&self.dir, name) == Standing::Gone {
            let token: Token = token::create(&admin.client, &admin.authority.serving()?, role, 1, 1).await?;
            identity::files::write_private(&path, token.expose().as_bytes())?;
        }
        Ok(path)
    }

    /// Waits until every agent serves and its node is Ready, and until the gateway serves.
    async fn wait_nodes(&mut self, admin: &Administrator, progress: &mut Progress) -> Result<(), Error> {
        progress.begin("nodes ready");
        for node in self.layout.nodes.clone() {
            let path = format!("/api/v1/nodes/{}", node.name);
            let agent = SocketAddr::new(node.address, node.port);
            let probe = async || {
                let call = Call::get(&path).deadline(Duration::from_secs(2));
                // A Node stays Ready for a while after its agent has ended.
                Ok(accepts(agent).await && admin.client.json(call).await.is_ok_and(|node| is_ready(&node)))
            };
            self.wait(&format!("{} ready", node.name), &node.name, progress, probe).await?;
        }
        let gateway = SocketAddr::from(([127, 0, 0, 1], self.layout.gateway));
        self.wait("the gateway", GATEWAY, progress, async || Ok(accepts(gateway).await)).await
    }

    /// Waits for a condition that a process must bring about, and for the process to run.
    async fn wait(
        &mut self,
        what: &str,
        name: &str,
        progress: &Progress,
        condition: impl AsyncFn() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        progress.news(what);
        let began = Instant::now();
        loop {
            // Any of them: a master is not ready without the others.
            self.members.revive()?;
            if self.members.is_running(name) && condition().await? {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Slow {
                    phase: what.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    hint: format!("its log may say why: {}", layout::log_path(&self.dir, name).display()),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn write_kubeconfig(&self, admin: &Administrator) -> Result<(), Error> {
        let path = layout::kubeconfig_path(&self.dir);
        let mut servers = vec![("barque".to_owned(), format!("127.0.0.1:{}", self.layout.gateway))];
        let addresses = self.layout.api_addresses();
        servers.extend(self.layout.masters.iter().map(|master| master.name.clone()).zip(addresses));
        write_kubeconfig(&path, servers, &admin.authority, admin.credential.clone())
    }
}

/// Writes an administrator's kubeconfig with a context for each server; the first is the default.
fn write_kubeconfig(
    path: &Path,
    servers: Vec<(String, String)>,
    authority: &Authority,
    credential: identity::Credential,
) -> Result<(), Error> {
    crate::kubeconfig::assemble(servers, authority, credential).and_then(|file: Kubeconfig| Ok(file.save(path)?))
}

/// Whether somebody accepts connections there.
async fn accepts(address: SocketAddr) -> bool {
    let connecting = tokio::net::TcpStream::connect(address);
    matches!(tokio::time::timeout(Duration::from_secs(1), connecting).await, Ok(Ok(_)))
}

/// Whether a Node object says that it is Ready.
pub fn is_ready(node: &Value) -> bool {
    node["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}
