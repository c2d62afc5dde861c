//! `/binding`: puts a pod on a node, once.

use ::admission::Ledger;
use objects::{Status, canonical, lifecycle};
use serde_json::{Value, json};

use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::write::{self, ATTEMPTS_MAX, WriteOptions, Written};
use crate::{admission, body};

/// Answers a Binding.
///
/// # Errors
/// 404 when there is no such pod, 409 when it is bound or being deleted, 400 and 422 for bindings that make no sense.
pub async fn bind(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = WriteOptions::parse(call, "CreateOptions")?;
    let binding = body::of_kind(&call.headers, bytes, "k8s.io.api.core.v1.Binding", "v1", "Binding")?;
    let name = target.name.as_deref().unwrap_or("");
    let given = binding["metadata"]["name"].as_str().unwrap_or("");
    if !given.is_empty() && given != name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let (kind, node) =
        (binding["target"]["kind"].as_str().unwrap_or(""), binding["target"]["name"].as_str().unwrap_or(""));
    if node.is_empty() || !matches!(kind, "" | "Node") {
        let cause = if node.is_empty() {
            objects::validation::required("target.name", "")
        } else {
            objects::validation::invalid("target.kind", &json!(kind), "must be \"Node\"")
        };
        return Err(Status::invalid("", "Binding", name, vec![cause]));
    }
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", name, why));
    for _ in 0..ATTEMPTS_MAX {
        let (old, mut old_value) = write::read(call, target).await?;
        let uid = binding["metadata"]["uid"].as_str().unwrap_or("");
        if !uid.is_empty() && *uid != *old.face().uid {
            return conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.face().uid
            ));
        }
        if old.face().deleting {
            return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
        }
        let bound = old.face().field("spec.nodeName");
        if !bound.is_empty() {
            return conflict(format!("pod {name} is already assigned to node \"{bound}\""));
        }
        admission::through(call, target, &binding, options.dry_run)?;
        write::forget_revision(&mut old_value);
        let mut new = bound_to(&old_value, node, &binding["metadata"]["annotations"]);
        canonical::canonicalize(&target.kind, &mut new)?;
        lifecycle::prepare_update(&target.kind, &old_value, &mut new, Some("binding"))?;
        match write::store_change(call, target, options.dry_run, &old, &old_value, &new, Ledger::default()).await? {
            Written::Done(_) => return Ok(reply::success(201, &target.kind, name, &old.face().uid)),
            Written::Again => {}
        }
    }
    Err(write::contended(target))
}

fn bound_to(old: &Value, node: &str, annotations: &Value) -> Value {
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!(node);
    for (key, value) in annotations.as_object().into_iter().flatten() {
        new["metadata"]["annotations"][key.as_str()] = value.clone();
    }
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": write::now()});
    let mut conditions = new["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(scheduled);
    new["status"]["conditions"] = Value::Array(conditions);
    new
}
