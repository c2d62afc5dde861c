//! Reading back the raft log and what belongs to it.

use std::ops::Range;

use rocksdb::{Direction, IteratorMode};

use crate::database::{LOG, PURGED_KEY, RAFT, Storage, VOTE_KEY};
use crate::error::Error;

impl Storage {
    /// The vote, as it was last written.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Disk`] when it cannot be read.
    pub fn vote(&self) -> Result<Option<Vec<u8>>, Error> {
        self.raft(VOTE_KEY)
    }

    /// What the last purge kept: the id of the last entry that is gone.
    ///
    /// # Errors
    /// As [`Storage::vote`].
    pub fn last_purged(&self) -> Result<Option<Vec<u8>>, Error> {
        self.raft(PURGED_KEY)
    }

    /// First and last index in the log.
    ///
    /// # Errors
    /// As [`Storage::vote`].
    pub fn log_bounds(&self) -> Result<Option<(u64, u64)>, Error> {
        let end = |mode| -> Result<Option<u64>, Error> {
            match self.inner.db.iterator_cf(self.family(LOG)?, mode).next() {
                Some(Ok((key, _))) => self.index(&key).map(Some),
                Some(Err(error)) => Err(self.failed("reading the log", &error)),
                None => Ok(None),
            }
        };
        Ok(end(IteratorMode::Start)?.zip(end(IteratorMode::End)?))
    }

    /// Entries with an index in `range`, in order: at most `bytes_max` bytes of them, but at least one if there is one.
    /// Ends at the first index that is missing.
    ///
    /// # Errors
    /// As [`Storage::vote`].
    pub fn read_log(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        let start = range.start.to_be_bytes();
        let mode = IteratorMode::From(&start, Direction::Forward);
        for item in self.inner.db.iterator_cf(self.family(LOG)?, mode) {
            let (key, value) = item.map_err(|error| self.failed("reading the log", &error))?;
            let index = self.index(&key)?;
            let expected = range.start + entries.len() as u64;
            bytes = bytes.saturating_add(value.len());
            if index >= range.end || index != expected || (bytes > bytes_max && !entries.is_empty()) {
                break;
            }
            entries.push((index, value.into_vec()));
        }
        Ok(entries)
    }

    fn raft(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.inner.db.get_cf(self.family(RAFT)?, key).map_err(|error| self.failed("reading", &error))
    }

    fn index(&self, key: &[u8]) -> Result<u64, Error> {
        key.try_into().map(u64::from_be_bytes).map_err(|_| Error::Damaged {
            place: self.inner.dir.clone(),
            reason: format!("a log index has {} bytes", key.len()),
        })
    }
}
