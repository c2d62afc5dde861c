//! Answers to other masters.

use std::sync::Weak;
use std::time::Duration;

use openraft::ServerState;
use openraft::raft::AppendEntriesResponse;
use tokio::time::Instant;

use crate::consensus::Inner;
use crate::election::{Voter, would_vote};
use crate::leadership::Leadership;
use crate::network::{Request, Response};
use crate::{Error, membership, proposing};

/// Answers one question of the master `from`.
pub async fn answer(inner: Weak<Inner>, from: u64, request: Request) -> Response {
    let Some(inner) = inner.upgrade().filter(|inner| !inner.stopping.is_stopping()) else {
        return Response::Unavailable("this master is stopping".into());
    };
    match request {
        Request::Ping => Response::Done,
        Request::Append(append) => {
            #[cfg(test)]
            if inner.deaf_to.load(std::sync::atomic::Ordering::SeqCst) == append.vote.leader_id().get_term() {
                return std::future::pending().await;
            }
            let answer = inner.raft.append_entries(append).await;
            if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
                inner.contact.touch();
            }
            Response::Append(answer)
        }
        Request::Vote(vote) => {
            let answer = inner.raft.vote(vote).await;
            if answer.as_ref().is_ok_and(|answer| answer.vote_granted) {
                inner.contact.touch();
            }
            Response::Vote(answer)
        }
        Request::Snapshot(chunk) => {
            let vote = chunk.vote;
            let answer = inner.raft.install_snapshot(chunk).await;
            if answer.as_ref().is_ok_and(|answer| answer.vote == vote) {
                inner.contact.touch();
            }
            Response::Snapshot(answer)
        }
        Request::PreVote(ask) => {
            let voter = voter(&inner);
            Response::PreVote(would_vote(voter, inner.timers.election_max, from, ask), voter.term)
        }
        Request::ReadIndex => {
            if inner.tenure().is_none() {
                return Response::Unavailable("this master does not lead".into());
            }
            let read = async {
                let at = inner.reads.index().await?;
                // What is said to be committed has to be on the disk here, as what is applied is.
                let deadline = Instant::now() + inner.timers.election_max;
                let there = inner.applied_at_least(at.index, deadline).await;
                if there { Ok(at) } else { Err("the leader does not keep up".to_owned()) }
            };
            read.await.map_or_else(Response::Unavailable, Response::ReadIndex)
        }
        Request::Propose(transactions, wait_ms) => {
            let deadline = Instant::now() + Duration::from_millis(u64::from(wait_ms));
            proposing::propose_for_peer(&inner, transactions, deadline).await
        }
        Request::Beat(beat) => match *inner.leadership.borrow() {
            Leadership::Leader { .. } => {
                inner.liveness.beat(beat);
                Response::Done
            }
            Leadership::Follower { .. } => Response::Unavailable("this master does not lead".into()),
        },
        Request::Elect => elect(&inner, from).await,
        Request::Admit(id, member) => done(membership::admit_here(&inner, id, member).await),
        Request::Remove(id) => done(membership::remove_here(&inner, id).await),
    }
}

fn voter(inner: &Inner) -> Voter {
    let metrics = inner.raft.metrics();
    let seen = metrics.borrow();
    // Also before its tenure has begun.
    let heard = seen.millis_since_quorum_ack.is_some_and(|ms| u128::from(ms) < inner.timers.election_max.as_millis());
    Voter {
        id: inner.id,
        leads: seen.state == ServerState::Leader && heard,
        asking: inner.contact.is_asking(),
        silence: inner.contact.silence(),
        term: seen.current_term,
        last_log_id: inner.last_log_id(),
    }
}

/// Only who leads may hand over.
async fn elect(inner: &Inner, from: u64) -> Response {
    if inner.raft.metrics().borrow().current_leader != Some(from) {
        return Response::Refused("only the leader hands over".into());
    }
    crate::counters::count(&inner.counters.elections);
    match inner.raft.trigger().elect().await {
        Ok(()) => Response::Done,
        Err(error) => Response::Unavailable(error.to_string()),
    }
}

fn done(result: Result<(), Error>) -> Response {
    match result {
        Ok(()) => Response::Done,
        Err(Error::Refused(reason)) => Response::Refused(reason),
        Err(Error::Unavailable(reason)) => Response::Unavailable(reason),
        Err(error) => Response::Unavailable(error.to_string()),
    }
}
