//! Nodes.
//!
//! Follows `pkg/apis/core/validation/validation.go` and `pkg/registry/core/node/strategy.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Declaration;
use super::pod::rules::EFFECTS;
use crate::columns::{self, AGE, Column, NAME, since, text_or};
use crate::defaulting::object;
use crate::quantity::Quantity;
use crate::validation::{Faults, list, names, text};

pub(super) static NODE: Declaration = Declaration {
    short_names: &["no"],
    status: true,
    selects: &["spec.unschedulable"],
    fill: Some(fill),
    rules: Some(rules),
    changed: Some(changed),
    // Nodes bring their own status: an agent registers itself in one write.
    begin: Some(|_| {}),
    columns: COLUMNS,
    cells: Some(cells),
    ..Declaration::cluster("", "v1", "Node", "nodes")
};

fn fill(map: &mut Map<String, Value>) {
    if let Some(status) = object(map.get_mut("status"))
        && !status.contains_key("allocatable")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        status.insert("allocatable".into(), capacity);
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    taints(faults, &value["spec"]["taints"]);
    for list_name in ["capacity", "allocatable"] {
        for (name, amount) in value["status"][list_name].as_object().into_iter().flatten() {
            let path = format!("status.{list_name}[{name}]");
            if Quantity::from_value(amount).is_ok_and(|quantity| quantity.sign() < 0) {
                faults.invalid(&path, amount, "must be greater than or equal to 0");
            }
        }
    }
    let mut seen: Vec<&Value> = Vec::new();
    for (path, address) in list("status.addresses", &value["status"]["addresses"]) {
        if seen.contains(&address) {
            faults.duplicate(&path, address);
        }
        seen.push(address);
    }
}

fn changed(faults: &mut Faults, old: &Value, new: &Value) {
    rules(faults, new);
    let provider = &old["spec"]["providerID"];
    if !provider.is_null() && provider != "" && *provider != new["spec"]["providerID"] {
        faults.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
    }
    let cidrs = &old["spec"]["podCIDRs"];
    if cidrs.as_array().is_some_and(|list| !list.is_empty()) && *cidrs != new["spec"]["podCIDRs"] {
        faults.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
    }
}

fn taints(faults: &mut Faults, taints: &Value) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (path, taint) in list("spec.taints", taints) {
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        faults.named(&format!("{path}.key"), key, names::label_key(key));
        let value = text(taint, "value");
        faults.named(&format!("{path}.value"), value, names::label_value(value));
        if effect.is_empty() {
            faults.required(&format!("{path}.effect"), "");
        } else {
            faults.one_of(&format!("{path}.effect"), &taint["effect"], &EFFECTS);
        }
        if seen.contains(&(key, effect)) {
            faults.duplicate(&path, taint);
        }
        seen.push((key, effect));
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Status", "The status of the node"),
    Column::text("Roles", "The roles of the node"),
    AGE,
    Column::text("Version", "Version of the agent on the node."),
    Column::wide("Internal-IP", "Address of the node inside of the cluster."),
    Column::wide("External-IP", "Address of the node from outside."),
    Column::wide("OS-Image", "Operating system of the node."),
    Column::wide("Kernel-Version", "Kernel of the node."),
    Column::wide("Container-Runtime", "Container runtime of the node, with its version."),
];

/// Labels whose rest names a role.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

/// The label whose value names a role.
const ROLE: &str = "kubernetes.io/role";

fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    vec![
        json!(columns::text(&node["metadata"]["name"])),
        json!(status(node)),
        json!(roles(node)),
        json!(since(&node["metadata"]["creationTimestamp"], now)),
        json!(columns::text(&info["kubeletVersion"])),
        json!(address(node, "InternalIP")),
        json!(address(node, "ExternalIP")),
        json!(text_or(&info["osImage"], "<unknown>")),
        json!(text_or(&info["kernelVersion"], "<unknown>")),
        json!(text_or(&info["containerRuntimeVersion"], "<unknown>")),
    ]
}

fn status(node: &Value) -> String {
    let ready = columns::list(&node["status"]["conditions"]).iter().rfind(|condition| condition["type"] == "Ready");
    let mut words = vec![match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if node["spec"]["unschedulable"] == true {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => (key == ROLE).then(|| columns::text(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { "<none>".into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = columns::list(&node["status"]["addresses"]).iter().find(|address| address["type"] == kind);
    found.map_or("<none>", |address| columns::text(&address["address"]))
}
