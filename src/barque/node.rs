//! `barque node`: joins the cluster at its first start, then runs the node agent until a signal comes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Client, Endpoints};
use identity::{Credential, KeyRequest, ReloadableCert, Token, Trust, files, tls};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use crate::cli::{NodeArgs, RuntimeChoice};
use crate::config::{self, NodeFile};
use crate::{Error, process};

/// The agent's port, as a kubelet's.
const PORT: u16 = 10_250;

/// What a node knows about itself once it has joined.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    cluster: String,
    name: String,
    clients_authority: String,
    serving_authority: String,
    masters: Vec<String>,
}

/// Everything a node is told, flags and file taken together.
struct Settings {
    name: String,
    dir: PathBuf,
    masters: Vec<String>,
    token: Option<Token>,
    address: IpAddr,
    port: u16,
    host_port_address: Option<IpAddr>,
    gateway: Option<SocketAddr>,
    runtime: RuntimeChoice,
    share: u32,
    labels: BTreeMap<String, String>,
    join_deadline: Duration,
}

/// Runs the node.
pub async fn run(args: NodeArgs) -> Result<(), Error> {
    base::telemetry::init(base::telemetry::Format::Text, "info")?;
    let settings = settings(args)?;
    let mut signals = base::shutdown::signals()?;
    let shutdown = base::Shutdown::new();
    let record = match known(&settings.dir)? {
        Some(record) => {
            check_cluster(&settings, &record)?;
            record
        }
        None => {
            check_ports(&settings)?;
            join(&settings).await?
        }
    };
    let node = Node::assemble(&settings, &record).await?;
    let mut running =
        std::pin::pin!(agent::run(node.options, node.runtime, node.client, node.tls, shutdown.stopping()));
    tokio::select! {
        outcome = &mut running => return Ok(outcome?),
        signal = signals.next() => {
            process::announce_ending();
            info!(signal, "the agent stops; containers go on");
        }
    }
    shutdown.trigger();
    tokio::select! {
        outcome = running => Ok(outcome?),
        _ = signals.next() => Ok(()),
    }
}

/// The parts that an agent is run with.
struct Node {
    options: agent::Options,
    runtime: Arc<dyn runtime::Runtime>,
    client: Arc<Client>,
    tls: Arc<rustls::ServerConfig>,
}

impl Node {
    async fn assemble(settings: &Settings, record: &Record) -> Result<Self, Error> {
        let runtime = open_runtime(settings, record).await?;
        let own = |file: &str| {
            let path = settings.dir.join(file);
            let missing = || Error::file("read", &path)(std::io::ErrorKind::NotFound.into());
            let credential = Credential::load(&path)?.ok_or_else(missing)?;
            Ok::<_, Error>(ReloadableCert::new(credential)?)
        };
        let serving = Trust::from_pem(record.serving_authority.clone())?;
        let clients = Trust::from_pem(record.clients_authority.clone())?;
        let to_api = tls::api_client(&serving, Some(own("client.json")?))?;
        let tls = tls::agent_server(&clients, own("serving.json")?)?;
        let data = settings.dir.join("agent");
        let learnt = agent::read_masters(&data);
        let kept = if learnt.is_empty() {
            record.masters.iter().filter_map(|text| text.parse().ok()).collect::<Vec<Address>>()
        } else {
            learnt
        };
        let configured = settings.masters.iter().map(|text| text.parse()).collect::<Result<Vec<Address>, _>>()?;
        let client = Client::new(Endpoints::restore(kept, configured)?, Arc::clone(&to_api));
        let listen = SocketAddr::new(settings.address, settings.port);
        let mut options = agent::Options::new(&record.name, &record.cluster, data, listen, settings.address);
        options.labels = settings.labels.clone();
        options.share = settings.share;
        options.host_port_address = settings.host_port_address;
        options.gateway = settings.gateway.map(|listen| agent::GatewayOptions { listen, tls: to_api });
        Ok(Self { options, runtime, client: Arc::new(client), tls })
    }
}

async fn open_runtime(settings: &Settings, record: &Record) -> Result<Arc<dyn runtime::Runtime>, Error> {
    let options = runtime::Options {
        backend: settings.runtime.backend(),
        scope: runtime::Scope::new(&record.cluster, &record.name)?,
        docker_host: None,
        sim_folder: sim_folder(&settings.dir),
    };
    Ok(runtime::connect(options).await?)
}

/// Where simulated containers of the node in `dir` are kept.
pub fn sim_folder(dir: &Path) -> PathBuf {
    dir.join("sim")
}

fn settings(args: NodeArgs) -> Result<Settings, Error> {
    let file: NodeFile = args.config.as_deref().map(config::read).transpose()?.unwrap_or_default();
    let dir = args.dir.or(file.dir).unwrap_or_else(|| "/var/lib/barque/node".into());
    let joined = dir.join("node.json").exists();
    let token = match (args.token, file.token_file) {
        (Some(text), _) => Some(text.parse()?),
        // A node that is in already needs no token, and its file may be gone; if not, it tells the cluster.
        (None, Some(path)) if joined => config::read_token(&path).ok(),
        (None, Some(path)) => Some(config::read_token(&path)?),
        (None, None) => None,
    };
    let masters = if args.masters.is_empty() { file.masters } else { args.masters };
    if masters.is_empty() {
        return Err(Error::Usage(
            "name the masters: --masters HOST:PORT,HOST:PORT,HOST:PORT, or `masters` in the file".into(),
        ));
    }
    let name = match args.name.or(file.name) {
        Some(name) => name,
        None => host_name()?,
    };
    let address = match args.address.or(file.address) {
        Some(address) => address,
        None => default_address()?,
    };
    Ok(Settings {
        name,
        dir,
        masters,
        token,
        address,
        port: file.port.unwrap_or(PORT),
        host_port_address: file.host_port_address,
        gateway: file.gateway,
        runtime: args.runtime.or(file.runtime).unwrap_or(RuntimeChoice::Auto),
        share: file.share.unwrap_or(1),
        labels: file.labels,
        join_deadline: Duration::from_secs(u64::from(args.join_seconds)),
    })
}

/// A port that somebody else holds is told before a token is spent; the agent binds for good later.
fn check_ports(settings: &Settings) -> Result<(), Error> {
    let agent = ("the agent", SocketAddr::new(settings.address, settings.port));
    let gateway = settings.gateway.map(|address| ("the gateway", address));
    for (what, address) in std::iter::once(agent).chain(gateway) {
        TcpListener::bind(address).map_err(|source| Error::Listen { what, address, source })?;
    }
    Ok(())
}

fn known(dir: &Path) -> Result<Option<Record>, Error> {
    let path = dir.join("node.json");
    if path.exists() { config::read(&path).map(Some) } else { Ok(None) }
}

/// Refuses a folder of another cluster than the one whose token this node was given.
fn check_cluster(settings: &Settings, record: &Record) -> Result<(), Error> {
    let own = Trust::from_pem(record.serving_authority.clone())?.hash()?;
    match &settings.token {
        Some(token) if token.authority_hash() != own => {
            Err(Error::OtherCluster { dir: settings.dir.clone(), cluster: record.cluster.clone() })
        }
        _ => Ok(()),
    }
}

/// Asks the cluster for certificates. The record is written last, so that half a folder counts as none.
async fn join(settings: &Settings) -> Result<Record, Error> {
    let token = settings.token.as_ref().ok_or_else(|| {
        Error::Usage("this node has not joined yet: give --token TOKEN (see `barque token create --role node`)".into())
    })?;
    // Kept until the answer is: a node that has to ask again must be known by its keys, its token may be used up.
    let asked = ["joining-client.pem", "joining-serving.pem"].map(|file| settings.dir.join(file));
    let [client_key, serving_key] = [0, 1].map(|which| KeyRequest::kept(&asked[which], &settings.name));
    let (client_key, serving_key) = (client_key?, serving_key?);
    let request = json!({
        "role": "node", "name": settings.name,
        "csr": client_key.request_pem(), "servingCsr": serving_key.request_pem(),
    });
    let endpoints = Endpoints::parse(&settings.masters.join(","))?;
    let answer = client::join(&endpoints, token, &request, settings.join_deadline).await?;
    let text = |field: &'static str| answer[field].as_str().map(str::to_owned).ok_or(Error::JoinAnswer(field));
    client_key.complete(text("certificate")?)?.save(&settings.dir.join("client.json"))?;
    serving_key.complete(text("servingCertificate")?)?.save(&settings.dir.join("serving.json"))?;
    let masters = answer["masters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let record = Record {
        version: 1,
        cluster: text("cluster")?,
        name: settings.name.clone(),
        clients_authority: text("clientsAuthority")?,
        serving_authority: text("servingAuthority")?,
        masters: masters.iter().filter_map(|master| master.as_str().map(str::to_owned)).collect(),
    };
    let path = settings.dir.join("node.json");
    let bytes = serde_json::to_vec_pretty(&record)
        .map_err(|error| Error::Parse { path: path.clone(), reason: error.to_string() })?;
    files::write_private(&path, &bytes)?;
    for file in asked {
        // A leftover would do no harm.
        let _ = std::fs::remove_file(file);
    }
    info!(node = %record.name, cluster = %record.cluster, "joined");
    Ok(record)
}

fn host_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname().map_err(|errno| {
        Error::file("read", Path::new("the host name"))(std::io::Error::from_raw_os_error(errno as i32))
    })?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// The address that the default route would use; nothing is sent.
fn default_address() -> Result<IpAddr, Error> {
    // TEST-NET-1: only the route to it is looked up.
    const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    found
        .map(|address| address.ip())
        .map_err(|error| Error::Usage(format!("this machine's own address is not known ({error}): give --address")))
}
