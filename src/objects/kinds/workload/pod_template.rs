//! Pod templates that stand alone.
//!
//! Follows `pkg/apis/core/validation/validation.go` (ValidatePodTemplate) and `pkg/registry/core/podtemplate/strategy.go`.

use serde_json::{Value, json};

use super::{containers, fill_template, no_ephemeral, pod_template};
use crate::columns::{self, Column, NAME};
use crate::kinds::Declaration;
use crate::validation::Faults;

pub(in crate::kinds) static POD_TEMPLATE: Declaration = Declaration {
    stored_only: true,
    generation: true,
    fill: Some(|map| fill_template(map, "template")),
    rules: Some(rules),
    columns: &[
        NAME,
        Column::text("Containers", "Names of each container in the template.")
            .made(|object, _| json!(containers(&object["template"], "name"))),
        Column::text("Images", "Images referenced by each container in the template.")
            .made(|object, _| json!(containers(&object["template"], "image"))),
        Column::text("Pod Labels", "Labels of the pods.")
            .made(|object, _| json!(columns::labels(&object["template"]["metadata"]["labels"]))),
    ],
    ..Declaration::plain("", "v1", "PodTemplate", "podtemplates")
};

fn rules(faults: &mut Faults, value: &Value) {
    pod_template(faults, "template", &value["template"]);
    no_ephemeral(faults, "template", &value["template"]);
}
