//! What is written together: all of it becomes durable, or none.

/// A table of the state's rows. The storage does not know what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Objects by key.
    Objects,
    /// What each revision replaced.
    History,
    /// Answers of recent requests.
    Requests,
    /// The machine's counters.
    Machine,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 4] = [Table::Objects, Table::History, Table::Requests, Table::Machine];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::History => "history",
            Self::Requests => "requests",
            Self::Machine => "machine",
        }
    }
}

/// When a batch counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk when the call returns: for what is acknowledged to others (votes, entries).
    Synced,
    /// In the write-ahead log's order, synced with whatever is synced next. Enough for rows of the state: they follow from
    /// entries that were synced before them, and are derived again from these after a power cut.
    Ordered,
}

/// Writes that happen together, in the order they were added.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) operations: Vec<Operation>,
}

#[derive(Debug)]
pub(crate) enum Operation {
    Append { index: u64, entry: Vec<u8> },
    Truncate { from: u64 },
    Purge { upto: u64, last_purged: Vec<u8> },
    Vote(Vec<u8>),
    Applied(Vec<u8>),
    Put { table: Table, key: Vec<u8>, value: Vec<u8> },
    Delete { table: Table, key: Vec<u8> },
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds a log entry, or replaces the one at its index.
    pub fn append(&mut self, index: u64, entry: Vec<u8>) {
        self.operations.push(Operation::Append { index, entry });
    }

    /// Removes all log entries from `from` on.
    pub fn truncate(&mut self, from: u64) {
        self.operations.push(Operation::Truncate { from });
    }

    /// Removes all log entries up to and including `upto`, and keeps `last_purged` (its log id) in the same step.
    pub fn purge(&mut self, upto: u64, last_purged: Vec<u8>) {
        self.operations.push(Operation::Purge { upto, last_purged });
    }

    /// Keeps the vote.
    pub fn vote(&mut self, vote: Vec<u8>) {
        self.operations.push(Operation::Vote(vote));
    }

    /// Keeps how far the log is applied to the rows (and what else belongs to exactly this point).
    pub fn applied(&mut self, applied: Vec<u8>) {
        self.operations.push(Operation::Applied(applied));
    }

    /// Inserts or replaces a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.operations.push(Operation::Put { table, key, value });
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.operations.push(Operation::Delete { table, key });
    }
}
