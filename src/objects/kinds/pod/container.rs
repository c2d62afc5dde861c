//! Rules of containers: ports, environment, mounts, resources, probes and hooks.
//!
//! Follows `pkg/apis/core/validation/validation.go`.

use serde_json::{Value, json};

use super::volumes::relative;
use crate::quantity::Quantity;
use crate::validation::{Faults, list, names, text};

/// What a downward reference may name, besides single labels and annotations.
const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Everything that any container, whatever its list, must get right.
pub(in crate::kinds) fn container(faults: &mut Faults, path: &str, container: &Value, volumes: &[&str]) {
    match text(container, "name") {
        "" => faults.required(&format!("{path}.name"), ""),
        name => faults.named(&format!("{path}.name"), name, names::dns_label(name)),
    }
    let image = text(container, "image");
    if image.is_empty() {
        faults.required(&format!("{path}.image"), "");
    } else if image.trim() != image {
        faults.invalid(&format!("{path}.image"), &container["image"], "must not have leading or trailing whitespace");
    }
    faults.one_of(
        &format!("{path}.imagePullPolicy"),
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
    );
    let policy = &container["terminationMessagePolicy"];
    faults.one_of(&format!("{path}.terminationMessagePolicy"), policy, &["FallbackToLogsOnError", "File"]);
    ports(faults, &format!("{path}.ports"), &container["ports"]);
    environment(faults, path, container);
    mounts(faults, &format!("{path}.volumeMounts"), &container["volumeMounts"], volumes);
    resources(faults, &format!("{path}.resources"), &container["resources"]);
    security(faults, &format!("{path}.securityContext"), &container["securityContext"]);
}

/// Probes and hooks, which only containers that keep running have.
pub(in crate::kinds) fn probes_and_hooks(faults: &mut Faults, path: &str, container: &Value) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let value = &container[kind];
        if !value.is_null() {
            probe(faults, &format!("{path}.{kind}"), kind, value);
        }
    }
    for hook in ["postStart", "preStop"] {
        let value = &container["lifecycle"][hook];
        if !value.is_null() {
            handler(faults, &format!("{path}.lifecycle.{hook}"), value, &["exec", "httpGet", "tcpSocket", "sleep"]);
        }
    }
}

fn ports(faults: &mut Faults, path: &str, ports: &Value) {
    let mut seen = Vec::new();
    for (path, port) in list(path, ports) {
        let name = text(port, "name");
        if !name.is_empty() {
            faults.named(&format!("{path}.name"), name, names::port_name(name));
            if seen.contains(&name) {
                faults.duplicate(&format!("{path}.name"), &port["name"]);
            }
            seen.push(name);
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => faults.required(&format!("{path}.containerPort"), ""),
            _ => faults.between(&format!("{path}.containerPort"), &port["containerPort"], 1, 65535),
        }
        if port["hostPort"].as_i64().unwrap_or(0) != 0 {
            faults.between(&format!("{path}.hostPort"), &port["hostPort"], 1, 65535);
        }
        faults.one_of(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

fn environment(faults: &mut Faults, path: &str, container: &Value) {
    for (path, variable) in list(&format!("{path}.env"), &container["env"]) {
        match text(variable, "name") {
            "" => faults.required(&format!("{path}.name"), ""),
            name => faults.named(&format!("{path}.name"), name, names::env_name(name)),
        }
        if !variable["valueFrom"].is_null() {
            value_from(faults, &format!("{path}.valueFrom"), variable);
        }
    }
    for (path, source) in list(&format!("{path}.envFrom"), &container["envFrom"]) {
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            faults.named(&format!("{path}.prefix"), prefix, names::env_name(prefix));
        }
        let kinds: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|kind| !source[*kind].is_null()).collect();
        match kinds.as_slice() {
            [] => faults.invalid(&path, &json!(""), "must specify one of: `configMapRef` or `secretRef`"),
            [kind] => {
                if text(&source[*kind], "name").is_empty() {
                    faults.required(&format!("{path}.{kind}.name"), "");
                }
            }
            _ => faults.invalid(&path, &json!(""), "may not have more than one field specified at a time"),
        }
    }
}

fn value_from(faults: &mut Faults, path: &str, variable: &Value) {
    let source = &variable["valueFrom"];
    let kinds: Vec<&str> = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]
        .into_iter()
        .filter(|kind| !source[*kind].is_null())
        .collect();
    if kinds.is_empty() {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        faults.invalid(path, &json!(""), detail);
    } else if !text(variable, "value").is_empty() {
        faults.invalid(path, &json!(""), "may not be specified when `value` is not empty");
    } else if kinds.len() > 1 {
        faults.invalid(path, &json!(""), "may not have more than one field specified at a time");
    }
    for kind in kinds {
        let reference = &source[kind];
        let path = format!("{path}.{kind}");
        match kind {
            "fieldRef" => field_ref(faults, &path, reference),
            "resourceFieldRef" if text(reference, "resource").is_empty() => {
                faults.required(&format!("{path}.resource"), "");
            }
            "configMapKeyRef" | "secretKeyRef" => {
                if text(reference, "name").is_empty() {
                    faults.required(&format!("{path}.name"), "");
                }
                match text(reference, "key") {
                    "" => faults.required(&format!("{path}.key"), ""),
                    key => faults.named(&format!("{path}.key"), key, names::config_key(key)),
                }
            }
            _ => {}
        }
    }
}

fn field_ref(faults: &mut Faults, path: &str, reference: &Value) {
    let field = text(reference, "fieldPath");
    let path = format!("{path}.fieldPath");
    let one_entry = ["metadata.labels['", "metadata.annotations['"].into_iter().any(|head| {
        field.strip_prefix(head).and_then(|rest| rest.strip_suffix("']")).is_some_and(|key| !key.is_empty())
    });
    if field.is_empty() {
        faults.required(&path, "");
    } else if !one_entry {
        faults.one_of(&path, &reference["fieldPath"], &FIELD_PATHS);
    }
}

fn mounts(faults: &mut Faults, path: &str, mounts: &Value, volumes: &[&str]) {
    let mut seen = Vec::new();
    for (path, mount) in list(path, mounts) {
        match text(mount, "name") {
            "" => faults.required(&format!("{path}.name"), ""),
            name if !volumes.contains(&name) => faults.not_found(&format!("{path}.name"), &mount["name"]),
            _ => {}
        }
        match text(mount, "mountPath") {
            "" => faults.required(&format!("{path}.mountPath"), ""),
            target => {
                if seen.contains(&target) {
                    faults.invalid(&format!("{path}.mountPath"), &mount["mountPath"], "must be unique");
                }
                seen.push(target);
            }
        }
        for field in ["subPath", "subPathExpr"] {
            relative(faults, &format!("{path}.{field}"), text(mount, field));
        }
        if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
            faults.invalid(
                &format!("{path}.subPathExpr"),
                &mount["subPathExpr"],
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        let propagation = &mount["mountPropagation"];
        faults.one_of(&format!("{path}.mountPropagation"), propagation, &["Bidirectional", "HostToContainer", "None"]);
    }
}

/// Requests and limits of a container or of a pod as a whole.
pub(in crate::kinds) fn resources(faults: &mut Faults, path: &str, resources: &Value) {
    let amount = |side: &str, name: &str| resources[side].get(name).and_then(|value| Quantity::from_value(value).ok());
    for side in ["limits", "requests"] {
        for name in resources[side].as_object().into_iter().flat_map(serde_json::Map::keys) {
            let path = format!("{path}.{side}");
            resource_name(faults, &path, name);
            let Some(quantity) = amount(side, name) else { continue };
            let shown = json!(quantity.to_string());
            let path = format!("{path}[{name}]");
            if quantity.sign() < 0 {
                faults.invalid(&path, &shown, "must be greater than or equal to 0");
            }
            if is_extended(name) && !quantity.is_whole() {
                faults.invalid(&path, &shown, "must be an integer");
            }
        }
    }
    for name in resources["requests"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        let (Some(request), limit) = (amount("requests", name), amount("limits", name)) else { continue };
        let path = format!("{path}.requests");
        let shown = json!(request.to_string());
        let overcommits = !is_extended(name) && !name.starts_with("hugepages-");
        match limit {
            Some(limit) if !overcommits && limit != request => {
                faults.invalid(&path, &shown, format!("must be equal to {name} limit of {limit}"));
            }
            Some(limit) if request > limit => {
                faults.invalid(&path, &shown, format!("must be less than or equal to {name} limit of {limit}"));
            }
            None if !overcommits => faults.required(&path, "Limit must be set for non overcommitable resources"),
            _ => {}
        }
    }
}

fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

fn resource_name(faults: &mut Faults, path: &str, name: &str) {
    for fault in names::label_key(name) {
        faults.invalid(path, &json!(name), fault);
    }
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !standard && !name.contains('/') {
        faults.invalid(path, &json!(name), "must be a standard resource type or fully qualified");
        faults.invalid(path, &json!(name), "must be a standard resource for containers");
    }
}

fn security(faults: &mut Faults, path: &str, context: &Value) {
    for field in ["runAsUser", "runAsGroup"] {
        faults.between(&format!("{path}.{field}"), &context[field], 0, i64::from(i32::MAX));
    }
    if context["privileged"] == true && context["allowPrivilegeEscalation"] == false {
        faults.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
}

fn probe(faults: &mut Faults, path: &str, kind: &str, probe: &Value) {
    handler(faults, path, probe, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        faults.not_negative(&format!("{path}.{field}"), &probe[field]);
    }
    let grace = format!("{path}.terminationGracePeriodSeconds");
    faults.positive(&grace, &probe["terminationGracePeriodSeconds"]);
    if kind == "readinessProbe" {
        if !probe["terminationGracePeriodSeconds"].is_null() {
            faults.invalid(&grace, &probe["terminationGracePeriodSeconds"], "must not be set for readinessProbes");
        }
    } else if probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
        faults.invalid(&format!("{path}.successThreshold"), &probe["successThreshold"], "must be 1");
    }
}

fn handler(faults: &mut Faults, path: &str, handler: &Value, kinds: &[&str]) {
    let present: Vec<&&str> = kinds.iter().filter(|kind| !handler[**kind].is_null()).collect();
    for kind in present.iter().skip(1) {
        faults.forbidden(&format!("{path}.{kind}"), "may not specify more than 1 handler type");
    }
    let Some(kind) = present.first() else {
        faults.required(path, "must specify a handler type");
        return;
    };
    let action = &handler[**kind];
    let path = format!("{path}.{kind}");
    match **kind {
        "exec" if action["command"].as_array().is_none_or(Vec::is_empty) => {
            faults.required(&format!("{path}.command"), "")
        }
        "httpGet" => {
            if text(action, "path").is_empty() {
                faults.required(&format!("{path}.path"), "");
            }
            port(faults, &format!("{path}.port"), &action["port"]);
            faults.one_of(&format!("{path}.scheme"), &action["scheme"], &["HTTP", "HTTPS"]);
            for (_, header) in list("", &action["httpHeaders"]) {
                if text(header, "name").is_empty() {
                    faults.invalid(&format!("{path}.httpHeaders"), &json!(""), "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
                }
            }
        }
        "tcpSocket" => port(faults, &format!("{path}.port"), &action["port"]),
        "grpc" => faults.between(&format!("{path}.port"), &action["port"], 1, 65535),
        "sleep" => faults.not_negative(&format!("{path}.seconds"), &action["seconds"]),
        _ => {}
    }
}

fn port(faults: &mut Faults, path: &str, port: &Value) {
    match port.as_str() {
        Some(name) => faults.named(path, name, names::port_name(name)),
        None => faults.between(path, if port.is_null() { &Value::Null } else { port }, 1, 65535),
    }
}
