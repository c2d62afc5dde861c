//! The log and the vote as openraft wants them.
//!
//! The newest entries are also kept in memory: replication and `apply` read what was just written without touching the
//! disk, and an entry is readable while its fsync still runs.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorVerb, LogState, OptionalSend, RaftLogReader};
use storage::Storage;

use crate::codec;
use crate::durability::Durability;
use crate::types::{DiskError, Entry, LogId, TypeConfig, Vote, disk_error, gone};
use crate::writer::{Job, Writer};

/// Bytes of entries kept in memory: some seconds of a busy leader, so that followers which keep up never need the disk.
const TAIL_BYTES: usize = 8 << 20;
/// Read at once for replication. Small enough for a follower to write it within one heartbeat; at least one entry.
const REPLICATION_BYTES: usize = 1 << 20;
/// What an entry takes in memory beside its payload.
const ENTRY_OVERHEAD: usize = 200;

/// The log. Clones are readers of the same log.
#[derive(Clone)]
pub struct LogStore {
    id: u64,
    storage: Storage,
    writer: Writer,
    durability: Arc<Durability>,
    tail: Arc<Mutex<Tail>>,
    /// The term in which this master leads, as far as its saved vote says.
    leads: Option<u64>,
}

/// The newest entries, without a gap.
#[derive(Default)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl LogStore {
    /// The log in `storage`, of the master `id`.
    pub fn new(id: u64, storage: Storage, writer: Writer, durability: Arc<Durability>) -> Self {
        Self { id, storage, writer, durability, tail: Arc::default(), leads: None }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // The tail stays consistent whatever panics while it is held.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, DiskError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (recent, before) = self.tail().read(&range, bytes_max);
        if before <= range.start {
            return Ok(recent);
        }
        let (storage, older) = (self.storage.clone(), range.start..before);
        let mut entries = blocking(move || read_disk(&storage, older, bytes_max)).await?;
        let complete = entries.last().is_none_or(|last| last.log_id.index + 1 == before);
        if complete && bytes_max == usize::MAX {
            entries.extend(recent);
        }
        Ok(entries)
    }
}

impl Tail {
    /// What it has of `range`, and the index before which the disk must be asked.
    fn read(&self, range: &Range<u64>, bytes_max: usize) -> (Vec<Entry>, u64) {
        let Some(first) = self.entries.front().map(|entry| entry.log_id.index) else {
            return (Vec::new(), range.end);
        };
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        let skip = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        for entry in self.entries.iter().skip(skip).take_while(|entry| entry.log_id.index < range.end) {
            bytes = bytes.saturating_add(weight(entry));
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        (found, first.min(range.end))
    }

    fn append(&mut self, entries: &[Entry], settled: impl Fn(u64) -> bool) {
        for entry in entries {
            let next = self.entries.back().map(|last| last.log_id.index + 1);
            if next.is_some_and(|next| next != entry.log_id.index) {
                // A snapshot came between; what was before it is no longer asked for.
                self.clear();
            }
            self.bytes += weight(entry);
            self.entries.push_back(entry.clone());
        }
        while self.bytes > TAIL_BYTES
            && self.entries.len() > 1
            && self.entries.front().is_some_and(|oldest| settled(oldest.log_id.index))
        {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, weight);
        }
    }

    fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|last| last.log_id.index >= from) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, weight);
        }
    }

    fn purge(&mut self, upto: u64) {
        while self.entries.front().is_some_and(|first| first.log_id.index <= upto) {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, weight);
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn weight(entry: &Entry) -> usize {
    ENTRY_OVERHEAD
        + match &entry.payload {
            openraft::EntryPayload::Normal(payload) => payload.size(),
            _ => 0,
        }
}

fn read_disk(storage: &Storage, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, DiskError> {
    let records = storage.read_log(range, bytes_max).map_err(|error| disk_error(ErrorVerb::Read, &error))?;
    records.iter().map(|(_, bytes)| read_record("a log entry", bytes)).collect()
}

fn read_record<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DiskError> {
    codec::decode(what, bytes).map_err(|error| disk_error(ErrorVerb::Read, &error))
}

fn write_record<T: serde::Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, DiskError> {
    codec::encode(what, value).map_err(|error| disk_error(ErrorVerb::Write, &error))
}

/// Runs disk reads off the async workers.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| gone("a disk task"))?
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, DiskError> {
        self.read(bounds(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, DiskError> {
        self.read(start..end, REPLICATION_BYTES).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, DiskError> {
        let newest = self.tail().entries.back().map(|entry| entry.log_id);
        let storage = self.storage.clone();
        blocking(move || {
            let disk = |error: storage::Error| disk_error(ErrorVerb::Read, &error);
            let purged: Option<LogId> = match storage.last_purged().map_err(disk)? {
                Some(bytes) => Some(read_record("the last purged log id", &bytes)?),
                None => None,
            };
            let last = match storage.log_bounds().map_err(disk)? {
                Some((_, last)) => read_disk(&storage, last..last.saturating_add(1), usize::MAX)?.pop(),
                None => None,
            };
            let last = newest.max(last.map(|entry| entry.log_id)).max(purged);
            Ok(LogState { last_purged_log_id: purged, last_log_id: last })
        })
        .await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), DiskError> {
        let bytes = write_record("the vote", vote)?;
        self.writer.complete(|done| Job::Vote(bytes, done)).await?;
        let own = vote.is_committed() && vote.leader_id().voted_for() == Some(self.id);
        self.leads = own.then(|| vote.leader_id().get_term());
        Ok(())
    }

    /// A leader that restarts has to win a new term (see [`Durability`]): its own committed vote reads as a plain one.
    async fn read_vote(&mut self) -> Result<Option<Vote>, DiskError> {
        let storage = self.storage.clone();
        let bytes = blocking(move || storage.vote().map_err(|error| disk_error(ErrorVerb::Read, &error))).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        let mut vote: Vote = read_record("the vote", &bytes)?;
        vote.committed &= vote.leader_id().voted_for() != Some(self.id);
        Ok(Some(vote))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), DiskError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        let early = self.leads.is_some_and(|term| entries.iter().all(|entry| entry.log_id.leader_id.term == term));
        if early {
            self.durability.begin(last.index);
        }
        self.tail().append(&entries, |index| self.durability.is_settled(index));
        let (told, flushed) = if early { (Some(callback), None) } else { (None, Some(callback)) };
        self.writer.send(Job::Append { entries, last, flushed }).await?;
        if let Some(callback) = told {
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), DiskError> {
        self.tail().truncate(log_id.index);
        self.writer.complete(|done| Job::Truncate(log_id.index, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), DiskError> {
        let bytes = write_record("the last purged log id", &log_id)?;
        self.tail().purge(log_id.index);
        self.writer.complete(|done| Job::Purge(log_id.index, bytes, done)).await
    }
}
