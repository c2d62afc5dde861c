//! Node restriction: what a node's agent may create and change. Built in, in upstream's words
//! (`plugin/pkg/admission/noderestriction/admission.go`).

use objects::Status;
use serde_json::Value;

use crate::route::Target;
use crate::router::Call;

/// Labels with which administrators keep workloads away from nodes that could be taken over.
const RESTRICTED_LABEL: &str = "node-restriction.kubernetes.io/";

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// Refuses a creation.
///
/// # Errors
/// 403 when a node's agent creates what is not its own.
pub fn create(call: &Call, target: &Target, value: &Value) -> Result<(), Status> {
    let Some(node) = call.caller.node() else { return Ok(()) };
    let kind = &target.kind;
    let name = value["metadata"]["name"].as_str().unwrap_or("");
    let refused = |why: String| Err(Status::forbidden(&kind.group, &kind.plural, name, why));
    match kind.kind.as_str() {
        "Node" if name != node => refused(format!("node \"{node}\" is not allowed to modify node \"{name}\"")),
        "Node" => match restricted(&Value::Null, value) {
            Some(label) => refused(format!("is not allowed to set the label {label:?}")),
            None => Ok(()),
        },
        "Lease" if name != node || target.namespace != LEASES => {
            refused(format!("can only access node lease with the same name as the requesting node, in {LEASES}"))
        }
        _ => Ok(()),
    }
}

/// Refuses a change.
///
/// # Errors
/// 403 when a node's agent changes on its Node what decides which workloads it gets.
pub fn update(call: &Call, target: &Target, old: &Value, new: &Value) -> Result<(), Status> {
    let Some(node) = call.caller.node() else { return Ok(()) };
    if target.kind.kind != "Node" {
        return Ok(());
    }
    let refused = |why: String| Err(Status::forbidden("", "nodes", node, why));
    if let Some(label) = restricted(old, new) {
        return refused(format!("is not allowed to modify labels: {label}"));
    }
    if old["spec"]["taints"] != new["spec"]["taints"] {
        return refused(format!("node \"{node}\" is not allowed to modify taints"));
    }
    if old["metadata"]["ownerReferences"] != new["metadata"]["ownerReferences"] {
        return refused(format!("node \"{node}\" is not allowed to modify ownerReferences"));
    }
    Ok(())
}

/// A restricted label that differs.
fn restricted(old: &Value, new: &Value) -> Option<String> {
    let (before, after) = (&old["metadata"]["labels"], &new["metadata"]["labels"]);
    let keys = |labels: &Value| -> Vec<String> {
        labels.as_object().map(|labels| labels.keys().cloned().collect()).unwrap_or_default()
    };
    keys(before)
        .into_iter()
        .chain(keys(after))
        .find(|key| is_restricted(key) && before[key.as_str()] != after[key.as_str()])
}

fn is_restricted(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or("");
    key.starts_with(RESTRICTED_LABEL) || domain.ends_with(".node-restriction.kubernetes.io")
}
