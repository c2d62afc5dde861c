//! The one RocksDB instance: opening it safely, and the one way to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, LogLevel, Options, WriteBatch,
    WriteOptions,
};

use crate::batch::{Batch, Durability, Operation, Table};
use crate::error::Error;
use crate::snapshot::Snapshots;
use crate::{blame, manifest};

/// Format of the data folder. Raised when an older release could not read it.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const DATABASE_FOLDER: &str = "db";
const SNAPSHOT_FOLDER: &str = "snapshots";

pub(crate) const LOG: &str = "log";
pub(crate) const RAFT: &str = "raft";
const META: &str = "meta";
pub(crate) const VOTE_KEY: &[u8] = b"vote";
pub(crate) const PURGED_KEY: &[u8] = b"purged";
pub(crate) const APPLIED_KEY: &[u8] = b"applied";
pub(crate) const GENERATION_KEY: &[u8] = b"generation";

/// Shared by all tables; the state lives in memory, so the disk is read at the start and by lagging peers only.
const BLOCK_CACHE_BYTES: usize = 4 << 20;
/// Of all tables together, before the oldest is flushed.
const WRITE_BUFFERS_BYTES: usize = 24 << 20;
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Bounds what a restart has to replay.
const WAL_BYTES_MAX: u64 = 64 << 20;
/// Each open file holds its index in memory.
const OPEN_FILES_MAX: i32 = 128;
/// How late the fault of [`Storage::open_lagging`] syncs: long enough for acknowledged writes to be lost, short enough for the
/// masters to keep their membership and to come back.
const LAG: Duration = Duration::from_millis(500);
/// One flush and one compaction at a time leave the disk to the log.
const BACKGROUND_JOBS: i32 = 2;

/// The data folder of one master. Cheap to clone; all clones are the same folder, which is released with the last one.
#[derive(Clone)]
pub struct Storage {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub db: DB,
    pub dir: PathBuf,
    /// Rows are prefixed by it; replacing the whole state writes under the next one and then switches.
    pub generation: AtomicU32,
    pub snapshots: Snapshots,
    /// When the last entries were synced: kept only in proofs that the loss of power is noticed.
    lag: Option<Mutex<Instant>>,
    /// The last field, so that it is dropped when the database is closed.
    closed: Mark,
}

/// Tells when a folder is released: every handle is gone and the database is closed.
#[derive(Clone, Default)]
pub struct Closed(Arc<(Mutex<bool>, Condvar)>);

impl Closed {
    /// Waits for it, at most that long; whether it happened. A process that ends earlier may be aborted in the middle of
    /// RocksDB's own clean-up.
    pub fn wait(&self, at_most: Duration) -> bool {
        let (closed, wake) = &*self.0;
        let closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = wake.wait_timeout_while(closed, at_most, |closed| !*closed);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // An older mark is a weaker check, not a wrong one.
        let _ = manifest::keep(&self.dir, &self.dir.join(DATABASE_FOLDER));
    }
}

struct Mark(Closed);

impl Drop for Mark {
    fn drop(&mut self) {
        let (closed, wake) = &*self.0.0;
        *closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
    }
}

impl Storage {
    /// Opens the folder, or makes it. Recovers from a torn end of the write-ahead log (a crash), and from nothing else.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Format`], [`Error::Damaged`] and [`Error::Disk`], each with the file and the remedy.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_as(dir, None)
    }

    /// Fails unless the folder was opened before: an emptied one must not pass for new, because the vote that it held would be
    /// given twice.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a folder that is gone or empty.
    pub fn must_exist(dir: &Path) -> Result<(), Error> {
        if dir.join(FORMAT_FILE).exists() {
            return Ok(());
        }
        let reason = "it is gone or empty, and this master has given votes and acknowledged writes from it".into();
        Err(Error::Damaged { place: dir.to_owned(), reason })
    }

    /// As [`Storage::open`], but answers before entries are on the disk, where they come every half second only: a power cut
    /// loses acknowledged writes. For proofs that such a fault is noticed; nothing that a user can configure leads here.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn open_lagging(dir: &Path) -> Result<Self, Error> {
        Self::open_as(dir, Some(Mutex::new(Instant::now())))
    }

    fn open_as(dir: &Path, lag: Option<Mutex<Instant>>) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| Error::from_io(dir, "creating the folder", &error))?;
        check_format(dir)?;
        let place = dir.join(DATABASE_FOLDER);
        manifest::check(dir, &place)?;
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = [LOG, RAFT, META]
            .into_iter()
            .chain(Table::ALL.iter().map(|table| table.name()))
            .map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db = DB::open_cf_descriptors(&database_options(), &place, families)
            .map_err(|error| blame::name_file(Error::from_rocks(&place, "opening the database", &error), &place))?;
        manifest::keep(dir, &place)?;
        let snapshots = Snapshots::open(&dir.join(SNAPSHOT_FOLDER))?;
        let inner = Inner {
            db,
            dir: dir.to_owned(),
            generation: AtomicU32::new(0),
            snapshots,
            lag,
            closed: Mark(Closed::default()),
        };
        let storage = Self { inner: Arc::new(inner) };
        storage.load_generation()?;
        Ok(storage)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// For waiting until the folder is released.
    pub fn closed(&self) -> Closed {
        self.inner.closed.0.clone()
    }

    /// The snapshot files beside the database.
    pub fn snapshots(&self) -> &Snapshots {
        &self.inner.snapshots
    }

    /// Writes a batch: all of it, or none.
    ///
    /// # Errors
    /// [`Error::Disk`] when the disk is full or fails, [`Error::Damaged`] when the database is. The process must end.
    pub fn write(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        let mut writes = WriteBatch::default();
        for operation in &batch.operations {
            match operation {
                Operation::Append { index, entry } => writes.put_cf(self.family(LOG)?, index.to_be_bytes(), entry),
                Operation::Truncate { from } => {
                    writes.delete_range_cf(self.family(LOG)?, from.to_be_bytes(), u64::MAX.to_be_bytes());
                }
                Operation::Purge { upto, last_purged } => {
                    let end = upto.saturating_add(1).to_be_bytes();
                    writes.delete_range_cf(self.family(LOG)?, 0_u64.to_be_bytes(), end);
                    writes.put_cf(self.family(RAFT)?, PURGED_KEY, last_purged);
                }
                Operation::Vote(vote) => writes.put_cf(self.family(RAFT)?, VOTE_KEY, vote),
                Operation::Applied(applied) => writes.put_cf(self.family(META)?, APPLIED_KEY, applied),
                Operation::Put { table, key, value } => {
                    writes.put_cf(self.family(table.name())?, self.row_key(key), value);
                }
                Operation::Delete { table, key } => writes.delete_cf(self.family(table.name())?, self.row_key(key)),
            }
        }
        let durability = match &self.inner.lag {
            Some(last) if durability == Durability::Synced && !is_due(last) => Durability::Ordered,
            _ => durability,
        };
        self.commit(writes, durability)
    }

    pub(crate) fn commit(&self, writes: WriteBatch, durability: Durability) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.inner.db.write_opt(writes, &options).map_err(|error| self.failed("writing", &error))
    }

    pub(crate) fn family(&self, name: &'static str) -> Result<&ColumnFamily, Error> {
        self.inner.db.cf_handle(name).ok_or_else(|| Error::Damaged {
            place: self.inner.dir.join(DATABASE_FOLDER),
            reason: format!("the table {name} is missing"),
        })
    }

    pub(crate) fn meta(&self) -> Result<&ColumnFamily, Error> {
        self.family(META)
    }

    pub(crate) fn failed(&self, doing: &str, error: &rocksdb::Error) -> Error {
        Error::from_rocks(&self.inner.dir.join(DATABASE_FOLDER), doing, error)
    }

    pub(crate) fn row_key(&self, key: &[u8]) -> Vec<u8> {
        row_key(self.inner.generation.load(Ordering::SeqCst), key)
    }
}

/// Whether a master that syncs late has to sync now.
fn is_due(last: &Mutex<Instant>) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.elapsed() >= LAG;
    if due {
        *last = Instant::now();
    }
    due
}

/// A row's key on disk: its generation, then its own key.
pub(crate) fn row_key(generation: u32, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(4 + key.len());
    full.extend_from_slice(&generation.to_be_bytes());
    full.extend_from_slice(key);
    full
}

fn check_format(dir: &Path) -> Result<(), Error> {
    let file = dir.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found == FORMAT => Ok(()),
            _ => Err(Error::Format { file, found: text.trim().chars().take(32).collect(), known: FORMAT }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.join(DATABASE_FOLDER).join("CURRENT").exists() {
                return Err(Error::Damaged { place: file, reason: "it is gone, but the database is there".into() });
            }
            fs::write(&file, format!("{FORMAT}\n"))
                .and_then(|()| fs::File::open(&file)?.sync_all())
                .and_then(|()| fs::File::open(dir)?.sync_all())
                .map_err(|error| Error::from_io(&file, "writing", &error))
        }
        Err(error) => Err(Error::from_io(&file, "reading", &error)),
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A crash leaves a torn last record; anything else that is wrong in the log must not be passed over.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // Notices when a whole file of the log is missing or short of what was synced.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options
}
