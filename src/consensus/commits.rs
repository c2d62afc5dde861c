//! What this master learns of commits along the way.
//!
//! An answer of the leader says that an entry of its own term is committed, and on its disk. An append that says the same
//! may come up to a heartbeat later: when the last one was sent, the leader's own fsync was perhaps still under way (see
//! `durability`). So what the answer says is handed to raft as the append without entries that it amounts to. Raft refuses
//! it when this master follows a newer leader, and when it lacks the entry.

use std::sync::Arc;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::watch;

use crate::consensus::Inner;
use crate::types::{LogId, Vote};

/// The newest commit that a leader spoke of.
pub struct Commits {
    told: watch::Sender<Option<Told>>,
}

#[derive(Clone, Copy)]
struct Told {
    at: LogId,
    leader: u64,
}

impl Default for Commits {
    fn default() -> Self {
        Self { told: watch::channel(None).0 }
    }
}

impl Commits {
    /// `leader` said that `at` is committed, an entry that it wrote as the leader of its term.
    pub fn tell(&self, leader: u64, at: LogId) {
        self.told.send_if_modified(|told| {
            let newer = told.is_none_or(|known| at > known.at);
            if newer {
                *told = Some(Told { at, leader });
            }
            newer
        });
    }
}

/// Hands on what is told, as soon as the entry is here.
pub async fn keep(inner: Arc<Inner>) {
    let mut told = inner.commits.told.subscribe();
    let mut log = inner.raft.data_metrics();
    let mut handed = None;
    loop {
        let newest = *told.borrow_and_update();
        let last = log.borrow_and_update().last_log;
        let open = newest.filter(|told| Some(told.at) > handed && *inner.applied.borrow() < told.at.index);
        if let Some(Told { at, leader }) = open
            && Some(at) <= last
        {
            let append = AppendEntriesRequest {
                vote: Vote::new_committed(at.leader_id.term, leader),
                prev_log_id: Some(at),
                entries: Vec::new(),
                leader_commit: Some(at),
            };
            // A refusal is no fault: the entry's commit then comes the ordinary way.
            if matches!(inner.raft.append_entries(append).await, Ok(AppendEntriesResponse::Success)) {
                handed = Some(at);
                continue;
            }
        }
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            changed = log.changed(), if open.is_some() => if changed.is_err() { return },
        }
    }
}
