//! Pods as controllers read them: alive or not, ready or not, since when.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use objects::{Key, Resource, defaulting};
use serde_json::{Value, json};
use state::{State, Stored};

use crate::Error;
use crate::owners::reference;
use crate::writes::{SUFFIX_LENGTH, value_of};

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// What controllers need to know of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub name: String,
    pub uid: String,
    /// Name of its node; empty while it has none.
    pub node: String,
    pub phase: Phase,
    /// Since when it is ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
    pub created: Timestamp,
    /// Restarts of the container that restarted most.
    pub restarts: i32,
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
}

impl Member {
    /// Reads a pod.
    pub fn of(stored: &Stored) -> Result<Self, Error> {
        let pod = stored.typed::<Pod>()?;
        let (metadata, face) = (&pod.metadata, stored.face());
        let status = pod.status.as_ref();
        let ready = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let ready = ready.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True");
        let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let since = ready.map(|condition| condition.last_transition_time.as_ref().map_or(created, |time| time.0));
        let restarts = status.and_then(|status| status.container_statuses.as_ref());
        let cost = metadata.annotations.as_ref().and_then(|map| map.get("controller.kubernetes.io/pod-deletion-cost"));
        Ok(Self {
            name: stored.key.name.to_string(),
            uid: face.uid.to_string(),
            node: face.field("spec.nodeName").to_owned(),
            phase: match face.field("status.phase") {
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                "Unknown" => Phase::Unknown,
                _ => Phase::Pending,
            },
            ready_since: since,
            terminating: face.deleting,
            created,
            restarts: restarts.into_iter().flatten().map(|one| one.restart_count).max().unwrap_or(0),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        })
    }

    /// Whether the pod has ended for good.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether the pod counts as a replica (`controller_utils.go`, `IsPodActive`).
    pub fn is_active(&self) -> bool {
        !self.is_over() && !self.terminating
    }

    /// How long until the pod counts as available: zero when it does, `None` while it is not ready.
    pub fn available_in(&self, min_ready_seconds: i64, now: Timestamp) -> Option<i64> {
        let since = self.ready_since?;
        let waited = now.as_second().saturating_sub(since.as_second());
        Some((min_ready_seconds.max(0) - waited).clamp(0, min_ready_seconds.max(0)))
    }
}

/// A new pod with what its service account brings, as the API server's admission has it for the pods of clients.
///
/// # Errors
/// [`Error::Invalid`] when there is no such account.
pub(crate) fn with_account(state: &State, mut pod: Value) -> Result<Value, Error> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("");
    let key = Key::new("serviceaccounts", namespace, defaulting::account_of(&pod));
    let account = state.get(&key).ok_or_else(|| defaulting::no_account(&pod, &key))?;
    defaulting::bring_account(&mut pod, &value_of(account)?, &base::random::suffix(SUFFIX_LENGTH));
    Ok(pod)
}

/// Pods of a namespace, as stored.
pub(crate) fn in_namespace<'a>(state: &'a State, namespace: &str) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
    state.list_in(&pods(), namespace)
}

/// Pods that are bound to a node.
pub(crate) fn on_node<'a>(state: &'a State, node: &'a str) -> impl Iterator<Item = &'a Arc<Stored>> {
    state.list(&pods()).filter(move |pod| pod.face().field("spec.nodeName") == node)
}

/// The resource of pods.
pub(crate) fn pods() -> Resource {
    "pods".into()
}

/// A pod as the template of a set or a job wants it (`controller_utils.go`, `GetPodFromTemplate`).
pub(crate) fn from_template(owner: &Stored, value: &Value) -> Result<Value, Error> {
    let template = &value["spec"]["template"];
    let mut metadata = json!({
        "generateName": format!("{}-", owner.key.name),
        "namespace": &*owner.key.namespace,
        "ownerReferences": [reference(owner)?],
    });
    for part in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][part].is_null() {
            metadata[part] = template["metadata"][part].clone();
        }
    }
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}))
}
