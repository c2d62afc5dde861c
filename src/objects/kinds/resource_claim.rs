//! Devices that pods claim: claims and their templates, classes, slices of what nodes have, and taints.
//!
//! Follows `pkg/apis/resource/v1/defaults.go`, `pkg/apis/resource/validation/validation.go` and
//! `pkg/registry/resource/*/strategy.go`. Expressions are taken as they come.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::pod::affinity;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::{object, objects, or_set};
use crate::validation::{Faults, is_empty, list, names, text};

const GROUP: &str = "resource.k8s.io";

pub(super) static RESOURCE_CLAIM: Declaration = Declaration {
    stored_only: true,
    status: true,
    fill: Some(|map| {
        if let Some(spec) = object(map.get_mut("spec")) {
            requests(spec);
        }
    }),
    rules: Some(|faults, value| devices(faults, "spec.devices", &value["spec"]["devices"])),
    immutable: &["spec"],
    columns: &[
        NAME,
        Column::text("State", "Whether the claim has devices, and pods use it.").made(|object, _| json!(state(object))),
        AGE,
    ],
    ..Declaration::plain(GROUP, "v1", "ResourceClaim", "resourceclaims")
};

pub(super) static RESOURCE_CLAIM_TEMPLATE: Declaration = Declaration {
    stored_only: true,
    fill: Some(|map| {
        if let Some(spec) = object(map.get_mut("spec")).and_then(|spec| object(spec.get_mut("spec"))) {
            requests(spec);
        }
    }),
    rules: Some(|faults, value| devices(faults, "spec.spec.devices", &value["spec"]["spec"]["devices"])),
    immutable: &["spec"],
    columns: &[NAME, AGE],
    ..Declaration::plain(GROUP, "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
};

pub(super) static DEVICE_CLASS: Declaration = Declaration {
    stored_only: true,
    generation: true,
    rules: Some(|faults, value| {
        let spec = &value["spec"];
        selectors(faults, "spec.selectors", &spec["selectors"]);
        configs(faults, "spec.config", &spec["config"]);
        faults.may_be_named("spec.extendedResourceName", &spec["extendedResourceName"], names::label_key);
    }),
    columns: &[NAME, AGE],
    ..Declaration::cluster(GROUP, "v1", "DeviceClass", "deviceclasses")
};

pub(super) static RESOURCE_SLICE: Declaration = Declaration {
    stored_only: true,
    generation: true,
    selects: &["spec.nodeName", "spec.driver"],
    fill: Some(slice_defaults),
    rules: Some(slice),
    immutable: &["spec.driver", "spec.pool.name", "spec.nodeName"],
    columns: &[
        NAME,
        Column::text("Node", "The node that has the devices.").showing_or("spec.nodeName", "<unset>"),
        Column::text("Driver", "Whose devices these are.").showing("spec.driver"),
        Column::text("Pool", "To which pool they belong.").showing("spec.pool.name"),
        AGE,
    ],
    ..Declaration::cluster(GROUP, "v1", "ResourceSlice", "resourceslices")
};

pub(super) static DEVICE_TAINT_RULE: Declaration = Declaration {
    stored_only: true,
    status: true,
    generation: true,
    rules: Some(|faults, value| taint(faults, "spec.taint", &value["spec"]["taint"])),
    columns: &[NAME, AGE],
    ..Declaration::cluster(GROUP, "v1", "DeviceTaintRule", "devicetaintrules")
};

const REQUESTS_MAX: usize = 32;
const DEVICES_MAX: usize = 128;
const SELECTORS_MAX: usize = 32;

/// How many devices each request is about, where it does not say.
fn requests(spec: &mut Map<String, Value>) {
    let Some(devices) = object(spec.get_mut("devices")) else { return };
    for request in objects(devices.get_mut("requests")) {
        if let Some(exactly) = object(request.get_mut("exactly")) {
            count(exactly);
        }
        objects(request.get_mut("firstAvailable")).for_each(count);
    }
}

fn count(request: &mut Map<String, Value>) {
    or_set(request, "allocationMode", "ExactCount");
    let counted = request.get("allocationMode").is_some_and(|mode| mode == "ExactCount");
    if counted && request.get("count").and_then(Value::as_i64).unwrap_or(0) == 0 {
        request.insert("count".into(), json!(1));
    }
}

fn slice_defaults(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    for device in objects(spec.get_mut("devices")) {
        let mappings = device.get_mut("nodeAllocatableResourceMappings").and_then(Value::as_object_mut);
        for mapping in mappings.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            or_set(mapping, "allocationMultiplier", "1");
        }
    }
}

fn devices(faults: &mut Faults, path: &str, devices: &Value) {
    if columns::list(&devices["requests"]).len() > REQUESTS_MAX {
        faults.too_long(&format!("{path}.requests"), REQUESTS_MAX);
    }
    let mut seen = Vec::new();
    for (path, request) in list(&format!("{path}.requests"), &devices["requests"]) {
        let name = text(request, "name");
        faults.needs_name(&format!("{path}.name"), &request["name"], names::dns_label);
        if seen.contains(&name) {
            faults.duplicate(&format!("{path}.name"), &request["name"]);
        }
        seen.push(name);
        match (request["exactly"].is_null(), is_empty(&request["firstAvailable"])) {
            (true, true) => faults.required(&path, "exactly one of `exactly` or `firstAvailable` is required"),
            (false, false) => {
                faults.invalid(
                    &path,
                    &json!(null),
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                );
            }
            (false, true) => self::request(faults, &format!("{path}.exactly"), &request["exactly"]),
            (true, false) => {
                for (path, one) in list(&format!("{path}.firstAvailable"), &request["firstAvailable"]) {
                    faults.needs_name(&format!("{path}.name"), &one["name"], names::dns_label);
                    self::request(faults, &path, one);
                }
            }
        }
    }
    for (path, constraint) in list(&format!("{path}.constraints"), &devices["constraints"]) {
        for (path, name) in list(&format!("{path}.requests"), &constraint["requests"]) {
            let whole = columns::text(name);
            if !seen.contains(&whole.split('/').next().unwrap_or(whole)) {
                faults.invalid(&path, name, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'");
            }
        }
        if ["matchAttribute", "distinctAttribute"].iter().all(|key| is_empty(&constraint[*key])) {
            faults.required(&format!("{path}.matchAttribute"), "");
        }
    }
    configs(faults, &format!("{path}.config"), &devices["config"]);
}

fn request(faults: &mut Faults, path: &str, request: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    faults.needs_name(&at("deviceClassName"), &request["deviceClassName"], names::dns_subdomain);
    selectors(faults, &at("selectors"), &request["selectors"]);
    match text(request, "allocationMode") {
        "All" if request["count"].as_i64().unwrap_or(0) != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            faults.invalid(&at("count"), &request["count"], detail);
        }
        "All" => {}
        "ExactCount" => {
            if request["count"].as_i64().unwrap_or(0) <= 0 {
                faults.invalid(&at("count"), &request["count"], "must be greater than zero");
            }
        }
        _ => faults.supported(&at("allocationMode"), &request["allocationMode"], &["All", "ExactCount"]),
    }
    for (path, toleration) in list(&at("tolerations"), &request["tolerations"]) {
        faults.may_be_named(&format!("{path}.key"), &toleration["key"], names::label_key);
        faults.supported(&format!("{path}.operator"), &toleration["operator"], &["Equal", "Exists"]);
        if !is_empty(&toleration["effect"]) {
            faults.one_of(&format!("{path}.effect"), &toleration["effect"], &EFFECTS);
        }
    }
}

const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

fn selectors(faults: &mut Faults, path: &str, selectors: &Value) {
    if columns::list(selectors).len() > SELECTORS_MAX {
        faults.too_long(path, SELECTORS_MAX);
    }
    for (path, selector) in list(path, selectors) {
        if selector["cel"].is_null() {
            faults.required(&format!("{path}.cel"), "");
        } else {
            faults.needs(&format!("{path}.cel.expression"), &selector["cel"]["expression"]);
        }
    }
}

fn configs(faults: &mut Faults, path: &str, configs: &Value) {
    for (path, config) in list(path, configs) {
        if config["opaque"].is_null() {
            faults.required(&format!("{path}.opaque"), "");
            continue;
        }
        faults.needs_name(&format!("{path}.opaque.driver"), &config["opaque"]["driver"], names::dns_subdomain);
        if !config["opaque"]["parameters"].is_object() {
            faults.required(&format!("{path}.opaque.parameters"), "");
        }
    }
}

fn slice(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.needs_name("spec.driver", &spec["driver"], names::dns_subdomain);
    faults.needs("spec.pool.name", &spec["pool"]["name"]);
    for part in text(&spec["pool"], "name").split('/').filter(|part| !part.is_empty()) {
        faults.named("spec.pool.name", part, names::dns_subdomain(part));
    }
    if spec["pool"]["resourceSliceCount"].as_i64().unwrap_or(0) <= 0 {
        let count = &spec["pool"]["resourceSliceCount"];
        faults.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero");
    }
    faults.not_negative("spec.pool.generation", &spec["pool"]["generation"]);
    let places = [
        !is_empty(&spec["nodeName"]),
        !spec["nodeSelector"].is_null(),
        spec["allNodes"] == true,
        spec["perDeviceNodeSelection"] == true,
    ];
    match places.iter().filter(|place| **place).count() {
        0 => {
            let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
            faults.required("spec", detail);
        }
        1 => {}
        _ => {
            let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but \
                          multiple fields are set";
            faults.invalid("spec", &json!(null), detail);
        }
    }
    faults.may_be_named("spec.nodeName", &spec["nodeName"], names::dns_subdomain);
    if !spec["nodeSelector"].is_null() {
        affinity::node_selector(faults, "spec.nodeSelector", &spec["nodeSelector"]);
    }
    if columns::list(&spec["devices"]).len() > DEVICES_MAX {
        faults.too_long("spec.devices", DEVICES_MAX);
    }
    let mut seen = Vec::new();
    for (path, device) in list("spec.devices", &spec["devices"]) {
        faults.needs_name(&format!("{path}.name"), &device["name"], names::dns_label);
        if seen.contains(&text(device, "name")) {
            faults.duplicate(&format!("{path}.name"), &device["name"]);
        }
        seen.push(text(device, "name"));
        for (path, one) in list(&format!("{path}.taints"), &device["taints"]) {
            taint(faults, &path, one);
        }
        for (name, attribute) in device["attributes"].as_object().into_iter().flatten() {
            let given = crate::validation::present(attribute, &[]).len();
            if given != 1 {
                let path = format!("{path}.attributes[{name}]");
                faults.required(&path, "exactly one value must be specified");
            }
        }
    }
}

fn taint(faults: &mut Faults, path: &str, taint: &Value) {
    faults.needs_name(&format!("{path}.key"), &taint["key"], names::label_key);
    faults.may_be_named(&format!("{path}.value"), &taint["value"], names::label_value);
    faults.supported(&format!("{path}.effect"), &taint["effect"], &EFFECTS);
}

fn state(object: &Value) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "deleted".into();
    }
    let status = &object["status"];
    let mut words = vec![if status["allocation"].is_null() { "pending" } else { "allocated" }];
    if !is_empty(&status["reservedFor"]) {
        words.push("reserved");
    }
    words.join(",")
}
