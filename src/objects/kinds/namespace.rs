//! Namespaces.
//!
//! Follows `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` and
//! `pkg/registry/core/namespace/strategy.go`.

use serde_json::{Map, Value, json};

use super::{Declaration, Ending};
use crate::columns::{AGE, Column, NAME};
use crate::defaulting::{object, or_set, structure};
use crate::kind::Subresource;
use crate::lifecycle::{ensure_map, set_or_remove};
use crate::validation::{Faults, list, names};

pub(super) static NAMESPACE: Declaration = Declaration {
    short_names: &["ns"],
    status: true,
    subresources: &[Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: &["update"] }],
    selects: &["status.phase"],
    named: names::dns_label,
    fill: Some(fill),
    rules: Some(rules),
    begin: Some(begin),
    keep: Some(keep),
    ending: Ending::OnceFinalized,
    columns: &[NAME, Column::text("Status", "The status of the namespace").showing("status.phase"), AGE],
    ..Declaration::cluster("", "v1", "Namespace", "namespaces")
};

fn fill(map: &mut Map<String, Value>) {
    if let Some(status) = structure(map, "status") {
        or_set(status, "phase", "Active");
    }
    label(map);
}

/// Sets the label by which selectors find a namespace by its name; a nameless one gets it once it has a name.
fn label(map: &mut Map<String, Value>) {
    let Some(metadata) = object(map.get_mut("metadata")) else { return };
    let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
    else {
        return;
    };
    if let Some(labels) = structure(metadata, "labels") {
        labels.insert("kubernetes.io/metadata.name".into(), json!(name));
    }
}

fn begin(value: &mut Value) {
    value["status"] = json!({"phase": "Active"});
    let mut finalizers = value["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
        finalizers.push(json!("kubernetes"));
    }
    ensure_map(value, "spec").insert("finalizers".into(), Value::Array(finalizers));
    if let Some(map) = value.as_object_mut() {
        label(map);
    }
}

/// Only `/finalize` ends a namespace.
fn keep(old: &Value, new: &mut Value) {
    let finalizers = old["spec"]["finalizers"].clone();
    set_or_remove(ensure_map(new, "spec"), "finalizers", finalizers);
}

fn rules(faults: &mut Faults, value: &Value) {
    for (path, finalizer) in list("spec.finalizers", &value["spec"]["finalizers"]) {
        let name = finalizer.as_str().unwrap_or("");
        faults.named(&path, name, names::label_key(name));
        if !name.contains('/') && name != "kubernetes" {
            faults.invalid(&path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    if value["metadata"]["deletionTimestamp"].is_null() && value["status"]["phase"] == "Terminating" {
        let detail = "may only be 'Active' if `deletionTimestamp` is empty";
        faults.invalid("status.phase", &value["status"]["phase"], detail);
    }
}
