//! The table of nodes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration::since;
use super::{AGE, Column, NAME, list, text, text_or};

pub(super) const COLUMNS: &[Column] = &[
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

pub(super) fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    vec![
        json!(text(&node["metadata"]["name"])),
        json!(status(node)),
        json!(roles(node)),
        json!(since(&node["metadata"]["creationTimestamp"], now)),
        json!(text(&info["kubeletVersion"])),
        json!(address(node, "InternalIP")),
        json!(address(node, "ExternalIP")),
        json!(text_or(&info["osImage"], "<unknown>")),
        json!(text_or(&info["kernelVersion"], "<unknown>")),
        json!(text_or(&info["containerRuntimeVersion"], "<unknown>")),
    ]
}

fn status(node: &Value) -> String {
    let ready = list(&node["status"]["conditions"]).iter().rfind(|condition| condition["type"] == "Ready");
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
            None => (key == ROLE).then(|| text(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { "<none>".into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = list(&node["status"]["addresses"]).iter().find(|address| address["type"] == kind);
    found.map_or("<none>", |address| text(&address["address"]))
}
