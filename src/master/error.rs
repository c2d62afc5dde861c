//! Why a master cannot start, or had to end.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What a master's operator can meet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be bound.
    #[error("cannot listen for {what} on {address}: {source}; choose another address in the configuration")]
    Bind {
        /// What would be served there.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder's record does not parse.
    #[error("{path} does not parse ({reason}): restore it, or empty the folder and join the cluster anew")]
    Record {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        reason: String,
    },
    /// There is no master in this folder.
    #[error("{0} holds no master: name the data folder of one")]
    NoMaster(PathBuf),
    /// The cluster did not let this master in.
    #[error("cannot join the cluster: {0}")]
    Join(#[from] client::Error),
    /// The cluster's answer to the join request is not understood.
    #[error("the cluster's answer to the join request lacks {0}: is it of the same release?")]
    JoinAnswer(&'static str),
    /// Certificates or tokens.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Raft.
    #[error(transparent)]
    Consensus(#[from] consensus::Error),
    /// The log ended while the master ran; the process must end.
    #[error("the replicated log has failed: {0}")]
    Log(String),
    /// The API ended while the master ran.
    #[error("the API server has ended: {0}")]
    Api(String),
}
