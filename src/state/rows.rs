//! The state as rows: the one form in which it goes to disk, into a snapshot and back.

use objects::{Key, Object};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Revision, Stored};

/// Format version of rows; the first byte of every value.
pub const FORMAT: u8 = 1;

/// Which part of the state a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Table {
    /// Objects by key.
    Objects,
    /// What each revision replaced, by revision.
    History,
    /// Answers of recent transactions, by sequence.
    Requests,
    /// The machine's own counters; one row.
    Machine,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 4] = [Table::Objects, Table::History, Table::Requests, Table::Machine];
}

/// One row with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Table of the row.
    pub table: Table,
    /// Key, ordered as the table is.
    pub key: Vec<u8>,
    /// Value; the first byte is a format version.
    pub value: Vec<u8>,
}

/// One change of the rows. The writes of one log entry go to disk in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Inserts or replaces a row.
    Put(Row),
    /// Removes a row.
    Delete {
        /// Table of the row.
        table: Table,
        /// Key of the row.
        key: Vec<u8>,
    },
}

/// An object's row. Its key in the table is [`object_key`].
#[derive(Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    pub key: Key,
    pub created: Revision,
    pub revision: Revision,
    pub object: Arc<Object>,
}

impl ObjectRow {
    pub fn of(stored: &Stored) -> Self {
        Self {
            key: stored.key.clone(),
            created: stored.created,
            revision: stored.revision,
            object: Arc::clone(&stored.object),
        }
    }

    pub fn into_stored(self) -> Stored {
        Stored::new(self.key, self.object, self.created, self.revision)
    }
}

/// The row key of an object: its parts, each ended by a zero byte, which no part can hold.
pub(crate) fn object_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.resource.as_str().len() + key.namespace.len() + key.name.len() + 3);
    for part in [key.resource.as_str(), &key.namespace, &key.name] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes
}
