//! Defaults of pods and pod templates, and the quality-of-service class that follows from a pod's resources.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::defaulting::{object, objects, or_set};
use crate::quantity::Quantity;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// 0644, the mode of files in volumes made of objects.
const FILE_MODE: i32 = 0o644;
/// How long a projected service account token lives.
const TOKEN_SECONDS: i64 = 3600;

/// Defaults of every pod spec, in pods and in templates.
pub(in crate::kinds) fn spec(spec: &mut Map<String, Value>) {
    or_set(spec, "restartPolicy", "Always");
    or_set(spec, "dnsPolicy", "ClusterFirst");
    or_set(spec, "schedulerName", "default-scheduler");
    or_set(spec, "terminationGracePeriodSeconds", 30);
    or_set(spec, "securityContext", json!({}));
    mirror_account(spec);
    for list in CONTAINERS {
        for container in objects(spec.get_mut(list)) {
            self::container(container);
        }
    }
    for volume in objects(spec.get_mut("volumes")) {
        self::volume(volume);
    }
    if let Some(overhead) = spec.get_mut("overhead") {
        round(overhead);
    }
}

/// Defaults that pods have and templates do not.
pub(super) fn spec_of_pod(spec: &mut Map<String, Value>) {
    or_set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["initContainers", "containers"] {
        for container in objects(spec.get_mut(list)) {
            if let Some(resources) = object(container.get_mut("resources")) {
                requests_from_limits(resources);
            }
            for port in objects(container.get_mut("ports")).filter(|_| host_network) {
                let number = port.get("containerPort").cloned().unwrap_or_default();
                if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0 {
                    port.insert("hostPort".into(), number);
                }
            }
        }
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the CPU and memory of all containers (or of the pod, where it says so).
///
/// Follows upstream's `pkg/apis/core/v1/helper/qos/qos.go`.
pub fn qos_class(spec: &Value) -> &'static str {
    let whole = &spec["resources"];
    let parts: Vec<&Value> = if whole["requests"].is_object() || whole["limits"].is_object() {
        vec![whole]
    } else {
        let containers = |list: &'static str| spec[list].as_array().into_iter().flatten();
        containers("containers").chain(containers("initContainers")).map(|container| &container["resources"]).collect()
    };
    let mut sums: [BTreeMap<&str, Quantity>; 2] = [BTreeMap::new(), BTreeMap::new()];
    let mut all_limited = true;
    for resources in parts {
        let mut limited = 0;
        for (side, kind) in ["requests", "limits"].into_iter().enumerate() {
            for name in ["cpu", "memory"] {
                let amount = resources[kind].get(name).and_then(|value| Quantity::from_value(value).ok());
                if let Some(amount) = amount.filter(|amount| amount.sign() > 0) {
                    let sum = sums[side].entry(name).or_insert(Quantity::ZERO);
                    *sum = sum.plus(amount);
                    limited += side;
                }
            }
        }
        all_limited &= limited == 2;
    }
    let [requests, limits] = sums;
    match (requests.is_empty() && limits.is_empty(), all_limited && requests == limits) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// Whether an image names the tag `latest`, as it also does by naming neither a tag nor a digest.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty() && !name.is_empty(),
    }
}

fn pull_policy(image: Option<&Value>) -> &'static str {
    if is_latest(image.and_then(Value::as_str).unwrap_or("")) { "Always" } else { "IfNotPresent" }
}

/// `serviceAccount` is the old name of `serviceAccountName`; upstream keeps both alike, the new one winning.
fn mirror_account(spec: &mut Map<String, Value>) {
    let named = |spec: &Map<String, Value>, key: &str| {
        spec.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    if let Some(name) = named(spec, "serviceAccountName").or_else(|| named(spec, "serviceAccount")) {
        spec.insert("serviceAccountName".into(), json!(name));
        spec.insert("serviceAccount".into(), json!(name));
    }
}

fn container(container: &mut Map<String, Value>) {
    let policy = pull_policy(container.get("image"));
    or_set(container, "imagePullPolicy", policy);
    or_set(container, "terminationMessagePath", "/dev/termination-log");
    or_set(container, "terminationMessagePolicy", "File");
    or_set(container, "resources", json!({}));
    if let Some(resources) = object(container.get_mut("resources")) {
        for list in ["limits", "requests"] {
            if let Some(list) = resources.get_mut(list) {
                round(list);
            }
        }
    }
    for variable in objects(container.get_mut("env")) {
        if let Some(source) = object(variable.get_mut("valueFrom")) {
            field_source(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = object(container.get_mut(probe)) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = object(container.get_mut("lifecycle")) {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = object(lifecycle.get_mut(hook)) {
                http_get(hook);
            }
        }
    }
}

fn probe(probe: &mut Map<String, Value>) {
    for (key, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
            probe.insert(key.into(), json!(default));
        }
    }
    http_get(probe);
}

fn http_get(handler: &mut Map<String, Value>) {
    if let Some(get) = object(handler.get_mut("httpGet")) {
        or_set(get, "path", "/");
        or_set(get, "scheme", "HTTP");
    }
}

/// `fieldRef` and `resourceFieldRef`, in environments and in downward volumes.
fn field_source(source: &mut Map<String, Value>) {
    if let Some(field) = object(source.get_mut("fieldRef")) {
        or_set(field, "apiVersion", "v1");
    }
    if let Some(field) = object(source.get_mut("resourceFieldRef")) {
        or_set(field, "divisor", "0");
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if !volume.iter().any(|(key, value)| key != "name" && !value.is_null()) {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = object(volume.get_mut(source)) {
            or_set(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = object(volume.get_mut("downwardAPI")) {
        objects(source.get_mut("items")).for_each(field_source);
    }
    if let Some(source) = object(volume.get_mut("projected")) {
        for source in objects(source.get_mut("sources")) {
            if let Some(token) = object(source.get_mut("serviceAccountToken")) {
                or_set(token, "expirationSeconds", TOKEN_SECONDS);
            }
            if let Some(source) = object(source.get_mut("downwardAPI")) {
                objects(source.get_mut("items")).for_each(field_source);
            }
        }
    }
    if let Some(source) = object(volume.get_mut("hostPath")) {
        or_set(source, "type", "");
    }
    if let Some(source) = object(volume.get_mut("image")) {
        let policy = pull_policy(source.get("reference"));
        or_set(source, "pullPolicy", policy);
    }
    if let Some(claim) = object(volume.get_mut("ephemeral"))
        .and_then(|source| object(source.get_mut("volumeClaimTemplate")))
        .and_then(|template| object(template.get_mut("spec")))
    {
        or_set(claim, "volumeMode", "Filesystem");
    }
}

fn requests_from_limits(resources: &mut Map<String, Value>) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).filter(|limits| !limits.is_empty()).cloned()
    else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if requests.is_null() {
        *requests = json!({});
    }
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// Upstream stores resources in thousandths, rounded up.
fn round(list: &mut Value) {
    for amount in list.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Ok(quantity) = Quantity::from_value(amount) {
            *amount = json!(quantity.rounded_to_milli().to_string());
        }
    }
}
