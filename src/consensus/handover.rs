//! Stopping as the leader: another master is asked to stand, so that writes pause for one election without a timeout.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use crate::Error;
use crate::consensus::Inner;
use crate::network::{Request, Response};

/// How long a chosen successor gets before the next one is asked: an election takes two fsyncs and two round trips.
const TRY: Duration = Duration::from_millis(250);
/// Why writes are not taken meanwhile; they wait, and go to the successor.
const CLOSED: &str = "the leader is about to hand over";

/// Hands the lead over, if this master has it: until another one is known to lead.
pub async fn run(inner: &Arc<Inner>, deadline: Instant) -> Result<(), Error> {
    let Some(tenure) = inner.tenure() else { return Ok(()) };
    let voters: Vec<u64> = voters(inner).into_iter().filter(|id| *id != inner.id).collect();
    if voters.is_empty() {
        tenure.coalescer.close("this master stops, and there is no other voter");
        return Ok(());
    }
    // A leader younger than the election timeout still refuses other candidates; and so do the other followers while
    // they hear heartbeats, which matters where this master's vote and the successor's are no quorum.
    if voters.len() > 2 {
        inner.raft.runtime_config().heartbeat(false);
        tenure.coalescer.close(CLOSED);
        tokio::time::sleep(inner.timers.election_max).await;
    }
    let result = timeout_at(deadline, pass_on(inner, &voters)).await;
    inner.raft.runtime_config().heartbeat(true);
    match result {
        Ok(successor) => {
            info!(successor, "the lead is handed over");
            Ok(())
        }
        Err(_) => Err(Error::Unavailable("no other master took the lead over in time".into())),
    }
}

/// Asks one follower after the other, the one that has most of the log first, until another master leads; its id.
///
/// This master stays until then, also when it leads no more: it holds a vote, and perhaps the longest log.
async fn pass_on(inner: &Inner, voters: &[u64]) -> u64 {
    let mut metrics = inner.raft.metrics();
    let mut turn = 0;
    loop {
        let seen = metrics.borrow_and_update().clone();
        if let Some(successor) = seen.current_leader.filter(|leader| *leader != inner.id) {
            return successor;
        }
        if seen.state == ServerState::Leader
            && let Some(successor) = ready(inner, voters, turn).await
        {
            turn += 1;
            ask(inner, successor, seen.current_term).await;
            continue;
        }
        // Whoever follows is still writing what is on its way, or an election is under way.
        let _ = metrics.changed().await;
    }
}

/// A follower that has the whole log, to which nothing is added any more: an entry that came after would cost the successor
/// this master's vote. `None` when this master leads no longer, or nobody has all of it yet.
async fn ready(inner: &Inner, voters: &[u64], turn: usize) -> Option<u64> {
    let mut metrics = inner.raft.metrics();
    if let Some(tenure) = inner.tenure() {
        tenure.coalescer.close(CLOSED);
        tokio::select! {
            () = tenure.coalescer.drained() => {}
            _ = metrics.wait_for(|seen| seen.state != ServerState::Leader) => return None,
        }
    }
    let seen = metrics.borrow();
    let last = seen.last_log_index;
    let matched =
        |id: &u64| seen.replication.as_ref().and_then(|all| all.get(id).copied().flatten()).map(|id| id.index);
    let complete: Vec<u64> = voters.iter().copied().filter(|id| matched(id) >= last).collect();
    complete.get(turn % complete.len().max(1)).copied()
}

/// Asks one follower to stand, and gives it its time.
async fn ask(inner: &Inner, successor: u64, term: u64) {
    let mut metrics = inner.raft.metrics();
    let until = Instant::now() + TRY;
    let Some(peer) = inner.peer(successor) else { return };
    match peer.call(&Request::Elect, until).await {
        Ok(Response::Done) => {
            let gone = metrics.wait_for(|seen| seen.state != ServerState::Leader || seen.current_term > term);
            // Else the next one gets its turn.
            let _ = timeout_at(until, gone).await;
        }
        answer => {
            debug!(successor, ?answer, "the successor did not take it");
            tokio::time::sleep(inner.timers.heartbeat).await;
        }
    }
}

fn voters(inner: &Inner) -> Vec<u64> {
    inner.raft.metrics().borrow().membership_config.membership().voter_ids().collect()
}
