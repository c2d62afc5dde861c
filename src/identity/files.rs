//! Secrets on disk: readable by their owner only, and replaced as a whole or not at all.

use crate::Error;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file of keys or certificates that is read: ours are a few kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Writes `contents` to `path` with mode 0600, so that after a crash the file holds either its old
/// or its new contents: a new file is written and synced, renamed into place, and the folder
/// synced. Missing folders are made with mode 0700.
///
/// # Errors
/// [`Error::File`] when any step fails; the old contents are then still there.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|source| Error::File {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    let draft = draft_of(path);
    let outcome = write_draft(&draft, contents)
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| File::open(&folder)?.sync_all());
    outcome.map_err(|source| {
        // The draft may hold a secret and is of no use; it is gone already when renaming worked.
        let _ = fs::remove_file(&draft);
        Error::File { action: "write", path: path.to_owned(), source }
    })
}

/// Reads `path` as text; `None` when there is no such file.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Damaged`] when it is larger than any such file
/// or not text.
pub fn read_private(path: &Path) -> Result<Option<String>, Error> {
    let unreadable = |source| Error::File { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut contents = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents).map_err(unreadable)?;
    let damaged = |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    if contents.len() as u64 > FILE_BYTES_MAX {
        return Err(damaged("it is far too large"));
    }
    String::from_utf8(contents).map(Some).map_err(|_| damaged("it is not text"))
}

fn write_draft(draft: &Path, contents: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", base::random::suffix(8)));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/secret.pem");
        assert_eq!(read_private(&path).unwrap(), None);
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_private(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no draft may stay behind: {names:?}");
    }

    #[test]
    fn a_failed_write_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(matches!(write_private(&path, b"x"), Err(Error::File { action: "write", .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join("bytes"), [0xff, 0xfe]).unwrap();
        assert!(matches!(read_private(&folder.path().join("bytes")), Err(Error::Damaged { .. })));
    }
}
