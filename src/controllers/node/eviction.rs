//! Pods that do not tolerate what has become of their node are deleted, those that tolerate it for a time after that time.
//!
//! Follows upstream's `controller/tainteviction/taint_eviction.go`; the time counts from when the taint was set, not from
//! when this leader saw it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use objects::{Key, Resource};
use serde_json::json;
use state::{Event, EventKind, State, Stored};

use super::health::Health;
use crate::pods::on_node;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background};
use crate::{Context, Error, conditions};

const COMPONENT: &str = "taint-eviction-controller";
const NO_EXECUTE: &str = "NoExecute";

/// The controller; its keys are pods.
pub(crate) struct Eviction {
    context: Context,
    health: Arc<Health>,
}

/// Whether a pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// As long as things are as they are.
    Forever,
    /// Until then.
    Until(Timestamp),
    /// Not at all.
    No,
}

/// Decides about a pod with these tolerations on a node with these taints; `since` says when a taint was set.
fn stay(taints: &[&Taint], tolerations: &[Toleration], since: impl Fn(&Taint) -> Timestamp) -> Stay {
    let mut until: Option<Timestamp> = None;
    for taint in taints {
        let matching: Vec<&Toleration> = tolerations.iter().filter(|one| tolerates(one, taint)).collect();
        if matching.is_empty() {
            return Stay::No;
        }
        // Of several tolerations the shortest counts; one without a time is no limit.
        if let Some(seconds) = matching.iter().filter_map(|one| one.toleration_seconds).min() {
            let start = since(taint);
            let end = start.checked_add(jiff::SignedDuration::from_secs(seconds.max(0))).unwrap_or(start);
            until = Some(until.map_or(end, |known| known.min(end)));
        }
    }
    until.map_or(Stay::Forever, Stay::Until)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (effect, key) = (part(&toleration.effect), part(&toleration.key));
    let value = match toleration.operator.as_deref().unwrap_or("") {
        "" | "Equal" => part(&toleration.value) == part(&taint.value),
        "Exists" => true,
        _ => false,
    };
    (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && value
}

impl Eviction {
    pub fn new(context: Context, health: Arc<Health>) -> Self {
        Self { context, health }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key).filter(|pod| !pod.face().deleting && !is_over(pod)) else {
            return Ok(Next::Rest);
        };
        let Some(node) = state.get(&Key::new("nodes", "", stored.face().field("spec.nodeName"))) else {
            return Ok(Next::Rest);
        };
        let typed = node.typed::<Node>()?;
        let taints = no_execute(&typed);
        if taints.is_empty() {
            return Ok(Next::Rest);
        }
        let pod = stored.typed::<Pod>()?;
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        let now = base::clock::now();
        let since = |taint: &Taint| match &taint.time_added {
            Some(added) => self.health.tainted_at(&node.face().uid, &taint.key, added.0),
            None => now,
        };
        match stay(&taints, tolerations, since) {
            Stay::Forever => Ok(Next::Rest),
            Stay::Until(end) if end > now => {
                let left = end.as_millisecond().saturating_sub(now.as_millisecond()).max(1);
                Ok(Next::After(Duration::from_millis(left.unsigned_abs())))
            }
            Stay::Until(_) | Stay::No => self.evict(stored, node, now).await.map(|()| Next::Rest),
        }
    }

    async fn evict(&self, pod: &Stored, node: &Stored, now: Timestamp) -> Result<(), Error> {
        let mut draft = Draft::new();
        // The node must be as it was judged: it may just have come back.
        draft.require_unchanged(node);
        let changed = draft.delete_after(pod, &background(), now, |value| {
            let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint"});
            conditions::set(&mut value["status"], condition, now);
        })?;
        if changed {
            draft.commit(&self.context.duty).await?;
            tracing::info!(pod = %pod.key, node = %node.key.name, "evicted");
            let message = format!("Marking for deletion Pod {}/{}", pod.key.namespace, pod.key.name);
            self.context.note(COMPONENT, pod, false, "TaintManagerEviction", message);
        }
        Ok(())
    }
}

impl Controller for Eviction {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["nodes".into(), "pods".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let nodes = state.list(&"nodes".into()).filter(|node| has_no_execute(node));
        nodes.flat_map(|node| on_node(state, &node.key.name)).map(|pod| pod.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if event.kind == EventKind::Deleted {
            return Vec::new();
        }
        if key.resource.as_str() == "nodes" {
            let pods = has_no_execute(&event.current).then(|| on_node(state, &key.name));
            return pods.into_iter().flatten().map(|pod| pod.key.clone()).collect();
        }
        // Most changes of pods are about pods on healthy nodes.
        let node = event.current.face().field("spec.nodeName");
        let tainted =
            !node.is_empty() && state.get(&Key::new("nodes", "", node)).is_some_and(|node| has_no_execute(node));
        tainted.then(|| key.clone()).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

fn is_over(pod: &Stored) -> bool {
    matches!(pod.face().field("status.phase"), "Succeeded" | "Failed")
}

fn no_execute(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == NO_EXECUTE).collect()
}

fn has_no_execute(node: &Stored) -> bool {
    node.typed::<Node>().is_ok_and(|node| !no_execute(&node).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn check(taints: Value, tolerations: Value, expected: Stay) {
        let taints: Vec<Taint> = serde_json::from_value(taints).unwrap();
        let parsed: Vec<Toleration> = serde_json::from_value(tolerations.clone()).unwrap();
        let since = |taint: &Taint| if taint.key == "late" { at(100) } else { at(0) };
        assert_eq!(stay(&taints.iter().collect::<Vec<_>>(), &parsed, since), expected, "{taints:?} {tolerations}");
    }

    #[test]
    fn tolerations_say_how_long_a_pod_stays() {
        let one = json!([{"key": "k", "effect": "NoExecute"}]);
        let both = json!([{"key": "k", "effect": "NoExecute"}, {"key": "late", "effect": "NoExecute"}]);
        let exists =
            |key: &str, seconds: Value| json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds});
        check(json!([]), json!([]), Stay::Forever);
        check(one.clone(), json!([]), Stay::No);
        check(one.clone(), json!([exists("k", Value::Null)]), Stay::Forever);
        check(one.clone(), json!([exists("k", json!(30))]), Stay::Until(at(30)));
        check(one.clone(), json!([exists("k", json!(-5))]), Stay::Until(at(0)));
        check(one.clone(), json!([exists("k", json!(30)), exists("k", json!(10))]), Stay::Until(at(10)));
        check(one, json!([exists("other", json!(30))]), Stay::No);
        check(both.clone(), json!([exists("k", json!(200)), exists("late", json!(50))]), Stay::Until(at(150)));
        check(both.clone(), json!([exists("k", json!(200))]), Stay::No);
        check(both, json!([{"operator": "Exists"}]), Stay::Forever);
    }
}
