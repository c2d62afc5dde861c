//! Rules of a pod's volumes.

use serde_json::{Value, json};

use crate::quantity::Quantity;
use crate::validation::{Faults, list, names, text};

/// Checks the volumes of a pod spec; returns their names, which mounts refer to.
pub(in crate::kinds) fn volumes<'a>(faults: &mut Faults, path: &str, volumes: &'a Value) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for (path, volume) in list(path, volumes) {
        let name = text(volume, "name");
        if name.is_empty() {
            faults.required(&format!("{path}.name"), "");
        } else {
            faults.named(&format!("{path}.name"), name, names::dns_label(name));
            if seen.contains(&name) {
                faults.duplicate(&format!("{path}.name"), &volume["name"]);
            }
            seen.push(name);
        }
        let sources: Vec<(&String, &Value)> = volume
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, source)| *key != "name" && !source.is_null())
            .collect();
        match sources.as_slice() {
            [] => faults.required(&path, "must specify a volume type"),
            [(kind, source_value)] => source(faults, &format!("{path}.{kind}"), kind, source_value),
            [(kind, source_value), others @ ..] => {
                source(faults, &format!("{path}.{kind}"), kind, source_value);
                for (kind, _) in others {
                    faults.forbidden(&format!("{path}.{kind}"), "may not specify more than 1 volume type");
                }
            }
        }
    }
    seen
}

/// Rules of one source of a volume.
pub(in crate::kinds) fn source(faults: &mut Faults, path: &str, kind: &str, source: &Value) {
    let needs = |faults: &mut Faults, fields: &[&str]| {
        for field in fields {
            if text(source, field).is_empty() {
                faults.required(&format!("{path}.{field}"), "");
            }
        }
    };
    match kind {
        "emptyDir" if Quantity::from_value(&source["sizeLimit"]).is_ok_and(|size| size.sign() < 0) => {
            faults.forbidden(&format!("{path}.sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
        "hostPath" => {
            needs(faults, &["path"]);
            no_parents(faults, &format!("{path}.path"), text(source, "path"));
            if source["type"] != "" {
                let supported = [
                    "",
                    "BlockDevice",
                    "CharDevice",
                    "Directory",
                    "DirectoryOrCreate",
                    "File",
                    "FileOrCreate",
                    "Socket",
                ];
                faults.one_of(&format!("{path}.type"), &source["type"], &supported);
            }
        }
        "secret" => {
            needs(faults, &["secretName"]);
            files(faults, path, source);
        }
        "configMap" => {
            needs(faults, &["name"]);
            files(faults, path, source);
        }
        "downwardAPI" => {
            mode(faults, &format!("{path}.defaultMode"), &source["defaultMode"]);
            downward(faults, &format!("{path}.items"), &source["items"]);
        }
        "projected" => projected(faults, path, source),
        "persistentVolumeClaim" => needs(faults, &["claimName"]),
        "nfs" => {
            needs(faults, &["server", "path"]);
            let nfs_path = text(source, "path");
            if !nfs_path.is_empty() && !nfs_path.starts_with('/') {
                faults.invalid(&format!("{path}.path"), &source["path"], "must be an absolute path");
            }
        }
        "csi" => needs(faults, &["driver"]),
        "iscsi" => needs(faults, &["targetPortal", "iqn"]),
        "image" => needs(faults, &["reference"]),
        _ => {}
    }
}

fn projected(faults: &mut Faults, path: &str, source: &Value) {
    mode(faults, &format!("{path}.defaultMode"), &source["defaultMode"]);
    for (path, part) in list(&format!("{path}.sources"), &source["sources"]) {
        let kinds: Vec<&String> =
            part.as_object().into_iter().flatten().filter(|(_, part)| !part.is_null()).map(|(kind, _)| kind).collect();
        for kind in kinds.iter().skip(1) {
            faults.forbidden(&format!("{path}.{kind}"), "may not specify more than 1 volume type per source");
        }
        let Some(kind) = kinds.first() else {
            faults.required(&path, "must specify a volume type");
            continue;
        };
        let path = format!("{path}.{kind}");
        let part = &part[kind.as_str()];
        match kind.as_str() {
            "secret" | "configMap" => {
                if text(part, "name").is_empty() {
                    faults.required(&format!("{path}.name"), "");
                }
                files(faults, &path, part);
            }
            "downwardAPI" => downward(faults, &format!("{path}.items"), &part["items"]),
            "serviceAccountToken" => {
                if part["expirationSeconds"].as_i64().is_some_and(|seconds| seconds < 600) {
                    let detail = "may not specify a duration less than 10 minutes";
                    faults.invalid(&format!("{path}.expirationSeconds"), &part["expirationSeconds"], detail);
                }
                local_path(faults, &format!("{path}.path"), text(part, "path"));
            }
            _ => {}
        }
    }
}

fn files(faults: &mut Faults, path: &str, source: &Value) {
    mode(faults, &format!("{path}.defaultMode"), &source["defaultMode"]);
    for (path, item) in list(&format!("{path}.items"), &source["items"]) {
        if text(item, "key").is_empty() {
            faults.required(&format!("{path}.key"), "");
        }
        local_path(faults, &format!("{path}.path"), text(item, "path"));
        mode(faults, &format!("{path}.mode"), &item["mode"]);
    }
}

fn downward(faults: &mut Faults, path: &str, items: &Value) {
    for (path, item) in list(path, items) {
        local_path(faults, &format!("{path}.path"), text(item, "path"));
        mode(faults, &format!("{path}.mode"), &item["mode"]);
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, true) => faults.invalid(
                &path,
                &json!("resource"),
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ),
            (false, false) => faults.required(&path, "one of fieldRef and resourceFieldRef is required"),
            _ => {}
        }
    }
}

fn mode(faults: &mut Faults, path: &str, mode: &Value) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        faults.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A path inside a volume: relative, and without steps upwards.
pub(in crate::kinds) fn local_path(faults: &mut Faults, path: &str, value: &str) {
    if value.is_empty() {
        faults.required(path, "");
        return;
    }
    relative(faults, path, value);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        faults.invalid(path, &json!(value), "must not start with '..'");
    }
}

/// A path that may be empty, but neither absolute nor upwards.
pub(in crate::kinds) fn relative(faults: &mut Faults, path: &str, value: &str) {
    if value.starts_with('/') {
        faults.invalid(path, &json!(value), "must be a relative path");
    }
    no_parents(faults, path, value);
}

fn no_parents(faults: &mut Faults, path: &str, value: &str) {
    if value.split('/').any(|part| part == "..") {
        faults.invalid(path, &json!(value), "must not contain '..'");
    }
}
