//! The replicated state as openraft wants it: applies entries, publishes what changed, makes and takes snapshots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorVerb, OptionalSend, RaftSnapshotBuilder, Snapshot};
use serde::{Deserialize, Serialize};
use state::State;
use storage::Storage;
use store::Replica;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::counters::{Counters, count};
use crate::durability::Durability;
use crate::log_store::blocking;
use crate::snapshot::{Builder, Meta, SnapshotFile, read_meta, read_rows};
use crate::types::{Answers, DiskError, Entry, LogId, Membership, TypeConfig, disk_error};
use crate::writer::{Job, Writer, table_from, table_of};
use crate::{Error, codec};

/// The state and what it is wired to.
pub struct Machine {
    storage: Storage,
    writer: Writer,
    durability: Arc<Durability>,
    counters: Arc<Counters>,
    replica: Arc<Replica>,
    state: State,
    applied: Applied,
    /// Index of the last applied entry; told after the state is published.
    index: watch::Sender<u64>,
}

/// Kept in the same write as the rows it belongs to.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Applied {
    last: Option<LogId>,
    membership: Membership,
}

impl Machine {
    /// Loads the state that `storage` holds, and shows it in a replica.
    pub fn load(
        storage: Storage,
        writer: Writer,
        durability: Arc<Durability>,
        counters: Arc<Counters>,
    ) -> Result<(Self, Arc<Replica>, watch::Receiver<u64>), Error> {
        let applied: Applied = match storage.applied()? {
            Some(bytes) => codec::decode("the applied state", &bytes)?,
            None => Applied::default(),
        };
        let mut failed = None;
        let rows = storage.rows().map_while(|row| match row {
            Ok((table, key, value)) => Some(state::Row { table: table_from(table), key, value }),
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        let state = State::load(rows)?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let replica = Replica::new(state.clone());
        let (index, watched) = watch::channel(applied.last.map_or(0, |id| id.index));
        let shown = Arc::clone(&replica);
        Ok((Self { storage, writer, durability, counters, replica, state, applied, index }, shown, watched))
    }

    #[cfg(test)]
    pub fn durability(&self) -> Arc<Durability> {
        Arc::clone(&self.durability)
    }

    async fn write_rows(&self, writes: Vec<state::Write>) -> Result<(), DiskError> {
        let applied =
            codec::encode("the applied state", &self.applied).map_err(|error| disk_error(ErrorVerb::Write, &error))?;
        // Not waited for: the entries are on disk, so a crash before the rows are only means applying them again.
        self.writer.send(Job::Rows { writes, applied }).await
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), DiskError> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, DiskError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        self.durability.settled(last.index).await?;
        let (mut answers, mut events, mut writes) = (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
        let mut changed = false;
        for entry in &entries {
            let index = entry.log_id.index;
            match &entry.payload {
                EntryPayload::Blank => answers.push(Answers::default()),
                EntryPayload::Membership(membership) => {
                    self.applied.membership = Membership::new(Some(entry.log_id), membership.clone());
                    answers.push(Answers::default());
                }
                EntryPayload::Normal(payload) => {
                    let step = payload.command().and_then(|command| self.state.apply(index, command));
                    let step = step.map_err(|error| disk_error(ErrorVerb::Write, &error))?;
                    changed = true;
                    events.extend(step.events);
                    writes.extend(step.writes);
                    answers.push(Answers(step.answers));
                }
            }
        }
        self.applied.last = Some(last);
        self.write_rows(writes).await?;
        if changed {
            self.replica.publish(self.state.clone(), &events);
        }
        self.index.send_replace(last.index);
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            storage: self.storage.clone(),
            counters: Arc::clone(&self.counters),
            state: self.state.clone(),
            last_applied: self.applied.last,
            membership: self.applied.membership.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, DiskError> {
        let file = SnapshotFile::receive(self.storage.snapshots().aside()).await;
        file.map(Box::new).map_err(|error| disk_error(ErrorVerb::Write, &error))
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<SnapshotFile>) -> Result<(), DiskError> {
        // No rows of the old state may follow the new ones.
        self.writer.complete(Job::Barrier).await?;
        let applied = Applied { last: meta.last_log_id, membership: meta.last_membership.clone() };
        let (storage, record) = (self.storage.clone(), applied.clone());
        let state = blocking(move || {
            install(&storage, snapshot.path(), &record).map_err(|error| disk_error(ErrorVerb::Write, &error))
        })
        .await?;
        count(&self.counters.snapshots_installed);
        info!(last = ?meta.last_log_id, revision = %state.revision(), "a snapshot of the leader is installed");
        (self.state, self.applied) = (state, applied);
        self.replica.replace(self.state.clone());
        self.index.send_replace(meta.last_log_id.map_or(0, |id| id.index));
        Ok(())
    }

    /// The newest snapshot; a new one in its place when it is damaged or the log no longer reaches back to it. openraft makes
    /// none itself while it runs: a leader without a snapshot would have to end when a follower needs one.
    ///
    /// The file is read whole each time: what a disk garbled since it was written must not reach another master. That happens
    /// when a follower needs it, seldom, and applying waits meanwhile (about a tenth of a second for 100 MiB).
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, DiskError> {
        let storage = self.storage.clone();
        let found = blocking(move || {
            let latest = storage.snapshots().latest().map_err(|error| disk_error(ErrorVerb::Read, &error))?;
            Ok(latest.map(|path| usable(&storage, path)))
        })
        .await?;
        let (meta, path) = match found {
            None => return Ok(None),
            Some(Ok(usable)) => usable,
            Some(Err(error)) => {
                warn!(%error, "the newest snapshot cannot be used, another one is made");
                return self.get_snapshot_builder().await.build_snapshot().await.map(Some);
            }
        };
        let file = SnapshotFile::open(path).await.map_err(|error| disk_error(ErrorVerb::Read, &error))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(file) }))
    }
}

fn usable(storage: &Storage, path: PathBuf) -> Result<(Meta, PathBuf), Error> {
    storage::snapshot::check(&path)?;
    let meta = read_meta(&path)?;
    let purged: Option<LogId> = match storage.last_purged()? {
        Some(bytes) => Some(codec::decode("the last purged log id", &bytes)?),
        None => None,
    };
    if meta.last_log_id >= purged {
        return Ok((meta, path));
    }
    let reason = "the log does not reach back to it".into();
    Err(storage::Error::Damaged { place: path, reason }.into())
}

/// Checks the file whole, then replaces the rows, then makes the file the newest snapshot.
fn install(storage: &Storage, path: &Path, applied: &Applied) -> Result<State, Error> {
    let mut failed = None;
    let rows = read_rows(path)?.map_while(|row| match row {
        Ok(row) => Some(row),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let state = State::load(rows)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let record = codec::encode("the applied state", applied)?;
    storage.install(read_rows(path)?.map(|row| row.map(|row| (table_of(row.table), row.key, row.value))), &record)?;
    storage.snapshots().adopt(path)?;
    Ok(state)
}
