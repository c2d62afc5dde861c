//! Priority: from the name of a pod's class to the number that the scheduler compares.
//!
//! As upstream's `plugin/pkg/admission/priority/admission.go`.

use objects::Status;
use serde_json::{Value, json};

use crate::{Operation, Request, named, text, value_of};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
/// What a pod does to others when neither it nor a class says so.
const PREEMPTION: &str = "PreemptLowerPriority";

/// Writes class, number and preemption policy into a new pod, and keeps the latter two in one that is updated.
///
/// # Errors
/// 403 for classes that do not exist and for numbers that are not their class's.
pub fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    if !request.is("", "Pod") || !object["spec"].is_object() {
        return Ok(());
    }
    if let (Operation::Update, Some(old)) = (request.operation, request.old) {
        for field in ["priority", "preemptionPolicy"] {
            if object["spec"][field].is_null() && !old["spec"][field].is_null() {
                object["spec"][field] = old["spec"][field].clone();
            }
        }
        return Ok(());
    }
    if !request.creates("", "Pod") {
        return Ok(());
    }
    let name = text(&object["spec"]["priorityClassName"]).to_owned();
    let class = if name.is_empty() { default_class(request, None) } else { named(request.state, CLASSES, &name) };
    if class.is_none() && !name.is_empty() {
        return Err(request.forbidden(object, format!("no PriorityClass with name {name} was found")));
    }
    let class = class.unwrap_or_default();
    let number = class["value"].as_i64().unwrap_or(0);
    let policy = class["preemptionPolicy"].as_str().unwrap_or(PREEMPTION);
    let spec = &object["spec"];
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != number) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {number} from the given PriorityClass name"
        );
        return Err(request.forbidden(object, why));
    }
    if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| !given.is_empty() && *given != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(request.forbidden(object, why));
    }
    if let Some(name) = class["metadata"]["name"].as_str() {
        object["spec"]["priorityClassName"] = json!(name);
    }
    object["spec"]["priority"] = json!(number);
    object["spec"]["preemptionPolicy"] = json!(policy);
    Ok(())
}

/// Refuses a second default among the classes.
///
/// # Errors
/// 403.
pub fn validate(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    if !request.is("scheduling.k8s.io", "PriorityClass") || object["globalDefault"] != true {
        return Ok(());
    }
    match default_class(request, Some(text(&object["metadata"]["name"]))) {
        Some(other) => {
            let name = text(&other["metadata"]["name"]);
            let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(request.forbidden(object, why))
        }
        None => Ok(()),
    }
}

/// The class that pods without one get, apart from the named one; of several, which only a race can make, the lowest.
fn default_class(request: &Request<'_>, but: Option<&str>) -> Option<Value> {
    let classes = request.state.list(&CLASSES.into()).filter(|stored| but != Some(&*stored.key.name));
    classes
        .filter_map(|stored| value_of(stored))
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64().unwrap_or(0))
}
