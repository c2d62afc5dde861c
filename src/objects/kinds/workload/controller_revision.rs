//! Controller revisions: what a stateful set or a daemon set looked like once.
//!
//! Follows `pkg/apis/apps/validation/validation.go` and `pkg/registry/apps/controllerrevision/strategy.go`.

use serde_json::{Value, json};

use crate::columns::{self, AGE, Column, NAME};
use crate::kinds::Declaration;
use crate::validation::Faults;

pub(in crate::kinds) static CONTROLLER_REVISION: Declaration = Declaration {
    stored_only: true,
    rules: Some(rules),
    changed: Some(|faults, old, new| {
        rules(faults, new);
        faults.immutable("data", &old["data"], &new["data"]);
    }),
    columns: &[
        NAME,
        Column::text("Controller", "Controller of the object").made(|object, _| json!(controller(object))),
        Column::text("Revision", "Number of the revision.").number("revision"),
        AGE,
    ],
    ..Declaration::plain("apps", "v1", "ControllerRevision", "controllerrevisions")
};

fn rules(faults: &mut Faults, value: &Value) {
    if value["data"].is_null() {
        faults.required("data", "data is mandatory");
    }
    faults.not_negative("revision", &value["revision"]);
}

/// `statefulset.apps/web`, as kubectl names objects.
fn controller(object: &Value) -> String {
    let owners = columns::list(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return "<none>".into() };
    let kind = columns::text(&owner["kind"]).to_lowercase();
    let group = columns::text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", columns::text(&owner["name"]))
}
