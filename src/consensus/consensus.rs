//! One master's part in the cluster's log: starts everything, and is what others hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Shutdown, Stopping, TaskGroup};
use openraft::error::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use state::{Command, Revision};
use storage::{Closed, Owner, Storage};
use store::{Liveness, Replica};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::commits::{self, Commits};
use crate::contact::Contact;
use crate::counters::Counters;
use crate::durability::Durability;
use crate::forward::{self, Forwarder};
use crate::leadership::{self, Leadership, Tenure};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::network::Peers;
use crate::network::peer::{Caller, Peer};
use crate::network::raft::Network;
use crate::network::server::{self, Server};
use crate::read_index::{self, Reads};
use crate::types::{LogId, Payload, Raft};
use crate::writer::{Tools, Writer};
use crate::{Error, Member, Options, Status, Timers, election, handover, membership, requests, status};

/// Entries sent in one append; `log_store` bounds their bytes.
const APPEND_ENTRIES_MAX: u64 = 64;
/// Bytes of a snapshot sent at once.
const SNAPSHOT_CHUNK_BYTES: u64 = 1 << 20;
/// How long one chunk of a snapshot may take; the last one includes writing the whole state.
const SNAPSHOT_CHUNK_DEADLINE: Duration = Duration::from_secs(60);
/// How long raft may take to stop; it then ends with the process.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// One master's part in the cluster's log. Dropping it stops everything at once, as a crash would, but for the files.
pub struct Consensus {
    inner: Arc<Inner>,
    scope: Shutdown,
    tasks: Mutex<Option<TaskGroup>>,
    closed: Closed,
}

/// What all loops share.
pub struct Inner {
    pub id: u64,
    pub incarnation: u128,
    pub timers: Timers,
    pub raft: Raft,
    pub peers: Arc<Peers>,
    pub applied: watch::Receiver<u64>,
    pub leadership: watch::Sender<Leadership>,
    pub tenure: Mutex<Option<Tenure>>,
    pub liveness: Arc<Liveness>,
    pub contact: Arc<Contact>,
    pub counters: Arc<Counters>,
    pub reads: Reads,
    pub forwarder: Forwarder,
    pub commits: Commits,
    /// One change of members at a time.
    pub changing: tokio::sync::Mutex<()>,
    /// Appends of this term get no answer.
    #[cfg(test)]
    pub deaf_to: std::sync::atomic::AtomicU64,
    pub stopping: Stopping,
    member: Member,
}

impl Consensus {
    /// Loads what is on disk, which must be this master's own, and joins in. The replica is this master's copy of the state.
    ///
    /// # Errors
    /// [`Error::Timers`]; [`Error::Storage`], [`Error::State`] and [`Error::Record`] when the disk does not give back
    /// what it should; [`Error::Stopped`] when raft does not start.
    pub async fn start(
        options: Options,
        storage: Storage,
        liveness: Arc<Liveness>,
    ) -> Result<(Arc<Self>, Arc<Replica>), Error> {
        let closed = storage.closed();
        let started = Self::start_with(options, storage, liveness).await;
        // Whoever is refused ends the process soon; it would be aborted in the middle of RocksDB's own clean-up.
        if started.is_err() {
            released(closed).await;
        }
        started
    }

    async fn start_with(
        options: Options,
        storage: Storage,
        liveness: Arc<Liveness>,
    ) -> Result<(Arc<Self>, Arc<Replica>), Error> {
        options.timers.check()?;
        let (scope, closed) = (Shutdown::new(), storage.closed());
        let (counters, durability) = (Arc::new(Counters::default()), Arc::new(Durability::default()));
        let tools = Tools {
            storage: storage.clone(),
            durability: Arc::clone(&durability),
            counters: Arc::clone(&counters),
            fatal: Arc::clone(&options.fatal),
        };
        let writer = Writer::start(tools).map_err(|error| Error::Stopped(format!("no thread for the log: {error}")))?;
        let loading = (storage.clone(), writer.clone(), Arc::clone(&durability), Arc::clone(&counters));
        let owner = Owner { cluster: options.cluster.clone(), id: options.id };
        let loaded = tokio::task::spawn_blocking(move || {
            loading.0.claim(&owner)?;
            Machine::load(loading.0, loading.1, loading.2, loading.3)
        })
        .await;
        let (machine, replica, applied) =
            loaded.map_err(|error| Error::Stopped(format!("loading the state: {error}")))??;
        let log = LogStore::new(options.id, storage, writer, Arc::clone(&durability));
        let caller = Caller { cluster: options.cluster.clone(), id: options.id, tls: Arc::clone(&options.tls_client) };
        let peers = Peers::new(caller, scope.stopping());
        let network =
            Network { id: options.id, peers: Arc::clone(&peers), durability, backoff: options.timers.heartbeat };
        let config = raft_config(&options)?;
        let raft = Raft::new(options.id, Arc::new(config), network, log, machine)
            .await
            .map_err(|error| Error::Stopped(error.to_string()))?;
        let (reads, reads_queue) = Reads::new();
        let (forwarder, forward_queue) = Forwarder::new();
        let inner = Arc::new(Inner {
            id: options.id,
            incarnation: options.incarnation,
            timers: options.timers,
            raft,
            peers,
            applied,
            leadership: watch::channel(Leadership::Follower { leader: None }).0,
            tenure: Mutex::default(),
            liveness,
            contact: Arc::default(),
            counters,
            reads,
            forwarder,
            commits: Commits::default(),
            #[cfg(test)]
            deaf_to: Default::default(),
            changing: tokio::sync::Mutex::default(),
            stopping: scope.stopping(),
            member: options.member,
        });
        let answering = Arc::downgrade(&inner);
        let server = Arc::new(Server {
            cluster: options.cluster,
            id: options.id,
            tls: options.tls_server,
            answer: Arc::new(move |from, request| Box::pin(requests::answer(answering.clone(), from, request))),
        });
        let fatal = options.fatal;
        let told = Arc::clone(&fatal);
        let tasks = TaskGroup::new("consensus").on_fatal(move |name, ending| told(format!("{name}: {ending:?}")));
        tasks.spawn_critical("peers", until(scope.stopping(), server::serve(server, options.listener)));
        tasks.spawn_critical("leadership", until(scope.stopping(), leadership::keep(Arc::clone(&inner))));
        tasks.spawn_critical("election", until(scope.stopping(), election::keep(Arc::clone(&inner))));
        tasks.spawn_critical("membership", until(scope.stopping(), membership::keep(Arc::clone(&inner))));
        tasks.spawn_critical("reads", until(scope.stopping(), read_index::keep(Arc::clone(&inner), reads_queue)));
        tasks.spawn_critical("commits", until(scope.stopping(), commits::keep(Arc::clone(&inner))));
        tasks.spawn_critical("forward", until(scope.stopping(), forward::keep(Arc::clone(&inner), forward_queue)));
        tasks.spawn("watchdog", until(scope.stopping(), watchdog(inner.raft.clone(), fatal)));
        Ok((Arc::new(Self { inner, scope, tasks: Mutex::new(Some(tasks)), closed }), replica))
    }

    /// Founds the cluster with this master as its only voter. Does nothing when the log is not empty.
    ///
    /// # Errors
    /// [`Error::Stopped`] when raft has ended.
    pub async fn initialize(&self) -> Result<(), Error> {
        let members = BTreeMap::from([(self.inner.id, self.inner.member.clone())]);
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(Error::Stopped(error.to_string())),
        }
    }

    /// Who leads. Changes wake the receiver.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// Lets a master in under an id that was never used; it becomes a voter when it has caught up.
    ///
    /// # Errors
    /// [`Error::Refused`] when the id is another master's; [`Error::Unavailable`] without a leader.
    pub async fn admit(&self, id: u64, member: Member) -> Result<(), Error> {
        membership::admit(&self.inner, id, member).await
    }

    /// Takes a master out for good.
    ///
    /// # Errors
    /// [`Error::Refused`] when that would cost the quorum, or for the leader itself; [`Error::Unavailable`] without a
    /// leader.
    pub async fn remove(&self, id: u64) -> Result<(), Error> {
        membership::remove(&self.inner, id).await
    }

    /// As the leader: forgets history up to and including a revision, on every master.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`] when this master does not lead, [`store::Error::Unknown`] when it lost the lead
    /// meanwhile.
    pub async fn compact(&self, until: Revision) -> Result<(), store::Error> {
        if self.inner.tenure().is_none() {
            return Err(store::Error::Unavailable("this master does not lead".into()));
        }
        let payload = Payload::new(Command::Compact { until }).map_err(Error::from)?;
        let written = self.inner.raft.client_write_ff(payload).await;
        let written = written.map_err(|error| store::Error::Unavailable(error.to_string()))?;
        match timeout(store::DEADLINE, written).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(store::Error::Unknown(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(store::Error::Unknown("no answer in time".into())),
        }
    }

    /// Hands the lead over, if this master has it; call it before [`Consensus::shutdown`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no other master took it over by the deadline.
    pub async fn handover(&self, deadline: Instant) -> Result<(), Error> {
        handover::run(&self.inner, deadline).await
    }

    /// This master's view of the cluster; never waits.
    pub fn status(&self) -> Status {
        status::status(&self.inner)
    }

    /// Counters in the Prometheus text format.
    pub fn metrics(&self) -> String {
        let status = self.status();
        format!(
            "{}# TYPE barque_raft_term gauge\nbarque_raft_term {}\n# TYPE barque_raft_leader gauge\nbarque_raft_leader {}\n\
             # TYPE barque_raft_applied_index gauge\nbarque_raft_applied_index {}\n\
             # TYPE barque_raft_last_log_index gauge\nbarque_raft_last_log_index {}\n",
            self.inner.counters.render(),
            status.term,
            u8::from(status.token.is_some()),
            status.last_applied,
            status.last_log,
        )
    }

    /// Stops everything and waits for it. What was acknowledged is on disk.
    pub async fn shutdown(&self) {
        self.scope.trigger();
        let tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(tasks) = tasks {
            tasks.abort_and_join().await;
        }
        self.inner.leave();
        if timeout(STOP_DEADLINE, self.inner.raft.shutdown()).await.is_err() {
            warn!("raft did not stop in time");
        }
        released(self.closed.clone()).await;
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

/// Waits until the data folder is released.
async fn released(closed: Closed) {
    let waited = tokio::task::spawn_blocking(move || closed.wait(STOP_DEADLINE)).await;
    if !waited.unwrap_or(false) {
        warn!("the data folder is not released yet");
    }
}

impl Drop for Consensus {
    fn drop(&mut self) {
        self.scope.trigger();
        self.inner.leave();
    }
}

impl Inner {
    /// Shows the leadership; wakes nobody when it is the same.
    pub fn show(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|shown| {
            let changed = *shown != leadership;
            *shown = leadership;
            changed
        });
    }

    /// The connection to a member.
    pub fn peer(&self, id: u64) -> Option<Arc<Peer>> {
        let metrics = self.raft.metrics();
        let seen = metrics.borrow();
        let member = seen.membership_config.membership().get_node(&id)?;
        Some(self.peers.get(id, &member.peer))
    }

    /// The last entry of the log, as raft last said.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.raft.data_metrics().borrow().last_log
    }

    /// Ends a tenure from outside: this master stops.
    fn leave(&self) {
        let tenure = self.tenure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        self.show(Leadership::Follower { leader: None });
        if let Some(tenure) = tenure {
            tenure.coalescer.close("this master is stopping");
        }
    }
}

/// Ends with the scope.
async fn until(stopping: Stopping, work: impl Future<Output = ()>) {
    // Nothing to hand back either way.
    let _ = stopping.unless(work).await;
}

/// Raft answers nothing after a disk error, and must not look alive.
async fn watchdog(raft: Raft, fatal: Arc<dyn Fn(String) + Send + Sync>) {
    let mut metrics = raft.metrics();
    let reason = match metrics.wait_for(|seen| seen.running_state.is_err()).await {
        Ok(seen) => seen.running_state.as_ref().err().map_or_else(String::new, ToString::to_string),
        Err(_) => "its core is gone".into(),
    };
    fatal(format!("raft has stopped: {reason}"));
}

fn raft_config(options: &Options) -> Result<Config, Error> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: options.cluster.clone(),
        heartbeat_interval: ms(options.timers.heartbeat),
        election_timeout_min: ms(options.timers.election_min),
        election_timeout_max: ms(options.timers.election_max),
        install_snapshot_timeout: ms(SNAPSHOT_CHUNK_DEADLINE),
        max_payload_entries: APPEND_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        // A follower that is behind is served from the log until it is far behind, also while a snapshot is being sent.
        replication_lag_threshold: options.snapshot_every.saturating_mul(2),
        max_in_snapshot_log_to_keep: options.snapshot_every,
        purge_batch_size: (options.snapshot_every / 4).max(1),
        // See `election`.
        enable_elect: false,
        ..Config::default()
    };
    config.validate().map_err(|error| Error::Timers(error.to_string()))
}
