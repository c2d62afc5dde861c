//! What goes through the log: transactions in batches, the start of a tenure, and compaction.

use std::fmt;
use std::sync::Arc;

use objects::{Key, Object};
use serde::{Deserialize, Serialize};

use crate::{Error, Revision};

/// Format version of encoded commands; the first byte of every one.
pub const FORMAT: u8 = 1;

/// Names one transaction for ever, so that a repeat of it is recognized and not done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u128);

/// Names a tenure: the log index of the leader's "I lead" entry. Later tenures have larger tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u64);

/// Who proposes. A duty of the leader cannot be written without its token: the type holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A user or program through the API, by name; its own preconditions protect it.
    Client(Arc<str>),
    /// A node agent, by node name, through any master; it names uids in its preconditions.
    Node(Arc<str>),
    /// Scheduler or controllers of the leader; refused once a newer tenure exists.
    Duty(Token),
}

/// What must hold when the transaction is applied; otherwise nothing of it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// No object of this name.
    Absent(Key),
    /// The object exists, last written at exactly this revision.
    Unchanged {
        /// Which object.
        key: Key,
        /// The revision its writer has read.
        revision: Revision,
    },
    /// The object exists, in this incarnation when a uid is given.
    Exists {
        /// Which object.
        key: Key,
        /// Uid it must have.
        uid: Option<Box<str>>,
    },
    /// The object exists and is not being deleted; for a namespace that something is created in.
    Active(Key),
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Creates or replaces. Equal content changes nothing and gets no revision.
    Put {
        /// Which object.
        key: Key,
        /// Its new content.
        object: Arc<Object>,
    },
    /// Removes; refused when there is no such object.
    Delete {
        /// Which object.
        key: Key,
    },
}

impl Change {
    /// The object that the change is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Recognizes a repeat.
    pub id: RequestId,
    /// Who proposes.
    pub origin: Origin,
    /// When it was proposed, milliseconds since the epoch by the proposer's clock; history is bounded by it.
    pub at_ms: u64,
    /// All of these must hold.
    pub preconditions: Vec<Precondition>,
    /// Done in this order, each with a revision of its own.
    pub changes: Vec<Change>,
}

impl Transaction {
    /// About how many bytes the transaction takes in the log.
    pub fn size(&self) -> usize {
        let changes: usize = self
            .changes
            .iter()
            .map(|change| match change {
                Change::Put { object, .. } => object.bytes().len() + 256,
                Change::Delete { .. } => 128,
            })
            .sum();
        64 + 128 * self.preconditions.len() + changes
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Transactions that shared one fsync; each keeps its own preconditions and its own answer.
    Transact(Vec<Transaction>),
    /// "I lead": starts a tenure, whose token is this entry's log index.
    Lead {
        /// Raft id of the master that leads.
        master: u64,
        /// Drawn at the start of its process, so that a restarted leader is a new one.
        incarnation: u128,
    },
    /// Forgets history up to and including a revision.
    Compact {
        /// The newest revision that is forgotten.
        until: Revision,
    },
}

/// A transaction that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The revision of each change, in order; for a change that changed nothing, the revision the object already had.
    pub revisions: Vec<Revision>,
}

impl Committed {
    /// The revision of the last change; zero when there was none.
    pub fn revision(&self) -> Revision {
        self.revisions.last().copied().unwrap_or_default()
    }
}

/// A transaction that did not take place, and never will under this request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// An object that must be absent exists.
    #[error("{0} already exists")]
    AlreadyExists(Key),
    /// An object that must exist does not.
    #[error("{0} not found")]
    NotFound(Key),
    /// The object has been written since it was read.
    #[error("{key} was changed (now at revision {found})")]
    Changed {
        /// Which object.
        key: Key,
        /// Its revision now.
        found: Revision,
    },
    /// The object was deleted and created anew since it was read.
    #[error("{key} is another incarnation (uid {found})")]
    Reborn {
        /// Which object.
        key: Key,
        /// Its uid now.
        found: Box<str>,
    },
    /// The object is being deleted.
    #[error("{0} is being deleted")]
    Terminating(Key),
    /// A newer tenure exists: this leader's time is over.
    #[error("the tenure {0:?} has ended: another leader has taken over")]
    Fenced(Token),
}

impl Command {
    /// The command as bytes, format version first.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the encoder refuses, which no value of this type makes it do.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(FORMAT, "a command", self)
    }

    /// Reads bytes that [`Command::encode`] made, in this or an older release.
    ///
    /// # Errors
    /// [`Error::Format`] from a newer release, [`Error::Damaged`] when the bytes make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(FORMAT, "a command", bytes)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transact(transactions) => write!(out, "{} transactions", transactions.len()),
            Self::Lead { master, .. } => write!(out, "master {master} leads"),
            Self::Compact { until } => write!(out, "compact until {until}"),
        }
    }
}

/// A version byte, then bincode.
pub(crate) fn encode<T: Serialize>(format: u8, what: &'static str, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![format];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(|error| Error::Damaged { what, reason: error.to_string() })?;
    Ok(bytes)
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(known: u8, what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((version, rest)) if *version == known => {
            bincode::serde::decode_from_slice(rest, bincode::config::standard())
                .map(|(value, _)| value)
                .map_err(|error| Error::Damaged { what, reason: error.to_string() })
        }
        Some((version, _)) => Err(Error::Format { what, found: *version, known }),
        None => Err(Error::Damaged { what, reason: "it is empty".into() }),
    }
}
