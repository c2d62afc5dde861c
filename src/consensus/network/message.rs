//! What masters say to each other.

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};
use state::Transaction;
use store::Beat;

use crate::Member;
use crate::types::{Answer, LogId, TypeConfig};

/// The first message of a connection, from the one who calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster that the caller belongs to.
    pub cluster: String,
    /// Who calls; must be who its certificate says.
    pub from: u64,
    /// Whom it means to call.
    pub to: u64,
}

/// Asked before a candidacy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PreVote {
    /// The term that the candidacy would have.
    pub term: u64,
    /// The last entry of the candidate.
    pub last_log_id: Option<LogId>,
}

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Is anybody there?
    Ping,
    /// Raft's.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Raft's.
    Vote(VoteRequest<u64>),
    /// Raft's: a chunk of a snapshot.
    Snapshot(InstallSnapshotRequest<TypeConfig>),
    /// Would you vote for me?
    PreVote(PreVote),
    /// To the leader: how far must I have applied the log to answer a read that has just arrived?
    ReadIndex,
    /// To the leader: transactions, and how many milliseconds to wait for their end.
    Propose(Vec<Transaction>, u32),
    /// To the leader: a node lives.
    Beat(Beat),
    /// From a leader that stops: stand for election now.
    Elect,
    /// To the leader: let a master in.
    Admit(u64, Member),
    /// To the leader: take a master out.
    Remove(u64),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Done, or here I am.
    Done,
    /// Raft's.
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    /// Raft's.
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    /// Raft's.
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    /// Whether, and the term of who answers: a candidate that is behind it has to catch up before it can win.
    PreVote(bool, u64),
    /// How far: an entry that is committed, and on the leader's disk.
    ReadIndex(LogId),
    /// What became of each transaction, in order.
    Propose(Vec<ProposeOutcome>),
    /// Not done, retryable: not the leader, or no quorum.
    Unavailable(String),
    /// Not done, and not to be repeated.
    Refused(String),
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposeOutcome {
    /// Applied by the leader, in this entry of the log.
    Answered {
        /// The entry.
        at: LogId,
        /// Its fate.
        answer: Answer,
    },
    /// Certainly never entered the log.
    NotDone(String),
    /// It may be in the log, now or later.
    Unknown(String),
}
