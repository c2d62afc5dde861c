//! The store's way to the log, on any master.

use std::sync::PoisonError;
use std::time::Duration;

use state::{Committed, Origin, Refusal, Transaction};
use store::proposer::Boxed;
use store::{Beat, Error, Proposer};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::coalescer::Rejected;
use crate::consensus::{Consensus, Inner};
use crate::leadership::Leadership;
use crate::network::{ProposeOutcome, Request, Response};
use crate::read_index;

/// Before a write that was not taken tries again, unless the leadership changes first.
const RETRY_AFTER: Duration = Duration::from_millis(20);

impl Proposer for Consensus {
    fn propose(&self, transaction: Transaction, deadline: Instant) -> Boxed<'_, Result<Committed, Error>> {
        Box::pin(propose(self.inner(), transaction, deadline))
    }

    fn read_barrier(&self, deadline: Instant) -> Boxed<'_, Result<(), Error>> {
        Box::pin(read_index::barrier(self.inner(), deadline))
    }

    fn heartbeat(&self, beat: Beat, deadline: Instant) -> Boxed<'_, Result<(), Error>> {
        Box::pin(heartbeat(self.inner(), beat, deadline))
    }
}

/// Proposes through whoever leads, again under the same request id after a change of leader, until there is an answer or
/// no time. Repeats do no harm: `apply` answers a known request id with its first answer.
async fn propose(inner: &Inner, transaction: Transaction, deadline: Instant) -> Result<Committed, Error> {
    store::check_size(&transaction)?;
    let mut sent = false;
    let mut leadership = inner.leadership.subscribe();
    loop {
        let view = *leadership.borrow_and_update();
        let outcome = match submit(inner, view, &transaction)? {
            Ok(receiver) => tokio::select! {
                outcome = receiver => {
                    outcome.unwrap_or_else(|_| ProposeOutcome::Unknown("the leader changed meanwhile".into()))
                }
                () = tokio::time::sleep_until(deadline) => ProposeOutcome::Unknown("the deadline passed".into()),
            },
            Err(reason) => ProposeOutcome::NotDone(reason),
        };
        let reason = match outcome {
            ProposeOutcome::Answered { at, answer } => {
                if !inner.applied_at_least(at.index, deadline).await {
                    return Err(Error::Unknown("it was written, but this master does not keep up".into()));
                }
                return answer.map_err(Error::from);
            }
            ProposeOutcome::NotDone(reason) => reason,
            ProposeOutcome::Unknown(reason) => {
                sent = true;
                reason
            }
        };
        let pause = Instant::now() + RETRY_AFTER;
        if pause >= deadline || inner.stopping.is_stopping() {
            return Err(if sent { Error::Unknown(reason) } else { Error::Unavailable(reason) });
        }
        // A change of leader is the reason to try at once; it cannot fail while consensus lives.
        let _ = timeout_at(pause, leadership.changed()).await;
    }
}

type Submitted = Result<oneshot::Receiver<ProposeOutcome>, String>;

/// Hands the transaction to the local coalescer or to the leader's; the inner error says why neither would take it now.
fn submit(inner: &Inner, view: Leadership, transaction: &Transaction) -> Result<Submitted, Error> {
    match (inner.tenure(), &transaction.origin) {
        (Some(tenure), Origin::Duty(token)) if tenure.token != *token => Err(Refusal::Fenced(*token).into()),
        (Some(tenure), _) => match tenure.coalescer.submit(transaction.clone()) {
            Ok(receiver) => Ok(Ok(receiver)),
            Err(Rejected::Closed) => Ok(Err("this master is about to stop leading".into())),
            Err(Rejected::Full) => Err(Error::Unavailable("too many writes wait on the leader: slow down".into())),
        },
        // Duties run where the leader is: without a tenure here, theirs is over.
        (None, Origin::Duty(token)) => Err(Refusal::Fenced(*token).into()),
        (None, _) => Ok(match view {
            Leadership::Follower { leader: Some(_) } => inner.forwarder.submit(transaction.clone()),
            _ => Err("there is no leader: no quorum, or an election is under way".into()),
        }),
    }
}

/// As the leader: proposes for a follower, and waits at most until the deadline.
pub async fn propose_for_peer(inner: &Inner, transactions: Vec<Transaction>, deadline: Instant) -> Response {
    let Some(tenure) = inner.tenure() else {
        return Response::Unavailable("this master does not lead".into());
    };
    let submitted: Vec<_> = transactions
        .into_iter()
        .map(|transaction| {
            // A duty never comes from elsewhere: its token would be of another process.
            let duty = matches!(transaction.origin, Origin::Duty(_));
            let large = store::check_size(&transaction).is_err();
            if duty || large {
                Err("it may not be forwarded")
            } else {
                tenure.coalescer.submit(transaction).map_err(|rejected| match rejected {
                    Rejected::Closed => "the leader is about to stop leading",
                    Rejected::Full => "too many writes wait on the leader",
                })
            }
        })
        .collect();
    let mut outcomes = Vec::with_capacity(submitted.len());
    for waiting in submitted {
        outcomes.push(match waiting {
            Ok(receiver) => match timeout_at(deadline, receiver).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => ProposeOutcome::Unknown("the leader changed meanwhile".into()),
                Err(_) => ProposeOutcome::Unknown("the leader's deadline passed".into()),
            },
            Err(reason) => ProposeOutcome::NotDone(reason.into()),
        });
    }
    Response::Propose(outcomes)
}

async fn heartbeat(inner: &Inner, beat: Beat, deadline: Instant) -> Result<(), Error> {
    let mut leadership = inner.leadership.subscribe();
    loop {
        let view = *leadership.borrow_and_update();
        let reason = match view {
            Leadership::Leader { .. } => {
                inner.liveness.beat(beat);
                return Ok(());
            }
            Leadership::Follower { leader: Some(leader) } => match inner.peer(leader) {
                Some(peer) => match peer.call(&Request::Beat(beat.clone()), deadline.min(patience(inner))).await {
                    Ok(Response::Done) => return Ok(()),
                    Ok(Response::Unavailable(reason)) => reason,
                    Ok(_) => "the leader's answer makes no sense".into(),
                    Err(error) => error.to_string(),
                },
                None => "the leader's address is not known here".into(),
            },
            Leadership::Follower { leader: None } => "no leader is known".into(),
        };
        let pause = Instant::now() + RETRY_AFTER;
        if pause >= deadline || inner.stopping.is_stopping() {
            return Err(Error::Unavailable(format!("the heartbeat did not reach the leader: {reason}")));
        }
        // As in `propose`.
        let _ = timeout_at(pause, leadership.changed()).await;
    }
}

/// A leader that does not answer a heartbeat by then may be frozen; there may be another one.
fn patience(inner: &Inner) -> Instant {
    Instant::now() + 2 * inner.timers.election_max
}

impl Inner {
    /// What exists while this master leads.
    pub fn tenure(&self) -> Option<crate::leadership::Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this master has applied an entry; `false` when the deadline came first.
    pub async fn applied_at_least(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(timeout_at(deadline, reached).await, Ok(Ok(_)))
    }
}
