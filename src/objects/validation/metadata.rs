//! Rules of `metadata`, alike for all kinds but for the grammar of their names.
//!
//! Follows `apimachinery/pkg/api/validation/objectmeta.go`.

use serde_json::{Value, json};

use super::{Faults, list, names, text};
use crate::Kind;

/// Most bytes that all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

pub(super) fn create(faults: &mut Faults, kind: &Kind, metadata: &Value) {
    let grammar = kind.declared.named;
    let prefix = text(metadata, "generateName");
    if !prefix.is_empty() {
        // What is appended makes a trailing dash good, and is alphanumeric.
        faults.named("metadata.generateName", prefix, grammar(&format!("{}a", prefix.trim_end_matches('-'))));
    }
    match text(metadata, "name") {
        "" => faults.required("metadata.name", "name or generateName is required"),
        name => faults.named("metadata.name", name, grammar(name)),
    }
    match (kind.namespaced, text(metadata, "namespace")) {
        (true, "") => faults.required("metadata.namespace", ""),
        (true, namespace) => faults.named("metadata.namespace", namespace, names::dns_label(namespace)),
        (false, "") => {}
        (false, _) => faults.forbidden("metadata.namespace", "not allowed on this type"),
    }
    common(faults, metadata);
}

pub(super) fn update(faults: &mut Faults, kind: &Kind, old: &Value, new: &Value) {
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        // An absent field keeps what was; `kind` decides whether there is a namespace at all.
        let skip = new[key].is_null() || (key == "namespace" && !kind.namespaced);
        if !skip {
            faults.immutable(&format!("metadata.{key}"), &old[key], &new[key]);
        }
    }
    common(faults, new);
}

/// Labels, annotations, owners and finalizers.
fn common(faults: &mut Faults, metadata: &Value) {
    faults.not_negative("metadata.generation", &metadata["generation"]);
    faults.labels("metadata.labels", &metadata["labels"]);
    annotations(faults, "metadata.annotations", &metadata["annotations"]);
    owners(faults, &metadata["ownerReferences"]);
    let mut held = [false; 2];
    for (_, finalizer) in list("", &metadata["finalizers"]) {
        let name = finalizer.as_str().unwrap_or("");
        faults.named("metadata.finalizers", name, names::label_key(name));
        held[0] |= name == "orphan";
        held[1] |= name == "foregroundDeletion";
    }
    if held == [true; 2] {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        faults.invalid("metadata.finalizers", &metadata["finalizers"], detail);
    }
}

/// Labels and annotations of a pod template.
pub(crate) fn template(faults: &mut Faults, path: &str, metadata: &Value) {
    faults.labels(&format!("{path}.labels"), &metadata["labels"]);
    annotations(faults, &format!("{path}.annotations"), &metadata["annotations"]);
}

fn annotations(faults: &mut Faults, path: &str, annotations: &Value) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        faults.named(path, key, names::label_key(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        faults.too_long(path, ANNOTATIONS_MAX);
    }
}

fn owners(faults: &mut Faults, owners: &Value) {
    const PATH: &str = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for (_, owner) in list(PATH, owners) {
        for (key, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, key).is_empty() {
                faults.invalid(&format!("{PATH}.{key}"), &json!(""), detail);
            }
        }
        if (text(owner, "apiVersion"), text(owner, "kind")) == ("v1", "Event") {
            faults.invalid(PATH, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner["controller"] == true {
            let name = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                faults.invalid(PATH, owners, detail);
            } else {
                controller = Some(name);
            }
        }
    }
}
