//! A follower's way to the log: transactions that wait go to the leader together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use state::Transaction;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::coalescer::{ENTRY_BYTES, Pending};
use crate::consensus::Inner;
use crate::leadership::Leadership;
use crate::network::{CallError, ProposeOutcome, Request, Response};

/// Transactions that wait to be sent; beyond it callers are told at once.
const WAITING_MAX: usize = 8_192;
/// Batches on their way: the leader makes entries of what comes, so a few suffice.
const IN_FLIGHT_MAX: usize = 4;
/// Longest wait for a batch's answer; a caller whose own deadline is later asks again, under the same request id.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Where transactions for another leader are handed in.
#[derive(Clone)]
pub struct Forwarder {
    waiting: mpsc::Sender<Pending>,
}

impl Forwarder {
    /// The way in, and what [`keep`] takes from.
    pub fn new() -> (Self, mpsc::Receiver<Pending>) {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        (Self { waiting }, queue)
    }

    /// Hands a transaction in; when the receiver ends without an outcome, it is unknown.
    pub fn submit(&self, transaction: Transaction) -> Result<oneshot::Receiver<ProposeOutcome>, String> {
        let (reply, outcome) = oneshot::channel();
        let pending = Pending { transaction, reply };
        self.waiting.try_send(pending).map_err(|_| "too many writes wait on this master".to_owned())?;
        Ok(outcome)
    }
}

/// Sends what waits to whoever leads. A change of leader ends what is on its way: those who wait ask again.
pub async fn keep(inner: Arc<Inner>, mut queue: mpsc::Receiver<Pending>) {
    let mut leadership = inner.leadership.subscribe();
    let mut in_flight: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut held: Option<Pending> = None;
    loop {
        if held.is_none() {
            tokio::select! {
                next = queue.recv() => match next {
                    Some(next) => held = Some(next),
                    None => return,
                },
                Some(()) = in_flight.next(), if !in_flight.is_empty() => continue,
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    in_flight.clear();
                    continue;
                }
            }
        }
        while in_flight.len() >= IN_FLIGHT_MAX {
            tokio::select! {
                Some(()) = in_flight.next() => {}
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    in_flight.clear();
                }
            }
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(pending) = held.take().or_else(|| queue.try_recv().ok()) {
            let size = pending.transaction.size();
            if !batch.is_empty() && bytes + size > ENTRY_BYTES {
                held = Some(pending);
                break;
            }
            bytes += size;
            batch.push(pending);
        }
        if !batch.is_empty() {
            inner.counters.forwarded.fetch_add(batch.len() as u64, Ordering::Relaxed);
            in_flight.push(Box::pin(send(Arc::clone(&inner), batch)));
        }
    }
}

async fn send(inner: Arc<Inner>, batch: Vec<Pending>) {
    let (transactions, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.transaction, pending.reply)).unzip();
    let asked = match *inner.leadership.borrow() {
        Leadership::Follower { leader } => leader,
        Leadership::Leader { .. } => None,
    };
    let outcomes = match asked.and_then(|leader| inner.peer(leader)) {
        Some(peer) => {
            let wait = u32::try_from(ANSWER_DEADLINE.as_millis()).unwrap_or(u32::MAX);
            let answer = peer.call(&Request::Propose(transactions, wait), Instant::now() + ANSWER_DEADLINE).await;
            match answer {
                Ok(Response::Propose(outcomes)) if outcomes.len() == replies.len() => Ok(outcomes),
                Ok(Response::Unavailable(reason)) => Err(ProposeOutcome::NotDone(reason)),
                Ok(_) => Err(ProposeOutcome::Unknown("the leader's answer makes no sense".into())),
                Err(CallError::NotSent(reason)) => Err(ProposeOutcome::NotDone(reason)),
                Err(error) => Err(ProposeOutcome::Unknown(error.to_string())),
            }
        }
        None => Err(ProposeOutcome::NotDone("no leader is known".into())),
    };
    match outcomes {
        Ok(outcomes) => {
            let entries = outcomes.iter().filter_map(|outcome| match outcome {
                ProposeOutcome::Answered { at, .. } => Some(*at),
                _ => None,
            });
            if let (Some(leader), Some(newest)) = (asked, entries.max()) {
                inner.commits.tell(leader, newest);
            }
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever asked may have gone; here and below.
                let _ = reply.send(outcome);
            }
        }
        Err(outcome) => {
            for reply in replies {
                let _ = reply.send(outcome.clone());
            }
        }
    }
}
