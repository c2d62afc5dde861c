//! ConfigMaps and Secrets.
//!
//! Follows `pkg/apis/core/validation/validation.go` and `pkg/registry/core/{configmap,secret}/strategy.go`.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{AGE, Column, NAME, count};
use crate::defaulting::Default::Text;
use crate::defaulting::structure;
use crate::validation::{Faults, names, text};

pub(super) static CONFIG_MAP: Declaration = Declaration {
    short_names: &["cm"],
    rules: Some(config_map),
    changed: Some(|faults, old, new| {
        immutable(faults, old, new, &["data", "binaryData"]);
        config_map(faults, new);
    }),
    columns: &[
        NAME,
        Column::text("Data", "How many entries the object holds.")
            .made(|object, _| json!(count(&object["data"]) + count(&object["binaryData"]))),
        AGE,
    ],
    ..Declaration::plain("", "v1", "ConfigMap", "configmaps")
};

pub(super) static SECRET: Declaration = Declaration {
    selects: &["type"],
    defaults: &[("type", Text("Opaque"))],
    fill: Some(fold),
    rules: Some(secret),
    changed: Some(|faults, old, new| {
        faults.immutable("type", &old["type"], &new["type"]);
        immutable(faults, old, new, &["data"]);
        secret(faults, new);
    }),
    columns: &[
        NAME,
        Column::text("Type", "What the data is for.").showing("type"),
        Column::text("Data", "How many entries the object holds.").counting("data"),
        AGE,
    ],
    ..Declaration::plain("", "v1", "Secret", "secrets")
};

/// Folds `stringData`, which is write-only, into `data`.
fn fold(map: &mut Map<String, Value>) {
    let Some(Value::Object(plain)) = map.remove("stringData") else { return };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = structure(map, "data") {
        for (key, text) in plain {
            let text = text.as_str().unwrap_or("");
            data.insert(key, json!(base64::engine::general_purpose::STANDARD.encode(text)));
        }
    }
}

/// Most bytes of data in a ConfigMap or a Secret.
const DATA_MAX: usize = 1024 * 1024;

fn config_map(faults: &mut Faults, value: &Value) {
    let mut size = 0;
    for (key, data) in value["data"].as_object().into_iter().flatten() {
        faults.named(&format!("data[{key}]"), key, names::config_key(key));
        if value["binaryData"].get(key).is_some() {
            faults.invalid(&format!("data[{key}]"), &json!(key), "duplicate of key present in binaryData");
        }
        size += data.as_str().map_or(0, str::len);
    }
    for (key, data) in value["binaryData"].as_object().into_iter().flatten() {
        faults.named(&format!("binaryData[{key}]"), key, names::config_key(key));
        size += decoded_length(data);
    }
    if size > DATA_MAX {
        // Upstream names no field here.
        faults.too_long("", DATA_MAX);
    }
}

fn secret(faults: &mut Faults, value: &Value) {
    let mut size = 0;
    for (key, data) in value["data"].as_object().into_iter().flatten() {
        faults.named(&format!("data[{key}]"), key, names::config_key(key));
        size += decoded_length(data);
    }
    if size > DATA_MAX {
        faults.too_long("data", DATA_MAX);
    }
    let annotations = &value["metadata"]["annotations"];
    let needed: &[&str] = match text(value, "type") {
        "kubernetes.io/service-account-token" => {
            if text(annotations, "kubernetes.io/service-account.name").is_empty() {
                faults.required("metadata.annotations[kubernetes.io/service-account.name]", "");
            }
            &[]
        }
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/basic-auth" => {
            if value["data"].get("username").is_none() && value["data"].get("password").is_none() {
                faults.required("data[username]", "");
                faults.required("data[password]", "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        if value["data"].get(*key).is_none() {
            faults.required(&format!("data[{key}]"), "");
        }
    }
}

/// An immutable object stays immutable, and so does its data.
fn immutable(faults: &mut Faults, old: &Value, new: &Value, data: &[&str]) {
    if old["immutable"] != true {
        return;
    }
    if new["immutable"] != true {
        faults.forbidden("immutable", "field is immutable when `immutable` is set");
    }
    for key in data {
        if old[*key] != new[*key] {
            faults.forbidden(key, "field is immutable when `immutable` is set");
        }
    }
}

/// Bytes behind base64 text.
fn decoded_length(data: &Value) -> usize {
    let text = data.as_str().unwrap_or("");
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
