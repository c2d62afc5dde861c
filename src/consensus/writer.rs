//! The one thread that writes to the disk. What waits while an fsync runs shares the next one.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use openraft::storage::LogFlushed;
use state::{Row, Write};
use storage::{Batch, Storage};
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::counters::Counters;
use crate::durability::Durability;
use crate::types::{DiskError, Entry, LogId, TypeConfig, gone};

/// Jobs that wait. Each is at most one append or one apply, so this bounds memory; who is faster waits.
const JOBS_MAX: usize = 256;
/// Bytes in one write; beyond it the next one begins.
const BATCH_BYTES: usize = 8 << 20;

/// One thing to write.
pub enum Job {
    /// Entries of the log.
    Append {
        entries: Vec<Entry>,
        last: LogId,
        /// Told when they are on disk; absent when raft was told before.
        flushed: Option<LogFlushed<TypeConfig>>,
    },
    /// Rows of the state; not synced by themselves.
    Rows { writes: Vec<Write>, applied: Vec<u8> },
    /// The vote.
    Vote(Vec<u8>, Done),
    /// Removes entries from an index on.
    Truncate(u64, Done),
    /// Removes entries up to an index.
    Purge(u64, Vec<u8>, Done),
    /// Nothing; done when all before it is written.
    Barrier(Done),
}

/// Told when a job is on disk; dropped when it never will be.
pub type Done = oneshot::Sender<()>;

/// Hands jobs to the thread, which ends with the last handle.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

/// What the thread works with.
pub struct Tools {
    pub storage: Storage,
    pub durability: Arc<Durability>,
    pub counters: Arc<Counters>,
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(tools: Tools) -> Result<Self, std::io::Error> {
        let (jobs, received) = mpsc::channel(JOBS_MAX);
        thread::Builder::new().name("log-writer".into()).spawn(move || run(&tools, received))?;
        Ok(Self { jobs })
    }

    /// Hands a job over; waits while too many are waiting.
    pub async fn send(&self, job: Job) -> Result<(), DiskError> {
        self.jobs.send(job).await.map_err(|_| gone("the log writer"))
    }

    /// Hands a job over and waits until it is on disk.
    pub async fn complete(&self, job: impl FnOnce(Done) -> Job) -> Result<(), DiskError> {
        let (done, waiting) = oneshot::channel();
        self.send(job(done)).await?;
        waiting.await.map_err(|_| gone("the log writer"))
    }
}

/// Tells when the thread is over, however it ended.
struct Ending<'a>(&'a Durability);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn run(tools: &Tools, mut jobs: mpsc::Receiver<Job>) {
    let _ending = Ending(&tools.durability);
    while let Some(first) = jobs.blocking_recv() {
        let mut step = Step::default();
        let written = step.add(first).and_then(|()| {
            while step.bytes < BATCH_BYTES {
                match jobs.try_recv() {
                    Ok(job) => step.add(job)?,
                    Err(_) => break,
                }
            }
            step.write(tools)
        });
        if let Err(reason) = written {
            // First the reason, in one line, then those who wait: what raft says about it comes later and tells less.
            (tools.fatal)(reason.clone());
            step.fail(&reason);
            // Whoever waits learns it from the closed channel.
            return;
        }
        step.finish(tools);
    }
}

/// What is written together.
#[derive(Default)]
struct Step {
    batch: Batch,
    bytes: usize,
    synced: bool,
    entries: u64,
    /// What the written jobs mean for durability, in their order.
    effects: Vec<Effect>,
    flushed: Vec<LogFlushed<TypeConfig>>,
    done: Vec<Done>,
}

enum Effect {
    Synced(LogId),
    Truncated(u64),
}

impl Step {
    fn add(&mut self, job: Job) -> Result<(), String> {
        match job {
            Job::Append { entries, last, flushed } => {
                for entry in entries {
                    let bytes = codec::encode("a log entry", &entry).map_err(|error| error.to_string())?;
                    self.bytes += bytes.len();
                    self.entries += 1;
                    self.batch.append(entry.log_id.index, bytes);
                }
                self.synced = true;
                self.effects.push(Effect::Synced(last));
                self.flushed.extend(flushed);
            }
            Job::Rows { writes, applied } => {
                for write in writes {
                    match write {
                        Write::Put(Row { table, key, value }) => {
                            self.bytes += key.len() + value.len();
                            self.batch.put(table_of(table), key, value);
                        }
                        Write::Delete { table, key } => self.batch.delete(table_of(table), key),
                    }
                }
                self.batch.applied(applied);
            }
            Job::Vote(vote, done) => {
                self.batch.vote(vote);
                self.synced = true;
                self.done.push(done);
            }
            Job::Truncate(from, done) => {
                self.batch.truncate(from);
                self.synced = true;
                self.effects.push(Effect::Truncated(from));
                self.done.push(done);
            }
            Job::Purge(upto, last, done) => {
                self.batch.purge(upto, last);
                self.synced = true;
                self.done.push(done);
            }
            Job::Barrier(done) => self.done.push(done),
        }
        Ok(())
    }

    fn write(&self, tools: &Tools) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let durability = if self.synced { storage::Durability::Synced } else { storage::Durability::Ordered };
        let began = Instant::now();
        tools.storage.write(&self.batch, durability).map_err(|error| error.to_string())?;
        if self.synced {
            tools.counters.fsync(began.elapsed());
        }
        Ok(())
    }

    fn finish(self, tools: &Tools) {
        tools.counters.entries.fetch_add(self.entries, std::sync::atomic::Ordering::Relaxed);
        for effect in self.effects {
            match effect {
                Effect::Synced(last) => tools.durability.synced(last),
                Effect::Truncated(from) => tools.durability.truncated(from),
            }
        }
        for flushed in self.flushed {
            flushed.log_io_completed(Ok(()));
        }
        for done in self.done {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    fn fail(self, reason: &str) {
        for flushed in self.flushed {
            flushed.log_io_completed(Err(std::io::Error::other(reason.to_owned())));
        }
    }
}

/// The state's table on disk.
pub fn table_of(table: state::Table) -> storage::Table {
    match table {
        state::Table::Objects => storage::Table::Objects,
        state::Table::History => storage::Table::History,
        state::Table::Requests => storage::Table::Requests,
        state::Table::Machine => storage::Table::Machine,
    }
}

/// The disk's table in the state.
pub fn table_from(table: storage::Table) -> state::Table {
    match table {
        storage::Table::Objects => state::Table::Objects,
        storage::Table::History => state::Table::History,
        storage::Table::Requests => state::Table::Requests,
        storage::Table::Machine => state::Table::Machine,
    }
}
