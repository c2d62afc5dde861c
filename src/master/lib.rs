//! One master, assembled: it founds, joins or resumes a cluster, serves the API, and runs the leader's duties while it
//! leads. Nothing is decided here; every part is built elsewhere and wired here.

mod certificates;
mod cluster;
mod error;
mod join;
mod membership;
mod record;
mod tenure;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Stopping;
use consensus::{Consensus, Member};
use identity::Authority;
use storage::Storage;
use store::{Liveness, Proposer, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};

pub use consensus::Timers;
pub use error::Error;
pub use record::Record;

/// How long a stopping leader may take to hand over. Longer than that and an election is quicker.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long requests in flight may take once the master stops.
const DRAIN: Duration = Duration::from_secs(5);
/// The same once its log has failed: what is in flight can be told so, and no more.
const DRAIN_FAILED: Duration = Duration::from_millis(500);

/// A port: where it is bound, and under which address others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` as the others know it.
    pub advertise: String,
}

/// How a master that has no data yet finds its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinOptions {
    /// API addresses of masters, in any order, any of them down.
    pub masters: Vec<String>,
    /// A join token for masters.
    pub token: identity::Token,
    /// How long joining may take: an election may be under way, or the masters still coming up.
    pub deadline: Duration,
}

/// Everything a master is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the master, as `status` shows it.
    pub name: String,
    /// Data folder; this master's alone.
    pub dir: PathBuf,
    /// The API port.
    pub api: Port,
    /// The port for other masters.
    pub peers: Port,
    /// Further names and addresses that the API certificate is to be valid for.
    pub names: Vec<String>,
    /// How to join a cluster when the folder is empty; none founds a new one.
    pub join: Option<JoinOptions>,
    /// Heartbeat and election timers.
    pub timers: Timers,
    /// How many log entries lie between two snapshots.
    pub snapshot_every: u64,
    /// After how long a silent node is NotReady.
    pub node_grace: Duration,
}

/// Two parts of a master that a proof may replace by faulty ones. Nothing that a user can configure leads here.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Opens the data folder's database.
    pub open: fn(&Path) -> Result<Storage, storage::Error>,
    /// Stands between the store and consensus.
    pub proposer: fn(Arc<dyn Proposer>) -> Arc<dyn Proposer>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { open: Storage::open, proposer: |own| own }
    }
}

/// Runs a master until `stopping`; `up` fires once it serves.
///
/// # Errors
/// [`Error`] when it cannot start, or when its log or its API ends before its time.
pub async fn run(options: Options, up: oneshot::Sender<Record>, stopping: Stopping) -> Result<(), Error> {
    run_with(options, Parts::default(), up, stopping).await
}

/// As [`run`], of these parts.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    options: Options,
    parts: Parts,
    up: oneshot::Sender<Record>,
    stopping: Stopping,
) -> Result<(), Error> {
    let api_listener = bind("API", options.api.listen).await?;
    let peers_listener = bind("peers", options.peers.listen).await?;
    let (mut record, authority) = match record::load(&options.dir)? {
        Some(known) => known,
        None => membership::found_or_join(&options).await?,
    };
    let authority = Arc::new(authority);
    let certificates = certificates::Certificates::issue(&authority, &record, &options)?;

    let (fatal, mut failed) = tokio::sync::mpsc::channel::<String>(1);
    let data = options.dir.join("data");
    if record.begun {
        Storage::must_exist(&data)?;
    }
    let serving_authority = authority.serving()?.pem().to_owned();
    let seal = Arc::new(authority.signing_seal()?);
    let storage = (parts.open)(&data)?;
    let liveness = Arc::new(Liveness::default());
    let member = Member {
        name: options.name.clone(),
        peer: options.peers.advertise.clone(),
        api: format!("https://{}", options.api.advertise),
    };
    let (consensus, replica) = Consensus::start(
        consensus::Options {
            cluster: record.cluster.clone(),
            id: record.id,
            member,
            listener: peers_listener,
            tls_server: certificates.peer_server.clone(),
            tls_client: certificates.peer_client.clone(),
            timers: options.timers.clone(),
            snapshot_every: options.snapshot_every,
            incarnation: base::random::u128(),
            fatal: Arc::new(move |reason: String| {
                // A full channel already holds a reason to end.
                let _ = fatal.try_send(reason);
            }),
        },
        storage,
        Arc::clone(&liveness),
    )
    .await?;
    if let Err(error) = begin(&options.dir, &mut record, &consensus).await {
        // Its threads hold the data folder, and the process is about to end.
        consensus.shutdown().await;
        return Err(error);
    }
    let store = Store::new(replica, (parts.proposer)(consensus.clone()));
    let observed = Arc::new(controllers::Observed::default());
    let serving = cluster::Serving::new(
        Arc::clone(&consensus),
        store.clone(),
        Arc::clone(&authority),
        Arc::clone(&observed),
        Arc::clone(&seal),
        &certificates,
    );

    // The API outlives the leader's duties: while this master hands over, requests in flight still find a leader.
    let duties = stopping.child();
    let api = base::Shutdown::new();
    let tenure = base::task::spawn(
        "tenure",
        tenure::keep(tenure::Duties {
            leadership: consensus.leadership(),
            store: store.clone(),
            consensus: Arc::clone(&consensus),
            liveness,
            node_grace: options.node_grace,
            observed,
            serving_authority,
            seal,
            stopping: duties.stopping(),
        }),
    );
    let renewal =
        base::task::spawn("certificates", certificates.clone().keep_fresh(Arc::clone(&authority), stopping.clone()));
    let served = base::task::spawn(
        "api",
        apiserver::serve(
            apiserver::Options::default(),
            api_listener,
            certificates.api_server.clone(),
            store,
            Arc::clone(&serving) as Arc<dyn apiserver::Cluster>,
            api.stopping(),
        ),
    );
    let mut served = std::pin::pin!(served.join());
    info!(master = %options.name, id = record.id, api = %options.api.advertise, cluster = %record.cluster, "this master serves");
    // Nobody need be waiting for the news.
    let _ = up.send(record);

    let outcome = tokio::select! {
        () = stopping.stopped() => Ok(()),
        reason = failed.recv() => Err(Error::Log(reason.unwrap_or_else(|| "the log ended".into()))),
        ending = &mut served => Err(Error::Api(format!("{ending:?}"))),
    };
    serving.drain();
    duties.trigger();
    tenure.join().await;
    if outcome.is_ok()
        && let Err(error) = consensus.handover(tokio::time::Instant::now() + HANDOVER).await
    {
        warn!(%error, "stopping without a handover: the others hold an election");
    }
    api.trigger();
    let drain = if outcome.is_ok() { DRAIN } else { DRAIN_FAILED };
    if tokio::time::timeout(drain, served).await.is_err() {
        warn!("requests in flight are cut off");
    }
    renewal.abort_and_join().await;
    consensus.shutdown().await;
    outcome
}

/// Notes that the log has begun; a founder's begins with its membership.
async fn begin(dir: &Path, record: &mut Record, consensus: &Consensus) -> Result<(), Error> {
    record::begin(dir, record)?;
    if record.founder {
        consensus.initialize().await?;
    }
    Ok(())
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { what, address, source })
}

/// The kubeconfig of an administrator, issued by the master whose folder this is.
///
/// # Errors
/// [`Error::NoMaster`] when the folder holds none; [`Error::Identity`] when its authority cannot issue.
pub fn administrator(dir: &Path) -> Result<(Authority, identity::Credential), Error> {
    let (_, authority) = record::load(dir)?.ok_or_else(|| Error::NoMaster(dir.to_owned()))?;
    let credential = authority.administrator("admin")?;
    Ok((authority, credential))
}

/// The id of the cluster that the master in this folder belongs to; `None` when there is none.
pub fn cluster_of(dir: &Path) -> Option<String> {
    record::load(dir).ok().flatten().map(|(record, _)| record.cluster)
}
