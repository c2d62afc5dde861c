//! LimitRanger: what containers, pods and claims of a namespace may ask for, and what they get when they do not say.
//!
//! As upstream's `plugin/pkg/admission/limitranger/admission.go`.

use objects::Status;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use crate::pod::{Amounts, amounts, asks};
use crate::{Operation, Request, joined, list, text, values};

/// Where the plug-in notes what it has set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod the requests and limits that they do not name.
pub fn mutate(request: &Request<'_>, object: &mut Value) {
    if !request.creates("", "Pod") {
        return;
    }
    for range in values(request.state, "limitranges", request.namespace) {
        let items = list(&range["spec"]["limits"]).filter(|item| item["type"] == "Container");
        let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
        for item in items {
            requests.extend(amounts(&item["defaultRequest"]));
            limits.extend(amounts(&item["default"]));
        }
        let mut notes = Vec::new();
        for (field, word) in [("containers", "container"), ("initContainers", "init container")] {
            for container in object["spec"][field].as_array_mut().into_iter().flatten() {
                let name = text(&container["name"]).to_owned();
                for (side, defaults, verb) in [("requests", &requests, "request"), ("limits", &limits, "limit")] {
                    let set = fill(container, side, defaults);
                    if !set.is_empty() {
                        notes.push(format!("{} {verb} for {word} {name}", set.join(", ")));
                    }
                }
            }
        }
        if !notes.is_empty() && object["metadata"].is_object() {
            object["metadata"]["annotations"][ANNOTATION] =
                json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
        }
    }
}

/// Fills one side of a container's resources; the names of what was missing.
fn fill(container: &mut Value, side: &str, defaults: &Amounts) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if container["resources"][side][name.as_str()].is_null() {
            container["resources"][side][name.as_str()] = json!(amount.to_string());
            set.push(name.clone());
        }
    }
    set
}

/// Refuses what is outside of the bounds.
///
/// # Errors
/// 403 with every bound of the first range that does not hold.
pub fn validate(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    let pods = request.creates("", "Pod")
        || request.is("", "Pod") && request.operation == Operation::Update && request.subresource == "resize";
    let claims = request.is("", "PersistentVolumeClaim") && request.subresource.is_empty();
    let ending = request.old.is_some_and(|old| old["metadata"]["deletionTimestamp"].is_string());
    if !(pods || claims) || ending {
        return Ok(());
    }
    for range in values(request.state, "limitranges", request.namespace) {
        let faults = if pods { of_pod(&range, object) } else { of_claim(&range, object) };
        if !faults.is_empty() {
            return Err(request.forbidden(object, joined(&faults)));
        }
    }
    Ok(())
}

fn of_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for item in list(&range["spec"]["limits"]) {
        match text(&item["type"]) {
            "Container" => {
                for container in ["containers", "initContainers"].iter().flat_map(|field| list(&pod["spec"][*field])) {
                    let (requests, limits) =
                        (amounts(&container["resources"]["requests"]), amounts(&container["resources"]["limits"]));
                    bounds(item, "Container", &requests, &limits, &mut faults);
                }
            }
            "Pod" => {
                bounds(item, "Pod", &asks(&pod["spec"], "requests"), &asks(&pod["spec"], "limits"), &mut faults);
            }
            _ => {}
        }
    }
    faults
}

fn bounds(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    let mut fault = |message: String| {
        if !faults.contains(&message) {
            faults.push(message);
        }
    };
    for (name, bound) in amounts(&item["min"]) {
        let head = format!("minimum {name} usage per {kind} is {bound}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => fault(format!("{head}.  No request is specified")),
            (Some(given), _) if *given < bound => fault(format!("{head}, but request is {given}")),
            (_, Some(given)) if *given < bound => fault(format!("{head}, but limit is {given}")),
            _ => {}
        }
    }
    for (name, bound) in amounts(&item["max"]) {
        let head = format!("maximum {name} usage per {kind} is {bound}");
        match (limits.get(&name), requests.get(&name)) {
            (None, _) => fault(format!("{head}.  No limit is specified")),
            (Some(given), _) if *given > bound => fault(format!("{head}, but limit is {given}")),
            (_, Some(given)) if *given > bound => fault(format!("{head}, but request is {given}")),
            _ => {}
        }
    }
    for (name, bound) in amounts(&item["maxLimitRequestRatio"]) {
        let head = format!("{name} max limit to request ratio per {kind} is {bound}");
        let given = |side: &Amounts| side.get(&name).copied().filter(|amount| amount.sign() != 0);
        match (given(requests), given(limits)) {
            (None, _) => fault(format!("{head}, but no request is specified or request is 0")),
            (_, None) => fault(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.to_f64() / request.to_f64();
                if ratio > bound.to_f64() {
                    fault(format!("{head}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

fn of_claim(range: &Value, claim: &Value) -> Vec<String> {
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    let mut faults = Vec::new();
    for item in list(&range["spec"]["limits"]).filter(|item| item["type"] == "PersistentVolumeClaim") {
        let mut hold = |word: &str, name: &str, bound: Quantity, breaks: fn(&Quantity, &Quantity) -> bool| {
            let head = format!("{word} {name} usage per PersistentVolumeClaim is {bound}");
            match requests.get(name) {
                None => faults.push(format!("{head}.  No request is specified")),
                Some(given) if breaks(given, &bound) => faults.push(format!("{head}, but request is {given}")),
                Some(_) => {}
            }
        };
        for (name, bound) in amounts(&item["min"]) {
            hold("minimum", &name, bound, |given, bound| given < bound);
        }
        for (name, bound) in amounts(&item["max"]) {
            hold("maximum", &name, bound, |given, bound| given > bound);
        }
    }
    faults
}
