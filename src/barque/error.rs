//! What a person at the command line can meet. Each line says what happened and what to do.

use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense beyond what its grammar can tell.
    #[error("{0}")]
    Usage(String),
    /// A file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of ours that does not parse.
    #[error("{} does not parse: {reason}; correct it and start again", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A port that somebody else holds, or an address that is not this machine's.
    #[error("cannot listen for {what} on {address}: {source}; stop what listens there, or choose another address")]
    Listen {
        /// What would be served there.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no cluster in this folder.
    #[error("{} holds no cluster: start one with `barque up --dir {}`", .0.display(), .0.display())]
    NoCluster(PathBuf),
    /// A phase of `up` did not end in time.
    #[error("{phase} did not happen within {seconds} s; {hint}")]
    Slow {
        /// What was waited for.
        phase: String,
        /// For how long.
        seconds: u64,
        /// Where to look.
        hint: String,
    },
    /// A process of the local cluster ended while it was needed.
    #[error("{name} has ended: {reason} (its log: {})", log.display())]
    Ended {
        /// Which one.
        name: String,
        /// The last line that it wrote.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// The folder of a master or a node is of one cluster, and the join token of another.
    #[error(
        "{} belongs to cluster {cluster}, but the join token is another cluster's: to join that one, empty the folder; to \
         stay, take the token out of the configuration",
        dir.display()
    )]
    OtherCluster {
        /// The folder.
        dir: PathBuf,
        /// The cluster that it belongs to.
        cluster: String,
    },
    /// A join answer without what a node needs.
    #[error("the cluster's answer to the join request lacks {0}: is it of the same release?")]
    JoinAnswer(&'static str),
    /// Starting with signals, tasks or telemetry.
    #[error(transparent)]
    Base(#[from] base::Error),
    /// Talking to the cluster.
    #[error(transparent)]
    Client(#[from] ::client::Error),
    /// Certificates and tokens.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// A master.
    #[error(transparent)]
    Master(#[from] ::master::Error),
    /// The container runtime.
    #[error(transparent)]
    Runtime(#[from] ::runtime::Error),
    /// A node agent.
    #[error(transparent)]
    Agent(#[from] ::agent::Error),
}

impl Error {
    /// For `map_err` on file operations.
    pub fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
