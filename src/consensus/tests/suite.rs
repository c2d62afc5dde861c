//! openraft's own tests of a store, on the real one.

use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader, StorageError};
use storage::{Closed, Storage};

use super::cluster::PATIENCE;
use crate::counters::Counters;
use crate::durability::Durability;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::writer::{Tools, Writer};

struct Builder;

/// A data folder. Dropped after what uses it, it waits until RocksDB has ended: the writer's thread lets go last, and a process
/// that is over by then would be aborted in the middle of RocksDB's own clean-up.
struct Folder {
    _dir: tempfile::TempDir,
    closed: Closed,
}

impl Drop for Folder {
    fn drop(&mut self) {
        assert!(self.closed.wait(PATIENCE) || std::thread::panicking(), "the data folder must be released");
    }
}

impl StoreBuilder<TypeConfig, LogStore, Machine, Folder> for Builder {
    async fn build(&self) -> Result<(Folder, LogStore, Machine), StorageError<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let folder = Folder { closed: storage.closed(), _dir: folder };
        let (durability, counters) = (Arc::new(Durability::default()), Arc::new(Counters::default()));
        let tools = Tools {
            storage: storage.clone(),
            durability: Arc::clone(&durability),
            counters: Arc::clone(&counters),
            fatal: Arc::new(|reason| panic!("{reason}")),
        };
        let writer = Writer::start(tools).unwrap();
        let (machine, _, _) =
            Machine::load(storage.clone(), writer.clone(), Arc::clone(&durability), counters).unwrap();
        Ok((folder, LogStore::new(0, storage, writer, durability), machine))
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry { log_id: LogId::new(CommittedLeaderId::new(term, 0), index), payload: EntryPayload::Blank }
}

#[tokio::test]
async fn nothing_is_applied_before_it_is_on_disk() {
    let (_folder, _log, mut machine) = Builder.build().await.unwrap();
    let durability = machine.durability();
    durability.begin(5);
    {
        let applying = machine.apply([entry(1, 5)]);
        tokio::pin!(applying);
        assert!(futures::poll!(&mut applying).is_pending());
        durability.synced(entry(1, 5).log_id);
        applying.await.unwrap();
    }
    assert_eq!(machine.applied_state().await.unwrap().0, Some(entry(1, 5).log_id));
}

#[tokio::test]
async fn a_leader_that_restarts_must_win_again() {
    let (_folder, mut log, _machine) = Builder.build().await.unwrap();
    for (vote, read) in [
        (Vote::new_committed(3, 0), Vote::new(3, 0)),
        (Vote::new_committed(4, 7), Vote::new_committed(4, 7)),
        (Vote::new(5, 0), Vote::new(5, 0)),
    ] {
        log.save_vote(&vote).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(read));
    }
}

#[tokio::test]
async fn a_leaders_entries_are_readable_at_once_and_on_disk_soon() {
    let (_folder, mut log, machine) = Builder.build().await.unwrap();
    log.save_vote(&Vote::new_committed(3, 0)).await.unwrap();
    log.blocking_append((0..100).map(|index| entry(3, index))).await.unwrap();
    assert_eq!(log.try_get_log_entries(0..100).await.unwrap().len(), 100);
    machine.durability().settled(99).await.unwrap();
    log.truncate(entry(3, 50).log_id).await.unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 50);
    log.blocking_append([entry(3, 50)]).await.unwrap();
    log.purge(entry(3, 10).log_id).await.unwrap();
    let mut reader = log.get_log_reader().await;
    let left = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!((left[0].log_id.index, left.len()), (11, 40));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(entry(3, 50).log_id));
    assert_eq!(state.last_purged_log_id, Some(entry(3, 10).log_id));
}

#[test]
fn openrafts_suite_passes() {
    Suite::test_all(Builder).unwrap();
}
