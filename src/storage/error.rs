//! What the disk can answer instead of data. Each says which file or folder, and what to do.

use std::path::PathBuf;

use crate::owner::Owner;

/// Why something could not be read from or written to the disk. None is retryable: the process that meets one must end,
/// because what it believes to be durable may not be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is held by another process.
    #[error("{dir} is in use by another process ({reason}): stop that one first")]
    InUse {
        /// The data folder.
        dir: PathBuf,
        /// What the lock said.
        reason: String,
    },
    /// Written by a release that this one does not know.
    #[error("{file} says format {found}, this release knows up to {known}: start a newer release")]
    Format {
        /// The file that holds the version.
        file: PathBuf,
        /// What stands in it.
        found: String,
        /// The newest format known here.
        known: u32,
    },
    /// Votes and entries of another master.
    #[error(
        "{dir} holds the data of {found}, and this is {wanted}: put the right folder back, or empty the whole folder of \
         this master, its record and keys too, and let it join anew"
    )]
    OtherOwner {
        /// The data folder.
        dir: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Who wanted to use it.
        wanted: Owner,
    },
    /// What was durable is gone or changed. Never repaired silently: a vote or an acknowledged write may be among it.
    #[error(
        "{place} is damaged ({reason}): put it back; or, while the other masters run, empty the whole folder of this \
         master, its record and keys too, and let it join anew; if all masters refuse, recover from the best folder or a \
         backup"
    )]
    Damaged {
        /// The file or folder.
        place: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The operating system refused; often a full or failing disk, or missing permissions.
    #[error("{place}: {reason}; check free space, permissions and the disk's health, then start again")]
    Disk {
        /// The file or folder.
        place: PathBuf,
        /// What was being done, and what the system said.
        reason: String,
    },
}

impl Error {
    /// Sorts what RocksDB says; it names the file in its text where it knows one.
    pub(crate) fn from_rocks(dir: &std::path::Path, doing: &str, error: &rocksdb::Error) -> Self {
        let (text, place) = (error.to_string(), dir.to_owned());
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Damaged { place, reason: format!("{doing}: {text}") },
            rocksdb::ErrorKind::IOError if text.contains("lock ") || text.contains("LOCK: ") => {
                Self::InUse { dir: place, reason: text }
            }
            _ => Self::Disk { place, reason: format!("{doing}: {text}") },
        }
    }

    pub(crate) fn from_io(place: &std::path::Path, doing: &str, error: &std::io::Error) -> Self {
        Self::Disk { place: place.to_owned(), reason: format!("{doing}: {error}") }
    }
}
