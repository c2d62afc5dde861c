//! How far this master's own log is on disk while it leads.
//!
//! A leader hands an entry to its followers while its own fsync of it still runs, so that both fsyncs overlap; openraft
//! counts the entry as written here from the start. That is safe because nothing that openraft then calls committed gets
//! out before the local fsync has ended:
//!
//! - `machine` applies an entry (and so answers, publishes and snapshots it) only once it is settled here;
//! - `network` never tells a follower of a commit beyond what is on disk here;
//! - a vote is synced after the entries that were written before it, in the one order of the write-ahead log;
//! - after a restart a leader does not resume: `log_store` gives its own committed vote back as a plain one, so that it
//!   must win a new term and can never write a second, different entry under an id that it used before a power cut;
//! - members are changed only by a leader whose own "I lead" entry is applied, one change at a time, each applied before
//!   the next.
//!
//! A follower's entries are on disk before it answers, as ever.

use tokio::sync::watch;

use crate::types::{DiskError, LogId, gone};

/// Shared by the log, the writer, the machine and the network.
pub struct Durability {
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Progress {
    /// Last entry that was counted as written before it was.
    early: Option<u64>,
    /// Last entry on disk, as far as it matters: below `early` only while fsyncs run.
    synced: Option<LogId>,
    /// The writer has ended: what is not on disk by now never will be.
    over: bool,
}

impl Progress {
    fn settled(&self, index: u64) -> bool {
        Some(index) > self.early || self.synced.is_some_and(|synced| index <= synced.index)
    }
}

impl Default for Durability {
    fn default() -> Self {
        Self { progress: watch::channel(Progress::default()).0 }
    }
}

impl Durability {
    /// An entry counts as written although its fsync has only begun.
    pub fn begin(&self, last: u64) {
        self.progress.send_modify(|progress| progress.early = progress.early.max(Some(last)));
    }

    /// Entries up to this one are on disk.
    pub fn synced(&self, last: LogId) {
        self.progress.send_modify(|progress| progress.synced = Some(last));
    }

    /// Entries from `from` on are gone.
    pub fn truncated(&self, from: u64) {
        self.progress.send_modify(|progress| {
            // What is left was synced no later than the truncation was: nothing is open.
            progress.early = None;
            progress.synced = progress.synced.filter(|synced| synced.index < from);
        });
    }

    /// The writer has ended, in order or because the disk failed: nobody waits any longer.
    pub fn end(&self) {
        self.progress.send_modify(|progress| progress.over = true);
    }

    /// Whether an entry is on disk.
    pub fn is_settled(&self, index: u64) -> bool {
        self.progress.borrow().settled(index)
    }

    /// Waits until an entry is on disk.
    ///
    /// # Errors
    /// When it will never be, because the writer has ended.
    pub async fn settled(&self, index: u64) -> Result<(), DiskError> {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let reached = progress.wait_for(|progress| progress.settled(index) || progress.over).await;
        match reached.is_ok_and(|progress| progress.settled(index)) {
            true => Ok(()),
            false => Err(gone("the log writer")),
        }
    }

    /// What followers may be told of a commit.
    pub fn clamp(&self, commit: Option<LogId>) -> Option<LogId> {
        let progress = *self.progress.borrow();
        match commit {
            Some(commit) if !progress.settled(commit.index) => progress.synced,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    fn id(index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(3, 1), index)
    }

    #[tokio::test]
    async fn commits_wait_for_the_local_fsync() {
        let durability = Durability::default();
        assert!(durability.is_settled(0));
        assert_eq!(durability.clamp(Some(id(9))), Some(id(9)), "a follower's log is always settled");
        durability.begin(10);
        durability.begin(11);
        assert_eq!(durability.clamp(Some(id(10))), None);
        durability.synced(id(10));
        assert!(durability.is_settled(10) && !durability.is_settled(11));
        assert_eq!(durability.clamp(Some(id(11))), Some(id(10)));
        let wait = durability.settled(11);
        tokio::pin!(wait);
        assert!(futures::poll!(&mut wait).is_pending());
        durability.synced(id(11));
        wait.await.unwrap();
        assert_eq!(durability.clamp(Some(id(11))), Some(id(11)));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_has_ended() {
        let durability = Durability::default();
        durability.begin(10);
        durability.synced(id(9));
        let wait = durability.settled(10);
        tokio::pin!(wait);
        assert!(futures::poll!(&mut wait).is_pending());
        durability.end();
        assert!(wait.await.unwrap_err().to_string().contains("the log writer has ended"));
        durability.settled(9).await.expect("it is on disk");
    }

    #[test]
    fn truncation_leaves_nothing_open() {
        let durability = Durability::default();
        durability.begin(10);
        durability.synced(id(10));
        durability.truncated(8);
        assert!(durability.is_settled(7) && durability.is_settled(8));
        durability.begin(9);
        assert!(!durability.is_settled(9));
        durability.synced(id(9));
        assert!(durability.is_settled(9));
    }
}
