//! A path within a volume, walked step by step without following links: a pod that plants a link in its own volume must not
//! get another folder of the node mounted.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The path of `sub` below `root`. What is missing is made, as folders. No part of `sub` may be a link.
pub(super) fn resolve(root: &Path, sub: &str) -> io::Result<PathBuf> {
    let parts = parts(sub)?;
    let mut path = root.to_owned();
    let mut current = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for (index, part) in parts.iter().enumerate() {
        path.push(part);
        current = enter(&current, part, index + 1 == parts.len()).map_err(|errno| {
            io::Error::other(format!("{sub:?} is not a plain path within the volume: {part:?}: {errno}"))
        })?;
    }
    Ok(path)
}

/// The path of `sub` below `root`, a folder that only this agent writes, with its links followed.
pub(super) fn resolve_own(root: &Path, sub: &str) -> io::Result<PathBuf> {
    parts(sub)?;
    let root = root.canonicalize()?;
    let path = root.join(sub).canonicalize()?;
    if !path.starts_with(&root) {
        return Err(io::Error::other(format!("{sub:?} leaves the volume")));
    }
    Ok(path)
}

fn parts(sub: &str) -> io::Result<Vec<&str>> {
    let refuse = || io::Error::other(format!("subPath {sub:?} must be a relative path without \"..\""));
    if sub.starts_with('/') || sub.contains('\0') {
        return Err(refuse());
    }
    let parts: Vec<&str> = sub.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(refuse());
    }
    Ok(parts)
}

fn enter(folder: &OwnedFd, part: &str, last: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = match openat(folder, part, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            match mkdirat(folder, part, Mode::from_bits_truncate(0o750)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            openat(folder, part, flags, Mode::empty())?
        }
        other => other?,
    };
    // With O_PATH a link itself is opened, so its kind tells.
    let kind = SFlag::from_bits_truncate(fstat(&opened)?.st_mode) & SFlag::S_IFMT;
    match kind {
        SFlag::S_IFDIR => Ok(opened),
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        _ if last => Ok(opened),
        _ => Err(Errno::ENOTDIR),
    }
}
