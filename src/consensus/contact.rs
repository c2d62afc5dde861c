//! When this master last heard from a leader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Touched by every message of a leader that raft accepted.
pub struct Contact {
    at: Mutex<Instant>,
    asking: AtomicBool,
}

impl Default for Contact {
    /// As if one had been heard now: a master that just started gives the others the time to show their leader.
    fn default() -> Self {
        Self { at: Mutex::new(Instant::now()), asking: AtomicBool::new(false) }
    }
}

impl Contact {
    /// A leader was heard, or a vote was given, now.
    pub fn touch(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When.
    pub fn at(&self) -> Instant {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long no leader was heard.
    pub fn silence(&self) -> Duration {
        self.at().elapsed()
    }

    /// Whether this master is itself asking for votes just now.
    pub fn is_asking(&self) -> bool {
        self.asking.load(Ordering::SeqCst)
    }

    /// Marks that it is, until the mark is dropped.
    pub fn asking(&self) -> Asking<'_> {
        self.asking.store(true, Ordering::SeqCst);
        Asking(&self.asking)
    }
}

/// See [`Contact::asking`].
pub struct Asking<'a>(&'a AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
