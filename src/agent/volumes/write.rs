//! Writing a volume's files so that a reader sees all of the old ones or all of the new ones.
//!
//! The files lie in a folder of their own, to which the link `..data` points; each visible name is a link through `..data`.
//! An update makes a new folder and renames a new `..data` over the old one: the layout that upstream's volumes have, which
//! programs that watch for changes rely on.

use super::files::{Payload, is_inside};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes the folder `root` show exactly these files; says whether anything changed. `group` may read them, where one is given.
pub(super) fn write(root: &Path, payload: &Payload, group: Option<u32>, stamp: &str) -> io::Result<bool> {
    make_folder(root)?;
    if is_current(root, payload) {
        return Ok(false);
    }
    let folder_name = format!("..{stamp}");
    let folder = root.join(&folder_name);
    make_folder(&folder)?;
    for (path, file) in payload {
        if !is_inside(path) {
            return Err(io::Error::other(format!("the path {path:?} would leave the volume")));
        }
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            make_folder(parent)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut written = options.write(true).create_new(true).mode(0o600).open(&target)?;
        written.write_all(&file.bytes)?;
        let mode = if group.is_some() { file.mode | ((file.mode & 0o400) >> 3) } else { file.mode };
        if group.is_some() || file.owner.is_some() {
            chown(&target, file.owner, group)?;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    }
    let before = fs::read_link(root.join(CURRENT)).ok();
    let next = root.join(NEXT);
    let _ = fs::remove_file(&next);
    symlink(&folder_name, &next)?;
    fs::rename(&next, root.join(CURRENT))?;
    let visible: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &visible {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(root)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !visible.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(before) = before.filter(|before| before.to_str() != Some(&folder_name)) {
        let _ = fs::remove_dir_all(root.join(before));
    }
    Ok(true)
}

/// Makes a folder that any user of a container may enter; who may get this far is up to the folders above.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn is_current(root: &Path, payload: &Payload) -> bool {
    let current = root.join(CURRENT);
    if !current.is_dir() {
        return false;
    }
    let mut seen = 0;
    let mut folders = vec![current.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { return false };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(relative) = path.strip_prefix(&current).ok().and_then(Path::to_str) else { return false };
            let same = payload.get(relative).is_some_and(|file| fs::read(&path).is_ok_and(|bytes| bytes == file.bytes));
            if !same {
                return false;
            }
            seen += 1;
        }
    }
    seen == payload.len()
}
