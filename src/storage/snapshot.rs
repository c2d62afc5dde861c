//! Snapshot files: a sequence of records, each with a checksum, and an end mark. Written aside and renamed, so that a
//! file under its final name is whole.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Starts every file; the last byte is the format.
const MAGIC: &[u8; 8] = b"BARQSNP\x01";
const PREFIX: &str = "snapshot-";
const ASIDE: &str = ".tmp";
/// The newest, and one more in case a reader of the older one is slow.
const KEPT: usize = 2;
/// Length that marks the end; what follows it is the number of records.
const END: u32 = u32::MAX;
/// No record is longer: an object's row is a tenth of it at most.
const RECORD_BYTES_MAX: u32 = 64 << 20;

/// The folder of snapshots.
pub struct Snapshots {
    dir: PathBuf,
    next: AtomicU64,
}

impl Snapshots {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| Error::from_io(dir, "creating the folder", &error))?;
        let snapshots = Self { dir: dir.to_owned(), next: AtomicU64::new(1) };
        for name in snapshots.names()? {
            if name.ends_with(ASIDE) {
                let path = dir.join(&name);
                fs::remove_file(&path).map_err(|error| Error::from_io(&path, "removing a leftover", &error))?;
            } else if let Some(number) = number_of(&name) {
                snapshots.next.fetch_max(number + 1, Ordering::SeqCst);
            }
        }
        Ok(snapshots)
    }

    /// The newest whole snapshot.
    ///
    /// # Errors
    /// [`Error::Disk`] when the folder cannot be read.
    pub fn latest(&self) -> Result<Option<PathBuf>, Error> {
        let newest = self.names()?.into_iter().filter_map(|name| Some((number_of(&name)?, name))).max();
        Ok(newest.map(|(_, name)| self.dir.join(name)))
    }

    /// A path for a file that is written aside: received from a peer, or about to be. It vanishes with a restart.
    pub fn aside(&self) -> PathBuf {
        self.dir.join(format!("{}{ASIDE}", self.next.fetch_add(1, Ordering::SeqCst)))
    }

    /// Starts a snapshot.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn create(&self) -> Result<Writer, Error> {
        let path = self.aside();
        let file = File::create(&path).map_err(|error| Error::from_io(&path, "creating", &error))?;
        let mut writer = Writer { out: BufWriter::with_capacity(256 << 10, file), path, records: 0 };
        writer.raw(MAGIC)?;
        Ok(writer)
    }

    /// Makes a file that was written aside the newest snapshot: checks it whole, syncs it, renames it, and removes those
    /// that are older than the last two.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a checksum or the end is wrong; [`Error::Disk`].
    pub fn adopt(&self, aside: &Path) -> Result<PathBuf, Error> {
        check(aside)?;
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let path = self.dir.join(format!("{PREFIX}{number:020}"));
        File::open(aside)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(aside, &path))
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(|error| Error::from_io(&path, "making a snapshot durable", &error))?;
        self.remove_old()?;
        Ok(path)
    }

    fn remove_old(&self) -> Result<(), Error> {
        let mut numbered: Vec<_> =
            self.names()?.into_iter().filter_map(|name| Some((number_of(&name)?, name))).collect();
        numbered.sort();
        for (_, name) in numbered.iter().rev().skip(KEPT) {
            let path = self.dir.join(name);
            fs::remove_file(&path).map_err(|error| Error::from_io(&path, "removing an old snapshot", &error))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |error: std::io::Error| Error::from_io(&self.dir, "reading the folder", &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Reads a whole snapshot, and keeps nothing of it.
///
/// # Errors
/// [`Error::Damaged`] when a checksum or the end is wrong; [`Error::Disk`] when it cannot be read.
pub fn check(path: &Path) -> Result<(), Error> {
    Reader::open(path)?.try_for_each(|record| record.map(|_| ()))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Writes a snapshot aside.
pub struct Writer {
    out: BufWriter<File>,
    path: PathBuf,
    records: u64,
}

impl Writer {
    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Disk`], also for a record that is too long.
    pub fn write(&mut self, record: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(record.len()).ok().filter(|length| *length <= RECORD_BYTES_MAX);
        let length = length.ok_or_else(|| Error::Disk {
            place: self.path.clone(),
            reason: format!("a record of {} bytes is too long", record.len()),
        })?;
        self.raw(&length.to_le_bytes())?;
        self.raw(&crc32fast::hash(record).to_le_bytes())?;
        self.raw(record)?;
        self.records += 1;
        Ok(())
    }

    /// Ends the file; it still lies aside. Give the path to [`Snapshots::adopt`].
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn finish(mut self) -> Result<PathBuf, Error> {
        let count = self.records.to_le_bytes();
        self.raw(&END.to_le_bytes())?;
        self.raw(&crc32fast::hash(&count).to_le_bytes())?;
        self.raw(&count)?;
        self.out.flush().map_err(|error| Error::from_io(&self.path, "writing", &error))?;
        Ok(self.path)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|error| Error::from_io(&self.path, "writing", &error))
    }
}

/// Reads a snapshot's records and checks each; the last one is followed by a check that none is missing.
pub struct Reader {
    input: BufReader<File>,
    path: PathBuf,
    records: u64,
    done: bool,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Disk`] when it cannot be opened, [`Error::Damaged`] when it is no snapshot of a format known here.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::from_io(path, "opening", &error))?;
        let input = BufReader::with_capacity(256 << 10, file);
        let mut reader = Self { input, path: path.to_owned(), records: 0, done: false };
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic)?;
        if &magic == MAGIC { Ok(reader) } else { Err(reader.damaged("it is not a snapshot of a known format")) }
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let length = self.number()?;
        let sum = self.number()?;
        if length == END {
            let mut count = [0; 8];
            self.fill(&mut count)?;
            if crc32fast::hash(&count) != sum || u64::from_le_bytes(count) != self.records {
                return Err(self.damaged("records are missing"));
            }
            return Ok(None);
        }
        if length > RECORD_BYTES_MAX {
            return Err(self.damaged("a record's length makes no sense"));
        }
        let mut record = vec![0; length as usize];
        self.fill(&mut record)?;
        if crc32fast::hash(&record) != sum {
            return Err(self.damaged("a checksum does not match"));
        }
        self.records += 1;
        Ok(Some(record))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => Error::from_io(&self.path, "reading", &error),
        })
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::Damaged { place: self.path.clone(), reason: format!("{reason}, after {} records", self.records) }
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.record().transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}
