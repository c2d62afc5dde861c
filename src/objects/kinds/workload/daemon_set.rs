//! Daemon sets.
//!
//! Follows `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go` and
//! `pkg/registry/apps/daemonset/strategy.go`.

use serde_json::{Map, Value, json};

use super::{
    TEMPLATE_COLUMNS, counters, fill_template, is_zero, number_or_percent, replicas_and_template, selector_or_none,
};
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::{Number, Struct, Text};
use crate::defaulting::{object, or_set, structure};
use crate::kinds::Declaration;
use crate::validation::{Faults, text};

pub(in crate::kinds) static DAEMON_SET: Declaration = Declaration {
    stored_only: true,
    short_names: &["ds"],
    categories: &["all"],
    status: true,
    generation: true,
    defaults: &[
        ("spec.revisionHistoryLimit", Number(10)),
        ("spec.updateStrategy", Struct),
        ("spec.updateStrategy.type", Text("RollingUpdate")),
    ],
    fill: Some(fill),
    rules: Some(rules),
    immutable: &["spec.selector"],
    columns: &[
        NAME,
        Column::integer("Desired", "How many nodes should run the pod.").number("status.desiredNumberScheduled"),
        Column::integer("Current", "How many nodes run the pod and should.").number("status.currentNumberScheduled"),
        Column::integer("Ready", "How many of these pods are ready.").number("status.numberReady"),
        Column::integer("Up-to-date", "How many of these pods follow the current template.")
            .number("status.updatedNumberScheduled"),
        Column::integer("Available", "How many of these pods have been ready for long enough.")
            .number("status.numberAvailable"),
        Column::text("Node Selector", "Labels of the nodes that should run the pod.")
            .made(|object, _| json!(columns::labels(&object["spec"]["template"]["spec"]["nodeSelector"]))),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
        TEMPLATE_COLUMNS[2].made(|object, _| json!(selector_or_none(object))),
    ],
    ..Declaration::plain("apps", "v1", "DaemonSet", "daemonsets")
};

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if let Some(strategy) = object(spec.get_mut("updateStrategy"))
        && strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
        && let Some(rolling) = structure(strategy, "rollingUpdate")
    {
        or_set(rolling, "maxUnavailable", 1);
        or_set(rolling, "maxSurge", 0);
    }
    fill_template(spec, "template");
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    replicas_and_template(faults, spec, "DaemonSet");
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    faults.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    let strategy = &spec["updateStrategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_null() => faults.required("spec.updateStrategy.rollingUpdate", ""),
        "RollingUpdate" => {
            let at = |field: &str| format!("spec.updateStrategy.rollingUpdate.{field}");
            for field in ["maxUnavailable", "maxSurge"] {
                number_or_percent(faults, &at(field), &rolling[field], true);
            }
            match (is_zero(&rolling["maxUnavailable"]), is_zero(&rolling["maxSurge"])) {
                (true, true) => {
                    let detail = "cannot be 0 when maxSurge is 0";
                    faults.invalid(&at("maxUnavailable"), &rolling["maxUnavailable"], detail);
                }
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    faults.invalid(&at("maxSurge"), &rolling["maxSurge"], detail);
                }
                _ => {}
            }
        }
        _ => faults.one_of("spec.updateStrategy.type", &strategy["type"], &["OnDelete", "RollingUpdate"]),
    }
    let fields = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    counters(faults, &value["status"], &fields);
}
