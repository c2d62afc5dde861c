//! What the server fills into a definition.
//!
//! Follows upstream's `pkg/apis/apiextensions/v1/defaults.go` and `pkg/registry/customresourcedefinition/strategy.go`.

use serde_json::{Map, Value, json};

use super::list;

/// Fills in the defaults of a definition: names, conversion, the stored version. Twice is once.
pub fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = entry(spec, "names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !kind.is_empty() {
            fill(names, "singular", || json!(kind.to_lowercase()));
            fill(names, "listKind", || json!(format!("{kind}List")));
        }
    }
    if let Some(conversion) = entry(spec, "conversion") {
        if conversion.is_empty() {
            conversion.insert("strategy".into(), json!("None"));
        }
        if let Some(service) = conversion
            .get_mut("webhook")
            .and_then(|webhook| webhook.get_mut("clientConfig"))
            .and_then(|config| config.get_mut("service"))
            .and_then(Value::as_object_mut)
        {
            fill(service, "port", || json!(443));
        }
    }
    let storage = storage_version(&definition["spec"]);
    if list(&definition["status"]["storedVersions"]).is_empty()
        && let Some(storage) = storage
        && let Some(map) = definition.as_object_mut()
        && let Some(status) = entry(map, "status")
    {
        status.insert("storedVersions".into(), json!([storage]));
    }
}

/// Makes the status of a new definition what it starts with, whatever the client sent: no conditions, no names yet, one
/// stored version.
pub fn prepare_create(definition: &mut Value) {
    let stored: Vec<String> = storage_version(&definition["spec"]).into_iter().collect();
    definition["status"] = json!({
        "conditions": [],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    });
}

/// Keeps the status of a definition that is written, but for the storage version, which counts as stored from now on.
pub fn prepare_update(old: &Value, new: &mut Value) {
    let mut status = match &old["status"] {
        Value::Object(status) => status.clone(),
        _ => Map::new(),
    };
    if let Some(storage) = storage_version(&new["spec"]) {
        let mut stored = list(&old["status"]["storedVersions"]).to_vec();
        if !stored.iter().any(|version| *version == storage) {
            stored.push(json!(storage));
        }
        status.insert("storedVersions".into(), Value::Array(stored));
    }
    new["status"] = Value::Object(status);
}

fn storage_version(spec: &Value) -> Option<String> {
    let version = list(&spec["versions"]).iter().find(|version| version["storage"] == true)?;
    version["name"].as_str().map(str::to_owned)
}

/// The object under a key, made if it is absent or null.
fn entry<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

fn fill(map: &mut Map<String, Value>, key: &str, default: impl FnOnce() -> Value) {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() || value == "" {
        *value = default();
    }
}
