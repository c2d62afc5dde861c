//! What can go wrong when state is read back from disk or from a peer.

/// The bytes do not make a state or a command. Never retryable: the copy is damaged or from a newer release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row or a command of a format this release does not know.
    #[error("{what} has format version {found}, this release knows up to {known}: upgrade this master first")]
    Format {
        /// What was read.
        what: &'static str,
        /// Version found.
        found: u8,
        /// Highest version known.
        known: u8,
    },
    /// The bytes do not decode.
    #[error("{what} is damaged ({reason}): rejoin this master with an empty folder")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
}
