//! What can go wrong when speaking to a cluster.

use std::time::Duration;

/// Errors of this crate. Each variant says whether the call may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cluster answered and refused. Whether to repeat depends on the code; see the `is_` methods.
    #[error("{message} ({code} {reason})")]
    Api {
        /// The HTTP status code.
        code: u16,
        /// The machine-readable reason of the Status ("NotFound"), or the HTTP phrase without one.
        reason: String,
        /// The message for people.
        message: String,
        /// When the server asks to come back, if it says so.
        retry_after: Option<Duration>,
    },
    /// No master could be reached within the deadline; nothing was done. May be repeated.
    #[error(
        "no master could be reached within {after:?}: {reasons}; check that the masters run and the addresses are right"
    )]
    Unreachable {
        /// How long it was tried.
        after: Duration,
        /// The last failure of each master.
        reasons: String,
    },
    /// A call that changes nothing had no answer within its deadline. May be repeated.
    #[error("{what} had no answer within {after:?} ({reasons})")]
    Timeout {
        /// Method and path.
        what: String,
        /// How long it was tried.
        after: Duration,
        /// The last failure of each master.
        reasons: String,
    },
    /// A change was sent, and whether it happened is not known. Read before repeating it.
    #[error("whether {what} took effect is unknown ({cause}); read the object before trying again")]
    Unknown {
        /// Method and path.
        what: String,
        /// Why the answer is missing.
        cause: String,
    },
    /// An answer is not what the API promises. Repeating it on another master may help.
    #[error("the answer to {what} is not usable: {reason}")]
    Answer {
        /// Method and path.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A watch ended with its connection: the master died, froze or went away. Resume it elsewhere.
    #[error("the watch broke: {0}")]
    WatchBroken(String),
    /// A master answered with an older revision than was seen before; nothing of it was used.
    #[error("a master answered with revision {found}, but {floor} was seen already; is it a stale or another cluster?")]
    Stale {
        /// The revision of the answer.
        found: u64,
        /// The highest revision seen.
        floor: u64,
    },
    /// An address does not parse.
    #[error("{0:?} is not a master's address; write https://HOST:PORT")]
    Address(String),
    /// A list of masters is empty or far too long.
    #[error("a list of masters must have 1 to 64 addresses, not {0}")]
    Masters(usize),
    /// A call was built of parts that no HTTP request can have. A defect of the caller.
    #[error("the request is malformed: {0}")]
    Request(String),
    /// A kubeconfig does not hold what is needed.
    #[error("the kubeconfig is not usable: {0}")]
    Kubeconfig(String),
    /// A master refused to let this machine join.
    #[error("joining was refused: {message}")]
    JoinRefused {
        /// The HTTP status code.
        code: u16,
        /// The master's explanation.
        message: String,
    },
    /// Certificates, keys, tokens or a TLS handshake.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

impl Error {
    /// The status code, when the cluster answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { code, .. } | Self::JoinRefused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// An object of that name is there already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Api { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// The object has changed since it was read: read again and decide anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { code: 409, reason, .. } if reason != "AlreadyExists")
            || matches!(self, Self::JoinRefused { code: 409, .. })
    }

    /// The revision is no longer kept: list anew.
    pub fn is_expired(&self) -> bool {
        self.code() == Some(410)
    }

    /// A change may or may not have happened: no answer came, or a master gave up waiting (504).
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. }) || self.code() == Some(504)
    }

    /// Nothing was done and another try may well succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api { code, .. } | Self::JoinRefused { code, .. } => matches!(code, 429 | 503),
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::WatchBroken(_) | Self::Stale { .. } => true,
            Self::Identity(identity::Error::Handshake(_) | identity::Error::HandshakeTimeout(_)) => true,
            _ => false,
        }
    }
}
