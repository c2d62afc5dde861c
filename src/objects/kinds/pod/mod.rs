//! Pods, and the pod specs inside of the workloads' templates.

pub(crate) mod account;
pub(crate) mod admission;
pub(in crate::kinds) mod affinity;
mod container;
pub(crate) mod defaults;
pub(crate) mod rules;
mod table;
pub(in crate::kinds) mod volumes;

use serde_json::{Map, Value, json};

use super::{Declaration, Ending};
use crate::defaulting::object;
use crate::kind::Subresource;

/// Follows `pkg/registry/core/pod/strategy.go`.
pub(super) static POD: Declaration = Declaration {
    short_names: &["po"],
    categories: &["all"],
    status: true,
    generation: true,
    subresources: &[
        below("attach", "", "v1", "PodAttachOptions", &["create", "get"]),
        below("binding", "", "v1", "Binding", &["create"]),
        below("eviction", "policy", "v1", "Eviction", &["create"]),
        below("exec", "", "v1", "PodExecOptions", &["create", "get"]),
        below("log", "", "v1", "Pod", &["get"]),
        below("portforward", "", "v1", "PodPortForwardOptions", &["create", "get"]),
        below("proxy", "", "v1", "PodProxyOptions", &["create", "delete", "get", "patch", "update"]),
    ],
    selects: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ],
    fill: Some(fill),
    admit: Some(admission::admit),
    rules: Some(rules::create),
    changed: Some(rules::update),
    begin: Some(begin),
    keep_status: Some(keep_status),
    // Old kubelets garbled owner references.
    status_keeps: &["ownerReferences"],
    ending: Ending::AfterGrace,
    columns: table::COLUMNS,
    cells: Some(table::cells),
    row_conditions: Some(table::row_conditions),
    ..Declaration::plain("", "v1", "Pod", "pods")
};

const fn below(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group, version, kind, verbs }
}

fn fill(map: &mut Map<String, Value>) {
    if let Some(spec) = object(map.get_mut("spec")) {
        defaults::spec(spec);
        defaults::spec_of_pod(spec);
    }
}

fn begin(pod: &mut Value) {
    let quality = defaults::qos_class(&pod["spec"]);
    pod["status"] = json!({"phase": "Pending", "qosClass": quality});
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
}

/// The class is settled at creation, and a generation once observed stays observed.
fn keep_status(old: &Value, new: &mut Value) {
    for key in ["qosClass", "observedGeneration"] {
        if new["status"][key].is_null() && !old["status"][key].is_null() {
            crate::lifecycle::ensure_map(new, "status").insert(key.into(), old["status"][key].clone());
        }
    }
}
