//! PriorityClasses and RuntimeClasses: what pods name by one word.
//!
//! Follows `pkg/apis/scheduling/{v1/defaults,validation/validation}.go`, `pkg/apis/node/validation/validation.go` and
//! `pkg/registry/{scheduling/priorityclass,node/runtimeclass}/strategy.go`.

use serde_json::{Value, json};

use super::Declaration;
use super::pod::affinity;
use crate::columns::{AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::validation::{Faults, names, text};

pub(super) static PRIORITY_CLASS: Declaration = Declaration {
    short_names: &["pc"],
    generation: true,
    defaults: &[("preemptionPolicy", Text("PreemptLowerPriority"))],
    rules: Some(priority),
    changed: Some(|faults, old, new| {
        if old["value"] != new["value"] {
            faults.forbidden("Value", "may not be changed in an update.");
        }
        faults.immutable("preemptionPolicy", &old["preemptionPolicy"], &new["preemptionPolicy"]);
    }),
    columns: &[
        NAME,
        Column::integer("Value", "The priority of the class's pods.").number("value"),
        Column::boolean("Global-Default", "Whether pods without a class get it.")
            .made(|object, _| json!(object["globalDefault"] == true)),
        AGE,
        Column::text("PreemptionPolicy", "Whether the class's pods push others out.").showing("preemptionPolicy"),
    ],
    ..Declaration::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
};

pub(super) static RUNTIME_CLASS: Declaration = Declaration {
    rules: Some(runtime),
    immutable: &["handler"],
    columns: &[NAME, Column::text("Handler", "How the runtime is called on nodes.").showing("handler"), AGE],
    ..Declaration::cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses")
};

/// Above this, only the system's own classes.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;

/// The classes with the system's prefix that there may be, and their values.
const SYSTEM: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

fn priority(faults: &mut Faults, value: &Value) {
    let (name, priority) = (text(&value["metadata"], "name"), value["value"].as_i64().unwrap_or(0));
    if name.starts_with("system-") {
        let known = SYSTEM.iter().find(|(known, _)| *known == name);
        if known.is_none_or(|(_, wanted)| *wanted != priority || value["globalDefault"] == true) {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: only system \
                          priority classes are allowed";
            faults.forbidden("metadata.name", detail);
        }
    } else if priority > USER_PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        faults.forbidden("value", detail);
    }
    faults.supported("preemptionPolicy", &value["preemptionPolicy"], &["Never", "PreemptLowerPriority"]);
}

fn runtime(faults: &mut Faults, value: &Value) {
    faults.needs_name("handler", &value["handler"], names::dns_label);
    faults.amounts("overhead.podFixed", &value["overhead"]["podFixed"]);
    let scheduling = &value["scheduling"];
    faults.labels("scheduling.nodeSelector", &scheduling["nodeSelector"]);
    affinity::tolerations(faults, "scheduling.tolerations", &scheduling["tolerations"]);
}
