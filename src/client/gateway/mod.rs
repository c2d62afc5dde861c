//! A local endpoint that leads to a healthy master.
//!
//! TLS passes through: the gateway sees no request and holds no identity, it only moves bytes. It
//! probes every master; new connections go to the chosen one, and when a master stops answering, all
//! connections to it are reset, so that their clients notice at once and come back to another.

mod board;
mod choice;
mod probe;
mod refresh;

use crate::{Address, Endpoints};
use base::{Backoff, Shutdown, Stopping, TaskGroup};
use board::Board;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub use board::{GatewayView, Health, MasterHealth};
pub use refresh::from_cluster;

/// Asks the cluster for its masters. `None` means that it could not be learned this time.
pub type Refresh = Arc<dyn Fn() -> BoxFuture<'static, Option<Vec<Address>>> + Send + Sync>;

/// What may be set for a gateway.
#[derive(Clone)]
pub struct Options {
    /// The pause between two probes of a master that answers.
    pub probe_interval: Duration,
    /// How long a probe may take before it counts as missed.
    pub probe_deadline: Duration,
    /// How many probes in a row a master may miss until its connections are reset. The first miss
    /// already keeps new connections away.
    pub misses_max: u32,
    /// The path that says whether a master is ready.
    pub probe_path: String,
    /// How long connecting to a master may take until the next one is tried.
    pub connect_deadline: Duration,
    /// How long a new connection may wait for any master to answer.
    pub wait_max: Duration,
    /// How many connections may be open at once; more are refused, so that a runaway client cannot use
    /// up this process's files.
    pub connections_max: usize,
    /// The pause between two askings for the list of masters.
    pub refresh_interval: Duration,
    /// How to ask for the list of masters ([`from_cluster`]); without it the list stays as given.
    pub refresh: Option<Refresh>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(400),
            probe_deadline: Duration::from_secs(1),
            misses_max: 2,
            probe_path: "/readyz".to_owned(),
            connect_deadline: Duration::from_secs(1),
            wait_max: Duration::from_secs(5),
            connections_max: 4096,
            refresh_interval: Duration::from_secs(10),
            refresh: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("probe_interval", &self.probe_interval)
            .field("probe_deadline", &self.probe_deadline)
            .field("misses_max", &self.misses_max)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// A gateway. Clones are the same one, so that one may serve while another reports.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    board: Board,
    endpoints: Endpoints,
    tls: Arc<ClientConfig>,
    options: Options,
}

impl Gateway {
    /// A gateway to these masters. `tls` serves its own probes only: [`identity::tls::api_client`]
    /// without a certificate, or [`identity::tls::unchecked_client`] where no authority is known.
    pub fn new(endpoints: Endpoints, tls: Arc<ClientConfig>) -> Self {
        Self::with_options(endpoints, tls, Options::default())
    }

    /// As [`new`](Self::new), with other bounds.
    pub fn with_options(endpoints: Endpoints, tls: Arc<ClientConfig>, options: Options) -> Self {
        let board = Board::new(&endpoints.addresses());
        Self { shared: Arc::new(Shared { board, endpoints, tls, options }) }
    }

    /// How the masters are doing, which one is used, and since when and why.
    pub fn view(&self) -> GatewayView {
        self.shared.board.view()
    }

    /// How the masters are doing once the first answers, or once it is certain that none does. Waits for ever where nobody
    /// [serves](Self::serve).
    pub async fn first_look(&self) -> GatewayView {
        let mut changes = self.shared.board.subscribe();
        loop {
            let view = self.view();
            let undecided = |master: &MasterHealth| matches!(master.health, Health::Unknown | Health::Suspect { .. });
            let answered =
                |master: &MasterHealth| matches!(master.health, Health::Ready { .. } | Health::NotReady { .. });
            if view.masters.iter().any(answered) || !view.masters.iter().any(undecided) {
                return view;
            }
            // The board lives as long as this gateway.
            let _ = changes.changed().await;
        }
    }

    /// Accepts connections on `listener` and probes the masters until `stopping`; open connections
    /// end with it. A failure to accept (out of files, for example) is waited out. To report
    /// meanwhile, keep a clone.
    pub async fn serve(self, listener: TcpListener, stopping: Stopping) {
        let tasks = TaskGroup::new("gateway");
        let ending = stopping.child();
        let (shared, stopped) = (self.shared.clone(), ending.stopping());
        tasks.spawn("probes", async move {
            stopped.unless(probe_all(shared)).await;
        });
        if let Some(refresh) = self.shared.options.refresh.clone() {
            let (shared, stopped) = (self.shared.clone(), ending.stopping());
            tasks.spawn("refresh", async move {
                stopped.unless(refresh_list(shared, refresh)).await;
            });
        }
        let places = Arc::new(Semaphore::new(self.shared.options.connections_max));
        let mut trouble = Backoff::doubling(Duration::from_millis(10), Duration::from_secs(1));
        while let Some(accepted) = stopping.unless(listener.accept()).await {
            let client = match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    stopping.unless(trouble.wait()).await;
                    continue;
                }
            };
            trouble.reset();
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!(limit = self.shared.options.connections_max, "too many connections; refusing one");
                continue;
            };
            let (shared, stopped) = (self.shared.clone(), ending.stopping());
            tasks.spawn("connection", async move {
                let _place = place;
                stopped.unless(pass(&shared, client)).await;
            });
        }
        ending.trigger();
        tasks.abort_and_join().await;
    }
}

/// Keeps one probe running for each master on the list.
async fn probe_all(shared: Arc<Shared>) {
    let mut changes = shared.endpoints.subscribe();
    let scope = Shutdown::new();
    let _end = scope.clone().trigger_on_drop();
    let mut running: HashMap<Address, Shutdown> = HashMap::new();
    loop {
        let addresses = shared.endpoints.addresses();
        running.retain(|address, probe| {
            let stays = addresses.contains(address);
            if !stays {
                probe.trigger();
            }
            stays
        });
        shared.board.set_masters(&addresses);
        for address in addresses {
            if running.contains_key(&address) {
                continue;
            }
            let end = scope.child();
            let (shared, stopped, master) = (shared.clone(), end.stopping(), address.clone());
            base::task::spawn(format!("probe {address}"), async move {
                stopped.unless(probe::watch_over(&shared, &master)).await;
            });
            running.insert(address, end);
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn refresh_list(shared: Arc<Shared>, refresh: Refresh) {
    let interval = shared.options.refresh_interval;
    loop {
        tokio::time::sleep(interval).await;
        // An answer that takes longer than the pause is as good as none.
        if let Ok(Some(addresses)) = timeout(interval, refresh()).await
            && let Err(error) = shared.endpoints.replace(addresses)
        {
            tracing::warn!(%error, "the cluster's list of masters is not usable");
        }
    }
}

/// Leads one connection to a master and moves its bytes until either side ends it or the master
/// freezes.
async fn pass(shared: &Shared, mut client: TcpStream) {
    let _ = client.set_nodelay(true);
    let Some((mut master, used)) = connect(shared).await else {
        tracing::debug!("no master answers; refusing a connection");
        abort(&client);
        return;
    };
    let frozen = used.frozen().clone();
    match frozen.unless(tokio::io::copy_bidirectional(&mut client, &mut master)).await {
        Some(Ok(_)) => {}
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            // What one side did abruptly is passed on abruptly.
            abort(&client);
            abort(&master);
        }
        Some(Err(error)) => tracing::debug!(%error, master = %used.address(), "a connection broke"),
        None => {
            abort(&client);
            abort(&master);
        }
    }
}

/// Connects to the best master, or the next best, waiting a while when none answers.
async fn connect(shared: &Shared) -> Option<(TcpStream, board::InUse)> {
    let end = Instant::now() + shared.options.wait_max;
    let mut changes = shared.board.subscribe();
    loop {
        let mut tried = Vec::new();
        while let Some(used) = shared.board.take(&tried) {
            let address = used.address().clone();
            let connecting = TcpStream::connect((address.host(), address.port()));
            let deadline = end.min(Instant::now() + shared.options.connect_deadline);
            match timeout_at(deadline, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Some((stream, used));
                }
                Ok(Err(error)) => tracing::debug!(%error, master = %address, "cannot connect"),
                Err(_) => tracing::debug!(master = %address, "cannot connect in time"),
            }
            tried.push(address);
        }
        if !matches!(timeout_at(end, changes.changed()).await, Ok(Ok(()))) {
            return None;
        }
    }
}

/// Makes dropping the socket send a reset, which clients cannot mistake for an orderly end.
fn abort(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot reset a connection; closing it");
    }
}
