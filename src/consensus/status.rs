//! What this master shows of itself and of the others.

use serde::Serialize;

use crate::consensus::Inner;
use crate::leadership::Leadership;

/// What this master is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It leads, and the quorum agrees.
    Leader,
    /// It votes and follows.
    Follower,
    /// It stands for election.
    Candidate,
    /// It has no vote (yet).
    Learner,
    /// Raft has stopped here.
    Stopped,
}

/// One member, as this master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `host:port` for peers.
    pub peer: String,
    /// URL of its API.
    pub api: String,
    /// Whether it votes.
    pub voter: bool,
    /// Index of the last entry that it is known to have; only the leader knows.
    pub matched: Option<u64>,
    /// How many entries it is behind; only the leader knows.
    pub lag: Option<u64>,
    /// Milliseconds since it last answered this master.
    pub last_contact_ms: Option<u64>,
}

/// This master's view of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// This master's id.
    pub id: u64,
    /// The raft term.
    pub term: u64,
    /// What this master is.
    pub role: Role,
    /// Who leads, if one is heard of.
    pub leader: Option<u64>,
    /// The tenure's token, while this master leads.
    pub token: Option<u64>,
    /// Index of the last entry applied here.
    pub last_applied: u64,
    /// Index of the last entry in the log here.
    pub last_log: u64,
    /// Index of the last entry of the newest snapshot.
    pub snapshot: Option<u64>,
    /// All members.
    pub members: Vec<MemberStatus>,
    /// Whether a change of voters is under way, as far as this master's log says.
    pub changing: bool,
    /// Whether there is a leader that the quorum hears, as far as this master can tell.
    pub quorum: bool,
    /// Upper bound of the median fsync of the log, in microseconds.
    pub fsync_p50_us: u64,
    /// Upper bound of 99 of 100 fsyncs of the log, in microseconds.
    pub fsync_p99_us: u64,
}

/// Looks at everything once; never waits.
pub fn status(inner: &Inner) -> Status {
    use openraft::ServerState;

    let seen = inner.raft.metrics().borrow().clone();
    let leadership = *inner.leadership.borrow();
    let (leader, token) = match leadership {
        Leadership::Leader { token } => (Some(inner.id), Some(token.0)),
        Leadership::Follower { leader } => (leader, None),
    };
    let role = match seen.state {
        _ if seen.running_state.is_err() => Role::Stopped,
        ServerState::Leader if token.is_some() => Role::Leader,
        // Raft believes to lead, the quorum does not agree (yet).
        ServerState::Leader | ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    };
    let membership = seen.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let last_log = seen.last_log_index.unwrap_or(0);
    let members = membership
        .nodes()
        .map(|(id, member)| {
            let own = *id == inner.id;
            let matched = match &seen.replication {
                Some(_) if own => Some(last_log),
                Some(all) => Some(all.get(id).copied().flatten().map_or(0, |matched| matched.index)),
                None => None,
            };
            let answered = inner.peers.last_answer(*id).map(|at| at.elapsed());
            MemberStatus {
                id: *id,
                name: member.name.clone(),
                peer: member.peer.clone(),
                api: member.api.clone(),
                voter: voters.contains(id),
                matched,
                lag: matched.map(|matched| last_log.saturating_sub(matched)),
                last_contact_ms: if own {
                    Some(0)
                } else {
                    answered.and_then(|ago| u64::try_from(ago.as_millis()).ok())
                },
            }
        })
        .collect();
    Status {
        id: inner.id,
        term: seen.current_term,
        role,
        leader,
        token,
        last_applied: *inner.applied.borrow(),
        last_log,
        snapshot: seen.snapshot.map(|id| id.index),
        members,
        changing: membership.get_joint_config().len() > 1,
        quorum: leader.is_some(),
        fsync_p50_us: inner.counters.fsync_quantile_us(0.5),
        fsync_p99_us: inner.counters.fsync_quantile_us(0.99),
    }
}
