//! A mark of how far RocksDB's own list of files had come.
//!
//! RocksDB takes a list (its MANIFEST) that ends early for one that a crash has torn, and goes on without the files that
//! the lost part named, or with an empty database when `CURRENT` is gone: a vote or acknowledged writes would be missing,
//! and nobody told. So the list's name and length are kept beside the database, at each opening and at each orderly end;
//! a list that is older or shorter is refused.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::Error;

const FILE: &str = "SEEN";
const PREFIX: &str = "MANIFEST-";

/// A list of files: the number in its name, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    number: u64,
    bytes: u64,
}

/// Fails when the database in `database` is behind the mark in `dir`.
///
/// # Errors
/// [`Error::Damaged`] with the file that is gone or short; [`Error::Disk`].
pub fn check(dir: &Path, database: &Path) -> Result<(), Error> {
    let file = dir.join(FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        // A new folder, or one whose first start was interrupted.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::from_io(&file, "reading", &error)),
    };
    let damaged = |place: &Path, reason: String| Err(Error::Damaged { place: place.to_owned(), reason });
    let Some(marked) = parse(&text) else { return damaged(&file, "it does not parse".into()) };
    let current = database.join("CURRENT");
    let Some(number) = current_number(&current) else {
        return damaged(&current, "it is gone or names no MANIFEST".into());
    };
    let manifest = database.join(name(number));
    let bytes = match manifest.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) => return damaged(&manifest, format!("CURRENT names it: {error}")),
    };
    if number < marked.number {
        return damaged(&current, format!("it names {}, but {} was in use", name(number), name(marked.number)));
    }
    if number == marked.number && bytes < marked.bytes {
        return damaged(&manifest, format!("it has {bytes} bytes of {}", marked.bytes));
    }
    Ok(())
}

/// Marks how far the open database has come.
///
/// # Errors
/// [`Error::Disk`].
pub fn keep(dir: &Path, database: &Path) -> Result<(), Error> {
    let file = dir.join(FILE);
    let failed = |error: std::io::Error| Error::from_io(&file, "writing", &error);
    let absent = || failed(std::io::Error::other("CURRENT names no MANIFEST"));
    let number = current_number(&database.join("CURRENT")).ok_or_else(absent)?;
    let bytes = database.join(name(number)).metadata().map_err(failed)?.len();
    let aside = dir.join(format!("{FILE}.tmp"));
    let write = || {
        let mut out = fs::File::create(&aside)?;
        out.write_all(format!("{number} {bytes}\n").as_bytes())?;
        out.sync_all()?;
        fs::rename(&aside, &file)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(failed)
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:06}")
}

/// The number of the MANIFEST that CURRENT names.
fn current_number(current: &Path) -> Option<u64> {
    fs::read_to_string(current).ok()?.trim_end().strip_prefix(PREFIX)?.parse().ok()
}

fn parse(text: &str) -> Option<Seen> {
    let (number, bytes) = text.trim_end().split_once(' ')?;
    Some(Seen { number: number.parse().ok()?, bytes: bytes.parse().ok()? })
}
