//! Raft's own questions, over the peers' connections.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RPCTypes, RaftNetwork, RaftNetworkFactory};
use tokio::time::Instant;

use super::message::{Request, Response};
use super::peer::{CallError, Peer, Peers};
use crate::Member;
use crate::durability::Durability;
use crate::types::TypeConfig;

type Failure<E> = RPCError<u64, Member, E>;

/// Hands raft its connections.
#[derive(Clone)]
pub struct Network {
    pub id: u64,
    pub peers: Arc<Peers>,
    pub durability: Arc<Durability>,
    /// How long to leave an unreachable peer alone.
    pub backoff: Duration,
}

/// Raft's view of one peer.
pub struct RaftPeer {
    network: Network,
    target: u64,
    peer: Arc<Peer>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = RaftPeer;

    /// Only looks the connection up: raft's core waits for this.
    async fn new_client(&mut self, target: u64, node: &Member) -> RaftPeer {
        RaftPeer { network: self.clone(), target, peer: self.peers.get(target, &node.peer) }
    }
}

impl RaftPeer {
    async fn call<E: std::error::Error>(
        &self,
        kind: RPCTypes,
        request: Request,
        option: &RPCOption,
    ) -> Result<Response, Failure<E>> {
        let ttl = option.hard_ttl();
        self.peer.call(&request, Instant::now() + ttl).await.map_err(|error| match error {
            CallError::NotSent(_) => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::Lost => RPCError::Network(NetworkError::new(&error)),
            CallError::Timeout => {
                RPCError::Timeout(Timeout { action: kind, id: self.network.id, target: self.target, timeout: ttl })
            }
        })
    }

    fn answer<T, E: std::error::Error>(&self, answer: Option<Result<T, E>>) -> Result<T, Failure<E>> {
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.target, error))),
            None => Err(RPCError::Network(NetworkError::new(&super::frame::invalid("an answer to another question")))),
        }
    }
}

impl RaftNetwork<TypeConfig> for RaftPeer {
    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<RaftError<u64>>> {
        rpc.leader_commit = self.network.durability.clamp(rpc.leader_commit);
        let answer = self.call(RPCTypes::AppendEntries, Request::Append(rpc), &option).await?;
        self.answer(if let Response::Append(answer) = answer { Some(answer) } else { None })
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<RaftError<u64, InstallSnapshotError>>> {
        let answer = self.call(RPCTypes::InstallSnapshot, Request::Snapshot(rpc), &option).await?;
        self.answer(if let Response::Snapshot(answer) = answer { Some(answer) } else { None })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<RaftError<u64>>> {
        let answer = self.call(RPCTypes::Vote, Request::Vote(rpc), &option).await?;
        self.answer(if let Response::Vote(answer) = answer { Some(answer) } else { None })
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.backoff))
    }
}
