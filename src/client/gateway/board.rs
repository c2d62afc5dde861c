//! What the gateway knows about every master, and the connections that depend on it.

use super::choice::choose;
use crate::Address;
use base::{Shutdown, Stopping};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a master that led may owe an answer once another one leads: one that lives answers in a few milliseconds.
const DEPOSED_ANSWERS_WITHIN: Duration = Duration::from_millis(200);

/// How a master answers its probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum Health {
    /// It was not probed yet.
    Unknown,
    /// It answers and is ready.
    Ready {
        /// It says that it leads: a write through it takes one hop less, and no follower's fault reaches it.
        leads: bool,
    },
    /// It answers, but takes no work: starting, draining or without a leader. Connections to it stay.
    NotReady {
        /// What it answered.
        reason: String,
    },
    /// It missed a probe, perhaps by chance. Connections to it stay, new ones go elsewhere.
    Suspect {
        /// How many in a row.
        misses: u32,
        /// What was seen.
        reason: String,
    },
    /// It does not answer. All connections to it were reset.
    Down {
        /// What was seen.
        reason: String,
    },
}

/// One master in a report.
#[derive(Debug, Clone, Serialize)]
pub struct MasterHealth {
    /// Where it listens.
    pub url: Address,
    /// How it answers.
    #[serde(flatten)]
    pub health: Health,
    /// How many connections lead to it.
    pub connections: usize,
    /// When it last answered that it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ready: Option<Timestamp>,
}

/// The gateway in a report.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayView {
    /// The master that new connections go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Address>,
    /// When that changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Timestamp>,
    /// Why it changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_because: Option<String>,
    /// Every master.
    pub masters: Vec<MasterHealth>,
}

/// The board. Clones show the same one.
#[derive(Debug, Clone)]
pub(super) struct Board {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    masters: Vec<Entry>,
    current: Option<Address>,
    switched: Option<(Timestamp, String)>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    health: Health,
    connections: usize,
    last_ready: Option<Timestamp>,
    // When the probe was sent that is not answered yet.
    asked: Option<Instant>,
    // Ends the connections that exist now; replaced each time it is used.
    reset: Shutdown,
}

/// A connection to a master that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    board: Board,
    address: Address,
    frozen: Stopping,
}

impl InUse {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends when the master stops answering.
    pub(super) fn frozen(&self) -> &Stopping {
        &self.frozen
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.board.state();
        if let Some(entry) = state.entry(&self.address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }
}

impl Board {
    pub(super) fn new(addresses: &[Address]) -> Self {
        let board = Self { state: Arc::default(), changed: watch::Sender::new(0) };
        board.set_masters(addresses);
        board
    }

    /// Wakes after every change of a master's health.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes over a new list. Connections to a master that left it are reset: nobody would notice any
    /// more when it freezes.
    pub(super) fn set_masters(&self, addresses: &[Address]) {
        let mut state = self.state();
        state.masters.retain(|entry| {
            let stays = addresses.contains(&entry.address);
            if !stays {
                entry.reset.trigger();
            }
            stays
        });
        for address in addresses {
            if state.entry(address).is_none() {
                state.masters.push(Entry {
                    address: address.clone(),
                    health: Health::Unknown,
                    connections: 0,
                    last_ready: None,
                    asked: None,
                    reset: Shutdown::new(),
                });
            }
        }
        state.settle();
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// The health of a master as last reported.
    pub(super) fn health(&self, address: &Address) -> Health {
        self.state().entry(address).map_or(Health::Unknown, |entry| entry.health.clone())
    }

    /// Notes that a probe is on its way.
    pub(super) fn asking(&self, address: &Address) {
        if let Some(entry) = self.state().entry(address) {
            entry.asked = Some(Instant::now());
        }
    }

    /// Notes what a probe found; resets connections when the master is down.
    pub(super) fn report(&self, address: &Address, health: Health) {
        let mut state = self.state();
        let given_up = matches!(health, Health::Ready { leads: true }) && state.give_up_deposed(address);
        let Some(entry) = state.entry(address) else { return };
        entry.asked = None;
        if matches!(health, Health::Ready { .. }) {
            entry.last_ready = Some(base::clock::now());
        }
        if entry.health == health && !given_up {
            return;
        }
        let before = std::mem::replace(&mut entry.health, health);
        if matches!(entry.health, Health::Down { .. }) && !matches!(before, Health::Down { .. }) {
            entry.give_up();
        } else if matches!(entry.health, Health::Ready { .. }) && !matches!(before, Health::Ready { .. }) {
            tracing::info!(master = %address, "a master is ready");
        }
        state.settle();
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A master for a new connection, none of `excluded`.
    pub(super) fn take(&self, excluded: &[Address]) -> Option<InUse> {
        let mut state = self.state();
        let address = state.choose(excluded)?;
        let entry = state.entry(&address)?;
        entry.connections += 1;
        let frozen = entry.reset.stopping();
        Some(InUse { board: self.clone(), address, frozen })
    }

    pub(super) fn view(&self) -> GatewayView {
        let state = self.state();
        GatewayView {
            current: state.current.clone(),
            switched_at: state.switched.as_ref().map(|(at, _)| *at),
            switched_because: state.switched.as_ref().map(|(_, because)| because.clone()),
            masters: state
                .masters
                .iter()
                .map(|entry| MasterHealth {
                    url: entry.address.clone(),
                    health: entry.health.clone(),
                    connections: entry.connections,
                    last_ready: entry.last_ready,
                })
                .collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn give_up(&mut self) {
        tracing::warn!(master = %self.address, connections = self.connections, health = ?self.health, "a master does not answer");
        std::mem::take(&mut self.reset).trigger();
    }
}

impl State {
    /// Another master leads now: one that led and owes an answer is frozen, without waiting for all its misses. Whether there
    /// was one.
    fn give_up_deposed(&mut self, leader: &Address) -> bool {
        let mut given_up = false;
        for entry in self.masters.iter_mut().filter(|entry| &entry.address != leader) {
            let led = matches!(entry.health, Health::Ready { leads: true });
            if led && entry.asked.is_some_and(|asked| asked.elapsed() > DEPOSED_ANSWERS_WITHIN) {
                let reason = format!("another master leads, and it has not answered for {DEPOSED_ANSWERS_WITHIN:?}");
                entry.health = Health::Down { reason };
                entry.give_up();
                given_up = true;
            }
        }
        given_up
    }

    fn entry(&mut self, address: &Address) -> Option<&mut Entry> {
        self.masters.iter_mut().find(|entry| &entry.address == address)
    }

    fn choose(&self, excluded: &[Address]) -> Option<Address> {
        let masters = self.masters.iter().map(|entry| (&entry.address, &entry.health));
        choose(masters, self.current.as_ref(), excluded).cloned()
    }

    /// Moves the choice when another master is better now.
    fn settle(&mut self) {
        let best = self.choose(&[]);
        // Before the first answer nothing is chosen, and without any the last choice stands.
        let known = |address: &Address| {
            self.masters.iter().any(|entry| &entry.address == address && entry.health != Health::Unknown)
        };
        if best == self.current || !best.as_ref().is_some_and(known) {
            return;
        }
        let because = match &self.current {
            None => "it was the first to answer".to_owned(),
            Some(old) => match self.masters.iter().find(|entry| &entry.address == old).map(|entry| &entry.health) {
                Some(Health::Down { reason } | Health::NotReady { reason } | Health::Suspect { reason, .. }) => {
                    format!("{old}: {reason}")
                }
                Some(_) => "it leads now".to_owned(),
                None => format!("{old} is no longer a master"),
            },
        };
        if let Some(best) = &best {
            tracing::info!(master = %best, because, "new connections go to another master");
        }
        self.switched = Some((base::clock::now(), because));
        self.current = best;
    }
}
