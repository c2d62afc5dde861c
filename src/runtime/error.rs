//! What can go wrong between an agent and its container engine.

use std::path::PathBuf;
use std::time::Duration;

/// The outcome of a runtime call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a runtime call failed. [`Error::is_retryable`] says whether the same call may succeed later by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not on this engine; pull it, then create again.
    #[error("image {reference} is not present: pull it first")]
    ImageMissing {
        /// The image as it was asked for.
        reference: String,
    },
    /// The engine could not pull the image. Retry with back-off.
    #[error("cannot pull image {reference}: {reason}")]
    ImagePull {
        /// The image as it was asked for.
        reference: String,
        /// What the engine or the registry said.
        reason: String,
    },
    /// A container of that name exists, usually from an earlier call whose answer was lost: find it in the list.
    #[error("the container name {name} is taken by container {id}: adopt that one or remove it", id = id.as_deref().unwrap_or("of unknown id"))]
    NameConflict {
        /// The engine's name for it.
        name: String,
        /// The holder's id, where the engine told.
        id: Option<String>,
    },
    /// No such container or sandbox among those of this cluster and node. Containers of others count as not found.
    #[error("{what} does not exist on this node")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The container exists and does not run, so nothing can be executed in it or sent to it.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container's id.
        id: String,
    },
    /// The engine cannot be reached. Healthy containers may well be running; nothing follows about them.
    #[error("the container engine cannot be reached ({reason}): {remedy}")]
    EngineUnreachable {
        /// What happened on the connection.
        reason: String,
        /// What a person can do about it.
        remedy: String,
    },
    /// A host port of a sandbox is held by someone else.
    #[error("host port {port} is in use: {reason}", port = port.map_or_else(|| "(unknown)".to_owned(), |port| port.to_string()))]
    PortInUse {
        /// The port, where the engine's message names it.
        port: Option<u16>,
        /// The engine's message.
        reason: String,
    },
    /// A port of a pod does not take a connection.
    #[error("dial tcp {address}: {reason}")]
    PortClosed {
        /// The pod's address and the port.
        address: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// The request can never succeed as it stands.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The container was created and its program could not be started (absent program, refused mount, ...).
    /// The list shows the container as exited with this message.
    #[error("the container cannot start: {reason}")]
    StartFailed {
        /// The engine's message.
        reason: String,
    },
    /// No answer within the deadline: whether the effect happened is unknown; look at the list.
    #[error("{what} did not finish within {after:?}: its outcome is unknown")]
    Timeout {
        /// What was being done.
        what: String,
        /// How long it was given.
        after: Duration,
    },
    /// Any other refusal of the engine.
    #[error("the container engine refused {what} (status {status}): {message}")]
    Engine {
        /// What was being done.
        what: String,
        /// The HTTP status, 0 where there was none.
        status: u16,
        /// The engine's message.
        message: String,
    },
    /// The simulated runtime cannot keep its state on disk.
    #[error("cannot keep simulated containers in {}: {source}", path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::ImagePull { .. }
            | Error::EngineUnreachable { .. }
            | Error::PortInUse { .. }
            | Error::PortClosed { .. }
            | Error::Timeout { .. }
            | Error::Engine { .. }
            | Error::State { .. } => true,
            Error::ImageMissing { .. }
            | Error::NameConflict { .. }
            | Error::NotFound { .. }
            | Error::NotRunning { .. }
            | Error::Invalid { .. }
            | Error::StartFailed { .. } => false,
        }
    }

    pub(crate) fn not_found(id: &str) -> Self {
        Error::NotFound { what: format!("container {id}") }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Error::Invalid { reason: reason.into() }
    }
}

impl From<base::Elapsed> for Error {
    fn from(elapsed: base::Elapsed) -> Self {
        Error::Timeout { what: elapsed.what, after: elapsed.after }
    }
}
