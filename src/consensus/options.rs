//! What consensus is told at its start.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;

use crate::{Error, Member};

/// Heartbeats and elections. A leader is given up after `election_max` of silence; the first candidate stands up to
/// `election_max - election_min` later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// How often a leader is heard of. One append, the follower's fsync included, must end within it.
    pub heartbeat: Duration,
    /// Shortest wait for votes before the next round.
    pub election_min: Duration,
    /// Longest wait for votes; also for how long a leader's word counts.
    pub election_max: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(60),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(350),
        }
    }
}

impl Timers {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.heartbeat.as_millis() == 0 || self.heartbeat >= self.election_min {
            return Err(Error::Timers("the heartbeat must be shorter than the shortest election timeout".into()));
        }
        if self.election_min >= self.election_max {
            return Err(Error::Timers("the shortest election timeout must be below the longest".into()));
        }
        Ok(())
    }
}

/// Everything consensus is told.
pub struct Options {
    /// Id of the cluster; a peer of another one is refused.
    pub cluster: String,
    /// This master's id; never one that was used before.
    pub id: u64,
    /// How the others see this master.
    pub member: Member,
    /// Where peers call.
    pub listener: TcpListener,
    /// For peers that call: must demand a certificate of the cluster's peer authority.
    pub tls_server: Arc<ServerConfig>,
    /// For calling peers.
    pub tls_client: Arc<ClientConfig>,
    /// Heartbeats and elections.
    pub timers: Timers,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Drawn at the start of the process; names it in the "I lead" entry.
    pub incarnation: u128,
    /// Called once when nothing can be promised any more (the disk failed): the process must end.
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
}
