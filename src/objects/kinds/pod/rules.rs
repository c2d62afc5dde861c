//! Rules of pods and pod templates, and what an update of a pod may change.
//!
//! Follows `pkg/apis/core/validation/validation.go`.

use serde_json::{Map, Value, json};

use super::affinity;
use super::container::{container, probes_and_hooks, resources};
use super::volumes::volumes;
use crate::validation::{Faults, list, names, text};

/// Effects of taints, in upstream's order.
pub(in crate::kinds) const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

pub(in crate::kinds) fn create(faults: &mut Faults, pod: &Value) {
    spec(faults, "spec", &pod["spec"]);
    if pod["spec"]["ephemeralContainers"].as_array().is_some_and(|list| !list.is_empty()) {
        faults.forbidden("spec.ephemeralContainers", "cannot be set on create");
    }
    if !text(&pod["spec"], "nodeName").is_empty()
        && pod["spec"]["schedulingGates"].as_array().is_some_and(|list| !list.is_empty())
    {
        faults.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
    }
}

/// Rules of a pod spec, wherever it stands.
pub(in crate::kinds) fn spec(faults: &mut Faults, path: &str, spec: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    let known = volumes(faults, &at("volumes"), &spec["volumes"]);
    containers(faults, path, spec, &known);
    match text(spec, "restartPolicy") {
        "" => faults.required(&at("restartPolicy"), ""),
        _ => faults.one_of(&at("restartPolicy"), &spec["restartPolicy"], &["Always", "Never", "OnFailure"]),
    }
    match text(spec, "dnsPolicy") {
        "" => faults.required(&at("dnsPolicy"), ""),
        policy => {
            let supported = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
            faults.one_of(&at("dnsPolicy"), &spec["dnsPolicy"], &supported);
            if policy == "None" && spec["dnsConfig"]["nameservers"].as_array().is_none_or(Vec::is_empty) {
                faults.required(
                    &at("dnsConfig.nameservers"),
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                );
            }
        }
    }
    faults.labels(&at("nodeSelector"), &spec["nodeSelector"]);
    affinity::affinity(faults, &at("affinity"), &spec["affinity"]);
    affinity::tolerations(faults, &at("tolerations"), &spec["tolerations"]);
    affinity::topology_spread(faults, &at("topologySpreadConstraints"), &spec["topologySpreadConstraints"]);
    affinity::host_aliases(faults, &at("hostAliases"), &spec["hostAliases"]);
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            faults.named(&at(field), name, names::dns_subdomain(name));
        }
    }
    for field in ["hostname", "subdomain"] {
        let name = text(spec, field);
        if !name.is_empty() {
            faults.named(&at(field), name, names::dns_label(name));
        }
    }
    faults.between(&at("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], 1, i64::from(i32::MAX));
    faults.not_negative(&at("terminationGracePeriodSeconds"), &spec["terminationGracePeriodSeconds"]);
    resources(faults, &at("resources"), &spec["resources"]);
    let context = &spec["securityContext"];
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        faults.between(&at(&format!("securityContext.{field}")), &context[field], 0, i64::from(i32::MAX));
    }
    let mut gates = Vec::new();
    for (path, gate) in list(&at("schedulingGates"), &spec["schedulingGates"]) {
        let name = text(gate, "name");
        faults.named(&path, name, names::label_key(name));
        if gates.contains(&name) {
            faults.duplicate(&path, &gate["name"]);
        }
        gates.push(name);
    }
}

fn containers(faults: &mut Faults, path: &str, spec: &Value, volumes: &[&str]) {
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        faults.required(&format!("{path}.containers"), "");
    }
    let host_network = spec["hostNetwork"] == true;
    let mut names = Vec::new();
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let mut host_ports = Vec::new();
        for (path, part) in list(&format!("{path}.{kind}"), &spec[kind]) {
            container(faults, &path, part, volumes);
            let name = text(part, "name");
            if !name.is_empty() && names.contains(&name) {
                faults.duplicate(&format!("{path}.name"), &part["name"]);
            }
            names.push(name);
            let sidecar = kind == "initContainers" && part["restartPolicy"] == "Always";
            if kind == "containers" || sidecar {
                probes_and_hooks(faults, &path, part);
            } else {
                let owner = if kind == "initContainers" {
                    "init containers without restartPolicy=Always"
                } else {
                    "Ephemeral Containers"
                };
                for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
                    if !part[field].is_null() {
                        let detail = if kind == "initContainers" {
                            format!("may not be set for {owner}")
                        } else {
                            format!("cannot be set for {owner}")
                        };
                        faults.forbidden(&format!("{path}.{field}"), detail);
                    }
                }
            }
            if kind == "initContainers" {
                faults.one_of(&format!("{path}.restartPolicy"), &part["restartPolicy"], &["Always"]);
            }
            self::host_ports(faults, &path, part, host_network, &mut host_ports);
        }
    }
}

/// One host port serves one container port of a pod; on the host's network both are the same.
fn host_ports<'a>(
    faults: &mut Faults,
    path: &str,
    container: &'a Value,
    host_network: bool,
    seen: &mut Vec<(&'a str, &'a str, i64)>,
) {
    for (path, port) in list(&format!("{path}.ports"), &container["ports"]) {
        let number = port["hostPort"].as_i64().unwrap_or(0);
        if host_network && number != port["containerPort"].as_i64().unwrap_or(0) {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            faults.invalid(&format!("{path}.containerPort"), &port["containerPort"], detail);
        }
        if number == 0 {
            continue;
        }
        let key = (text(port, "protocol"), text(port, "hostIP"), number);
        if seen.contains(&key) {
            faults.duplicate(&format!("{path}.hostPort"), &json!(format!("{}/{}/{}", key.0, key.1, key.2)));
        }
        seen.push(key);
    }
}

const CHANGES: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                       `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                       `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A pod's spec is settled when it is created, but for images, deadlines, tolerations and scheduling gates.
pub(in crate::kinds) fn update(faults: &mut Faults, old: &Value, new: &Value) {
    let (Some(before), Some(after)) = (old["spec"].as_object(), new["spec"].as_object()) else {
        faults.immutable("spec", &old["spec"], &new["spec"]);
        return;
    };
    for kind in ["containers", "initContainers"] {
        let count = |spec: &Map<String, Value>| spec.get(kind).and_then(Value::as_array).map_or(0, Vec::len);
        if count(before) != count(after) {
            faults.forbidden(&format!("spec.{kind}"), "pod updates may not add or remove containers");
            return;
        }
        for (path, part) in list(&format!("spec.{kind}"), &new["spec"][kind]) {
            if text(part, "image").is_empty() {
                faults.required(&format!("{path}.image"), "");
            } else if text(part, "image").trim() != text(part, "image") {
                faults.invalid(
                    &format!("{path}.image"),
                    &part["image"],
                    "must not have leading or trailing whitespace",
                );
            }
        }
    }
    deadline(faults, &old["spec"]["activeDeadlineSeconds"], &new["spec"]["activeDeadlineSeconds"]);
    tolerations(faults, &old["spec"]["tolerations"], &new["spec"]["tolerations"]);
    let gated = gates(faults, &old["spec"]["schedulingGates"], &new["spec"]["schedulingGates"]);
    let mut munged = after.clone();
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        put_back(&mut munged, before, field);
    }
    for kind in ["containers", "initContainers"] {
        put_back_images(&mut munged, before, kind);
    }
    let grace = |spec: &Map<String, Value>| spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace(before).is_some_and(|seconds| seconds < 0) && grace(after) == Some(1) {
        put_back(&mut munged, before, "terminationGracePeriodSeconds");
    }
    if gated && only_adds(before.get("nodeSelector"), after.get("nodeSelector")) {
        // A gated pod is not placed yet, so narrowing where it may go harms nobody.
        put_back(&mut munged, before, "nodeSelector");
    }
    let changed: Vec<String> = before
        .keys()
        .chain(munged.keys().filter(|key| !before.contains_key(*key)))
        .filter(|key| before.get(*key) != munged.get(*key))
        .map(|key| format!("spec.{key}"))
        .collect();
    if !changed.is_empty() {
        faults.forbidden("spec", format!("{CHANGES}\nchanged: {}", changed.join(", ")));
    }
}

/// Debug containers that are there stay as they are; new ones follow the rules of containers.
pub(crate) fn ephemeral_containers(faults: &mut Faults, old: &Value, new: &Value) {
    spec(faults, "spec", &new["spec"]);
    for part in old["spec"]["ephemeralContainers"].as_array().into_iter().flatten() {
        let name = text(part, "name");
        let found = list("spec.ephemeralContainers", &new["spec"]["ephemeralContainers"])
            .find(|(_, now)| text(now, "name") == name);
        match found {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                faults.forbidden("spec.ephemeralContainers", detail);
            }
            Some((path, now)) if now != part => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                faults.forbidden(&path, detail);
            }
            Some(_) => {}
        }
    }
}

fn deadline(faults: &mut Faults, old: &Value, new: &Value) {
    const PATH: &str = "spec.activeDeadlineSeconds";
    match (old.as_i64(), new.as_i64()) {
        (_, Some(after)) if !(0..=i64::from(i32::MAX)).contains(&after) => {
            faults.invalid(PATH, new, format!("must be between 0 and {}, inclusive", i32::MAX));
        }
        (Some(before), Some(after)) if before < after => {
            faults.invalid(PATH, new, "must be less than or equal to previous value");
        }
        (Some(_), None) => faults.invalid(PATH, new, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

/// Tolerations may be added, and their seconds changed.
fn tolerations(faults: &mut Faults, old: &Value, new: &Value) {
    let plain = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(map) = toleration.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        toleration
    };
    let kept: Vec<Value> = new.as_array().into_iter().flatten().map(plain).collect();
    if old.as_array().into_iter().flatten().any(|toleration| !kept.contains(&plain(toleration))) {
        faults.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
    }
    affinity::tolerations(faults, "spec.tolerations", new);
}

/// Gates only go; says whether the pod was gated.
fn gates(faults: &mut Faults, old: &Value, new: &Value) -> bool {
    let before: Vec<&Value> = old.as_array().into_iter().flatten().collect();
    for (path, gate) in list("spec.schedulingGates", new) {
        if !before.contains(&gate) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
            faults.forbidden(&path, detail);
        }
    }
    !before.is_empty()
}

fn only_adds(old: Option<&Value>, new: Option<&Value>) -> bool {
    let of = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (of(old), of(new));
    old.iter().all(|(key, value)| new.get(key) == Some(value))
}

fn put_back(munged: &mut Map<String, Value>, before: &Map<String, Value>, field: &str) {
    match before.get(field) {
        Some(value) => munged.insert(field.to_owned(), value.clone()),
        None => munged.remove(field),
    };
}

fn put_back_images(munged: &mut Map<String, Value>, before: &Map<String, Value>, kind: &str) {
    let olds = before.get(kind).and_then(Value::as_array);
    let news = munged.get_mut(kind).and_then(Value::as_array_mut);
    for (new, old) in news.into_iter().flatten().zip(olds.into_iter().flatten()) {
        if let Some(map) = new.as_object_mut() {
            map.insert("image".into(), old["image"].clone());
        }
    }
}
