//! The kernel's requests, answered from the [`State`](super::state::State).

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, OFlag};

use super::content::{BLOCK, Content};
use super::state::{Answer, Shared, State};
use super::tree::{Body, CAPACITY, FILES_MAX, Folder, Node};

/// How long the kernel may keep names and attributes: not at all, since a cut changes them behind its back.
const KEEP: Duration = Duration::ZERO;
/// Numbers are never used twice.
const GENERATION: Generation = Generation(0);

/// The file system that the kernel sees.
#[derive(Debug)]
pub(super) struct Served {
    shared: Arc<Shared>,
}

impl Served {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn create_node(
        &self,
        request: &Request,
        (folder, name): (INodeNo, &OsStr),
        (body, mode): (Body, u32),
        opened: bool,
    ) -> Result<(FileAttr, u64), Errno> {
        let mut state = self.shared.state();
        state.check_creating()?;
        let ino = state.tree.create(folder.0, name, Node::new(body, mode, request.uid(), request.gid()))?;
        if opened {
            state.tree.opened(ino)?;
        }
        Ok((state.tree.attributes(ino)?, state.epoch))
    }

    /// Answers with what `act` found or made.
    fn entry(&self, reply: ReplyEntry, act: impl FnOnce(&mut State) -> Result<u64, Errno>) {
        let mut state = self.shared.state();
        match act(&mut state).and_then(|ino| state.tree.attributes(ino)) {
            Ok(attributes) => reply.entry(&KEEP, &attributes, GENERATION),
            Err(error) => reply.error(error),
        }
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

// What is not here (extended attributes, locks, seeking, copying, special files, links that are symbolic) answers
// ENOSYS or EPERM, after which the kernel does it by itself or tells the caller. Locks it keeps by itself in any case.
impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |state| state.tree.lookup(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.shared.state().tree.attributes(ino.0) {
            Ok(attributes) => reply.attr(&KEEP, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.shared.state();
        let mut set = || {
            if let Some(size) = size {
                state.content(ino.0, handle.map_or(state.epoch, |handle| handle.0))?;
                state.tree.change(ino.0, |content| content.resize(size))?;
            }
            let node = state.tree.node_mut(ino.0)?;
            node.mode = mode.map_or(node.mode, |mode| mode & 0o7777);
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
            node.accessed = accessed.map_or(node.accessed, time);
            node.modified = modified.map_or(node.modified, time);
            node.changed = SystemTime::now();
            state.tree.attributes(ino.0)
        };
        match set() {
            Ok(attributes) => reply.attr(&KEEP, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        match self.create_node(request, (parent, name), (Body::Folder(Folder::default()), mode), false) {
            Ok((attributes, _)) => reply.entry(&KEEP, &attributes, GENERATION),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.create_node(request, (parent, name), (Body::File(Content::default()), mode), true) {
            Ok((attributes, epoch)) => {
                reply.created(&KEEP, &attributes, GENERATION, FileHandle(epoch), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.shared.state().tree.unlink(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.shared.state().tree.rmdir(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.intersects(!RenameFlags::RENAME_NOREPLACE) {
            return reply.error(Errno::EINVAL);
        }
        let keep_other = flags.contains(RenameFlags::RENAME_NOREPLACE);
        done(reply, self.shared.state().tree.rename((parent.0, name), (new_parent.0, new_name), keep_other));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |state| state.tree.link(ino.0, parent.0, name).map(|()| ino.0));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.shared.state();
        match state.tree.opened(ino.0) {
            // Without FOPEN_KEEP_CACHE: the kernel drops what it cached of the file.
            Ok(()) => reply.opened(FileHandle(state.epoch), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.state().tree.closed(ino.0);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Tells the kernel never to ask again: closing a file syncs nothing.
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.shared.state().content(ino.0, handle.0).map(|content| content.read(offset, size.into()));
        match read {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Released before the sync takes it again.
        let written = self.shared.state().write(ino.0, handle.0, offset, data);
        let size = data.len() as u32;
        match written {
            Ok(()) if OFlag::from_bits_retain(flags.0).contains(OFlag::O_DSYNC) => {
                self.shared.sync(ino.0, handle.0, Answer::Written(reply, size));
            }
            Ok(()) => reply.written(size),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut state = self.shared.state();
        let keep_length = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mode = FallocateFlags::from_bits_retain(mode);
        let result = if mode.is_empty() || mode == keep_length {
            state.reserve(ino.0, handle.0, (offset, length), mode == keep_length)
        } else if mode == keep_length | FallocateFlags::FALLOC_FL_PUNCH_HOLE {
            state.punch(ino.0, handle.0, (offset, length))
        } else {
            Err(Errno::EOPNOTSUPP)
        };
        done(reply, result);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.shared.sync(ino.0, handle.0, Answer::Synced(reply));
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(self.shared.state().epoch), FopenFlags::empty());
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.shared.sync(ino.0, handle.0, Answer::Synced(reply));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.shared.state().tree.list(ino.0, offset) {
            Ok(entries) => {
                for (cookie, ino, kind, name) in entries {
                    if reply.add(INodeNo(ino), cookie, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let room = self.shared.state().room() / BLOCK;
        let files = FILES_MAX as u64;
        reply.statfs(CAPACITY / BLOCK, room, room, files, files, BLOCK as u32, 255, BLOCK as u32);
    }
}
