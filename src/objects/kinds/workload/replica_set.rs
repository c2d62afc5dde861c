//! Replica sets.
//!
//! Follows `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go` and
//! `pkg/registry/apps/replicaset/strategy.go`.

use serde_json::{Map, Value, json};

use super::{TEMPLATE_COLUMNS, counters, fill_template, replicas_and_template, selector_or_none};
use crate::columns::{AGE, Column, NAME};
use crate::defaulting::Default::Number;
use crate::defaulting::object;
use crate::kinds::Declaration;
use crate::validation::Faults;

pub(in crate::kinds) static REPLICA_SET: Declaration = Declaration {
    short_names: &["rs"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: true,
    selects: &["status.replicas"],
    defaults: &[("spec.replicas", Number(1))],
    fill: Some(fill),
    rules: Some(rules),
    immutable: &["spec.selector"],
    begin: Some(|value| value["status"] = json!({"replicas": 0})),
    columns: &[
        NAME,
        Column::integer("Desired", "How many pods there should be.").number("spec.replicas"),
        Column::integer("Current", "How many pods there are.").number("status.replicas"),
        Column::integer("Ready", "How many pods are ready.").number("status.readyReplicas"),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
        TEMPLATE_COLUMNS[2].made(|object, _| json!(selector_or_none(object))),
    ],
    ..Declaration::plain("apps", "v1", "ReplicaSet", "replicasets")
};

fn fill(map: &mut Map<String, Value>) {
    if let Some(spec) = object(map.get_mut("spec")) {
        fill_template(spec, "template");
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    replicas_and_template(faults, spec, "ReplicaSet");
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    let status = &value["status"];
    counters(
        faults,
        status,
        &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
    );
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if count(field) > count("replicas") {
            faults.invalid(&format!("status.{field}"), &status[field], "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        faults.invalid(
            "status.availableReplicas",
            &status["availableReplicas"],
            "cannot be greater than readyReplicas",
        );
    }
}
