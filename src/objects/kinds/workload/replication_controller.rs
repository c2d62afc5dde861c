//! Replication controllers, the elders of replica sets.
//!
//! Follows `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` and
//! `pkg/registry/core/replicationcontroller/strategy.go`.

use serde_json::{Map, Value, json};

use super::{TEMPLATE_COLUMNS, counters, fill_template, lasting_template, mismatch};
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Number;
use crate::defaulting::{object, structure};
use crate::kinds::Declaration;
use crate::validation::{Faults, is_empty};

pub(in crate::kinds) static REPLICATION_CONTROLLER: Declaration = Declaration {
    stored_only: true,
    short_names: &["rc"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: true,
    selects: &["status.replicas"],
    defaults: &[("spec.replicas", Number(1))],
    fill: Some(fill),
    rules: Some(rules),
    begin: Some(|value| value["status"] = json!({"replicas": 0})),
    orphans: true,
    columns: &[
        NAME,
        Column::integer("Desired", "How many pods there should be.").number("spec.replicas"),
        Column::integer("Current", "How many pods there are.").number("status.replicas"),
        Column::integer("Ready", "How many pods are ready.").number("status.readyReplicas"),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
        TEMPLATE_COLUMNS[2].made(|object, _| json!(columns::labels(&object["spec"]["selector"]))),
    ],
    ..Declaration::plain("", "v1", "ReplicationController", "replicationcontrollers")
};

/// Selector and labels are those of the template where they are not given.
fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    fill_template(spec, "template");
    let labels = spec.get("template").map(|template| template["metadata"]["labels"].clone()).unwrap_or_default();
    if is_empty(&labels) {
        return;
    }
    if is_empty(spec.get("selector").unwrap_or(&Value::Null)) {
        spec.insert("selector".into(), labels.clone());
    }
    if let Some(metadata) = structure(map, "metadata")
        && is_empty(metadata.get("labels").unwrap_or(&Value::Null))
    {
        metadata.insert("labels".into(), labels);
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    faults.not_negative("spec.replicas", &spec["replicas"]);
    let (selector, template) = (&spec["selector"], &spec["template"]);
    if is_empty(selector) {
        faults.required("spec.selector", "");
    }
    faults.labels("spec.selector", selector);
    if template.is_null() {
        faults.required("spec.template", "");
        return;
    }
    let labels = &template["metadata"]["labels"];
    if selector.as_object().into_iter().flatten().any(|(key, wanted)| labels.get(key) != Some(wanted)) {
        mismatch(faults, template);
    }
    lasting_template(faults, template, "ReplicationController");
    let fields = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    counters(faults, &value["status"], &fields);
}
