//! Which file RocksDB found damaged. Of its write-ahead log it says only that a checksum is wrong; the file's name goes to
//! its own log.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// RocksDB's own log: of the last attempt to open the database.
const LOG: &str = "LOG";
/// What it writes there behind the name of a file of which it cannot use the rest.
const COMPLAINT: &str = ": dropping ";

/// Puts the file's name in place of the folder's, where only RocksDB's log has it. Other errors stay as they are.
pub fn name_file(error: Error, database: &Path) -> Error {
    let Error::Damaged { place, reason } = error else { return error };
    let inside = format!("{}/", database.display());
    let named = || {
        let text = fs::read(database.join(LOG)).ok()?;
        complaint(&String::from_utf8_lossy(&text), &inside)
    };
    let place = if reason.contains(&inside) { place } else { named().unwrap_or(place) };
    Error::Damaged { place, reason }
}

/// The file of the last complaint in the text of a log.
fn complaint(text: &str, inside: &str) -> Option<PathBuf> {
    text.lines().rev().find_map(|line| {
        let (before, _) = line.split_once(COMPLAINT)?;
        Some(PathBuf::from(&before[before.find(inside)?..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complaint_counts() {
        let text = "1 [WARN] [/db_impl.cc:1] /d/db/000004.log: dropping 9 bytes; Corruption: checksum mismatch\n\
                    2 [WARN] /d/db/000007.log: dropping 7 bytes; Corruption: checksum mismatch\n\
                    3 [WARN] /elsewhere/1.log: dropping 7 bytes\n4 [WARN] /d/db/000009.log: fine\n";
        assert_eq!(complaint(text, "/d/db/"), Some(PathBuf::from("/d/db/000007.log")));
        assert_eq!(complaint(text, "/other/"), None);
    }
}
