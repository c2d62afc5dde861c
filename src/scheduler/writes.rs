//! A decision as changes of the pod: pure, so that what is written can be tested without a store.

use std::sync::Arc;

use jiff::Timestamp;
use objects::{Key, Object, kind, time};
use serde_json::{Value, json};
use state::{Change, Precondition, Stored};

use crate::Error;

/// What must hold, and what is written if it does.
type Write = (Vec<Precondition>, Vec<Change>);

/// What binds a pod, read at its present revision, to a node of this incarnation.
pub(crate) fn bind(stored: &Stored, node: &str, node_uid: &str, now: Timestamp) -> Result<Write, Error> {
    let mut pod = value(stored)?;
    pod["spec"]["nodeName"] = json!(node);
    set_scheduled(&mut pod, "True", None, now);
    let there = Precondition::Exists { key: Key::new("nodes", "", node), uid: Some(node_uid.into()) };
    Ok((vec![unchanged(stored), there], vec![put(stored, pod)?]))
}

/// What tells a pod that it fits nowhere; `None` when it says so already.
pub(crate) fn refuse(stored: &Stored, message: &str, now: Timestamp) -> Result<Option<Write>, Error> {
    let mut pod = value(stored)?;
    if !set_scheduled(&mut pod, "False", Some(("Unschedulable", message)), now) {
        return Ok(None);
    }
    Ok(Some((vec![unchanged(stored)], vec![put(stored, pod)?])))
}

fn value(stored: &Stored) -> Result<Value, Error> {
    serde_json::from_slice(stored.object.bytes()).map_err(|error| objects::Error::Malformed(error.to_string()).into())
}

fn unchanged(stored: &Stored) -> Precondition {
    Precondition::Unchanged { key: stored.key.clone(), revision: stored.revision }
}

fn put(stored: &Stored, mut pod: Value) -> Result<Change, Error> {
    let kind = kind::by_kind("v1", "Pod").ok_or_else(|| Error::Form("pods are not served".into()))?;
    objects::canonical::canonicalize(kind, &mut pod).map_err(|status| Error::Form(status.message))?;
    Ok(Change::Put { key: stored.key.clone(), object: Arc::new(Object::new(kind, &pod)?) })
}

/// Sets the `PodScheduled` condition; says whether that changed anything.
fn set_scheduled(pod: &mut Value, status: &str, why: Option<(&str, &str)>, now: Timestamp) -> bool {
    let mut condition = json!({"type": "PodScheduled", "status": status, "lastTransitionTime": time::format(now)});
    if let Some((reason, message)) = why {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    if let Some(generation) = pod["metadata"]["generation"].as_i64() {
        condition["observedGeneration"] = json!(generation);
    }
    if !pod["status"].is_object() {
        pod["status"] = json!({"phase": "Pending"});
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else {
        return false;
    };
    let Some(known) = conditions.iter_mut().find(|known| known["type"] == "PodScheduled") else {
        conditions.push(condition);
        return true;
    };
    if known["status"] == condition["status"] {
        condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
    }
    let changed = ["status", "reason", "message"].iter().any(|field| known[field] != condition[field]);
    if changed {
        *known = condition;
    }
    changed
}
