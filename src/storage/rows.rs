//! The state's rows: read at the start, replaced as a whole when a snapshot is installed.

use std::sync::atomic::Ordering;

use rocksdb::{Direction, IteratorMode, WriteBatch};

use crate::batch::{Durability, Table};
use crate::database::{APPLIED_KEY, GENERATION_KEY, Storage, row_key};
use crate::error::Error;

/// How many bytes of rows go into one write while the state is replaced: bounds memory, far above any row.
const CHUNK_BYTES: usize = 4 << 20;

/// One row: table, key, value.
pub type Row = (Table, Vec<u8>, Vec<u8>);

impl Storage {
    /// How far the log is applied to the rows, as last written.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Disk`] when it cannot be read.
    pub fn applied(&self) -> Result<Option<Vec<u8>>, Error> {
        self.inner.db.get_cf(self.meta()?, APPLIED_KEY).map_err(|error| self.failed("reading", &error))
    }

    /// All rows, table by table.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + '_ {
        let generation = self.inner.generation.load(Ordering::SeqCst);
        Table::ALL.into_iter().flat_map(move |table| self.rows_of(table, generation))
    }

    fn rows_of(&self, table: Table, generation: u32) -> Box<dyn Iterator<Item = Result<Row, Error>> + '_> {
        let prefix = generation.to_be_bytes();
        let family = match self.family(table.name()) {
            Ok(family) => family,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let items = self.inner.db.iterator_cf(family, IteratorMode::From(&prefix, Direction::Forward));
        Box::new(items.take_while(move |item| item.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))).map(
            move |item| {
                let (key, value) = item.map_err(|error| self.failed("reading rows", &error))?;
                Ok((table, key[prefix.len()..].to_vec(), value.into_vec()))
            },
        ))
    }

    /// Replaces all rows and `applied` with them. A crash in the middle leaves the old ones: the new are written aside,
    /// under the next generation, and count from the one synced write that switches to it.
    ///
    /// Nothing else may write rows meanwhile.
    ///
    /// # Errors
    /// What `rows` yields, as it is; [`Error::Disk`] or [`Error::Damaged`] when writing fails. The old rows stay then.
    pub fn install<E: From<Error>>(&self, rows: impl Iterator<Item = Result<Row, E>>, applied: &[u8]) -> Result<(), E> {
        let old = self.inner.generation.load(Ordering::SeqCst);
        let new = old.wrapping_add(1);
        self.clear_generation(new)?;
        let mut writes = WriteBatch::default();
        for row in rows {
            let (table, key, value) = row?;
            writes.put_cf(self.family(table.name())?, row_key(new, &key), value);
            if writes.size_in_bytes() >= CHUNK_BYTES {
                self.commit(std::mem::take(&mut writes), Durability::Ordered)?;
            }
        }
        writes.put_cf(self.meta()?, APPLIED_KEY, applied);
        writes.put_cf(self.meta()?, GENERATION_KEY, new.to_be_bytes());
        self.commit(writes, Durability::Synced)?;
        self.inner.generation.store(new, Ordering::SeqCst);
        self.clear_generation(old)?;
        Ok(())
    }

    /// Finds the generation that counts and forgets what an interrupted installation left.
    pub(crate) fn load_generation(&self) -> Result<(), Error> {
        let stored =
            self.inner.db.get_cf(self.meta()?, GENERATION_KEY).map_err(|error| self.failed("reading", &error))?;
        let generation = match stored {
            None => 0,
            Some(bytes) => bytes.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| Error::Damaged {
                place: self.inner.dir.clone(),
                reason: "the generation of the rows is not a number".into(),
            })?,
        };
        self.inner.generation.store(generation, Ordering::SeqCst);
        self.clear_generation(generation.wrapping_add(1))?;
        self.clear_generation(generation.wrapping_sub(1))
    }

    fn clear_generation(&self, generation: u32) -> Result<(), Error> {
        let (from, to) = (generation.to_be_bytes(), generation.checked_add(1).map(u32::to_be_bytes));
        let mut writes = WriteBatch::default();
        for table in Table::ALL {
            let family = self.family(table.name())?;
            // A range tombstone costs every later read a little, so there is none where there is nothing.
            let first = self.inner.db.iterator_cf(family, IteratorMode::From(&from, Direction::Forward)).next();
            let occupied = match first {
                Some(Ok((key, _))) => key.starts_with(&from),
                Some(Err(error)) => return Err(self.failed("reading rows", &error)),
                None => false,
            };
            if occupied {
                let end = to.map_or_else(|| vec![0xff; 64], |to| to.to_vec());
                writes.delete_range_cf(family, from.to_vec(), end);
            }
        }
        if writes.is_empty() { Ok(()) } else { self.commit(writes, Durability::Ordered) }
    }
}
