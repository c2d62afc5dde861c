//! What can keep consensus from starting or from changing its members.

/// Why consensus could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk; the text names the file and the remedy.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The state on disk; the text names the remedy.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A record of this crate on disk or from a peer.
    #[error(
        "{what} cannot be read ({reason}): it is damaged or from a newer release; rejoin this master with an empty folder"
    )]
    Record {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Settings that contradict each other.
    #[error("the timers do not fit together: {0}")]
    Timers(String),
    /// Raft has ended or never started; the process must end.
    #[error("raft has stopped: {0}")]
    Stopped(String),
    /// No leader, no quorum, or another change is under way. Retryable.
    #[error("{0}; try again")]
    Unavailable(String),
    /// The change of members would do harm.
    #[error("{0}")]
    Refused(String),
}

impl From<Error> for store::Error {
    /// Certain not to have been done: these errors come before anything is proposed.
    fn from(error: Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
