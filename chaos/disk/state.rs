//! What the threads of a disk share: its content, its trouble, and the syncs that are under way.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{Errno, ReplyEmpty, ReplyWrite};
use nix::unistd::{getgid, getuid};

use super::content::Content;
use super::tree::{Body, CAPACITY, Tree};
use super::{Counters, Trouble};

/// Syncs under way at once. Each holds a thread of some process.
const SYNCS_MAX: usize = 1024;

/// See [`State`].
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// The syncs under way, or how long they take, changed.
    syncs_changed: Condvar,
}

/// The disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tree: Tree,
    /// Counts the cuts, and is the number of each handle: one of another epoch is dead.
    pub(super) epoch: u64,
    trouble: Trouble,
    sync_latency: Duration,
    syncs: Vec<Sync>,
    counters: Counters,
    closed: bool,
}

#[derive(Debug)]
struct Sync {
    ino: u64,
    since: Instant,
    answer: Answer,
}

/// Who waits for a sync.
#[derive(Debug)]
pub(super) enum Answer {
    /// An fsync.
    Synced(ReplyEmpty),
    /// A write of so many bytes through a handle that syncs each.
    Written(ReplyWrite, u32),
}

impl Answer {
    fn send(self, result: Result<(), Errno>) {
        match (self, result) {
            (Self::Synced(reply), Ok(())) => reply.ok(),
            (Self::Synced(reply), Err(error)) => reply.error(error),
            (Self::Written(reply, bytes), Ok(())) => reply.written(bytes),
            (Self::Written(reply, _), Err(error)) => reply.error(error),
        }
    }
}

impl Shared {
    pub(super) fn new(sync_latency: Duration) -> Self {
        let state = State {
            tree: Tree::new(getuid().as_raw(), getgid().as_raw()),
            epoch: 1,
            trouble: Trouble::None,
            sync_latency,
            syncs: Vec::new(),
            counters: Counters::default(),
            closed: false,
        };
        Self { state: Mutex::new(state), syncs_changed: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers when the sync is through, from the thread of [`Shared::answer_syncs`].
    pub(super) fn sync(&self, ino: u64, handle: u64, answer: Answer) {
        let mut state = self.state();
        if state.closed || state.epoch != handle || state.syncs.len() >= SYNCS_MAX {
            return answer.send(Err(Errno::EIO));
        }
        state.syncs.push(Sync { ino, since: Instant::now(), answer });
        self.syncs_changed.notify_all();
    }

    /// Serves the syncs until the disk is closed. They become durable when their time is over, not before.
    pub(super) fn answer_syncs(&self) {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            let latency = state.latency();
            let due = |sync: &Sync| sync.since.checked_add(latency);
            let over: Vec<Sync> = state.syncs.extract_if(.., |sync| due(sync).is_some_and(|due| due <= now)).collect();
            if !over.is_empty() {
                for sync in over {
                    let result = state.finish(sync.ino);
                    sync.answer.send(result);
                }
                continue;
            }
            state = match state.syncs.iter().filter_map(due).min() {
                Some(next) => {
                    let wait = self.syncs_changed.wait_timeout(state, next.saturating_duration_since(now));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.syncs_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Loses what was not synced, and ends all handles; the files and folders that there were.
    pub(super) fn cut(&self) -> Vec<u64> {
        let mut state = self.state();
        state.epoch += 1;
        state.syncs.drain(..).for_each(|sync| sync.answer.send(Err(Errno::EIO)));
        let known = state.tree.inos();
        state.counters.bytes_dropped = state.tree.cut();
        known
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
        self.syncs_changed.notify_all();
    }

    pub(super) fn counters(&self) -> Counters {
        let state = self.state();
        Counters { syncs_waiting: state.syncs.len() as u64, ..state.counters }
    }

    /// No sync is answered any more, except with EIO.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.syncs.drain(..).for_each(|sync| sync.answer.send(Err(Errno::EIO)));
        self.syncs_changed.notify_all();
    }
}

impl State {
    fn latency(&self) -> Duration {
        match self.trouble {
            Trouble::SlowSync(more) => self.sync_latency.saturating_add(more),
            _ => self.sync_latency,
        }
    }

    fn refuse(&mut self, error: Errno) -> Errno {
        self.counters.refused += 1;
        error
    }

    fn finish(&mut self, ino: u64) -> Result<(), Errno> {
        let node = self.tree.node_mut(ino).map_err(|_| Errno::EIO)?;
        let fails = self.trouble == Trouble::FailSync;
        match &mut node.body {
            Body::File(content) if fails => content.fail_sync(),
            Body::File(content) => content.sync(),
            Body::Folder(_) => {}
        }
        if fails {
            return Err(self.refuse(Errno::EIO));
        }
        self.tree.sync_names(ino);
        self.counters.syncs += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        matches!(self.trouble, Trouble::Full | Trouble::FullButReserved)
    }

    /// Bytes that can still be laid.
    pub(super) fn room(&self) -> u64 {
        if self.is_full() { 0 } else { CAPACITY.saturating_sub(self.tree.used()) }
    }

    /// Whether a file or folder can be created now.
    pub(super) fn check_creating(&mut self) -> Result<(), Errno> {
        if self.room() == 0 { Err(self.refuse(Errno::ENOSPC)) } else { Ok(()) }
    }

    /// An open file's content; EIO for handles from before a cut.
    pub(super) fn content(&self, ino: u64, handle: u64) -> Result<&Content, Errno> {
        if handle == self.epoch { self.tree.content(ino) } else { Err(Errno::EIO) }
    }

    fn check_writing(&mut self, ino: u64, handle: u64) -> Result<(), Errno> {
        self.content(ino, handle)?;
        if self.trouble == Trouble::FailWrite { Err(self.refuse(Errno::EIO)) } else { Ok(()) }
    }

    /// Writes all of it or nothing.
    pub(super) fn write(&mut self, ino: u64, handle: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.check_writing(ino, handle)?;
        let length = data.len() as u64;
        if offset.saturating_add(length) > i64::MAX as u64 {
            return Err(Errno::EFBIG);
        }
        let needs = self.tree.content(ino)?.needs_space(offset, length, self.trouble != Trouble::Full);
        if needs && self.room() < length {
            return Err(self.refuse(Errno::ENOSPC));
        }
        self.tree.change(ino, |content| content.write(offset, data))?;
        self.counters.bytes_written += length;
        Ok(())
    }

    /// Sets space aside, and extends the file over it unless `keep_length`.
    pub(super) fn reserve(
        &mut self,
        ino: u64,
        handle: u64,
        (offset, length): (u64, u64),
        keep_length: bool,
    ) -> Result<(), Errno> {
        self.check_writing(ino, handle)?;
        let space = self.tree.content(ino)?.space();
        let more = offset.saturating_add(length).saturating_sub(space);
        if more > self.room() {
            return Err(self.refuse(Errno::ENOSPC));
        }
        self.tree.change(ino, |content| content.reserve(offset, length, keep_length))
    }

    /// Makes the range of a file a hole.
    pub(super) fn punch(&mut self, ino: u64, handle: u64, (offset, length): (u64, u64)) -> Result<(), Errno> {
        self.check_writing(ino, handle)?;
        self.tree.change(ino, |content| content.punch(offset, length))
    }
}
