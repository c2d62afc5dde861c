//! Why a cluster could not be driven. Not for what a cluster did wrong: that is a finding.

/// What the programs and tests can meet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A command failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        output: String,
    },
    /// A file or process of the system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something did not come about in time.
    #[error("{what} did not come about within {seconds} s{detail}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// What was seen last.
        detail: String,
    },
    /// The cluster's answer is not understood.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// The API.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Certificates.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

impl Error {
    /// For `map_err` on calls to the system.
    pub fn system(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}
