//! What the store asks of consensus. Declared here, implemented there, so that no reader of the store knows Raft.

use std::future::Future;
use std::pin::Pin;

use state::{Committed, Transaction};
use tokio::time::Instant;

use crate::{Beat, Error};

/// A boxed future, for a trait that is used as an object.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries transactions to the leader's log and questions to the leader, from any master.
pub trait Proposer: Send + Sync + 'static {
    /// Proposes a transaction and waits until it is applied on the leader **and on this master**, so that a client reads
    /// its own writes here.
    ///
    /// Dropping the future does not take the transaction back.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`] (certainly not done), [`Error::Unknown`], [`Error::TooLarge`].
    fn propose(&self, transaction: Transaction, deadline: Instant) -> Boxed<'_, Result<Committed, Error>>;

    /// Returns once this master has applied everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a quorum, or when the deadline passes.
    fn read_barrier(&self, deadline: Instant) -> Boxed<'_, Result<(), Error>>;

    /// Hands a node's heartbeat to the leader's [`crate::Liveness`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no leader could be reached by the deadline.
    fn heartbeat(&self, beat: Beat, deadline: Instant) -> Boxed<'_, Result<(), Error>>;
}
