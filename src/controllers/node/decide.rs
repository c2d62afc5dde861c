//! What a Node object says: conditions of a node that is silent, and the taints that follow from conditions. Pure.
//!
//! Follows upstream's `controller/nodelifecycle/node_lifecycle_controller.go`.

use jiff::Timestamp;
use objects::time;
use serde_json::{Value, json};

use crate::conditions;

pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that only the node itself can speak of.
const SPOKEN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Conditions that keep new pods away while they are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Status of the `Ready` condition; empty for a node that never spoke.
pub(super) fn ready(node: &Value) -> &str {
    conditions::text(conditions::find(&node["status"], "Ready"), "status")
}

/// Makes the conditions of a silent node unknown.
pub(super) fn mark_lost(node: &mut Value, now: Timestamp) {
    if !node["status"].is_object() {
        node["status"] = json!({});
    }
    for kind in SPOKEN {
        let known = conditions::find(&node["status"], kind).cloned();
        if conditions::text(known.as_ref(), "status") == "Unknown" {
            continue;
        }
        let mut condition = match known {
            Some(mut known) => {
                known["reason"] = json!("NodeStatusUnknown");
                known["message"] = json!("Kubelet stopped posting node status.");
                known
            }
            None => json!({"type": kind, "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.", "lastHeartbeatTime": node["metadata"]["creationTimestamp"]}),
        };
        condition["status"] = json!("Unknown");
        conditions::set(&mut node["status"], condition, now);
    }
}

/// Brings the taints that follow from conditions and a cordon up to date, and leaves all others alone. While `held`, a lost
/// node is closed to new pods but keeps those it has.
pub(super) fn taint(node: &mut Value, held: bool, now: Timestamp) {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready(node) {
        "True" => {}
        "Unknown" => {
            wanted.push((UNREACHABLE, "NoSchedule"));
            if !held {
                wanted.push((UNREACHABLE, "NoExecute"));
            }
        }
        "False" => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        // A node that has just registered: no pods before it is ready, but none are driven away either.
        _ => wanted.push((NOT_READY, "NoSchedule")),
    }
    for (condition, key) in PRESSURES {
        if conditions::text(conditions::find(&node["status"], condition), "status") == "True" {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |taint: &Value| {
        let key = taint["key"].as_str().unwrap_or("");
        [UNREACHABLE, NOT_READY, UNSCHEDULABLE].contains(&key) || PRESSURES.iter().any(|(_, known)| *known == key)
    };
    let names = |taint: &Value, (key, effect): (&str, &str)| taint["key"] == key && taint["effect"] == effect;
    let mut taints: Vec<Value> = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.retain(|taint| !ours(taint) || wanted.iter().any(|one| names(taint, *one)));
    for one in wanted {
        if !taints.iter().any(|taint| names(taint, one)) {
            taints.push(json!({"key": one.0, "effect": one.1, "timeAdded": time::format(now)}));
        }
    }
    if taints.is_empty() {
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        if !node["spec"].is_object() {
            node["spec"] = json!({});
        }
        node["spec"]["taints"] = Value::Array(taints);
    }
}

/// Makes a pod on a node that is not ready not ready (`util/node/node.go`, `MarkPodsNotReady`); says whether it was.
pub(super) fn mark_pod(pod: &mut Value, now: Timestamp) {
    if conditions::text(conditions::find(&pod["status"], "Ready"), "status") == "True" {
        let condition =
            json!({"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"});
        conditions::set(&mut pod["status"], condition, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn node(ready: &str) -> Value {
        json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": {"conditions": [
            {"type": "Ready", "status": ready, "reason": "KubeletReady", "lastTransitionTime": "2026-01-01T00:00:00Z",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}})
    }

    fn taints(node: &Value) -> Vec<String> {
        let list = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|taint| format!("{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        const UN: &str = "node.kubernetes.io/unreachable:NoSchedule";
        const UX: &str = "node.kubernetes.io/unreachable:NoExecute";
        const NN: &str = "node.kubernetes.io/not-ready:NoSchedule";
        const NX: &str = "node.kubernetes.io/not-ready:NoExecute";
        for (ready, cordon, held, expected) in [
            ("True", false, false, &[] as &[&str]),
            ("True", true, false, &["node.kubernetes.io/unschedulable:NoSchedule"]),
            ("False", false, false, &[NN, NX]),
            ("Unknown", false, false, &[UN, UX]),
            ("Unknown", false, true, &[UN]),
            ("", false, false, &[NN]),
        ] {
            let mut node = node(ready);
            node["spec"]["unschedulable"] = json!(cordon);
            node["spec"]["taints"] =
                json!([{"key": "mine", "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]);
            taint(&mut node, held, at(0));
            let mut all = vec!["mine:NoSchedule"];
            all.extend(expected);
            let mut found = taints(&node);
            found.sort();
            all.sort();
            assert_eq!(found, all, "{ready} {cordon} {held}");
            let before = node.clone();
            taint(&mut node, held, at(9));
            assert_eq!(node, before, "a second look changes nothing");
        }
    }

    #[test]
    fn a_lost_node_is_unknown_and_says_since_when() {
        let mut lost = node("True");
        mark_lost(&mut lost, at(0));
        let ready = conditions::find(&lost["status"], "Ready").unwrap();
        assert_eq!(
            (&ready["status"], &ready["reason"], &ready["lastTransitionTime"], &ready["lastHeartbeatTime"]),
            (
                &json!("Unknown"),
                &json!("NodeStatusUnknown"),
                &json!("2027-01-15T08:00:00Z"),
                &json!("2026-01-01T00:00:00Z")
            )
        );
        let memory = conditions::find(&lost["status"], "MemoryPressure").unwrap();
        assert_eq!(memory["reason"], "NodeStatusNeverUpdated");
        let before = lost.clone();
        mark_lost(&mut lost, at(60));
        assert_eq!(lost, before);
    }
}
