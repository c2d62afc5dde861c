//! What all requests of one API server share: the store, the cluster, limits.

use std::sync::{Arc, Mutex, PoisonError};

use base::{LogLimit, Stopping};
use objects::{Kind, Status, kind};
use store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::custom_kinds::{CustomKinds, Table};
use crate::errors;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::policy::Policy;
use crate::signing::SigningKeys;

/// Join requests per second in the long run, and at once: enough for a rack that starts, useless for guessing tokens.
const JOINS_PER_SECOND: f64 = 10.0;
const JOINS_AT_ONCE: f64 = 50.0;

/// Heartbeats under way at most. They have room of their own: a busy API must not make nodes look dead.
const HEARTBEATS_MAX: usize = 1024;

/// One API server.
pub struct Api {
    pub store: Store,
    /// What roles allow.
    pub policy: Policy,
    pub cluster: Arc<dyn Cluster>,
    pub options: Options,
    pub stopping: Stopping,
    pub metrics: Metrics,
    /// Log lines about callers whose handshake failed.
    pub strangers: LogLimit,
    /// Log lines about requests that were answered with 401 or 403.
    pub refusals: LogLimit,
    /// Log lines about bearer tokens that were not taken.
    pub refused_tokens: LogLimit,
    /// The keys that sign tokens.
    pub signing: SigningKeys,
    /// Log lines about joins that were refused.
    pub refused_joins: LogLimit,
    custom: CustomKinds,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    longrunning: Arc<Semaphore>,
    heartbeats: Arc<Semaphore>,
    joins: Mutex<Bucket>,
}

/// Which limit a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Watches and streams.
    Longrunning,
    /// Signs of life.
    Heartbeat,
}

impl Api {
    /// An API server at rest.
    pub fn new(options: Options, store: Store, cluster: Arc<dyn Cluster>, stopping: Stopping) -> Arc<Self> {
        let room = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            custom: CustomKinds::new(store.clone()),
            store,
            policy: Policy::default(),
            stopping,
            metrics: Metrics::default(),
            strangers: LogLimit::default(),
            refusals: LogLimit::default(),
            refused_tokens: LogLimit::default(),
            signing: SigningKeys::new(cluster.signing_seal()),
            refused_joins: LogLimit::default(),
            reads: room(options.reads_max),
            writes: room(options.writes_max),
            longrunning: room(options.longrunning_max),
            heartbeats: room(HEARTBEATS_MAX),
            joins: Mutex::new(Bucket { tokens: JOINS_AT_ONCE, at: Instant::now() }),
            options,
            cluster,
        })
    }

    /// The kind behind `/apis/GROUP/VERSION/PLURAL`, as it is served now; the core group is empty.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        kind::by_plural(group, version, plural)
            .cloned()
            .or_else(|| self.custom.table().get(group, version, plural).cloned())
    }

    /// The kinds that definitions give, as they are served now.
    pub fn custom_kinds(&self) -> Arc<Table> {
        self.custom.table()
    }

    /// Room for one request, for as long as the permit lives.
    ///
    /// # Errors
    /// 429 when there is none.
    pub fn admit(&self, load: Load) -> Result<OwnedSemaphorePermit, Status> {
        let room = match load {
            Load::Read => &self.reads,
            Load::Write => &self.writes,
            Load::Longrunning => &self.longrunning,
            Load::Heartbeat => &self.heartbeats,
        };
        Arc::clone(room).try_acquire_owned().map_err(|_| {
            self.metrics.refused();
            errors::too_many()
        })
    }

    /// Room for one join request.
    ///
    /// # Errors
    /// 429 when there were too many lately.
    pub fn admit_join(&self) -> Result<(), Status> {
        let mut bucket = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refilled = now.duration_since(bucket.at).as_secs_f64() * JOINS_PER_SECOND;
        bucket.tokens = (bucket.tokens + refilled).min(JOINS_AT_ONCE);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(errors::too_many());
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

struct Bucket {
    tokens: f64,
    at: Instant,
}
