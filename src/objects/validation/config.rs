//! Rules of ConfigMaps, Secrets and ServiceAccounts.

use serde_json::{Value, json};

use super::{Faults, list, names, text};

/// Most bytes of data in a ConfigMap or a Secret.
const DATA_MAX: usize = 1024 * 1024;

pub(super) fn config_map(faults: &mut Faults, value: &Value) {
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

pub(super) fn secret(faults: &mut Faults, value: &Value) {
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

pub(super) fn service_account(faults: &mut Faults, value: &Value) {
    for (path, secret) in list("secrets", &value["secrets"]) {
        let name = text(secret, "name");
        if !name.is_empty() {
            faults.named(&format!("{path}.name"), name, names::dns_subdomain(name));
        }
    }
}

/// An immutable object stays immutable, and so does its data.
pub(super) fn immutable(faults: &mut Faults, old: &Value, new: &Value, data: &[&str]) {
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
