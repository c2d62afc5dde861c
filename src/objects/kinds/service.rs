//! Services.
//!
//! Follows `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` (ValidateService and
//! ValidateServiceUpdate) and `pkg/registry/core/service/{strategy,storage/alloc}.go`. Addresses, node ports and the
//! families that follow from them are chosen by `allocation`; what was chosen once is kept here.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::defaulting::{object, objects, or_set, structure};
use crate::lifecycle::{ensure_map, set_or_remove};
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static SERVICE: Declaration = Declaration {
    short_names: &["svc"],
    categories: &["all"],
    status: true,
    selects: &["spec.clusterIP", "spec.type"],
    named: names::dns_1035_label,
    defaults: &[
        ("spec.sessionAffinity", Text("None")),
        ("spec.type", Text("ClusterIP")),
        ("spec.ports[].protocol", Text("TCP")),
    ],
    fill: Some(fill),
    rules: Some(rules),
    changed: Some(changed),
    begin: Some(|value| {
        value["status"] = json!({"loadBalancer": {}});
        mirror_addresses(ensure_map(value, "spec"));
    }),
    keep: Some(keep),
    columns: &[
        NAME,
        Column::text("Type", "How the service is exposed.").showing("spec.type"),
        Column::text("Cluster-IP", "Address of the service inside of the cluster.")
            .made(|service, _| json!(cluster_ip(service))),
        Column::text("External-IP", "Addresses of the service outside of the cluster.")
            .made(|service, _| json!(external_ip(service))),
        Column::text("Port(s)", "Ports of the service, with the nodes' ports.")
            .made(|service, _| json!(ports(service))),
        AGE,
        Column::wide("Selector", "Labels by which the pods are found.")
            .made(|service, _| json!(columns::labels(&service["spec"]["selector"]))),
    ],
    ..Declaration::plain("", "v1", "Service", "services")
};

const AFFINITY_SECONDS: i64 = 10800;
const AFFINITY_SECONDS_MAX: i64 = 86400;

fn fill(map: &mut Map<String, Value>) {
    let balanced = map.get("spec").is_some_and(|spec| spec["type"] == "LoadBalancer");
    if let Some(spec) = object(map.get_mut("spec")) {
        match spec.get("sessionAffinity").and_then(Value::as_str) {
            Some("None") => drop(spec.remove("sessionAffinityConfig")),
            Some("ClientIP") => {
                if let Some(client) =
                    structure(spec, "sessionAffinityConfig").and_then(|config| structure(config, "clientIP"))
                {
                    or_set(client, "timeoutSeconds", AFFINITY_SECONDS);
                }
            }
            _ => {}
        }
        for port in objects(spec.get_mut("ports")) {
            let same = port.get("port").cloned().unwrap_or_default();
            let target = port.entry("targetPort").or_insert(Value::Null);
            if target.is_null() || *target == 0 || *target == "" {
                *target = same;
            }
        }
        let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
        let outside = matches!(kind.as_str(), "LoadBalancer" | "NodePort")
            || (kind == "ClusterIP" && !is_empty(spec.get("externalIPs").unwrap_or(&Value::Null)));
        if outside {
            or_set(spec, "externalTrafficPolicy", "Cluster");
        }
        if matches!(kind.as_str(), "LoadBalancer" | "NodePort" | "ClusterIP") {
            or_set(spec, "internalTrafficPolicy", "Cluster");
        }
        if balanced {
            or_set(spec, "allocateLoadBalancerNodePorts", true);
        }
    }
    if balanced
        && let Some(balancer) = object(map.get_mut("status")).and_then(|status| object(status.get_mut("loadBalancer")))
    {
        for ingress in objects(balancer.get_mut("ingress")).filter(|ingress| ingress.contains_key("ip")) {
            or_set(ingress, "ipMode", "VIP");
        }
    }
}

/// `clusterIP` is the old name of the first of `clusterIPs`.
fn mirror_addresses(spec: &mut Map<String, Value>) {
    let first = spec.get("clusterIP").filter(|address| !is_empty(address)).cloned();
    let all = spec.get("clusterIPs").filter(|all| !is_empty(all)).cloned();
    match (first, all) {
        (Some(first), None) => drop(spec.insert("clusterIPs".into(), json!([first]))),
        (None, Some(all)) => drop(spec.insert("clusterIP".into(), all[0].clone())),
        _ => {}
    }
}

pub(crate) fn has_address(spec: &Value) -> bool {
    matches!(text(spec, "type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

pub(crate) fn has_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

pub(crate) fn has_health_port(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// What was allocated stays while the service still needs it, whether the client repeats it or not; what the new type has
/// no use for goes, unless the client has changed it.
fn keep(old: &Value, new: &mut Value) {
    let (before, after) = (&old["spec"], new["spec"].clone());
    let spec = ensure_map(new, "spec");
    if has_address(before) && has_address(&after) {
        if is_empty(&after["clusterIP"]) && is_empty(&after["clusterIPs"]) {
            set_or_remove(spec, "clusterIP", before["clusterIP"].clone());
        }
        if is_empty(&after["clusterIPs"]) && spec.get("clusterIP") == before.get("clusterIP") {
            set_or_remove(spec, "clusterIPs", before["clusterIPs"].clone());
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if is_empty(&after[key]) {
                set_or_remove(spec, key, before[key].clone());
            }
        }
    } else if has_address(before) && before["clusterIP"] == after["clusterIP"] {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(key);
        }
    }
    mirror_addresses(spec);
    let same = |one: &Value, other: &Value| one["port"] == other["port"] && one["protocol"] == other["protocol"];
    let olds = columns::list(&before["ports"]);
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let given = port["nodePort"].as_i64().unwrap_or(0);
        let held = olds.iter().find(|old| same(old, port)).map_or(0, |old| old["nodePort"].as_i64().unwrap_or(0));
        let Some(port) = port.as_object_mut() else { continue };
        if has_node_ports(before) && has_node_ports(&after) && given == 0 && held != 0 {
            port.insert("nodePort".into(), json!(held));
        } else if has_node_ports(before) && !has_node_ports(&after) && given == held {
            port.remove("nodePort");
        }
    }
    let health = "healthCheckNodePort";
    if has_health_port(before) && has_health_port(&after) && after[health].as_i64().unwrap_or(0) == 0 {
        set_or_remove(spec, health, before[health].clone());
    } else if has_health_port(before) && !has_health_port(&after) && before[health] == after[health] {
        spec.remove(health);
    }
    if before["type"] != after["type"] && after["type"] != "LoadBalancer" {
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if before[key] == after[key] {
                spec.remove(key);
            }
        }
    }
    if before["type"] != after["type"]
        && matches!(text(&after, "type"), "ClusterIP" | "ExternalName")
        && is_empty(&after["externalIPs"])
        && before["externalTrafficPolicy"] == after["externalTrafficPolicy"]
    {
        spec.remove("externalTrafficPolicy");
    }
}

fn rules(faults: &mut Faults, service: &Value) {
    let spec = &service["spec"];
    let kind = text(spec, "type");
    let headless = spec["clusterIP"] == "None";
    if is_empty(&spec["ports"]) && !headless && kind != "ExternalName" {
        faults.required("spec.ports", "");
    }
    faults.supported("spec.type", &spec["type"], &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            faults.invalid("spec.clusterIPs[0]", &json!("None"), detail);
        }
        "ExternalName" => {
            if !is_empty(&spec["clusterIP"]) {
                faults.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
            }
            let name = text(spec, "externalName");
            if name.is_empty() {
                faults.required("spec.externalName", "");
            } else {
                faults.named("spec.externalName", name, names::dns_subdomain(name.trim_end_matches('.')));
            }
        }
        _ => {}
    }
    service_ports(faults, spec, kind);
    faults.labels("spec.selector", &spec["selector"]);
    affinity(faults, spec);
    addresses(faults, spec);
    traffic(faults, spec, kind);
}

fn service_ports(faults: &mut Faults, spec: &Value, kind: &str) {
    let several = columns::list(&spec["ports"]).len() > 1;
    let (mut named, mut numbered, mut on_nodes) = (Vec::new(), Vec::new(), Vec::new());
    for (path, port) in list("spec.ports", &spec["ports"]) {
        let name = text(port, "name");
        if name.is_empty() {
            if several {
                faults.required(&format!("{path}.name"), "");
            }
        } else {
            faults.named(&format!("{path}.name"), name, names::dns_label(name));
            if named.contains(&name) {
                faults.duplicate(&format!("{path}.name"), &port["name"]);
            }
            named.push(name);
        }
        faults.port(&format!("{path}.port"), &port["port"]);
        faults.supported(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        faults.port_or_name(&format!("{path}.targetPort"), &port["targetPort"]);
        faults.may_be_named(&format!("{path}.appProtocol"), &port["appProtocol"], names::label_key);
        if kind == "LoadBalancer" && port["port"] == 10250 {
            let detail = "may not expose port 10250 externally since it is used by kubelet";
            faults.invalid(&format!("{path}.port"), &port["port"], detail);
        }
        let key = (text(port, "protocol"), port["port"].as_i64());
        if numbered.contains(&key) {
            faults.duplicate(&path, &json!({"port": port["port"], "protocol": port["protocol"]}));
        }
        numbered.push(key);
        let on_node = port["nodePort"].as_i64().unwrap_or(0);
        if on_node != 0 {
            if matches!(kind, "ClusterIP" | "ExternalName") {
                faults.forbidden(&format!("{path}.nodePort"), format!("may not be used when `type` is '{kind}'"));
            }
            faults.port(&format!("{path}.nodePort"), &port["nodePort"]);
            let key = (text(port, "protocol"), on_node);
            if on_nodes.contains(&key) {
                faults.duplicate(&format!("{path}.nodePort"), &port["nodePort"]);
            }
            on_nodes.push(key);
        }
    }
}

fn affinity(faults: &mut Faults, spec: &Value) {
    faults.supported("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]);
    let config = &spec["sessionAffinityConfig"];
    if spec["sessionAffinity"] == "ClientIP" {
        let seconds = &config["clientIP"]["timeoutSeconds"];
        if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.as_i64().unwrap_or(0)) {
            let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
            faults.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, detail);
        }
    } else if !config.is_null() {
        let detail = "must not be set when session affinity is None";
        faults.forbidden("spec.sessionAffinityConfig", detail);
    }
}

fn addresses(faults: &mut Faults, spec: &Value) {
    for (path, address) in list("spec.clusterIPs", &spec["clusterIPs"]) {
        if address == "None" && path.ends_with("[0]") {
            if columns::list(&spec["clusterIPs"]).len() > 1 {
                faults.invalid("spec.clusterIPs", &spec["clusterIPs"], "'None' must be the first and only value");
            }
        } else {
            faults.address(&path, address);
        }
    }
    if columns::list(&spec["clusterIPs"]).first().unwrap_or(&Value::Null) != &spec["clusterIP"]
        && !(is_empty(&spec["clusterIP"]) && is_empty(&spec["clusterIPs"]))
    {
        faults.invalid("spec.clusterIPs[0]", &spec["clusterIPs"], "first value must match `clusterIP`");
    }
    if columns::list(&spec["clusterIPs"]).len() > 2 {
        faults.invalid("spec.clusterIPs", &spec["clusterIPs"], "may only hold up to 2 values");
    }
    for (path, address) in list("spec.externalIPs", &spec["externalIPs"]) {
        faults.address(&path, address);
        let unusable = address
            .as_str()
            .and_then(|text| text.parse::<std::net::IpAddr>().ok())
            .is_some_and(|ip| ip.is_unspecified() || ip.is_loopback() || ip.is_multicast());
        if unusable {
            faults.invalid(&path, address, "may not be unspecified, in the loopback range or a multicast address");
        }
    }
    let mut seen: Vec<&Value> = Vec::new();
    for (path, family) in list("spec.ipFamilies", &spec["ipFamilies"]) {
        faults.one_of(&path, family, &["IPv4", "IPv6"]);
        if seen.contains(&family) {
            faults.duplicate(&path, family);
        }
        seen.push(family);
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    faults.one_of("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], &policies);
}

fn traffic(faults: &mut Faults, spec: &Value, kind: &str) {
    let only_balanced = "may only be used when `type` is 'LoadBalancer'";
    for (path, range) in list("spec.loadBalancerSourceRanges", &spec["loadBalancerSourceRanges"]) {
        faults.cidr(&path, range);
    }
    if kind != "LoadBalancer" {
        for key in ["loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if !is_empty(&spec[key]) {
                faults.forbidden(&format!("spec.{key}"), only_balanced);
            }
        }
    }
    faults.may_be_named("spec.loadBalancerClass", &spec["loadBalancerClass"], names::label_key);
    let outside =
        matches!(kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && !is_empty(&spec["externalIPs"]));
    if !is_empty(&spec["externalTrafficPolicy"]) && !outside {
        let detail = "may only be set for externally-accessible services";
        faults.invalid("spec.externalTrafficPolicy", &spec["externalTrafficPolicy"], detail);
    } else if outside {
        faults.supported("spec.externalTrafficPolicy", &spec["externalTrafficPolicy"], &["Cluster", "Local"]);
    }
    if spec["healthCheckNodePort"].as_i64().unwrap_or(0) != 0 {
        faults.port("spec.healthCheckNodePort", &spec["healthCheckNodePort"]);
    }
    if spec["healthCheckNodePort"].as_i64().unwrap_or(0) != 0 && !has_health_port(spec) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        faults.invalid("spec.healthCheckNodePort", &spec["healthCheckNodePort"], detail);
    }
    if has_address(spec) {
        faults.supported("spec.internalTrafficPolicy", &spec["internalTrafficPolicy"], &["Cluster", "Local"]);
    }
    let near = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    faults.one_of("spec.trafficDistribution", &spec["trafficDistribution"], &near);
}

fn changed(faults: &mut Faults, old: &Value, new: &Value) {
    rules(faults, new);
    let (before, after) = (&old["spec"], &new["spec"]);
    // Between types an address may come or go; while both need one, it stays.
    if has_address(before) && has_address(after) && !is_empty(&before["clusterIP"]) {
        if before["clusterIP"] != after["clusterIP"] {
            faults.invalid("spec.clusterIPs[0]", &json!([after["clusterIP"]]), "may not change once set");
        }
        let second = |spec: &Value| spec["clusterIPs"].get(1).cloned();
        if let (Some(was), Some(is)) = (second(before), second(after))
            && was != is
        {
            faults.invalid("spec.clusterIPs[1]", &after["clusterIPs"], "may not change once set");
        }
        if before["ipFamilies"][0] != after["ipFamilies"][0] && !is_empty(&before["ipFamilies"]) {
            faults.invalid("spec.ipFamilies[0]", &after["ipFamilies"][0], "may not change once set");
        }
    }
    if has_health_port(before) && has_health_port(after) && !before["healthCheckNodePort"].is_null() {
        let field = "healthCheckNodePort";
        faults.immutable("spec.healthCheckNodePort", &before[field], &after[field]);
    }
    if before["type"] == "LoadBalancer" && after["type"] == "LoadBalancer" {
        let class = "loadBalancerClass";
        if before[class] != after[class] {
            faults.invalid("spec.loadBalancerClass", &after[class], "may not change once set");
        }
    }
}

fn cluster_ip(service: &Value) -> &str {
    let first = columns::list(&service["spec"]["clusterIPs"]).first();
    columns::text_or(first.unwrap_or(&service["spec"]["clusterIP"]), "<none>")
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let external: Vec<&str> = columns::list(&spec["externalIPs"]).iter().map(columns::text).collect();
    let external = external.join(",");
    let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
    match text(spec, "type") {
        "ClusterIP" | "NodePort" => or(external, "<none>"),
        "LoadBalancer" => {
            let mut balanced: Vec<&str> = columns::list(&service["status"]["loadBalancer"]["ingress"])
                .iter()
                .map(|ingress| columns::text_or(&ingress["ip"], columns::text(&ingress["hostname"])))
                .filter(|address| !address.is_empty())
                .collect();
            balanced.sort_unstable();
            balanced.dedup();
            let parts = [balanced.join(","), external];
            or(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","), "<pending>")
        }
        "ExternalName" => text(spec, "externalName").to_owned(),
        _ => "<unknown>".into(),
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = columns::list(&service["spec"]["ports"])
        .iter()
        .map(|port| match port["nodePort"].as_i64().unwrap_or(0) {
            0 => format!("{}/{}", port["port"], text(port, "protocol")),
            on_node => format!("{}:{on_node}/{}", port["port"], text(port, "protocol")),
        })
        .collect();
    if ports.is_empty() { "<none>".into() } else { ports.join(",") }
}
