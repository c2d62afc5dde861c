//! When this master stands for election: its own timer, drawn anew each round, and a question to the others first, so
//! that a master that was frozen, cut off or restarted never deposes a leader that the others hear.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use openraft::ServerState;
use openraft::raft::VoteRequest;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::consensus::Inner;
use crate::counters::count;
use crate::network::{PreVote, Request, Response};
use crate::types::{LogId, Metrics, Vote};

/// No master has this id.
const NOBODY: u64 = 0;

/// What to do now. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Look again then: there is a leader, or this master has no vote.
    Wait(Instant),
    /// Alone: no one to ask.
    Stand,
    /// The leader has been silent for long enough.
    Ask,
}

fn decide(metrics: &Metrics, id: u64, due: Instant, now: Instant, look_every: Duration) -> Step {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    if metrics.state == ServerState::Leader || metrics.running_state.is_err() || !voters.contains(&id) {
        return Step::Wait(now + look_every);
    }
    if voters.len() == 1 {
        return Step::Stand;
    }
    if due > now { Step::Wait(due.min(now + look_every)) } else { Step::Ask }
}

/// What a master knows when it is asked whether it would vote.
#[derive(Debug, Clone, Copy)]
pub struct Voter {
    pub id: u64,
    /// It leads, and the quorum hears it.
    pub leads: bool,
    /// It is asking for votes itself.
    pub asking: bool,
    /// For how long it has heard no leader.
    pub silence: Duration,
    pub term: u64,
    pub last_log_id: Option<LogId>,
}

/// Whether a master would vote for the candidate `from`: it hears no leader, misses nothing that the candidate lacks, and
/// is not the better one of two that ask at the same time (else both would stand, and tie). Pure.
pub fn would_vote(voter: Voter, lease: Duration, from: u64, ask: PreVote) -> bool {
    let rival = voter.asking && (ask.last_log_id, from) < (voter.last_log_id, voter.id);
    !voter.leads && !rival && voter.silence >= lease && ask.term > voter.term && ask.last_log_id >= voter.last_log_id
}

/// Whether enough voters agree, in a joint configuration in each of its halves. Pure.
fn is_quorum(configs: &[BTreeSet<u64>], granted: &BTreeSet<u64>) -> bool {
    configs.iter().all(|config| 2 * config.intersection(granted).count() > config.len())
}

/// Runs the timer for as long as raft runs.
pub async fn keep(inner: Arc<Inner>) {
    let lease = inner.timers.election_max;
    let spread = || base::random::jitter(Duration::ZERO..lease - inner.timers.election_min);
    let mut wait = lease + spread();
    let mut not_before = Instant::now();
    let metrics = inner.raft.metrics();
    loop {
        let now = Instant::now();
        let due = (inner.contact.at() + wait).max(not_before);
        let step = decide(&metrics.borrow(), inner.id, due, now, inner.timers.heartbeat);
        let stand = match step {
            Step::Wait(until) => {
                sleep_until(until).await;
                continue;
            }
            Step::Stand => true,
            Step::Ask => match ask(&inner).await {
                Prospect::Good => true,
                Prospect::Bad => false,
                // Whoever is ahead in term only may have stood in vain; it must not keep the others from standing.
                Prospect::Behind(term) => {
                    vote_for_nobody(&inner, term).await;
                    ask(&inner).await == Prospect::Good
                }
            },
        };
        if stand {
            count(&inner.counters.elections);
            info!(master = inner.id, silence = ?inner.contact.silence(), "standing for election");
            if inner.raft.trigger().elect().await.is_err() {
                return;
            }
        } else {
            count(&inner.counters.elections_declined);
        }
        // A round lasts as long as votes may take; two candidates draw different times for the next one.
        wait = lease + spread();
        not_before = Instant::now() + inner.timers.election_min + spread();
        if stand {
            settle(&inner, not_before).await;
        }
    }
}

/// Waits for the outcome of a candidacy.
async fn settle(inner: &Inner, until: Instant) {
    let mut metrics = inner.raft.metrics();
    let over = metrics.wait_for(|seen| seen.state == ServerState::Leader || seen.running_state.is_err());
    // Either way the loop looks at what has become of it.
    let _ = tokio::time::timeout_at(until, over).await;
}

/// Takes a term over, as a follower, with a vote that stands in nobody's way: any real candidate of the same term beats it.
/// Refused while an entry is being appended; whoever calls looks again later.
pub async fn vote_for_nobody(inner: &Inner, term: u64) {
    if let Err(error) = inner.raft.vote(VoteRequest::new(Vote::new(term, NOBODY), inner.last_log_id())).await {
        debug!(%error, "raft has ended");
    }
}

/// What a candidacy would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prospect {
    /// A quorum would vote for this master.
    Good,
    /// It would not.
    Bad,
    /// It would not, and somebody is in this term, which the candidacy would not get beyond.
    Behind(u64),
}

/// Asks the other voters whether they would vote for this master.
async fn ask(inner: &Inner) -> Prospect {
    let (question, membership) = {
        let seen = inner.raft.metrics().borrow().clone();
        (PreVote { term: seen.current_term + 1, last_log_id: inner.last_log_id() }, seen.membership_config)
    };
    let configs = membership.membership().get_joint_config();
    let _asking = inner.contact.asking();
    let deadline = Instant::now() + inner.timers.election_min;
    let mut granted = BTreeSet::from([inner.id]);
    let mut newest = 0;
    let mut answers: FuturesUnordered<_> = membership
        .nodes()
        .filter(|(id, _)| **id != inner.id && configs.iter().any(|config| config.contains(*id)))
        .map(|(id, member)| {
            let peer = inner.peers.get(*id, &member.peer);
            async move { (*id, peer.call(&Request::PreVote(question), deadline).await) }
        })
        .collect();
    while !is_quorum(configs, &granted) {
        match answers.next().await {
            Some((id, Ok(Response::PreVote(true, _)))) => {
                granted.insert(id);
            }
            Some((id, answer)) => {
                debug!(peer = id, ?answer, "no vote in prospect");
                if let Ok(Response::PreVote(_, term)) = answer {
                    newest = newest.max(term);
                }
            }
            None if newest >= question.term => return Prospect::Behind(newest),
            None => return Prospect::Bad,
        }
    }
    // A leader may have spoken while the question was on its way.
    if inner.contact.silence() >= inner.timers.election_max { Prospect::Good } else { Prospect::Bad }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    fn id(term: u64, index: u64) -> Option<LogId> {
        Some(LogId::new(CommittedLeaderId::new(term, 1), index))
    }

    #[test]
    fn a_vote_is_in_prospect_only_without_a_leader_and_for_a_log_as_new() {
        let lease = Duration::from_millis(350);
        let voter = Voter { id: 2, leads: false, asking: false, silence: lease, term: 4, last_log_id: id(4, 10) };
        let ask = PreVote { term: 5, last_log_id: id(4, 10) };
        let would = |voter, from| would_vote(voter, lease, from, ask);
        assert!(would(voter, 1));
        assert!(!would(Voter { leads: true, ..voter }, 1), "a leader that the quorum hears");
        assert!(!would(Voter { silence: Duration::from_millis(349), ..voter }, 1), "a leader was heard");
        assert!(!would(Voter { last_log_id: id(4, 11), ..voter }, 1), "a log that is longer here");
        assert!(!would(Voter { term: 5, ..voter }, 1), "a term that is over");
        let asking = Voter { asking: true, ..voter };
        assert!(!would(asking, 1) && would(asking, 3), "of two that ask, one stands");
        assert!(would(Voter { last_log_id: id(4, 9), ..asking }, 1), "the one with the longer log");
    }

    #[test]
    fn both_halves_of_a_joint_configuration_must_agree() {
        let configs = [BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])];
        assert!(!is_quorum(&configs, &BTreeSet::from([1, 2])));
        assert!(!is_quorum(&configs, &BTreeSet::from([1, 2, 3])));
        assert!(is_quorum(&configs, &BTreeSet::from([1, 3, 4])));
        assert!(is_quorum(&configs[..1], &BTreeSet::from([1, 2])));
    }

    #[tokio::test]
    async fn only_a_voter_stands_and_one_alone_at_once() {
        let now = Instant::now();
        let (early, late) = (now + Duration::from_secs(1), now - Duration::from_millis(1));
        let look = Duration::from_millis(60);
        let with = |voters: &[u64], state| {
            let mut metrics = Metrics::new_initial(1);
            let config = vec![voters.iter().copied().collect::<BTreeSet<u64>>()];
            metrics.membership_config =
                Arc::new(crate::types::Membership::new(id(1, 1), openraft::Membership::new(config, ())));
            metrics.state = state;
            metrics
        };
        let step = |metrics: &Metrics, due| decide(metrics, 1, due, now, look);
        assert_eq!(step(&with(&[1], ServerState::Follower), early), Step::Stand);
        assert_eq!(step(&with(&[1, 2, 3], ServerState::Follower), early), Step::Wait(now + look));
        assert_eq!(step(&with(&[1, 2, 3], ServerState::Follower), late), Step::Ask);
        assert_eq!(step(&with(&[1, 2, 3], ServerState::Leader), late), Step::Wait(now + look));
        assert_eq!(step(&with(&[2, 3], ServerState::Learner), late), Step::Wait(now + look));
    }
}
