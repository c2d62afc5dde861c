//! Rules of affinities, tolerations, host aliases and topology spread: where a pod may and may not go.

use serde_json::{Value, json};

use super::rules::EFFECTS;
use crate::kinds::workload::{label_selector, set_operator};
use crate::validation::{Faults, list, names, text};

pub(in crate::kinds) fn affinity(faults: &mut Faults, path: &str, affinity: &Value) {
    let node = format!("{path}.nodeAffinity");
    let needed = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    if !needed.is_null() {
        node_selector(faults, &format!("{node}.requiredDuringSchedulingIgnoredDuringExecution"), needed);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (path, term) in list(&format!("{node}.{preferred}"), &affinity["nodeAffinity"][preferred]) {
        weight(faults, &path, term);
        node_term(faults, &format!("{path}.preference"), &term["preference"]);
    }
    for side in ["podAffinity", "podAntiAffinity"] {
        let needed = "requiredDuringSchedulingIgnoredDuringExecution";
        for (path, term) in list(&format!("{path}.{side}.{needed}"), &affinity[side][needed]) {
            pod_term(faults, &path, term);
        }
        for (path, term) in list(&format!("{path}.{side}.{preferred}"), &affinity[side][preferred]) {
            weight(faults, &path, term);
            pod_term(faults, &format!("{path}.podAffinityTerm"), &term["podAffinityTerm"]);
        }
    }
}

/// Rules of a `NodeSelector`, of which one term must match.
pub(in crate::kinds) fn node_selector(faults: &mut Faults, path: &str, selector: &Value) {
    let path = format!("{path}.nodeSelectorTerms");
    if selector["nodeSelectorTerms"].as_array().is_none_or(Vec::is_empty) {
        faults.required(&path, "must have at least one node selector term");
    }
    for (path, term) in list(&path, &selector["nodeSelectorTerms"]) {
        node_term(faults, &path, term);
    }
}

fn weight(faults: &mut Faults, path: &str, term: &Value) {
    if !(1..=100).contains(&term["weight"].as_i64().unwrap_or(0)) {
        faults.invalid(&format!("{path}.weight"), &term["weight"], "must be in the range 1-100");
    }
}

fn node_term(faults: &mut Faults, path: &str, term: &Value) {
    for (path, expression) in list(&format!("{path}.matchExpressions"), &term["matchExpressions"]) {
        let key = text(expression, "key");
        node_requirement(faults, &path, expression);
        faults.named(&format!("{path}.key"), key, names::label_key(key));
    }
    for (path, expression) in list(&format!("{path}.matchFields"), &term["matchFields"]) {
        if text(expression, "key") != "metadata.name" {
            faults.invalid(&format!("{path}.key"), &expression["key"], "not a valid field selector key");
        }
        let values = expression["values"].as_array().map_or(0, Vec::len);
        if values != 1 {
            faults.required(
                &format!("{path}.values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            );
        }
    }
}

fn node_requirement(faults: &mut Faults, path: &str, expression: &Value) {
    match text(expression, "operator") {
        "Gt" | "Lt" => {
            if expression["values"].as_array().map_or(0, Vec::len) != 1 {
                faults.required(
                    &format!("{path}.values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        _ => set_operator(faults, path, expression),
    }
}

fn pod_term(faults: &mut Faults, path: &str, term: &Value) {
    for selector in ["labelSelector", "namespaceSelector"] {
        label_selector(faults, &format!("{path}.{selector}"), &term[selector]);
    }
    for (path, namespace) in list(&format!("{path}.namespaces"), &term["namespaces"]) {
        let name = namespace.as_str().unwrap_or("");
        faults.named(&path, name, names::dns_label(name));
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        faults.required(&format!("{path}.topologyKey"), "can not be empty");
    } else {
        faults.named(&format!("{path}.topologyKey"), key, names::label_key(key));
    }
}

pub(in crate::kinds) fn tolerations(faults: &mut Faults, path: &str, tolerations: &Value) {
    for (path, toleration) in list(path, tolerations) {
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            faults.named(&format!("{path}.key"), key, names::label_key(key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            faults.invalid(&format!("{path}.operator"), &json!(operator), detail);
        }
        if !toleration["tolerationSeconds"].is_null() && text(toleration, "effect") != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            faults.invalid(&format!("{path}.effect"), &json!(text(toleration, "effect")), detail);
        }
        let value = text(toleration, "value");
        match operator {
            "" | "Equal" => {
                for fault in names::label_value(value) {
                    faults.invalid(&format!("{path}.operator"), &json!(value), fault);
                }
            }
            "Exists" if !value.is_empty() => {
                faults.invalid(
                    &format!("{path}.operator"),
                    toleration,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            "Exists" => {}
            _ => faults.one_of(&format!("{path}.operator"), &toleration["operator"], &["Equal", "Exists"]),
        }
        if !text(toleration, "effect").is_empty() {
            faults.one_of(&format!("{path}.effect"), &toleration["effect"], &EFFECTS);
        }
    }
}

pub(in crate::kinds) fn topology_spread(faults: &mut Faults, path: &str, constraints: &Value) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (path, constraint) in list(path, constraints) {
        let (key, when) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        faults.positive(&format!("{path}.maxSkew"), &constraint["maxSkew"]);
        if key.is_empty() {
            faults.required(&format!("{path}.topologyKey"), "can not be empty");
        } else {
            faults.named(&format!("{path}.topologyKey"), key, names::label_key(key));
        }
        faults.one_of(&format!("{path}.whenUnsatisfiable"), &json!(when), &["DoNotSchedule", "ScheduleAnyway"]);
        faults.positive(&format!("{path}.minDomains"), &constraint["minDomains"]);
        if !constraint["minDomains"].is_null() && when != "DoNotSchedule" {
            let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
            faults.invalid(&format!("{path}.minDomains"), &constraint["minDomains"], detail);
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            faults.one_of(&format!("{path}.{policy}"), &constraint[policy], &["Honor", "Ignore"]);
        }
        label_selector(faults, &format!("{path}.labelSelector"), &constraint["labelSelector"]);
        if seen.contains(&(key, when)) {
            faults
                .duplicate(&format!("{path}.{{topologyKey, whenUnsatisfiable}}"), &json!(format!("{{{key}, {when}}}")));
        }
        seen.push((key, when));
    }
}

pub(in crate::kinds) fn host_aliases(faults: &mut Faults, path: &str, aliases: &Value) {
    for (path, alias) in list(path, aliases) {
        let address = text(alias, "ip");
        if address.parse::<std::net::IpAddr>().is_err() {
            faults.invalid(
                &format!("{path}.ip"),
                &alias["ip"],
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        for (_, name) in list("", &alias["hostnames"]) {
            let name = name.as_str().unwrap_or("");
            faults.named(&format!("{path}.hostnames"), name, names::dns_subdomain(name));
        }
    }
}
