//! Stateful sets.
//!
//! Follows `pkg/apis/apps/v1/{defaults,conversion}.go`, `pkg/apis/apps/validation/validation.go` and
//! `pkg/registry/apps/statefulset/strategy.go`.

use serde_json::{Map, Value, json};

use super::{TEMPLATE_COLUMNS, counters, fill_template, is_zero, number_or_percent, replicas_and_template};
use crate::columns::{AGE, Column, NAME, number};
use crate::defaulting::Default::{Number, Struct, Text};
use crate::defaulting::{object, objects, or_set, structure};
use crate::kinds::Declaration;
use crate::kinds::persistent_volume::fill_claim;
use crate::validation::{Faults, text};

pub(in crate::kinds) static STATEFUL_SET: Declaration = Declaration {
    stored_only: true,
    short_names: &["sts"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: true,
    defaults: &[
        ("spec.podManagementPolicy", Text("OrderedReady")),
        ("spec.replicas", Number(1)),
        ("spec.revisionHistoryLimit", Number(10)),
        ("spec.persistentVolumeClaimRetentionPolicy", Struct),
        ("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", Text("Retain")),
        ("spec.persistentVolumeClaimRetentionPolicy.whenScaled", Text("Retain")),
        ("spec.updateStrategy", Struct),
    ],
    fill: Some(fill),
    rules: Some(rules),
    changed: Some(|faults, old, new| {
        rules(faults, new);
        faults.settled("spec", &old["spec"], &new["spec"], MUTABLE, SETTLED);
    }),
    begin: Some(|value| value["status"] = json!({"replicas": 0, "availableReplicas": 0})),
    columns: &[
        NAME,
        Column::text("Ready", "Number of the pod with ready state").made(|object, _| {
            json!(format!("{}/{}", number(&object["status"]["readyReplicas"]), number(&object["spec"]["replicas"])))
        }),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
    ],
    ..Declaration::plain("apps", "v1", "StatefulSet", "statefulsets")
};

const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

const SETTLED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                       'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                       'minReadySeconds' are forbidden";

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if let Some(strategy) = object(spec.get_mut("updateStrategy")) {
        if strategy.get("type").is_none_or(|kind| kind.is_null() || kind == "") {
            strategy.insert("type".into(), json!("RollingUpdate"));
            structure(strategy, "rollingUpdate");
        }
        if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
            && let Some(rolling) = object(strategy.get_mut("rollingUpdate"))
        {
            or_set(rolling, "partition", 0);
        }
    }
    fill_template(spec, "template");
    for claim in objects(spec.get_mut("volumeClaimTemplates")) {
        claim.insert("apiVersion".into(), json!("v1"));
        claim.insert("kind".into(), json!("PersistentVolumeClaim"));
        fill_claim(claim);
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let policies = ["OrderedReady", "Parallel"];
    faults.supported("spec.podManagementPolicy", &spec["podManagementPolicy"], &policies);
    update_strategy(faults, &spec["updateStrategy"]);
    for key in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{key}");
        faults.supported(&path, &spec["persistentVolumeClaimRetentionPolicy"][key], &["Delete", "Retain"]);
    }
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    faults.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    faults.not_negative("spec.ordinals.start", &spec["ordinals"]["start"]);
    replicas_and_template(faults, spec, "StatefulSet");
    let fields = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    counters(faults, &value["status"], &fields);
}

fn update_strategy(faults: &mut Faults, strategy: &Value) {
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "" => faults.required("spec.updateStrategy", ""),
        "OnDelete" => {
            if !rolling.is_null() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                faults.invalid("spec.updateStrategy.rollingUpdate", rolling, detail);
            }
        }
        "RollingUpdate" => {
            faults.not_negative("spec.updateStrategy.rollingUpdate.partition", &rolling["partition"]);
            let most = &rolling["maxUnavailable"];
            let path = "spec.updateStrategy.rollingUpdate.maxUnavailable";
            number_or_percent(faults, path, most, true);
            if is_zero(most) {
                faults.invalid(path, most, "cannot be 0");
            }
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            faults.invalid("spec.updateStrategy", strategy, detail);
        }
    }
}
