//! Names, folders and files, with a journal of the names' changes that a cut takes back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::content::{BLOCK, Content};

pub(super) const ROOT: u64 = 1;
/// What the disk holds. Far more than a test writes: it keeps a runaway from taking the machine's memory.
pub(super) const CAPACITY: u64 = 4 << 30;
/// Files and folders.
pub(super) const FILES_MAX: usize = 100_000;
const NAME_BYTES_MAX: usize = 255;
/// Changes that wait for a sync; the oldest become durable beyond, as a journal writes out what does not fit it.
const JOURNAL_MAX: usize = 4096;

/// A file or folder.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
    /// Folders' entries that lead here.
    names: u32,
    /// Open files; these outlive the last name.
    opens: u64,
    /// Records of the journal that may still bring it back.
    records: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Content),
    Folder(Folder),
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    entries: BTreeMap<OsString, Entry>,
    /// How many of the entries are folders.
    folders: u32,
    last_cookie: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    ino: u64,
    /// Its place in listings, kept for as long as it stays: who lists while removing misses nothing.
    cookie: u64,
}

/// One change of names that happens wholly or not at all.
#[derive(Debug)]
struct Record {
    slots: Vec<Slot>,
    concerns: Vec<u64>,
}

#[derive(Debug)]
struct Slot {
    folder: u64,
    name: OsString,
    before: Option<u64>,
}

/// Everything on the disk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    journal: VecDeque<Record>,
    last: u64,
    /// Bytes of space taken by files.
    used: u64,
}

impl Tree {
    pub(super) fn new(uid: u32, gid: u32) -> Self {
        let mut tree = Self { nodes: HashMap::new(), journal: VecDeque::new(), last: ROOT, used: 0 };
        let mut root = Node::new(Body::Folder(Folder::default()), 0o755, uid, gid);
        root.names = 1;
        tree.nodes.insert(ROOT, root);
        tree
    }

    pub(super) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    pub(super) fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    /// All numbers in use.
    pub(super) fn inos(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    fn folder(&self, ino: u64) -> Result<&Folder, Errno> {
        match &self.node(ino)?.body {
            Body::Folder(folder) => Ok(folder),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn content(&self, ino: u64) -> Result<&Content, Errno> {
        match &self.node(ino)?.body {
            Body::File(content) => Ok(content),
            Body::Folder(_) => Err(Errno::EISDIR),
        }
    }

    /// Changes a file's content, keeping count of the space.
    pub(super) fn change<T>(&mut self, ino: u64, change: impl FnOnce(&mut Content) -> T) -> Result<T, Errno> {
        let node = self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)?;
        let Body::File(content) = &mut node.body else { return Err(Errno::EISDIR) };
        let before = content.space();
        let answer = change(content);
        self.used = (self.used + content.space()).saturating_sub(before);
        node.modified = SystemTime::now();
        node.changed = node.modified;
        Ok(answer)
    }

    pub(super) fn lookup(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(folder)?.entries.get(name).map(|entry| entry.ino).ok_or(Errno::ENOENT)
    }

    /// What a folder lists after `cookie`, in a lasting order: cookie, number, kind and name.
    pub(super) fn list(&self, folder: u64, cookie: u64) -> Result<Vec<(u64, u64, FileType, OsString)>, Errno> {
        let own = [(1, folder, FileType::Directory, ".".into()), (2, ROOT, FileType::Directory, "..".into())];
        let entries = &self.folder(folder)?.entries;
        let mut listed: Vec<_> = own.into_iter().filter(|entry| entry.0 > cookie).collect();
        let after = entries.iter().filter(|(_, entry)| entry.cookie + 2 > cookie);
        listed.extend(after.map(|(name, entry)| (entry.cookie + 2, entry.ino, self.kind(entry.ino), name.clone())));
        listed.sort_unstable_by_key(|entry| entry.0);
        Ok(listed)
    }

    fn kind(&self, ino: u64) -> FileType {
        if self.folder(ino).is_ok() { FileType::Directory } else { FileType::RegularFile }
    }

    pub(super) fn attributes(&self, ino: u64) -> Result<FileAttr, Errno> {
        let node = self.node(ino)?;
        let (kind, size, space, links) = match &node.body {
            Body::File(content) => (FileType::RegularFile, content.length(), content.space(), node.names),
            Body::Folder(folder) if node.names == 0 => (FileType::Directory, BLOCK, BLOCK, folder.folders),
            Body::Folder(folder) => (FileType::Directory, BLOCK, BLOCK, 2 + folder.folders),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: space / 512,
            atime: node.accessed,
            mtime: node.modified,
            ctime: node.changed,
            crtime: node.changed,
            kind,
            perm: node.mode as u16,
            nlink: links,
            uid: node.uid,
            gid: node.gid,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        })
    }

    /// Whether a name can be made there.
    fn free_slot(&self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.node(folder)?.names == 0 {
            return Err(Errno::ENOENT);
        }
        match self.lookup(folder, name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A new file or folder under a free name.
    pub(super) fn create(&mut self, folder: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        self.free_slot(folder, name)?;
        if self.nodes.len() >= FILES_MAX {
            return Err(Errno::ENOSPC);
        }
        self.last += 1;
        let ino = self.last;
        self.nodes.insert(ino, node);
        self.apply(vec![(folder, name.to_owned(), Some(ino))]);
        Ok(ino)
    }

    pub(super) fn link(&mut self, ino: u64, folder: u64, name: &OsStr) -> Result<(), Errno> {
        self.content(ino).map_err(|_| Errno::EPERM)?;
        self.free_slot(folder, name)?;
        self.apply(vec![(folder, name.to_owned(), Some(ino))]);
        Ok(())
    }

    pub(super) fn unlink(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        self.content(self.lookup(folder, name)?)?;
        self.apply(vec![(folder, name.to_owned(), None)]);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if !self.folder(self.lookup(folder, name)?)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.apply(vec![(folder, name.to_owned(), None)]);
        Ok(())
    }

    /// Moves a name, over another unless `keep_other`.
    pub(super) fn rename(
        &mut self,
        (folder, name): (u64, &OsStr),
        (other_folder, other): (u64, &OsStr),
        keep_other: bool,
    ) -> Result<(), Errno> {
        let ino = self.lookup(folder, name)?;
        match self.free_slot(other_folder, other) {
            Ok(()) => {}
            Err(Errno::EEXIST) if !keep_other => {
                let replaced = self.lookup(other_folder, other)?;
                match (self.folder(ino), self.folder(replaced)) {
                    _ if ino == replaced => return Ok(()),
                    (Ok(_), Err(_)) => return Err(Errno::ENOTDIR),
                    (Err(_), Ok(_)) => return Err(Errno::EISDIR),
                    (Ok(_), Ok(folder)) if !folder.entries.is_empty() => return Err(Errno::ENOTEMPTY),
                    _ => {}
                }
            }
            Err(error) => return Err(error),
        }
        self.apply(vec![(folder, name.to_owned(), None), (other_folder, other.to_owned(), Some(ino))]);
        Ok(())
    }

    /// Carries out one change of names and writes down how to take it back.
    fn apply(&mut self, changes: Vec<(u64, OsString, Option<u64>)>) {
        let mut concerns = Vec::new();
        let mut slots = Vec::new();
        for (folder, name, after) in changes {
            let before = self.set(folder, &name, after);
            concerns.extend([Some(folder), before, after].into_iter().flatten());
            slots.push(Slot { folder, name, before });
        }
        concerns.sort_unstable();
        concerns.dedup();
        let now = SystemTime::now();
        for ino in &concerns {
            if let Some(node) = self.nodes.get_mut(ino) {
                node.records += 1;
                node.changed = now;
                if let Body::Folder(_) = node.body {
                    node.modified = now;
                }
            }
        }
        self.journal.push_back(Record { slots, concerns });
        if self.journal.len() > JOURNAL_MAX {
            self.settle(1);
        }
    }

    fn set(&mut self, folder: u64, name: &OsStr, after: Option<u64>) -> Option<u64> {
        let before = self.lookup(folder, name).ok();
        for (ino, appears) in [(before, false), (after, true)] {
            let Some(ino) = ino else { continue };
            let is_folder = self.kind(ino) == FileType::Directory;
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.names = if appears { node.names + 1 } else { node.names.saturating_sub(1) };
            }
            if let Some(Node { body: Body::Folder(within), .. }) = self.nodes.get_mut(&folder)
                && is_folder
            {
                within.folders = if appears { within.folders + 1 } else { within.folders.saturating_sub(1) };
            }
        }
        if let Some(Node { body: Body::Folder(within), .. }) = self.nodes.get_mut(&folder) {
            match after {
                None => drop(within.entries.remove(name)),
                Some(ino) => {
                    within.last_cookie += 1;
                    within.entries.insert(name.to_owned(), Entry { ino, cookie: within.last_cookie });
                }
            }
        }
        before
    }

    /// Makes durable what concerns the names of this file or folder, and with it all that happened before.
    pub(super) fn sync_names(&mut self, ino: u64) {
        let until = self.journal.iter().rposition(|record| record.concerns.contains(&ino));
        self.settle(until.map_or(0, |last| last + 1));
    }

    /// The oldest records can no longer be taken back.
    fn settle(&mut self, records: usize) {
        let settled: Vec<Record> = self.journal.drain(..records).collect();
        self.forget(settled);
    }

    fn forget(&mut self, records: Vec<Record>) {
        for ino in records.into_iter().flat_map(|record| record.concerns) {
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.records = node.records.saturating_sub(1);
            }
            self.reap(ino);
        }
    }

    /// Frees what no name, open file or record leads to.
    fn reap(&mut self, ino: u64) {
        if self.nodes.get(&ino).is_some_and(|node| node.names == 0 && node.opens == 0 && node.records == 0)
            && let Some(Node { body: Body::File(content), .. }) = self.nodes.remove(&ino)
        {
            self.used = self.used.saturating_sub(content.space());
        }
    }

    pub(super) fn opened(&mut self, ino: u64) -> Result<(), Errno> {
        self.node_mut(ino)?.opens += 1;
        Ok(())
    }

    pub(super) fn closed(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.opens = node.opens.saturating_sub(1);
        }
        self.reap(ino);
    }

    /// Takes back, latest first, all changes of names that no sync covered, and in each file what its own did not; the
    /// bytes lost.
    pub(super) fn cut(&mut self) -> u64 {
        let mut taken_back: Vec<Record> = self.journal.drain(..).collect();
        for record in taken_back.iter_mut().rev() {
            for slot in record.slots.drain(..).rev() {
                self.set(slot.folder, &slot.name, slot.before);
            }
        }
        let mut lost = 0;
        for node in self.nodes.values_mut() {
            if let Body::File(content) = &mut node.body {
                let before = content.space();
                lost += content.cut();
                self.used = (self.used + content.space()).saturating_sub(before);
            }
        }
        self.forget(taken_back);
        lost
    }
}

impl Node {
    /// Not yet under any name.
    pub(super) fn new(body: Body, mode: u32, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        let mode = mode & 0o7777;
        Self { body, mode, uid, gid, accessed: now, modified: now, changed: now, names: 0, opens: 0, records: 0 }
    }
}
