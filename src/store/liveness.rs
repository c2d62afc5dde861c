//! When each node was last heard of: soft state of the leader, never replicated. Only what follows from it is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Most nodes remembered; far above what three masters can carry, and a bound against junk names.
const NODES_MAX: usize = 10_000;

/// One heartbeat of a node's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Node name.
    pub node: String,
    /// Uid of the Node object that the agent speaks for.
    pub uid: String,
}

/// The leader's table of heartbeats.
#[derive(Debug)]
pub struct Liveness {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    beats: HashMap<String, (String, Instant)>,
    /// Silence is counted from here at the earliest.
    grace_from: Instant,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { table: Mutex::new(Table { beats: HashMap::new(), grace_from: Instant::now() }) }
    }
}

impl Liveness {
    /// Takes a heartbeat in; beyond the limit on nodes an unknown one is dropped.
    pub fn beat(&self, beat: Beat) {
        let mut table = self.lock();
        if table.beats.len() < NODES_MAX || table.beats.contains_key(&beat.node) {
            table.beats.insert(beat.node, (beat.uid, Instant::now()));
        }
    }

    /// Gives every node a full fresh grace: at the start of a tenure, and when the judge itself was frozen.
    pub fn renew(&self) {
        let mut table = self.lock();
        table.beats.clear();
        table.grace_from = Instant::now();
    }

    /// For how long this incarnation of the node has been silent, as far as this leader can tell.
    pub fn silence(&self, node: &str, uid: &str, now: Instant) -> Duration {
        let table = self.lock();
        let last = match table.beats.get(node) {
            Some((known, at)) if known == uid => *at,
            _ => table.grace_from,
        };
        now.saturating_duration_since(last.max(table.grace_from))
    }

    /// Whether this incarnation of the node was heard of since the last [`Liveness::renew`].
    pub fn heard(&self, node: &str, uid: &str) -> bool {
        self.lock().beats.get(node).is_some_and(|(known, _)| known == uid)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // The table stays consistent whatever panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
