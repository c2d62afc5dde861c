//! Why the door did not open.

use state::{Refusal, Revision};

/// What a read, a watch or a write can meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A precondition did not hold: nothing was done. Not retryable as it stands.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was done, and nothing will be: no leader, no quorum, or this master is stopping. Retryable.
    #[error("{0}")]
    Unavailable(String),
    /// The transaction was sent and no answer came: it may have taken place. Retryable only where a repeat does no harm.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The revision is older than the history that is kept: list anew.
    #[error("revision {asked} is too old: history starts after {compacted}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The newest revision that is forgotten.
        compacted: Revision,
    },
    /// The revision lies in this master's future, and it did not get there in time. Retryable.
    #[error("revision {asked} is not known here yet: this master is at {have}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// Where this master is.
        have: Revision,
    },
    /// The transaction is larger than a log entry may be. Not retryable.
    #[error("the transaction has {size} bytes, at most {max} are taken: split it")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
}
