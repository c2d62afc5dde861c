//! PodDisruptionBudgets.
//!
//! Follows `pkg/apis/policy/validation/validation.go` and `pkg/registry/policy/poddisruptionbudget/strategy.go`.

use serde_json::{Value, json};

use super::Declaration;
use super::workload::{counters, label_selector, number_or_percent};
use crate::columns::{self, AGE, Column, NAME};
use crate::validation::Faults;

pub(super) static POD_DISRUPTION_BUDGET: Declaration = Declaration {
    short_names: &["pdb"],
    status: true,
    generation: true,
    rules: Some(rules),
    begin: Some(|value| {
        value["status"] = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
    }),
    columns: &[
        NAME,
        Column::text("Min Available", "How many pods must stay.")
            .made(|object, _| json!(bound(object, "minAvailable"))),
        Column::text("Max Unavailable", "How many pods may go.")
            .made(|object, _| json!(bound(object, "maxUnavailable"))),
        Column::integer("Allowed Disruptions", "How many pods may go now.").number("status.disruptionsAllowed"),
        AGE,
    ],
    ..Declaration::plain("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
};

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        faults.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for key in ["minAvailable", "maxUnavailable"] {
        number_or_percent(faults, &format!("spec.{key}"), &spec[key], true);
    }
    label_selector(faults, "spec.selector", &spec["selector"]);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    faults.one_of("spec.unhealthyPodEvictionPolicy", &spec["unhealthyPodEvictionPolicy"], &policies);
    let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
    counters(faults, &value["status"], &fields);
}

fn bound(object: &Value, key: &str) -> String {
    let bound = &object["spec"][key];
    if bound.is_null() { "N/A".into() } else { columns::plain(bound) }
}
