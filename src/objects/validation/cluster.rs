//! Rules of Nodes, Namespaces, Events and Leases.

use serde_json::{Value, json};

use super::{Faults, list, names, pod, text};
use crate::quantity::Quantity;

pub(super) fn namespace(faults: &mut Faults, value: &Value) {
    for (path, finalizer) in list("spec.finalizers", &value["spec"]["finalizers"]) {
        let name = finalizer.as_str().unwrap_or("");
        faults.named(&path, name, names::label_key(name));
        if !name.contains('/') && name != "kubernetes" {
            faults.invalid(&path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    if value["metadata"]["deletionTimestamp"].is_null() && value["status"]["phase"] == "Terminating" {
        let detail = "may only be 'Active' if `deletionTimestamp` is empty";
        faults.invalid("status.phase", &value["status"]["phase"], detail);
    }
}

pub(super) fn node(faults: &mut Faults, value: &Value) {
    taints(faults, &value["spec"]["taints"]);
    for list_name in ["capacity", "allocatable"] {
        for (name, amount) in value["status"][list_name].as_object().into_iter().flatten() {
            let path = format!("status.{list_name}[{name}]");
            if Quantity::from_value(amount).is_ok_and(|quantity| quantity.sign() < 0) {
                faults.invalid(&path, amount, "must be greater than or equal to 0");
            }
        }
    }
    let mut seen: Vec<&Value> = Vec::new();
    for (path, address) in list("status.addresses", &value["status"]["addresses"]) {
        if seen.contains(&address) {
            faults.duplicate(&path, address);
        }
        seen.push(address);
    }
}

pub(super) fn node_update(faults: &mut Faults, old: &Value, new: &Value) {
    node(faults, new);
    let provider = &old["spec"]["providerID"];
    if !provider.is_null() && provider != "" && *provider != new["spec"]["providerID"] {
        faults.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
    }
    let cidrs = &old["spec"]["podCIDRs"];
    if cidrs.as_array().is_some_and(|list| !list.is_empty()) && *cidrs != new["spec"]["podCIDRs"] {
        faults.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
    }
}

fn taints(faults: &mut Faults, taints: &Value) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (path, taint) in list("spec.taints", taints) {
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        faults.named(&format!("{path}.key"), key, names::label_key(key));
        let value = text(taint, "value");
        faults.named(&format!("{path}.value"), value, names::label_value(value));
        if effect.is_empty() {
            faults.required(&format!("{path}.effect"), "");
        } else {
            faults.one_of(&format!("{path}.effect"), &taint["effect"], &pod::EFFECTS);
        }
        if seen.contains(&(key, effect)) {
            faults.duplicate(&path, taint);
        }
        seen.push((key, effect));
    }
}

pub(super) fn lease(faults: &mut Faults, spec: &Value) {
    faults.positive("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"]);
    faults.not_negative("spec.leaseTransitions", &spec["leaseTransitions"]);
    if spec["holderIdentity"] == "" {
        faults.invalid("spec.holderIdentity", &json!(""), "must not be empty");
    }
}

/// An event lies in the namespace of what it is about; events about cluster-scoped objects in `default`.
pub(super) fn event(faults: &mut Faults, value: &Value) {
    let own = text(&value["metadata"], "namespace");
    let about = &value["involvedObject"];
    match text(about, "namespace") {
        "" if !matches!(own, "" | "default" | "kube-system") => {
            faults.invalid("involvedObject.namespace", &json!(""), "does not match event.namespace");
        }
        "" => {}
        namespace if namespace != own => {
            faults.invalid("involvedObject.namespace", &about["namespace"], "does not match event.namespace");
        }
        _ => {}
    }
    if !value["eventTime"].is_null() {
        // Events of the newer kind say who reported what.
        for (field, most) in [("reportingComponent", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)] {
            match text(value, field) {
                "" => faults.required(field, ""),
                text if most > 0 && text.len() > most => {
                    faults.invalid(field, &value[field], format!("can have at most {most} characters"));
                }
                _ => {}
            }
        }
        if text(value, "message").len() > 1024 {
            faults.invalid("message", &json!(""), "can have at most 1024 characters");
        }
    }
    let kind = text(value, "type");
    if !value["eventTime"].is_null() || !kind.is_empty() {
        faults.one_of("type", &json!(kind), &["Normal", "Warning"]);
    }
}

pub(super) fn event_update(faults: &mut Faults, old: &Value, new: &Value) {
    event(faults, new);
    if !old["eventTime"].is_null() {
        for field in [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "type",
            "eventTime",
            "action",
            "related",
        ] {
            faults.immutable(field, &old[field], &new[field]);
        }
    }
}
