//! A container's environment: references resolved, `$(NAME)` expanded. Pure: what ConfigMaps and Secrets hold comes in.

use super::view;
use crate::volumes::Bundle;
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod, ResourceFieldSelector};
use objects::quantity::Quantity;
use runtime::EnvVar;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a pod may learn about its place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub host: IpAddr,
    /// The pod's address, once it has one.
    pub address: Option<IpAddr>,
    /// The node's processor in thousandths of a core and its memory in bytes, for containers without a limit.
    pub allocatable: (i64, i64),
}

/// Why an environment cannot be made, in words for the pod's status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub String);

/// The environment of a container, later entries winning.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    place: &Place,
    bundle: &Bundle,
) -> Result<Vec<EnvVar>, Fault> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut put = |values: &mut BTreeMap<String, String>, name: String, value: String| {
        if values.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    };
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (found, what, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(reference), _) => {
                (bundle.config_map(&reference.name), "configmap", &reference.name, reference.optional)
            }
            (None, Some(reference)) => (bundle.secret(&reference.name), "secret", &reference.name, reference.optional),
            (None, None) => continue,
        };
        let Some(found) = found else {
            if optional == Some(true) {
                continue;
            }
            return Err(Fault(format!("{what} \"{name}\" not found")));
        };
        for (key, bytes) in found.iter() {
            // Upstream leaves out what cannot be a variable's text as well.
            if let Ok(text) = std::str::from_utf8(bytes) {
                put(&mut values, format!("{prefix}{key}"), text.to_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(expand(text, &values)),
            (_, Some(source)) => referenced(pod, container, source, place, bundle)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            put(&mut values, variable.name.clone(), value);
        }
    }
    Ok(order.into_iter().map(|name| EnvVar { value: values.remove(&name).unwrap_or_default(), name }).collect())
}

fn referenced(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    place: &Place,
    bundle: &Bundle,
) -> Result<Option<String>, Fault> {
    if let Some(field) = &source.field_ref {
        return field_of(pod, &field.field_path, place).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_of(pod, Some(container), resource, place).map(Some);
    }
    let (found, what, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(it), _) => (bundle.config_map(&it.name), "configmap", &it.name, &it.key, it.optional),
        (None, Some(it)) => (bundle.secret(&it.name), "secret", &it.name, &it.key, it.optional),
        (None, None) => return Ok(Some(String::new())),
    };
    let optional = optional == Some(true);
    let Some(found) = found else {
        return if optional { Ok(None) } else { Err(Fault(format!("{what} \"{name}\" not found"))) };
    };
    match found.get(key) {
        Some(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        None if optional => Ok(None),
        None => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let kind = if what == "secret" { "Secret" } else { "ConfigMap" };
            Err(Fault(format!("couldn't find key {key} in {kind} {namespace}/{name}")))
        }
    }
}

/// A field of the pod, by its path.
pub(crate) fn field_of(pod: &Pod, path: &str, place: &Place) -> Result<String, Fault> {
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let lines: Vec<String> = map.iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        lines.join("\n")
    };
    if let Some((field, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match field {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(Fault(format!("unsupported fieldPath: {path}"))),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let address = if view::spec(pod).host_network == Some(true) { Some(place.host) } else { place.address };
    let address = || address.map(|address| address.to_string()).unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => place.node.clone(),
        "spec.serviceAccountName" => view::spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => place.host.to_string(),
        "status.podIP" | "status.podIPs" => address(),
        _ => return Err(Fault(format!("unsupported fieldPath: {path}"))),
    })
}

/// A container's request or limit, divided and rounded up as asked.
pub(crate) fn resource_of(
    pod: &Pod,
    container: Option<&Container>,
    selector: &ResourceFieldSelector,
    place: &Place,
) -> Result<String, Fault> {
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => view::container(pod, name).ok_or_else(|| Fault(format!("container {name} not found")))?,
        None => container.ok_or_else(|| Fault("the resource's container is not named".to_owned()))?,
    };
    let unsupported = || Fault(format!("unsupported container resource: {}", selector.resource));
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let map = match list {
        "limits" => resources.and_then(|it| it.limits.as_ref()),
        "requests" => resources.and_then(|it| it.requests.as_ref()),
        _ => return Err(unsupported()),
    };
    let set: Option<Quantity> = map.and_then(|map| map.get(name)).and_then(|quantity| quantity.0.parse().ok());
    let quantity = match (set, list, name) {
        (Some(quantity), ..) => quantity,
        (None, "limits", "cpu") => Quantity::from_milli(place.allocatable.0),
        (None, "limits", "memory") => Quantity::from_bytes(place.allocatable.1),
        (None, ..) => Quantity::ZERO,
    };
    let divisor: Quantity = selector
        .divisor
        .as_ref()
        .and_then(|divisor| divisor.0.parse().ok())
        .filter(|divisor: &Quantity| divisor.sign() > 0)
        .unwrap_or(Quantity::from_units(1));
    let (amount, by) = match name {
        "cpu" => (quantity.to_milli(), divisor.to_milli()),
        _ => (quantity.to_bytes(), divisor.to_bytes()),
    };
    let by = by.max(1);
    Ok((amount / by + i64::from(amount % by != 0)).to_string())
}

/// Replaces `$(NAME)` by the value of NAME where there is one; `$$` stands for `$`.
pub(crate) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        let after = &rest[position + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match values.get(name) {
                Some(value) => result.push_str(value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

/// A value as Go's `%q` writes it, for the common characters.
fn quoted(value: &str) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use serde_json::{Value, json};

    fn place() -> Place {
        Place {
            node: "n1".into(),
            host: [192, 168, 0, 1].into(),
            address: Some([10, 0, 0, 5].into()),
            allocatable: (4000, 1 << 30),
        }
    }

    fn bundle() -> Bundle {
        let mut bundle = Bundle::default();
        bundle.put_config_map(
            "cm",
            Some(BTreeMap::from([("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())])),
        );
        bundle.put_secret("sec", Some(BTreeMap::from([("pw".to_owned(), b"hunter2".to_vec())])));
        bundle
    }

    fn env(container: Value) -> Result<Vec<(String, String)>, String> {
        let mut spec = json!({"serviceAccountName": "sa", "containers": [container]});
        spec["containers"][0]["name"] = json!("c");
        let pod = fixtures::pod(spec);
        environment(&pod, &view::spec(&pod).containers[0], &place(), &bundle())
            .map(|list| list.into_iter().map(|it| (it.name, it.value)).collect())
            .map_err(|fault| fault.0)
    }

    #[test]
    fn expansion_follows_upstream() {
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y", "x1y"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A", "$A"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("$$$$", "$$"),
            ("$($(A))", "$($(A))"),
            ("ü$(A)", "ü1"),
        ] {
            assert_eq!(expand(text, &values), expected, "{text}");
        }
    }

    #[test]
    fn values_come_from_everywhere() {
        let field = |path: &str| json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]});
        let resource = |name: &str, divisor: &str| {
            json!({
                "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}},
                "env": [{"name": "X", "valueFrom": {"resourceFieldRef": {"resource": name, "divisor": divisor}}}],
            })
        };
        for (container, expected) in [
            (json!({"env": [{"name": "X", "value": "1"}]}), "1"),
            (field("metadata.name"), "p"),
            (field("metadata.namespace"), "ns"),
            (field("metadata.uid"), "u"),
            (field("metadata.labels['app']"), "web"),
            (field("metadata.annotations['none']"), ""),
            (field("spec.nodeName"), "n1"),
            (field("spec.serviceAccountName"), "sa"),
            (field("status.hostIP"), "192.168.0.1"),
            (field("status.podIP"), "10.0.0.5"),
            (resource("limits.cpu", "0"), "2"),
            (resource("limits.cpu", "1m"), "1500"),
            (resource("requests.memory", "1Mi"), "100"),
            (resource("limits.memory", "1Mi"), "1024"),
            (resource("requests.cpu", "1"), "0"),
            (json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}), "v"),
            (json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}}]}), "hunter2"),
        ] {
            assert_eq!(env(container.clone()).unwrap(), [("X".to_owned(), expected.to_owned())], "{container}");
        }
    }

    #[test]
    fn order_prefixes_and_later_entries() {
        let got = env(json!({
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [{"name": "A", "value": "$(P_k)-$(Z)"}, {"name": "P_l", "value": "mine"}, {"name": "Z", "value": "$(A)"}],
        }));
        let expected = [("P_k", "v"), ("P_l", "mine"), ("A", "v-$(Z)"), ("Z", "v-$(Z)")];
        assert_eq!(got.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_missing_is_named_and_optional_is_left_out() {
        let key = |kind: &str, name: &str, key: &str, optional: bool| {
            json!({"env": [
                {"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}},
            ]})
        };
        for (container, message) in [
            (key("configMapKeyRef", "none", "k", false), "configmap \"none\" not found"),
            (key("secretKeyRef", "none", "k", false), "secret \"none\" not found"),
            (key("secretKeyRef", "sec", "k", false), "couldn't find key k in Secret ns/sec"),
            (json!({"envFrom": [{"configMapRef": {"name": "none"}}]}), "configmap \"none\" not found"),
            (
                json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                "unsupported fieldPath: spec.x",
            ),
        ] {
            assert_eq!(env(container).unwrap_err(), message);
        }
        for container in [key("configMapKeyRef", "none", "k", true), key("secretKeyRef", "sec", "k", true)] {
            assert_eq!(env(container).unwrap(), []);
        }
    }
}
