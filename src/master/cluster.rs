//! What the API server asks about this master: whether it is ready, what the cluster looks like, whom to let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apiserver::{Cluster, Readiness};
use consensus::{Consensus, Leadership};
use futures::future::BoxFuture;
use identity::{Authority, Seal};
use objects::{Resource, Status};
use rustls::ClientConfig;
use serde_json::{Value, json};
use store::Store;

use crate::certificates::Certificates;
use crate::join;

/// This master as its API server sees it.
pub struct Serving {
    pub(crate) consensus: Arc<Consensus>,
    pub(crate) store: Store,
    pub(crate) authority: Arc<Authority>,
    observed: Arc<controllers::Observed>,
    agent_client: Arc<ClientConfig>,
    seal: Arc<Seal>,
    /// Held while a join token is used up.
    pub(crate) joining: tokio::sync::Mutex<()>,
    draining: AtomicBool,
}

impl Serving {
    /// Wires the parts together.
    pub fn new(
        consensus: Arc<Consensus>,
        store: Store,
        authority: Arc<Authority>,
        observed: Arc<controllers::Observed>,
        seal: Arc<Seal>,
        certificates: &Certificates,
    ) -> Arc<Self> {
        let agent_client = Arc::clone(&certificates.agent_client);
        Arc::new(Self {
            consensus,
            store,
            authority,
            observed,
            agent_client,
            seal,
            joining: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// From now on this master is not ready: gateways and load balancers move on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// API URLs of the masters that this one knows.
    pub fn masters_known(&self) -> Vec<String> {
        self.consensus.status().members.into_iter().map(|member| member.api).collect()
    }

    fn leader_known(&self) -> bool {
        match *self.consensus.leadership().borrow() {
            Leadership::Leader { .. } => true,
            Leadership::Follower { leader } => leader.is_some(),
        }
    }
}

impl Cluster for Serving {
    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::SeqCst) {
            reasons.push("this master is stopping".to_owned());
        }
        if !self.leader_known() {
            reasons.push("no leader is known here: there is no quorum, or an election is under way".to_owned());
        }
        let leads = matches!(*self.consensus.leadership().borrow(), Leadership::Leader { .. });
        Readiness { ready: reasons.is_empty(), reasons, leads }
    }

    fn status(&self) -> Value {
        let status = self.consensus.status();
        let state = self.store.current();
        let nodes: Vec<Value> = state
            .list(&Resource::from("nodes"))
            .map(|stored| {
                let ready = stored.to_value().is_ok_and(|node| {
                    node["status"]["conditions"].as_array().is_some_and(|conditions| {
                        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
                    })
                });
                json!({"name": &*stored.key.name, "ready": ready})
            })
            .collect();
        let (events, bytes) = state.history_size();
        let mut shown = json!(status);
        shown["cluster"] = json!(self.authority.cluster_id());
        shown["nodes"] = Value::Array(nodes);
        shown["revision"] = json!(state.revision().0);
        shown["chain"] = json!(state.chain().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        shown["objects"] = json!(state.len());
        shown["history"] = json!({"events": events, "bytes": bytes, "compacted": state.compacted().0});
        shown["evictions_held"] = json!(self.observed.evictions_held());
        shown["draining"] = json!(self.draining.load(Ordering::SeqCst));
        shown
    }

    fn masters(&self) -> Vec<String> {
        self.masters_known()
    }

    fn admit(&self, request: Value) -> BoxFuture<'_, Result<Value, Status>> {
        Box::pin(join::answer(self, request))
    }

    fn agent_tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.agent_client)
    }

    fn signing_seal(&self) -> Arc<Seal> {
        Arc::clone(&self.seal)
    }

    fn extra_metrics(&self) -> String {
        self.consensus.metrics()
    }
}
