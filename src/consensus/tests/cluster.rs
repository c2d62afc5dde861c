//! The cluster that the tests play with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use identity::{Authority, ReloadableCert, tls};
use objects::{Key, Object, kind};
use serde_json::json;
use state::{Change, Committed, Origin, Precondition, RequestId, State, Transaction};
use storage::{Closed, Storage};
use store::{Liveness, Proposer, Replica, Store};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::types::LogId;
use crate::{Consensus, Leadership, Member, Options, Role, Timers, codec};

/// Longer than anything here takes on a busy machine; only a fault gets there.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

pub fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + PATIENCE
}

pub struct Cluster {
    folder: tempfile::TempDir,
    authority: Authority,
    snapshot_every: u64,
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub id: u64,
    dir: PathBuf,
    address: SocketAddr,
    running: Option<Running>,
    pub fatal: Arc<Mutex<Vec<String>>>,
}

pub struct Running {
    pub consensus: Arc<Consensus>,
    pub replica: Arc<Replica>,
    pub store: Store,
    pub liveness: Arc<Liveness>,
    storage: Storage,
    closed: Closed,
    runtime: Runtime,
}

/// Holds a master's threads until it is dropped.
pub struct Frozen {
    _release: mpsc::Sender<()>,
}

impl Cluster {
    /// A cluster of `count` masters, all of them voters.
    pub fn new(count: u64) -> Self {
        Self::with_snapshots(count, 10_000)
    }

    pub fn with_snapshots(count: u64, snapshot_every: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::generate("test").unwrap();
        let mut cluster = Self { folder, authority, snapshot_every, nodes: Vec::new() };
        cluster.add();
        cluster.nodes[0].block_on(|node| async move { node.initialize().await.unwrap() });
        wait_until("the founder leads", || cluster.leader().is_some());
        for _ in 1..count {
            cluster.join();
        }
        wait_until("all masters know that all vote", || {
            cluster.running().all(|node| {
                let status = node.live().consensus.status();
                !status.changing && status.members.iter().filter(|member| member.voter).count() as u64 == count
            })
        });
        cluster
    }

    /// Starts another master, which is not yet in the cluster.
    pub fn add(&mut self) -> usize {
        let id = self.nodes.len() as u64 + 1;
        let dir = self.folder.path().join(format!("m{id}"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        self.nodes.push(Node { id, dir, address, running: None, fatal: Arc::default() });
        let position = self.nodes.len() - 1;
        self.start(position);
        position
    }

    /// Starts another master and lets it in, through the last one.
    pub fn join(&mut self) -> usize {
        let through = self.nodes.len() - 1;
        let position = self.add();
        let (id, member) = (self.nodes[position].id, self.nodes[position].member());
        wait_until("it is let in", || {
            let member = member.clone();
            self.nodes[through].block_on(|node| async move { node.admit(id, member).await.is_ok() })
        });
        position
    }

    pub fn start(&mut self, position: usize) {
        let node = &mut self.nodes[position];
        assert!(node.running.is_none());
        let mut opened = None;
        wait_until("the folder is free", || {
            opened = Storage::open(&node.dir).ok();
            opened.is_some()
        });
        let storage = opened.unwrap();
        // One worker, so that holding it freezes everything.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut listener = None;
        wait_until("the port is free", || {
            listener = runtime.block_on(TcpListener::bind(node.address)).ok();
            listener.is_some()
        });
        let listener = listener.unwrap();
        node.address = listener.local_addr().unwrap();
        let peer = ReloadableCert::new(self.authority.master_peer(node.id).unwrap()).unwrap();
        let trust = self.authority.peers().unwrap();
        let fatal = Arc::clone(&node.fatal);
        let options = Options {
            cluster: "test".into(),
            id: node.id,
            member: node.member(),
            listener,
            tls_server: tls::peer_server(&trust, Arc::clone(&peer)).unwrap(),
            tls_client: tls::peer_client(&trust, peer).unwrap(),
            timers: Timers::default(),
            snapshot_every: self.snapshot_every,
            incarnation: base::random::u128(),
            fatal: Arc::new(move |reason| fatal.lock().unwrap().push(reason)),
        };
        let (liveness, closed) = (Arc::new(Liveness::default()), storage.closed());
        let starting = Consensus::start(options, storage.clone(), Arc::clone(&liveness));
        let (consensus, replica) = runtime.block_on(starting).unwrap();
        let store = Store::new(Arc::clone(&replica), Arc::clone(&consensus) as Arc<dyn Proposer>);
        node.running = Some(Running { consensus, replica, store, liveness, storage, closed, runtime });
    }

    /// The one master that leads and that all running ones agree on.
    pub fn leader(&self) -> Option<usize> {
        let mut leaders = self.running().filter(|node| node.token().is_some());
        let leader = leaders.next()?.id;
        let agreed = leaders.next().is_none()
            && self.running().all(|node| node.live().consensus.status().leader == Some(leader));
        agreed.then(|| usize::try_from(leader).unwrap() - 1)
    }

    pub fn wait_leader(&self) -> usize {
        wait_until("a leader", || self.leader().is_some());
        self.leader().unwrap_or_else(|| self.wait_leader())
    }

    pub fn followers(&self) -> Vec<usize> {
        self.followers_of(self.wait_leader())
    }

    /// All running ones but one.
    pub fn followers_of(&self, leader: usize) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|position| *position != leader && self.nodes[*position].running.is_some())
            .collect()
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.running.is_some())
    }

    pub fn voters(&self, position: usize) -> Vec<u64> {
        let members = self.nodes[position].live().consensus.status().members;
        members.iter().filter(|member| member.voter).map(|member| member.id).collect()
    }

    pub fn term(&self) -> u64 {
        self.running().map(|node| node.live().consensus.status().term).max().unwrap()
    }

    /// Waits until all running masters hold the same state, and checks that they do.
    pub fn settle(&self) -> State {
        let states = || self.running().map(|node| node.live().replica.current()).collect::<Vec<_>>();
        wait_until("all masters hold the same state", || {
            let states = states();
            states.iter().all(|state| state.revision() == states[0].revision())
        });
        let states = states();
        for state in &states {
            assert_eq!(state.chain(), states[0].chain(), "masters at one revision must hold the same");
        }
        states.into_iter().next().unwrap()
    }
}

impl Node {
    pub fn member(&self) -> Member {
        Member { name: format!("m{}", self.id), peer: self.address.to_string(), api: format!("https://m{}", self.id) }
    }

    pub fn live(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// First and last index of the log on its disk, and the last index that was purged from it.
    pub fn log_on_disk(&self) -> (u64, u64, u64) {
        let storage = &self.live().storage;
        let (first, last) = storage.log_bounds().unwrap().expect("a log");
        let purged = storage.last_purged().unwrap().map_or(0, |bytes| {
            let purged: LogId = codec::decode("the last purged log id", &bytes).unwrap();
            purged.index
        });
        (first, last, purged)
    }

    /// Bytes of its newest snapshot.
    pub fn snapshot_bytes(&self) -> u64 {
        let newest = self.live().storage.snapshots().latest().unwrap();
        newest.map_or(0, |path| std::fs::metadata(path).unwrap().len())
    }

    /// Turns one bit of its newest snapshot over, `from_start` bytes behind the start of the file or in its middle.
    pub fn damage_snapshot(&self, from_start: Option<usize>) {
        let path = self.live().storage.snapshots().latest().unwrap().expect("a snapshot");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = from_start.unwrap_or(bytes.len() / 2);
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    /// Bytes of the largest file that it is writing aside: a snapshot on its way.
    pub fn receiving(&self) -> u64 {
        let folder = self.live().storage.snapshots().aside();
        let files = std::fs::read_dir(folder.parent().unwrap()).unwrap().map(|file| file.unwrap());
        let aside = files.filter(|file| file.path().extension().is_some_and(|end| end == "tmp"));
        // One that has just become a snapshot has no length any more.
        aside.filter_map(|file| Some(file.metadata().ok()?.len())).max().unwrap_or(0)
    }

    /// How many snapshots of a leader it has installed.
    pub fn snapshots_installed(&self) -> u64 {
        let text = self.live().consensus.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix("barque_raft_snapshots_installed_total "));
        line.expect("counted").parse().unwrap()
    }

    /// Takes its database away: the next file that it creates there fails.
    pub fn break_disk(&self) {
        std::fs::remove_dir_all(self.dir.join("db")).unwrap();
    }

    pub fn block_on<F: Future>(&self, work: impl FnOnce(Arc<Consensus>) -> F) -> F::Output {
        let live = self.live();
        live.runtime.block_on(work(Arc::clone(&live.consensus)))
    }

    pub fn spawn<F>(&self, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.live().runtime.spawn(work)
    }

    pub fn token(&self) -> Option<state::Token> {
        match *self.live().consensus.leadership().borrow() {
            Leadership::Leader { token } => Some(token),
            Leadership::Follower { .. } => None,
        }
    }

    pub fn role(&self) -> Role {
        self.live().consensus.status().role
    }

    /// Ends it like a crash: no goodbye, nothing flushed that was not.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").end();
    }

    /// Stops its threads, as SIGSTOP would.
    pub fn freeze(&self) -> Frozen {
        let (release, hold) = mpsc::channel::<()>();
        let (entered, holding) = mpsc::channel::<()>();
        self.spawn(async move {
            entered.send(()).unwrap();
            // Ends when the sender is dropped.
            let _ = hold.recv();
        });
        holding.recv().unwrap();
        Frozen { _release: release }
    }

    pub fn write(&self, name: &str, data: &str) -> Result<Committed, store::Error> {
        self.propose(put(base::random::u128(), name, data))
    }

    pub fn propose(&self, transaction: Transaction) -> Result<Committed, store::Error> {
        self.block_on(|node| async move { node.propose(transaction, soon()).await })
    }

    /// A linearizable read.
    pub fn read(&self, name: &str) -> Option<serde_json::Value> {
        let store = self.live().store.clone();
        let state = self.block_on(|_| async move { store.fresh(soon()).await }).unwrap();
        state.get(&key(name)).map(|stored| stored.to_value().unwrap()["data"]["k"].clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

impl Running {
    fn end(self) {
        let Self { consensus, replica, store, storage, closed, runtime, .. } = self;
        drop((consensus, replica, store, storage));
        runtime.shutdown_timeout(PATIENCE);
        assert!(closed.wait(PATIENCE), "the data folder must be released");
    }
}

pub fn key(name: &str) -> Key {
    Key::new("configmaps", "d", name)
}

pub fn object(name: &str, data: &str) -> Arc<Object> {
    let kind = kind::by_kind("v1", "ConfigMap").expect("served");
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": data},
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
    });
    Arc::new(Object::new(kind, &value).expect("object"))
}

pub fn put(id: u128, name: &str, data: &str) -> Transaction {
    transaction(
        id,
        Origin::Client("test".into()),
        Vec::new(),
        vec![Change::Put { key: key(name), object: object(name, data) }],
    )
}

pub fn transaction(id: u128, origin: Origin, preconditions: Vec<Precondition>, changes: Vec<Change>) -> Transaction {
    Transaction { id: RequestId(id), origin, at_ms: 1, preconditions, changes }
}
