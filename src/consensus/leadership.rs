//! Who leads, and for how long this master may believe that it does.
//!
//! Raft's own word is not enough: openraft 0.9 lets a leader that is cut off go on believing. A tenure begins when the
//! "I lead" entry of this process is applied here, and ends when raft's vote or state changes, or when the quorum has
//! been silent for too long, measured here. Then a new one may begin, under a new token.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::ServerState;
use state::{Command, Token};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::coalescer::Coalescer;
use crate::consensus::Inner;
use crate::counters::count;
use crate::election::vote_for_nobody;
use crate::types::{Metrics, Payload, Vote};

/// How often a deadline is looked at while nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Times the longest election timeout after which a leader that its quorum does not hear gives the lead up.
const SILENCES_MAX: u32 = 4;
/// Longest wait for the "I lead" entry: well above several syncs of a slow disk.
const BEGIN_DEADLINE: Duration = Duration::from_secs(5);

/// Who leads, as far as this master can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Another master, or nobody that is heard of.
    Follower {
        /// Its id, if one was heard of lately.
        leader: Option<u64>,
    },
    /// This master: its "I lead" entry is applied here, and the quorum has been heard of lately.
    Leader {
        /// Names the tenure; every duty's transaction carries it.
        token: Token,
    },
}

/// What exists while this master leads.
#[derive(Clone)]
pub struct Tenure {
    pub token: Token,
    pub coalescer: Arc<Coalescer>,
}

/// Until when the quorum's last word counts. Pure: time comes in.
#[derive(Debug, Clone, Copy)]
struct Patience {
    lease: Duration,
    deadline: Option<Instant>,
    looked: Instant,
}

impl Patience {
    fn new(lease: Duration, now: Instant) -> Self {
        Self { lease, deadline: None, looked: now }
    }

    /// Takes in raft's word: `silence` milliseconds ago the quorum was heard, or never. Never extends on `None`, nor when
    /// this process was not running for so long that the word may be old.
    fn heard(&mut self, silence_ms: Option<u64>, now: Instant) {
        let frozen = now.saturating_duration_since(self.looked) > self.lease;
        self.looked = now;
        if frozen {
            self.deadline = self.deadline.filter(|deadline| *deadline > now);
        } else if let Some(heard) = silence_ms.and_then(|ms| now.checked_sub(Duration::from_millis(ms))) {
            self.deadline = self.deadline.max(Some(heard + self.lease));
        }
    }

    fn holds(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline > now)
    }
}

/// Follows raft for as long as it runs.
pub async fn keep(inner: Arc<Inner>) {
    loop {
        let Some(vote) = follow(&inner).await else { return };
        if let Some(token) = begin(&inner, vote).await {
            lead(&inner, vote, token).await;
        }
        inner.show(Leadership::Follower { leader: None });
    }
}

/// Shows who else leads, until raft says that this master does and the quorum is there; `None` when raft has ended.
async fn follow(inner: &Inner) -> Option<Vote> {
    let mut metrics = inner.raft.metrics();
    let mut patience = Patience::new(inner.timers.election_max, Instant::now());
    let mut unheard: Option<(Vote, Instant)> = None;
    loop {
        let (leader, led) = {
            let seen = metrics.borrow_and_update();
            patience.heard(seen.millis_since_quorum_ack, Instant::now());
            (seen.current_leader, leads(&seen))
        };
        match led {
            Some(vote) if patience.holds(Instant::now()) => return Some(vote),
            // Cut off, though raft has not noticed.
            Some(vote) => {
                inner.show(Leadership::Follower { leader: None });
                let since = match unheard {
                    Some((known, since)) if known == vote => since,
                    _ => Instant::now(),
                };
                unheard = Some((vote, since));
                if since.elapsed() > SILENCES_MAX * inner.timers.election_max {
                    give_up(inner, vote, "the other masters are silent").await;
                }
            }
            None => {
                patience.deadline = None;
                unheard = None;
                let lately = inner.contact.silence() < 2 * inner.timers.election_max;
                let leader = leader.filter(|leader| lately && *leader != inner.id);
                inner.show(Leadership::Follower { leader });
            }
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return None },
            () = sleep_until(Instant::now() + LOOK_EVERY) => {}
        }
    }
}

/// Makes raft follow again. openraft has no check of the quorum (etcd's `CheckQuorum`): its leader leads until it hears of
/// a newer one. A leader that reaches nobody, for whatever reason, would keep its log, the longest one perhaps, and so
/// its vote from the only other master that is left, and stand no more itself. As a follower it stands when the others
/// agree, and what it replicates with is made anew.
async fn give_up(inner: &Inner, vote: Vote, reason: &str) {
    warn!(master = inner.id, %vote, reason, "this master gives the lead up and stands again when the others agree");
    vote_for_nobody(inner, vote.leader_id().get_term() + 1).await;
}

fn leads(metrics: &Metrics) -> Option<Vote> {
    (metrics.state == ServerState::Leader && metrics.running_state.is_ok()).then_some(metrics.vote)
}

/// Commits "I lead".
async fn begin(inner: &Inner, vote: Vote) -> Option<Token> {
    let command = Command::Lead { master: inner.id, incarnation: inner.incarnation };
    let payload = match Payload::new(command) {
        Ok(payload) => payload,
        Err(error) => {
            warn!(%error, "the start of a tenure cannot be written");
            return None;
        }
    };
    let written = inner.raft.client_write_ff(payload).await.ok()?;
    let mut metrics = inner.raft.metrics();
    let over = metrics.wait_for(|seen| leads(seen) != Some(vote));
    let begun = async {
        tokio::select! {
            written = written => match written {
                Ok(Ok(written)) => Some(Token(written.log_id.index)),
                Ok(Err(error)) => {
                    debug!(%error, "this master lost the lead before its tenure began");
                    None
                }
                Err(_) => None,
            },
            _ = over => None,
        }
    };
    let begun = timeout(BEGIN_DEADLINE, begun).await;
    if begun.is_err() {
        give_up(inner, vote, "its first entry is not committed").await;
    }
    begun.ok().flatten()
}

/// Leads until the tenure is over.
async fn lead(inner: &Arc<Inner>, vote: Vote, token: Token) {
    let coalescer = Coalescer::new();
    // What is on its way may never be answered: it is dropped, and those who wait are told that the outcome is unknown.
    let work = Guard(base::task::spawn(
        "coalescer",
        Arc::clone(&coalescer).run(inner.raft.clone(), Arc::clone(&inner.counters)),
    ));
    let tenure = Tenure { token, coalescer: Arc::clone(&coalescer) };
    *inner.tenure.lock().unwrap_or_else(PoisonError::into_inner) = Some(tenure);
    count(&inner.counters.tenures);
    info!(master = inner.id, term = vote.leader_id().get_term(), token = token.0, "this master leads");
    inner.show(Leadership::Leader { token });

    let reason = watch_tenure(inner, vote).await;

    info!(master = inner.id, token = token.0, reason, "the tenure is over");
    inner.tenure.lock().unwrap_or_else(PoisonError::into_inner).take();
    inner.show(Leadership::Follower { leader: None });
    coalescer.close("this master no longer leads");
    drop(work);
}

/// Ends a task when dropped, also when whoever started it is dropped itself.
struct Guard(base::Task);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch_tenure(inner: &Inner, vote: Vote) -> &'static str {
    let mut metrics = inner.raft.metrics();
    let mut patience = Patience::new(inner.timers.election_max, Instant::now());
    loop {
        let now = Instant::now();
        {
            let seen = metrics.borrow_and_update();
            if leads(&seen) != Some(vote) {
                return "raft follows another vote";
            }
            patience.heard(seen.millis_since_quorum_ack, now);
        }
        if !patience.holds(now) {
            return "the other masters are silent";
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return "raft has ended" },
            () = sleep_until(now + LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_ends_by_itself() {
        let start = Instant::now() + Duration::from_secs(100);
        let at = |ms| start + Duration::from_millis(ms);
        let mut patience = Patience::new(Duration::from_millis(350), start);
        assert!(!patience.holds(start), "nothing heard, nothing believed");
        patience.heard(None, start);
        assert!(!patience.holds(start));
        patience.heard(Some(50), at(10));
        assert!(patience.holds(at(309)) && !patience.holds(at(310)));
        patience.heard(None, at(100));
        assert!(patience.holds(at(309)) && !patience.holds(at(310)), "no word does not extend");
        patience.heard(Some(400), at(200));
        assert!(patience.holds(at(309)) && !patience.holds(at(310)), "an old word does not shorten");
        patience.heard(Some(0), at(900));
        assert!(!patience.holds(at(900)), "after a freeze the word may be as old as the freeze is long");
        patience.heard(Some(0), at(950));
        assert!(patience.holds(at(951)));
    }
}
