//! The one door to the cluster's state: get, list, watch, transact.
//!
//! Reads answer from this master's own copy ([`Replica`]), after asking the leader how far it must be. Writes go to
//! whoever implements [`Proposer`]; nothing else reaches the log.

pub mod duty;
pub mod error;
pub mod liveness;
pub mod proposer;
pub mod replica;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use state::{Change, Committed, Origin, Precondition, RequestId, Revision, State, Transaction};
use tokio::time::Instant;

pub use duty::Duty;
pub use error::Error;
pub use liveness::{Beat, Liveness};
pub use proposer::Proposer;
pub use replica::Replica;
pub use watch::Watch;

/// How long a transaction or read may take where the caller has no deadline of its own: longer than any failover.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Largest transaction taken, in bytes as [`Transaction::size`] counts: an entry of the log, and so a write to the disk of
/// every master, holds at least one.
pub const TRANSACTION_BYTES_MAX: usize = 3 << 19;

/// Whether a transaction may go to the log by its size.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn check_size(transaction: &Transaction) -> Result<(), Error> {
    let size = transaction.size();
    if size > TRANSACTION_BYTES_MAX { Err(Error::TooLarge { size, max: TRANSACTION_BYTES_MAX }) } else { Ok(()) }
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    replica: Arc<Replica>,
    proposer: Arc<dyn Proposer>,
}

impl Store {
    /// A door to `replica` through which `proposer` carries the writes.
    pub fn new(replica: Arc<Replica>, proposer: Arc<dyn Proposer>) -> Self {
        Self { replica, proposer }
    }

    /// This master's copy as it stands; may be behind. For loops that are woken by changes anyway.
    pub fn current(&self) -> State {
        self.replica.current()
    }

    /// A copy that holds every write acknowledged before this call, through whichever master: a linearizable read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a quorum, or when the deadline passes first.
    pub async fn fresh(&self, deadline: Instant) -> Result<State, Error> {
        self.proposer.read_barrier(deadline).await?;
        Ok(self.replica.current())
    }

    /// A copy that is at `revision` or later; waits for it.
    ///
    /// # Errors
    /// [`Error::Future`] when this master has not got there by the deadline.
    pub async fn not_older_than(&self, revision: Revision, deadline: Instant) -> Result<State, Error> {
        let mut changes = self.replica.changes();
        loop {
            let state = self.replica.current();
            if state.revision() >= revision {
                return Ok(state);
            }
            let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Err(Error::Future { asked: revision, have: state.revision() });
            }
        }
    }

    /// Changes of one resource after `from`, in order and without a gap.
    pub fn watch(&self, resource: impl Into<objects::Resource>, from: Revision) -> Watch {
        Watch::new(Arc::clone(&self.replica), resource.into(), from)
    }

    /// Wakes at every change of the state, whichever it is. The value is the revision; a start of a tenure wakes too.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<Revision> {
        self.replica.changes()
    }

    /// A transaction with an id of its own, made now; for [`Self::transact`], and for writes that are only tried.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn prepare(
        origin: Origin,
        preconditions: Vec<Precondition>,
        changes: Vec<Change>,
    ) -> Result<Transaction, Error> {
        let transaction = Transaction {
            id: RequestId(base::random::u128()),
            origin,
            at_ms: u64::try_from(base::clock::millis()).unwrap_or(0),
            preconditions,
            changes,
        };
        check_size(&transaction)?;
        Ok(transaction)
    }

    /// Does all of `changes`, or nothing.
    ///
    /// Repeats after a leader change under the same request id until `deadline`, so an answer is definite whenever there
    /// is time to get one.
    ///
    /// # Errors
    /// [`Error::Refused`] when a precondition does not hold; [`Error::Unavailable`] when it is certain that nothing was
    /// done; [`Error::Unknown`] when the deadline passed after the transaction was sent: it may yet take place;
    /// [`Error::TooLarge`].
    pub async fn transact(
        &self,
        origin: Origin,
        preconditions: Vec<Precondition>,
        changes: Vec<Change>,
        deadline: Instant,
    ) -> Result<Committed, Error> {
        let transaction = Self::prepare(origin, preconditions, changes)?;
        self.proposer.propose(transaction, deadline).await
    }

    /// Tells the leader that a node lives.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no leader took it: the agent should try another master.
    pub async fn heartbeat(&self, beat: Beat, deadline: Instant) -> Result<(), Error> {
        self.proposer.heartbeat(beat, deadline).await
    }
}
