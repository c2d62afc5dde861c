//! Defaults: what the server writes into the fields that a client left out.
//!
//! Values and conditions follow upstream's `pkg/apis/{core,apps}/v1/defaults.go` and the defaults declared in the field
//! table. [`apply`] runs on every write, [`admission_defaults`] only on creation. Filling twice changes nothing.

mod admission;
mod pod;

use base64::Engine as _;
use serde_json::{Map, Value, json};

pub use admission::{TOLERATION_SECONDS, admission_defaults};
pub use pod::qos_class;

use crate::Kind;
use crate::fields::{self, Label, Message, Type};

/// Fills the defaults of `kind` into a decoded value.
///
/// For secrets this also folds `stringData`, which is write-only, into `data`. Values of the wrong shape are left alone:
/// decoding refuses them.
pub fn apply(kind: &Kind, value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            if let Some(spec) = object(map.get_mut("spec")) {
                pod::spec(spec);
                pod::spec_of_pod(spec);
            }
        }
        ("", "Secret") => secret(map),
        ("", "Namespace") => {
            let name = map.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or("").to_owned();
            let status = map.entry("status").or_insert_with(|| json!({}));
            if let Some(status) = status.as_object_mut() {
                or_set(status, "phase", "Active");
            }
            namespace_label(value, &name);
            return;
        }
        ("", "Node") => {
            if let Some(status) = object(map.get_mut("status"))
                && !status.contains_key("allocatable")
                && let Some(capacity) = status.get("capacity").cloned()
            {
                status.insert("allocatable".into(), capacity);
            }
        }
        ("apps", "Deployment") => {
            if let Some(spec) = object(map.get_mut("spec")) {
                deployment(spec);
            }
        }
        ("apps", "ReplicaSet") => {
            if let Some(spec) = object(map.get_mut("spec")) {
                or_set(spec, "replicas", 1);
                template(spec);
            }
        }
        _ => {}
    }
    if let Some(message) = fields::message(&kind.message) {
        declared(message, map);
    }
}

/// Sets the label by which selectors find a namespace by its name; a nameless one gets it once it has a name.
pub(crate) fn namespace_label(value: &mut Value, name: &str) {
    if name.is_empty() {
        return;
    }
    if let Some(metadata) = object(value.as_object_mut().and_then(|map| map.get_mut("metadata"))) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if labels.is_null() {
            *labels = json!({});
        }
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".into(), json!(name));
        }
    }
}

fn secret(map: &mut Map<String, Value>) {
    or_set(map, "type", "Opaque");
    let Some(Value::Object(plain)) = map.remove("stringData") else { return };
    if plain.is_empty() {
        return;
    }
    let data = map.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in plain {
            let text = text.as_str().unwrap_or("");
            data.insert(key, json!(base64::engine::general_purpose::STANDARD.encode(text)));
        }
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    or_set(spec, "replicas", 1);
    or_set(spec, "revisionHistoryLimit", 10);
    or_set(spec, "progressDeadlineSeconds", 600);
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    if strategy.is_null() {
        *strategy = json!({});
    }
    if let Some(strategy) = strategy.as_object_mut() {
        or_set(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
            if rolling.is_null() {
                *rolling = json!({});
            }
            if let Some(rolling) = rolling.as_object_mut() {
                or_set(rolling, "maxUnavailable", "25%");
                or_set(rolling, "maxSurge", "25%");
            }
        }
    }
    template(spec);
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(spec) = object(spec.get_mut("template")).and_then(|template| object(template.get_mut("spec"))) {
        pod::spec(spec);
    }
}

/// Fills the defaults that the field table declares, in a message and all messages below it.
fn declared(message: &Message, map: &mut Map<String, Value>) {
    for field in message.fields() {
        match (field.inline, field.ty) {
            (true, Type::Message(name)) => {
                if let Some(inner) = fields::message(name) {
                    declared(inner, map);
                }
                continue;
            }
            (_, Type::Message(name)) => {
                if let (Some(inner), Some(value)) = (fields::message(name), map.get_mut(field.json)) {
                    below(inner, field.label, value);
                }
            }
            _ => {}
        }
        let Some(text) = field.default else { continue };
        let default: Value = match text {
            "ref(AzureDataDiskCachingReadWrite)" => json!("ReadWrite"),
            "ref(AzureSharedBlobDisk)" => json!("Shared"),
            other => serde_json::from_str(other).unwrap_or_default(),
        };
        // The zero value of a plain field is the same as its absence.
        let zero = default == json!("") || default == json!(0) || default == json!(false);
        if !default.is_null() && (field.pointer || !zero) {
            or_set(map, field.json, default);
        }
    }
}

fn below(message: &Message, label: Label, value: &mut Value) {
    match (label, value) {
        (Label::Single, Value::Object(map)) => declared(message, map),
        (Label::Repeated, Value::Array(list)) => {
            list.iter_mut().filter_map(Value::as_object_mut).for_each(|map| declared(message, map));
        }
        (Label::Map, Value::Object(map)) => {
            map.values_mut().filter_map(Value::as_object_mut).for_each(|map| declared(message, map));
        }
        _ => {}
    }
}

/// Sets a field that is absent, null or the empty string.
fn or_set(map: &mut Map<String, Value>, key: &str, default: impl Into<Value>) {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() || value == "" {
        *value = default.into();
    }
}

fn object(value: Option<&mut Value>) -> Option<&mut Map<String, Value>> {
    value.and_then(Value::as_object_mut)
}

fn objects(value: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    value.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests;
