//! What can keep an agent from running. Troubles of single pods are no errors here: they become the pod's status.

use std::path::PathBuf;

/// Why an agent could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option makes no sense.
    #[error("the agent's options are not usable: {0}")]
    Options(String),
    /// A file or folder of the agent's data folder. Fix the folder and start again.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder is that of an agent of another cluster; nothing in it may be touched.
    #[error("the data folder {} belongs to cluster {found}, not {expected}: use another folder or empty it", path.display())]
    OtherCluster {
        /// The folder.
        path: PathBuf,
        /// The cluster that the agent was started for.
        expected: String,
        /// The cluster that the folder belongs to.
        found: String,
    },
    /// A port of the agent cannot be opened.
    #[error("cannot listen for {what} on {address}: {source}; stop what listens there, or choose another address")]
    Listen {
        /// What would be served there.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The container engine does not answer at the start.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A task without which the agent is useless has ended: a defect.
    #[error("the agent's task {0} has ended: restart the agent and report this")]
    Task(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn disk(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { action, path, source }
    }
}
