//! What the controllers are told when they start, and what they let others see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use identity::Seal;
use objects::allocation::{AddressRange, SERVICE_RANGE};
use state::{HistoryLimits, Revision};

/// Proposes that history up to a revision be forgotten; consensus implements it.
pub type Compact = Arc<dyn Fn(Revision) -> BoxFuture<'static, Result<(), store::Error>> + Send + Sync>;

/// The API URLs of the masters, as `https://10.0.0.1:6443`; consensus knows them.
pub type Masters = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Settings of the controllers.
#[derive(Clone)]
pub struct Options {
    /// The CA that pods trust to be talking to the API, as PEM; published in every namespace as `kube-root-ca.crt`.
    pub root_ca_pem: Arc<str>,
    /// Under which the keys lie that sign tokens of service accounts; that of [`identity::Authority::signing_seal`].
    pub seal: Arc<Seal>,
    /// Silence after which a node counts as lost. Agents beat every second.
    pub node_grace: Duration,
    /// How long a pod outlives the Node object it is bound to (upstream: `podgc/gc_controller.go`, `quarantineTime`).
    pub orphan_grace: Duration,
    /// Pods that ended and are kept; beyond it the oldest go. Upstream's default.
    pub ended_pods_max: usize,
    /// How long an event is kept after it was last counted. Upstream's default.
    pub event_ttl: Duration,
    /// Events that are kept; beyond it the oldest go.
    pub events_max: usize,
    /// How much history is kept.
    pub history: HistoryLimits,
    /// Proposes a compaction.
    pub compact: Compact,
    /// Says who the masters are.
    pub masters: Masters,
    /// Where Services get addresses from; the first range gives the Service `kubernetes` its own.
    pub service_ranges: Vec<AddressRange>,
    /// What others may look at.
    pub observed: Arc<Observed>,
}

impl Options {
    /// The defaults, for a cluster with this CA and this seal whose consensus compacts by `compact`; no masters are known.
    pub fn new(root_ca_pem: impl Into<Arc<str>>, seal: Arc<Seal>, compact: Compact) -> Self {
        Self {
            root_ca_pem: root_ca_pem.into(),
            seal,
            node_grace: Duration::from_secs(4),
            orphan_grace: Duration::from_secs(40),
            ended_pods_max: 12_500,
            event_ttl: Duration::from_secs(3600),
            events_max: 20_000,
            history: HistoryLimits::default(),
            compact,
            masters: Arc::new(Vec::new),
            service_ranges: SERVICE_RANGE.parse().into_iter().collect(),
            observed: Arc::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("node_grace", &self.node_grace)
            .field("orphan_grace", &self.orphan_grace)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// What the controllers let others see, for status pages and metrics.
#[derive(Debug, Default)]
pub struct Observed {
    evictions_held: AtomicBool,
}

impl Observed {
    /// Whether so many nodes vanished at once that the fault must be ours, so that no pod is moved away from them.
    pub fn evictions_held(&self) -> bool {
        self.evictions_held.load(Ordering::Relaxed)
    }

    pub(crate) fn set_evictions_held(&self, held: bool) {
        self.evictions_held.store(held, Ordering::Relaxed);
    }
}
