//! Who is in the cluster and who votes. Masters come in as learners; the leader promotes them when they have caught up.
//!
//! Two voters are less available than one, so a second master stays a learner until a third has caught up, and both
//! become voters in one change. A master that comes back under a new id (its disk was emptied) takes the place of the old
//! one of the same name in one change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::consensus::Inner;
use crate::leadership::Leadership;
use crate::network::{CallError, Request, Response};
use crate::types::Metrics;
use crate::{Error, Member};

/// How far a learner may be behind when it is promoted: what a busy leader writes within about one heartbeat.
const LAG_MAX: u64 = 128;
/// A member that answered nothing for longer counts as dead where that matters.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// How often the leader looks whether a learner has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Before a request to the leader that could not be sent is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// How long one change of members may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// What the leader knows of the members. Pure decisions are made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct View {
    /// One set of voters, or the old and the new one of a change under way.
    configs: Vec<BTreeSet<u64>>,
    names: BTreeMap<u64, String>,
    /// Those that have the log, but for a few entries, and answer.
    caught_up: BTreeSet<u64>,
    /// Those that answer.
    alive: BTreeSet<u64>,
}

/// The voters that should be, if that needs a change now. Pure.
fn next_voters(view: &View) -> Option<BTreeSet<u64>> {
    let (current, joint) = (view.configs.last()?, view.configs.len() > 1);
    if joint {
        // Left half-way by an earlier leader.
        return Some(current.clone());
    }
    let same_name = |one: &u64, other: &u64| one != other && view.names.get(one) == view.names.get(other);
    // A second master of one name waits until the first is dead.
    let taken = |id: &u64| current.iter().any(|voter| same_name(voter, id) && view.alive.contains(voter));
    let ready: BTreeSet<u64> = view.caught_up.difference(current).filter(|id| !taken(id)).copied().collect();
    let back = |voter: &u64| view.caught_up.iter().any(|new| same_name(new, voter) && !taken(new));
    let replaced: BTreeSet<u64> =
        current.iter().filter(|voter| !view.alive.contains(voter) && back(voter)).copied().collect();
    let wanted: BTreeSet<u64> = current.union(&ready).filter(|id| !replaced.contains(id)).copied().collect();
    let harmful = wanted.len() == 2 && current.len() == 1;
    (wanted != *current && !harmful).then_some(wanted)
}

/// Whether a member may be taken out. Pure.
fn check_removal(view: &View, id: u64, leader: u64) -> Result<(), Error> {
    let [current] = view.configs.as_slice() else {
        return Err(Error::Unavailable("another change of masters is under way".into()));
    };
    let refused = |reason: String| Err(Error::Refused(reason));
    if !view.names.contains_key(&id) {
        return refused(format!("there is no master {id}"));
    }
    if id == leader {
        return refused("this master leads: stop it first, then remove it through another one".into());
    }
    if !current.contains(&id) {
        return Ok(());
    }
    let left: BTreeSet<u64> = current.iter().filter(|voter| **voter != id).copied().collect();
    let alive = left.intersection(&view.alive).count();
    if 2 * alive <= left.len() {
        return refused(format!(
            "of the {} masters that would be left only {alive} answer: the cluster would stand still",
            left.len()
        ));
    }
    Ok(())
}

fn view(inner: &Inner, metrics: &Metrics) -> View {
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let alive: BTreeSet<u64> = membership
        .nodes()
        .map(|(id, _)| *id)
        .filter(|id| *id == inner.id || inner.peers.last_answer(*id).is_some_and(|at| at.elapsed() < DEAD_AFTER))
        .collect();
    let matched = |id: &u64| metrics.replication.as_ref().and_then(|all| all.get(id).copied().flatten());
    let caught_up = alive
        .iter()
        .filter(|id| **id == inner.id || matched(id).is_some_and(|matched| matched.index + LAG_MAX >= last))
        .copied()
        .collect();
    View {
        configs: membership.get_joint_config().clone(),
        names: membership.nodes().map(|(id, member)| (*id, member.name.clone())).collect(),
        caught_up,
        alive,
    }
}

/// As the leader: promotes, finishes and replaces, for as long as raft runs.
pub async fn keep(inner: Arc<Inner>) {
    let metrics = inner.raft.metrics();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        {
            let seen = metrics.borrow();
            let membership = seen.membership_config.membership();
            // Connections begin before they are needed, and end with the member.
            for (id, member) in membership.nodes().filter(|(id, _)| **id != inner.id) {
                inner.peers.get(*id, &member.peer);
            }
            inner.peers.retain(|id| membership.get_node(&id).is_some());
        }
        if inner.tenure().is_none() {
            continue;
        }
        let seen = metrics.borrow().clone();
        if let Some(voters) = next_voters(&view(&inner, &seen)) {
            info!(?voters, "changing the voters");
            let _turn = inner.changing.lock().await;
            if let Err(error) = change(&inner, ChangeMembers::ReplaceAllVoters(voters)).await {
                warn!(%error, "the voters could not be changed; trying again");
            }
        }
    }
}

/// Lets a master in, through whichever master is asked. Letting the same one in again does nothing.
pub async fn admit(inner: &Inner, id: u64, member: Member) -> Result<(), Error> {
    match leader(inner)? {
        None => admit_here(inner, id, member).await,
        Some(leader) => ask(inner, leader, Request::Admit(id, member)).await,
    }
}

/// Takes a master out, through whichever master is asked.
pub async fn remove(inner: &Inner, id: u64) -> Result<(), Error> {
    match leader(inner)? {
        None => remove_here(inner, id).await,
        Some(leader) => ask(inner, leader, Request::Remove(id)).await,
    }
}

/// As the leader: lets a master in as a learner.
pub async fn admit_here(inner: &Inner, id: u64, member: Member) -> Result<(), Error> {
    tenure(inner)?;
    let _turn = inner.changing.lock().await;
    let known = {
        let metrics = inner.raft.metrics();
        let seen = metrics.borrow();
        seen.membership_config.membership().get_node(&id).cloned()
    };
    match known {
        Some(known) if known == member => return Ok(()),
        Some(known) => {
            return Err(Error::Refused(format!("the id {id} belongs to master {}: draw another", known.name)));
        }
        None if id == 0 => return Err(Error::Refused("a master's id is not zero".into())),
        None => {}
    }
    info!(id, name = %member.name, peer = %member.peer, "a master comes in");
    change(inner, ChangeMembers::AddNodes(BTreeMap::from([(id, member)]))).await
}

/// As the leader: takes a master out.
pub async fn remove_here(inner: &Inner, id: u64) -> Result<(), Error> {
    tenure(inner)?;
    let _turn = inner.changing.lock().await;
    let seen = inner.raft.metrics().borrow().clone();
    let view = view(inner, &seen);
    check_removal(&view, id, inner.id)?;
    info!(id, "a master is taken out");
    let voter = view.configs.last().is_some_and(|voters| voters.contains(&id));
    let gone = BTreeSet::from([id]);
    let step = if voter { ChangeMembers::RemoveVoters(gone) } else { ChangeMembers::RemoveNodes(gone) };
    change(inner, step).await
}

/// One change; the next one waits until it is applied here (see `durability`). Voters that are replaced leave.
async fn change(inner: &Inner, step: ChangeMembers<u64, Member>) -> Result<(), Error> {
    let changed = timeout(CHANGE_DEADLINE, inner.raft.change_membership(step, false)).await;
    match changed {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(Error::Unavailable(error.to_string()))
        }
        Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
        Err(_) => Err(Error::Unavailable("the change of masters did not end in time".into())),
    }
}

fn tenure(inner: &Inner) -> Result<(), Error> {
    inner.tenure().map(|_| ()).ok_or_else(|| Error::Unavailable("this master does not lead".into()))
}

/// Another master that leads; `None` when it is this one.
fn leader(inner: &Inner) -> Result<Option<u64>, Error> {
    match *inner.leadership.borrow() {
        Leadership::Leader { .. } => Ok(None),
        Leadership::Follower { leader: Some(leader) } => Ok(Some(leader)),
        Leadership::Follower { leader: None } => Err(Error::Unavailable("there is no leader now".into())),
    }
}

async fn ask(inner: &Inner, leader: u64, request: Request) -> Result<(), Error> {
    let peer = inner.peer(leader).ok_or_else(|| Error::Unavailable("the leader's address is not known here".into()))?;
    let deadline = Instant::now() + CHANGE_DEADLINE;
    loop {
        return match peer.call(&request, deadline).await {
            Ok(Response::Done) => Ok(()),
            Ok(Response::Refused(reason)) => Err(Error::Refused(reason)),
            Ok(Response::Unavailable(reason)) => Err(Error::Unavailable(reason)),
            Ok(_) => Err(Error::Unavailable("the leader's answer makes no sense".into())),
            // The connection may just be coming up.
            Err(CallError::NotSent(_)) if Instant::now() + RETRY_AFTER < deadline => {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
            Err(error) => Err(Error::Unavailable(format!("the leader did not answer: {error}"))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn view(voters: &[&[u64]], known: &[u64], caught_up: &[u64]) -> View {
        View {
            configs: voters.iter().map(|ids| set(ids)).collect(),
            names: known.iter().map(|id| (*id, format!("m{id}"))).collect(),
            caught_up: set(caught_up),
            alive: set(known),
        }
    }

    #[test]
    fn the_second_waits_for_the_third() {
        assert_eq!(next_voters(&view(&[&[1]], &[1], &[1])), None);
        assert_eq!(next_voters(&view(&[&[1]], &[1, 2], &[1, 2])), None);
        assert_eq!(next_voters(&view(&[&[1]], &[1, 2, 3], &[1, 2])), None);
        assert_eq!(next_voters(&view(&[&[1]], &[1, 2, 3], &[1, 2, 3])), Some(set(&[1, 2, 3])));
        assert_eq!(next_voters(&view(&[&[1, 2, 3]], &[1, 2, 3, 4], &[1, 2, 3])), None);
        assert_eq!(next_voters(&view(&[&[1, 2, 3]], &[1, 2, 3, 4], &[1, 2, 4])), Some(set(&[1, 2, 3, 4])));
    }

    #[test]
    fn a_change_left_half_way_is_finished() {
        assert_eq!(next_voters(&view(&[&[1], &[1, 2, 3]], &[1, 2, 3], &[1])), Some(set(&[1, 2, 3])));
    }

    #[test]
    fn a_master_that_comes_back_anew_takes_its_old_place() {
        let mut view = view(&[&[1, 2, 3]], &[1, 2, 3, 4], &[1, 2, 4]);
        view.names.insert(4, "m3".into());
        assert_eq!(next_voters(&view), None, "the old one still answers");
        view.alive = set(&[1, 2, 4]);
        assert_eq!(next_voters(&view), Some(set(&[1, 2, 4])));
    }

    #[test]
    fn what_would_cost_the_quorum_is_refused() {
        let mut view = view(&[&[1, 2, 3]], &[1, 2, 3, 4], &[1, 2, 3]);
        assert!(check_removal(&view, 3, 1).is_ok() && check_removal(&view, 4, 1).is_ok());
        assert!(check_removal(&view, 1, 1).unwrap_err().to_string().contains("stop it first"));
        assert!(check_removal(&view, 9, 1).unwrap_err().to_string().contains("no master 9"));
        view.alive = set(&[1, 3]);
        assert!(check_removal(&view, 3, 1).unwrap_err().to_string().contains("stand still"));
        assert!(check_removal(&view, 2, 1).is_ok(), "the dead one may go");
        view.configs.push(set(&[1, 2]));
        assert!(check_removal(&view, 3, 1).unwrap_err().to_string().contains("under way"));
    }
}
