//! Group commit: transactions that wait while an append is under way form the next entry. Lives for one leadership.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use state::{Command, Origin, Transaction};
use tokio::sync::{Notify, oneshot, watch};

use crate::counters::Counters;
use crate::network::ProposeOutcome;
use crate::types::{Payload, Raft};

/// Bytes of transactions in one entry: a follower must write it within one heartbeat.
pub const ENTRY_BYTES: usize = 1 << 20;
/// Entries on their way at once: while one is fsynced here, the one before is fsynced there.
const IN_FLIGHT_MAX: usize = 3;
/// Transactions and bytes that wait in each class; beyond it the caller is told at once.
const WAITING_MAX: usize = 8_192;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Duty, node, client: a flood of one does not delay the others.
const CLASSES: usize = 3;

/// A transaction that waits, and who waits for it.
pub struct Pending {
    pub transaction: Transaction,
    pub reply: oneshot::Sender<ProposeOutcome>,
}

/// Takes transactions of a leader.
pub struct Coalescer {
    queues: Mutex<Queues>,
    wake: Notify,
    /// Whether nothing is on its way any more.
    drained: watch::Sender<bool>,
}

struct Queues {
    classes: [Class; CLASSES],
    /// The class that is asked first next time.
    turn: usize,
    open: bool,
}

#[derive(Default)]
struct Class {
    waiting: VecDeque<Pending>,
    bytes: usize,
}

/// Why a transaction was not even queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// This leadership is over.
    Closed,
    /// Too many wait already.
    Full,
}

impl Coalescer {
    /// An open one.
    pub fn new() -> Arc<Self> {
        let queues = Queues { classes: Default::default(), turn: 0, open: true };
        Arc::new(Self { queues: Mutex::new(queues), wake: Notify::new(), drained: watch::channel(false).0 })
    }

    /// Queues a transaction; its outcome comes through the receiver. When the receiver ends without one, the outcome is
    /// unknown.
    pub fn submit(&self, transaction: Transaction) -> Result<oneshot::Receiver<ProposeOutcome>, Rejected> {
        let (reply, outcome) = oneshot::channel();
        let mut queues = self.lock();
        if !queues.open {
            return Err(Rejected::Closed);
        }
        queues.push(Pending { transaction, reply })?;
        drop(queues);
        self.wake.notify_one();
        Ok(outcome)
    }

    /// Takes no more, and answers those that still wait: they never entered the log.
    pub fn close(&self, reason: &str) {
        let waiting: Vec<Pending> = {
            let mut queues = self.lock();
            queues.open = false;
            queues.classes.iter_mut().flat_map(|class| std::mem::take(class).waiting).collect()
        };
        for pending in waiting {
            // Whoever asked may have gone.
            let _ = pending.reply.send(ProposeOutcome::NotDone(reason.to_owned()));
        }
        self.wake.notify_one();
    }

    /// Waits until it is closed and nothing is on its way; for ever when its run was broken off.
    pub async fn drained(&self) {
        // The sender lives as long as `self`.
        let _ = self.drained.subscribe().wait_for(|drained| *drained).await;
    }

    /// Proposes what is submitted, until it is closed and nothing is on its way.
    pub async fn run(self: Arc<Self>, raft: Raft, counters: Arc<Counters>) {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            let (batch, open) = {
                let mut queues = self.lock();
                let batch = if in_flight.len() < IN_FLIGHT_MAX { queues.take_batch() } else { Vec::new() };
                (batch, queues.open)
            };
            if !batch.is_empty() {
                counters.proposals.fetch_add(batch.len() as u64, Ordering::Relaxed);
                let outcome = propose(&raft, batch).await;
                in_flight.push(outcome);
                continue;
            }
            if !open && in_flight.is_empty() {
                self.drained.send_replace(true);
                return;
            }
            tokio::select! {
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                () = self.wake.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Queues stay consistent whatever panics while they are held.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands a batch to raft; the future ends when its outcome was told.
async fn propose(raft: &Raft, batch: Vec<Pending>) -> BoxFuture<'static, ()> {
    let (transactions, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.transaction, pending.reply)).unzip();
    let sent = match Payload::new(Command::Transact(transactions)) {
        Ok(payload) => raft.client_write_ff(payload).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Box::pin(async move {
        let outcome = match sent {
            Ok(receiver) => match receiver.await {
                Ok(Ok(written)) => Ok((written.log_id, written.data.0)),
                // Also said of an entry that was appended and then cut off by another leader.
                Ok(Err(error)) => Err(ProposeOutcome::Unknown(error.to_string())),
                Err(_) => Err(ProposeOutcome::Unknown("this leader lost track of it".into())),
            },
            Err(reason) => Err(ProposeOutcome::NotDone(reason)),
        };
        match outcome {
            Ok((at, answers)) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Whoever asked may have gone; here and below.
                    let _ = reply.send(ProposeOutcome::Answered { at, answer });
                }
            }
            Err(outcome) => {
                for reply in replies {
                    let _ = reply.send(outcome.clone());
                }
            }
        }
    })
}

impl Queues {
    fn push(&mut self, pending: Pending) -> Result<(), Rejected> {
        let class = &mut self.classes[class_of(&pending.transaction.origin)];
        let size = pending.transaction.size();
        if class.waiting.len() >= WAITING_MAX || class.bytes + size > WAITING_BYTES_MAX {
            return Err(Rejected::Full);
        }
        class.bytes += size;
        class.waiting.push_back(pending);
        Ok(())
    }

    /// The next entry: from each class in turn, in each class in order of arrival, up to the size of an entry.
    fn take_batch(&mut self) -> Vec<Pending> {
        let (mut batch, mut bytes, mut empty) = (Vec::new(), 0, 0);
        while empty < CLASSES {
            let class = &mut self.classes[self.turn];
            self.turn = (self.turn + 1) % CLASSES;
            let Some(first) = class.waiting.front() else {
                empty += 1;
                continue;
            };
            let size = first.transaction.size();
            if !batch.is_empty() && bytes + size > ENTRY_BYTES {
                // The class whose turn it was keeps it.
                self.turn = (self.turn + CLASSES - 1) % CLASSES;
                break;
            }
            empty = 0;
            bytes += size;
            class.bytes -= size;
            batch.extend(class.waiting.pop_front());
        }
        batch
    }
}

fn class_of(origin: &Origin) -> usize {
    match origin {
        Origin::Duty(_) => 0,
        Origin::Node(_) => 1,
        Origin::Client(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use objects::Key;
    use state::{Precondition, RequestId, Token};

    use super::*;

    fn transaction(origin: Origin, id: u128, weight: usize) -> Transaction {
        let key = Key::new("configmaps", "default", "a");
        let preconditions = vec![Precondition::Absent(key); weight];
        Transaction { id: RequestId(id), origin, at_ms: 0, preconditions, changes: Vec::new() }
    }

    fn ids(batch: &[Pending]) -> Vec<u128> {
        batch.iter().map(|pending| pending.transaction.id.0).collect()
    }

    #[test]
    fn classes_take_turns() {
        let coalescer = Coalescer::new();
        for id in 0..5 {
            drop(coalescer.submit(transaction(Origin::Client("u".into()), id, 0)).unwrap());
        }
        drop(coalescer.submit(transaction(Origin::Duty(Token(1)), 100, 0)).unwrap());
        drop(coalescer.submit(transaction(Origin::Node("n".into()), 200, 0)).unwrap());
        assert_eq!(ids(&coalescer.lock().take_batch()), [100, 200, 0, 1, 2, 3, 4]);
        assert!(coalescer.lock().take_batch().is_empty());
    }

    #[test]
    fn an_entry_has_a_size_and_a_large_transaction_goes_alone() {
        let coalescer = Coalescer::new();
        let client = || Origin::Client("u".into());
        // 128 bytes each: 3000 are about 384 KiB, 9000 are more than an entry.
        for (id, weight) in [(1, 3_000), (2, 3_000), (3, 3_000), (4, 9_000), (5, 1)] {
            drop(coalescer.submit(transaction(client(), id, weight)).unwrap());
        }
        let mut batches = Vec::new();
        loop {
            let batch = ids(&coalescer.lock().take_batch());
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        assert_eq!(batches, [vec![1, 2], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn queues_have_a_limit_and_close() {
        let coalescer = Coalescer::new();
        let mut receivers = Vec::new();
        for id in 0..WAITING_MAX as u128 {
            receivers.push(coalescer.submit(transaction(Origin::Client("u".into()), id, 0)).unwrap());
        }
        let one_more = transaction(Origin::Client("u".into()), 1 << 100, 0);
        assert_eq!(coalescer.submit(one_more.clone()).err(), Some(Rejected::Full));
        assert!(coalescer.submit(transaction(Origin::Duty(Token(1)), 1 << 101, 0)).is_ok(), "other classes have room");
        coalescer.close("over");
        for mut receiver in receivers {
            assert_eq!(receiver.try_recv().unwrap(), ProposeOutcome::NotDone("over".into()));
        }
        assert_eq!(coalescer.submit(one_more).err(), Some(Rejected::Closed));
    }
}
