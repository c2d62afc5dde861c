//! Deployments.
//!
//! Follows `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go` and
//! `pkg/registry/apps/deployment/strategy.go`.

use serde_json::{Map, Value, json};

use super::{TEMPLATE_COLUMNS, counters, fill_template, is_zero, number_or_percent, replicas_and_template};
use crate::columns::{AGE, Column, NAME, number};
use crate::defaulting::Default::{Number, Struct, Text};
use crate::defaulting::{object, or_set, structure};
use crate::kinds::Declaration;
use crate::validation::{Faults, text};

pub(in crate::kinds) static DEPLOYMENT: Declaration = Declaration {
    short_names: &["deploy"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: true,
    defaults: &[
        ("spec.replicas", Number(1)),
        ("spec.revisionHistoryLimit", Number(10)),
        ("spec.progressDeadlineSeconds", Number(600)),
        ("spec.strategy", Struct),
        ("spec.strategy.type", Text("RollingUpdate")),
    ],
    fill: Some(fill),
    rules: Some(rules),
    immutable: &["spec.selector"],
    status_keeps: &["labels"],
    columns: &[
        NAME,
        Column::text("Ready", "Number of the pod with ready state").made(|object, _| {
            json!(format!("{}/{}", number(&object["status"]["readyReplicas"]), number(&object["spec"]["replicas"])))
        }),
        Column::text("Up-to-date", "How many pods follow the current template.").number("status.updatedReplicas"),
        Column::text("Available", "How many pods have been ready for long enough.").number("status.availableReplicas"),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
        TEMPLATE_COLUMNS[2],
    ],
    ..Declaration::plain("apps", "v1", "Deployment", "deployments")
};

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if let Some(strategy) = object(spec.get_mut("strategy")).filter(|strategy| strategy["type"] == "RollingUpdate")
        && let Some(rolling) = structure(strategy, "rollingUpdate")
    {
        or_set(rolling, "maxUnavailable", "25%");
        or_set(rolling, "maxSurge", "25%");
    }
    fill_template(spec, "template");
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    replicas_and_template(faults, spec, "Deployment");
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    faults.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    strategy(faults, &spec["strategy"]);
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64() {
        faults.not_negative("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"]);
        if deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            let detail = "must be greater than minReadySeconds";
            faults.invalid("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"], detail);
        }
    }
    counters(
        faults,
        &value["status"],
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ],
    );
}

fn strategy(faults: &mut Faults, strategy: &Value) {
    match text(strategy, "type") {
        "Recreate" => {
            if !strategy["rollingUpdate"].is_null() {
                faults.forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            if rolling.is_null() {
                faults.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil");
                return;
            }
            let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
            for field in ["maxUnavailable", "maxSurge"] {
                number_or_percent(faults, &path(field), &rolling[field], field == "maxUnavailable");
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let detail = "may not be 0 when `maxSurge` is 0";
                faults.invalid(&path("maxUnavailable"), &rolling["maxUnavailable"], detail);
            }
        }
        _ => faults.one_of("spec.strategy.type", &json!(text(strategy, "type")), &["Recreate", "RollingUpdate"]),
    }
}
