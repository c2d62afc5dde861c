//! Pods that nobody will end any more: their node is gone, or was never found, or they ended long ago.
//!
//! Follows upstream's `controller/podgc/gc_controller.go`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node;
use objects::{Key, Resource};
use serde_json::json;
use state::{Event, EventKind, State, Stored};
use tokio::time::Instant;

use crate::pods::on_node;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, forced};
use crate::{Context, Error, conditions};

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Pods removed in one look at those that ended.
const ENDED_BATCH: usize = 500;

/// The controller; its keys are pods, and one key that stands for all pods that ended.
pub(crate) struct PodCollector {
    context: Context,
    /// Since when each missing node is missed; holds names that pods are bound to only.
    missed: Mutex<HashMap<String, Instant>>,
}

impl PodCollector {
    pub fn new(context: Context) -> Self {
        Self { context, missed: Mutex::default() }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        if *key == all_ended() {
            return self.forget_ended(&state).await;
        }
        let Some(stored) = state.get(key) else {
            return Ok(Next::Rest);
        };
        let (face, name) = (stored.face(), stored.face().field("spec.nodeName"));
        if name.is_empty() {
            // Nobody else would: a pod without a node has no agent that ends it.
            return if face.deleting { self.remove(stored, None).await } else { Ok(Next::Rest) };
        }
        let Some(node) = state.get(&Key::new("nodes", "", name)) else {
            let since = *self.missed().entry(name.to_owned()).or_insert_with(Instant::now);
            let left = self.context.options.orphan_grace.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Ok(Next::After(left));
            }
            return self.remove(stored, Some("PodGC: node no longer exists")).await;
        };
        self.missed().remove(name);
        if face.deleting && is_out_of_service(node) {
            return self.remove(stored, Some("PodGC: node is out of service")).await;
        }
        Ok(Next::Rest)
    }

    async fn remove(&self, pod: &Stored, why: Option<&str>) -> Result<Next, Error> {
        let now = base::clock::now();
        let over = matches!(pod.face().field("status.phase"), "Succeeded" | "Failed");
        let mut draft = Draft::new();
        if let Some(why) = why.filter(|_| !over) {
            // Others that hold the pod by a finalizer see how it ended.
            draft.edit(pod, |value| {
                value["status"]["phase"] = json!("Failed");
                let condition =
                    json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": why});
                conditions::set(&mut value["status"], condition, now);
            })?;
            draft.commit(&self.context.duty).await?;
            // Its phase has changed now, so the next look comes here again and deletes it.
            return Ok(Next::Again);
        }
        draft.delete(pod, &forced(), now)?;
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }

    async fn forget_ended(&self, state: &State) -> Result<Next, Error> {
        let ended = || {
            state.list(&"pods".into()).filter(|pod| {
                !pod.face().deleting && matches!(pod.face().field("status.phase"), "Succeeded" | "Failed")
            })
        };
        let surplus = ended().count().saturating_sub(self.context.options.ended_pods_max);
        if surplus == 0 {
            return Ok(Next::Rest);
        }
        let mut pods: Vec<_> = ended().collect();
        pods.sort_by_key(|pod| pod.created);
        for pod in pods.into_iter().take(surplus.min(ENDED_BATCH)) {
            let mut draft = Draft::new();
            draft.delete(pod, &forced(), base::clock::now())?;
            draft.commit(&self.context.duty).await?;
        }
        Ok(Next::Again)
    }

    fn missed(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller for PodCollector {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["nodes".into(), "pods".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let pods = state.list(&"pods".into()).map(|pod| pod.key.clone());
        pods.chain([all_ended()]).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if key.resource.as_str() == "nodes" {
            let gone = event.kind == EventKind::Deleted || is_out_of_service(&event.current);
            let pods = gone.then(|| on_node(state, &key.name));
            return pods.into_iter().flatten().map(|pod| pod.key.clone()).collect();
        }
        if event.kind == EventKind::Deleted {
            return Vec::new();
        }
        let face = event.current.face();
        let node = face.field("spec.nodeName");
        let missing = !node.is_empty() && state.get(&Key::new("nodes", "", node)).is_none();
        let mut keys = Vec::new();
        if face.deleting || missing {
            keys.push(key.clone());
        }
        if matches!(face.field("status.phase"), "Succeeded" | "Failed") {
            keys.push(all_ended());
        }
        keys
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

/// Stands for all pods that ended; no pod has an empty name.
fn all_ended() -> Key {
    Key::new("pods", "", "")
}

/// Whether somebody has sworn that the node is off (the taint) and it is not ready.
fn is_out_of_service(node: &Stored) -> bool {
    let Ok(node) = node.typed::<Node>() else {
        return false;
    };
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
        && !conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
