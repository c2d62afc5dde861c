//! Linearizable reads: how far must this master have applied the log, so that it misses nothing acknowledged anywhere?
//!
//! Reads share a question that is sent after they arrived; one that arrives while a question is on its way joins the
//! next. Only a leader answers, after its own "I lead" entry is applied, and after a quorum has confirmed it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::consensus::Inner;
use crate::counters::count;
use crate::leadership::Leadership;
use crate::network::{Request, Response};
use crate::types::LogId;

/// Reads that wait at once; beyond it they are told to come again.
const WAITING_MAX: usize = 16_384;
/// Before a read asks again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A read that waits for an index.
type Waiting = oneshot::Sender<Result<LogId, String>>;

/// Where reads are handed in.
#[derive(Clone)]
pub struct Reads {
    waiting: mpsc::Sender<Waiting>,
}

impl Reads {
    /// The way in, and what [`keep`] takes from.
    pub fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        (Self { waiting }, queue)
    }

    /// The read index, by a question sent after this call.
    pub async fn index(&self) -> Result<LogId, String> {
        let (reply, answer) = oneshot::channel();
        self.waiting.try_send(reply).map_err(|_| "too many reads wait on this master".to_owned())?;
        answer.await.map_err(|_| "this master is stopping".to_owned())?
    }
}

/// Asks for all who wait, one question at a time.
pub async fn keep(inner: Arc<Inner>, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, WAITING_MAX).await > 0 {
        count(&inner.counters.read_questions);
        let answer = question(&inner).await;
        for reply in waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(answer.clone());
        }
    }
}

async fn question(inner: &Inner) -> Result<LogId, String> {
    let leadership = *inner.leadership.borrow();
    match leadership {
        Leadership::Leader { .. } => local(inner).await,
        Leadership::Follower { leader: Some(leader) } => {
            let peer = inner.peer(leader).ok_or("the leader's address is not known here")?;
            let deadline = Instant::now() + inner.timers.election_max;
            match peer.call(&Request::ReadIndex, deadline).await {
                Ok(Response::ReadIndex(at)) => {
                    inner.commits.tell(leader, at);
                    Ok(at)
                }
                Ok(Response::Unavailable(reason)) => Err(reason),
                Ok(_) => Err("the leader answered another question".into()),
                Err(error) => Err(format!("the leader did not answer: {error}")),
            }
        }
        Leadership::Follower { leader: None } => Err("no leader is known".into()),
    }
}

/// The read index as the leader.
async fn local(inner: &Inner) -> Result<LogId, String> {
    let token = inner.tenure().ok_or("this master does not lead")?.token;
    // Raft gives the quorum one heartbeat; a little more catches an answer at the end of it.
    let asked = tokio::time::timeout(2 * inner.timers.heartbeat, inner.raft.get_read_log_id()).await;
    match asked {
        Ok(Ok((read, _))) => read.filter(|at| at.index >= token.0).ok_or_else(|| "raft lags behind its tenure".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the other masters did not confirm the leader in time".into()),
    }
}

/// Waits until this master has applied all that was acknowledged anywhere before the call.
pub async fn barrier(inner: &Inner, deadline: Instant) -> Result<(), store::Error> {
    let mut reason = String::from("no answer in time");
    loop {
        match timeout_at(deadline, inner.reads.index()).await {
            Ok(Ok(at)) => {
                if inner.applied_at_least(at.index, deadline).await {
                    return Ok(());
                }
                reason = format!("this master did not catch up with entry {} in time", at.index);
            }
            Ok(Err(refused)) => reason = refused,
            Err(_) => {}
        }
        if Instant::now() + RETRY_AFTER >= deadline || inner.stopping.is_stopping() {
            return Err(store::Error::Unavailable(format!("reads cannot be answered: {reason}")));
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
