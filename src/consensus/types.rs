//! The types raft works with.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageError, StorageIOError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use state::{Command, Committed, Refusal};

use crate::snapshot::SnapshotFile;

/// A master as the others see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `host:port` for peers.
    pub peer: String,
    /// URL of its API.
    pub api: String,
}

openraft::declare_raft_types!(
    /// Raft over [`Payload`], among masters with numbers as ids.
    pub TypeConfig:
        D = Payload,
        R = Answers,
        NodeId = u64,
        Node = Member,
        SnapshotData = SnapshotFile,
);

pub type Raft = openraft::Raft<TypeConfig>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<u64>;
pub type Vote = openraft::Vote<u64>;
pub type Membership = openraft::StoredMembership<u64, Member>;
pub type Metrics = openraft::RaftMetrics<u64, Member>;
pub type DiskError = StorageError<u64>;

/// A command as it goes through the log: encoded once by the leader, decoded at most once by each master. Cheap to clone.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    command: OnceLock<Command>,
}

impl Payload {
    /// Encodes a command.
    pub fn new(command: Command) -> Result<Self, state::Error> {
        let bytes = Bytes::from(command.encode()?);
        Ok(Self(Arc::new(Inner { bytes, command: OnceLock::from(command) })))
    }

    /// The command.
    pub fn command(&self) -> Result<&Command, state::Error> {
        if let Some(known) = self.0.command.get() {
            return Ok(known);
        }
        let decoded = Command::decode(&self.0.bytes)?;
        Ok(self.0.command.get_or_init(|| decoded))
    }

    /// Its size in the log.
    pub fn size(&self) -> usize {
        self.0.bytes.len()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.size())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.bytes)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        Ok(Self(Arc::new(Inner { bytes, command: OnceLock::new() })))
    }
}

/// A transaction's fate.
pub type Answer = Result<Committed, Refusal>;

/// What applying an entry answered: one for each of its transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers(pub Vec<Answer>);

/// Our errors in raft's words.
pub fn disk_error(verb: ErrorVerb, error: &(impl std::error::Error + 'static)) -> DiskError {
    StorageIOError::new(ErrorSubject::Store, verb, AnyError::new(error)).into()
}

/// For what has no error of its own: a thread that is gone.
pub fn gone(what: &str) -> DiskError {
    disk_error(ErrorVerb::Write, &io::Error::other(format!("{what} has ended")))
}
