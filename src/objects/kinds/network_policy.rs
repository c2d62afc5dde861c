//! NetworkPolicies.
//!
//! Follows `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go` and
//! `pkg/registry/networking/networkpolicy/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::workload::{label_selector, selector};
use crate::columns::{AGE, Column, NAME};
use crate::defaulting::{object, objects, or_set};
use crate::validation::{Faults, cidr, is_empty, list};

pub(super) static NETWORK_POLICY: Declaration = Declaration {
    stored_only: true,
    short_names: &["netpol"],
    generation: true,
    fill: Some(fill),
    rules: Some(rules),
    columns: &[
        NAME,
        Column::text("Pod-Selector", "Which pods the policy is about.").made(|object, _| {
            let selector = selector(&object["spec"]["podSelector"]);
            json!(if selector.is_empty() { "<none>".into() } else { selector })
        }),
        AGE,
    ],
    ..Declaration::plain("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
};

/// The two directions: list of rules, and where their peers stand.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if is_empty(spec.get("policyTypes").unwrap_or(&Value::Null)) {
        // A policy is about what comes in, and about what goes out where it says so.
        let out = !is_empty(spec.get("egress").unwrap_or(&Value::Null));
        spec.insert("policyTypes".into(), if out { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
    for (direction, _) in DIRECTIONS {
        for rule in objects(spec.get_mut(direction)) {
            objects(rule.get_mut("ports")).for_each(|port| or_set(port, "protocol", "TCP"));
        }
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    label_selector(faults, "spec.podSelector", &spec["podSelector"]);
    for (direction, peers) in DIRECTIONS {
        for (path, rule) in list(&format!("spec.{direction}"), &spec[direction]) {
            for (path, port) in list(&format!("{path}.ports"), &rule["ports"]) {
                self::port(faults, &path, port);
            }
            for (path, peer) in list(&format!("{path}.{peers}"), &rule[peers]) {
                self::peer(faults, &path, peer);
            }
        }
    }
    if spec["policyTypes"].as_array().is_some_and(|kinds| kinds.len() > 2) {
        faults.invalid("spec.policyTypes", &spec["policyTypes"], "may not specify more than two policyTypes");
        return;
    }
    for (path, kind) in list("spec.policyTypes", &spec["policyTypes"]) {
        faults.one_of(&path, kind, &["Egress", "Ingress"]);
    }
}

fn port(faults: &mut Faults, path: &str, port: &Value) {
    faults.one_of(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    if !port["port"].is_null() {
        faults.port_or_name(&format!("{path}.port"), &port["port"]);
    }
    let end = &port["endPort"];
    if end.is_null() {
        return;
    }
    let at = format!("{path}.endPort");
    faults.port(&at, end);
    match port["port"].as_i64() {
        Some(first) if end.as_i64().is_some_and(|end| end < first) => {
            faults.invalid(&at, end, "must be greater than or equal to `port`");
        }
        Some(_) => {}
        None if port["port"].is_string() => {
            faults.invalid(&at, end, "may not be specified when `port` is non-numeric");
        }
        None => faults.invalid(&at, end, "may not be specified when `port` is not specified"),
    }
}

fn peer(faults: &mut Faults, path: &str, peer: &Value) {
    let selectors = ["podSelector", "namespaceSelector"];
    for key in selectors {
        label_selector(faults, &format!("{path}.{key}"), &peer[key]);
    }
    let selects = selectors.iter().any(|key| !peer[*key].is_null());
    let block = &peer["ipBlock"];
    match (selects, block.is_null()) {
        (false, true) => faults.required(path, "must specify a peer"),
        (true, false) => faults.forbidden(path, "may not specify both ipBlock and another peer"),
        _ => {}
    }
    if block.is_null() {
        return;
    }
    let at = format!("{path}.ipBlock");
    if !faults.needs(&format!("{at}.cidr"), &block["cidr"]) {
        return;
    }
    faults.cidr(&format!("{at}.cidr"), &block["cidr"]);
    let whole = block["cidr"].as_str().and_then(cidr);
    for (path, part) in list(&format!("{at}.except"), &block["except"]) {
        faults.cidr(&path, part);
        if let (Some((_, whole_bits)), Some((_, bits))) = (whole, part.as_str().and_then(cidr))
            && bits <= whole_bits
        {
            faults.invalid(&path, part, "must be a strict subset of `cidr`");
        }
    }
}
