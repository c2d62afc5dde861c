//! `/eviction`: a deletion that a disruption budget may refuse, so that a workload stays available.
//!
//! Follows upstream's `registry/core/pod/storage/eviction.go`. What an eviction takes from a budget it takes in the transaction
//! that deletes the pod, so no two evictions share one disruption, through whichever masters they come.

use std::sync::Arc;

use objects::lifecycle::DeleteOptions;
use objects::selector::Labels;
use objects::{Object, Status, kind};
use serde_json::{Value, json};
use state::{Change, Precondition, Stored};

use crate::allocation::Beside;
use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::{admission, body, delete, errors, write};

/// Where budgets lie.
const BUDGETS: &str = "poddisruptionbudgets.policy";
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// When a budget that nobody has looked at yet is worth asking again.
const UNSEEN_RETRY_SECONDS: u32 = 10;

/// Answers an Eviction.
///
/// # Errors
/// 404 when there is no such pod, 409 when its preconditions do not hold, 400 and 422 for evictions that make no sense, 429 when
/// a disruption budget does not allow it now, 500 when several budgets select the pod.
pub async fn evict(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let dry_run = write::dry_run(&call.query, "CreateOptions")?;
    let eviction = body::of_kind(&call.headers, bytes, "k8s.io.api.policy.v1.Eviction", "policy/v1", "Eviction")?;
    let name = target.name.as_deref().unwrap_or("");
    let given = eviction["metadata"]["name"].as_str().unwrap_or("");
    if !given.is_empty() && given != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = DeleteOptions::from_value(&eviction["deleteOptions"])?;
    options.dry_run |= dry_run;
    admission::through(call, target, &eviction, options.dry_run)?;
    let outcome = delete::remove_after(call, target, &options, |pod, value| {
        let beside = disrupt(call, pod, value)?;
        mark(value);
        Ok(beside)
    })
    .await;
    match outcome {
        // Many evictions from one budget at once: a drain asks again on 429, and gives up on 409.
        Err(status) if status == write::contended(target) => Err(errors::too_many()),
        Err(status) => Err(status),
        Ok(_) => {
            let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            Ok(reply::value(201, &done))
        }
    }
}

/// Takes the disruption from the pod's budget, if it has one.
fn disrupt(call: &Call, pod: &Stored, value: &Value) -> Result<Beside, Status> {
    let face = pod.face();
    // What has ended, has not begun, or goes anyway disrupts nothing.
    if face.deleting || matches!(face.field("status.phase"), "Succeeded" | "Failed" | "Pending") {
        return Ok(Beside::default());
    }
    let state = call.api.store.current();
    let mut budgets = Vec::new();
    for stored in state.list_in(&BUDGETS.into(), &pod.key.namespace) {
        let budget = reply::damaged(stored.typed::<Value>())?;
        let selector = &budget["spec"]["selector"];
        if !selector.is_null() && Labels::from_value(selector)?.matches(&face.labels) {
            budgets.push((stored, budget));
        }
    }
    match budgets.as_slice() {
        [] => Ok(Beside::default()),
        [(stored, budget)] => match decide(budget, stored.face().generation, &stored.key.name, is_ready(value))? {
            None => Ok(Beside::default()),
            Some(taken) => {
                let kind = kind::by_resource(&BUDGETS.into()).ok_or_else(Status::no_such_path)?;
                let object = Arc::new(reply::damaged(Object::new(kind, &taken))?);
                let key = stored.key.clone();
                Ok(Beside {
                    preconditions: vec![Precondition::Unchanged { key: key.clone(), revision: stored.revision }],
                    changes: vec![Change::Put { key, object }],
                })
            }
        },
        _ => Err(Status::new(
            500,
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}

/// The budget after one more disruption; `None` when this one costs it nothing.
fn decide(budget: &Value, generation: i64, name: &str, ready: bool) -> Result<Option<Value>, Status> {
    let status = &budget["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if !ready {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
        // A pod that serves nobody is missed by nobody, as long as enough others serve.
        if always || desired > 0 && healthy >= desired {
            return Ok(None);
        }
    }
    if number("observedGeneration") < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, UNSEEN_RETRY_SECONDS));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        return Err(Status::forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative"));
    }
    if allowed == 0 {
        let failed = condition(status).filter(|condition| condition["reason"] == "SyncFailed");
        let why = match failed {
            Some(failed) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                failed["message"].as_str().unwrap_or("")
            ),
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("desiredHealthy"),
                number("currentHealthy")
            ),
        };
        return Err(refused(why, 0));
    }
    let mut taken = budget.clone();
    taken["status"]["disruptionsAllowed"] = json!(allowed - 1);
    if allowed == 1
        && let Some(conditions) = taken["status"]["conditions"].as_array_mut()
        && let Some(condition) = conditions.iter_mut().find(|condition| condition["type"] == "DisruptionAllowed")
    {
        condition["status"] = json!("False");
        condition["reason"] = json!("InsufficientPods");
        condition["lastTransitionTime"] = json!(write::now());
    }
    Ok(Some(taken))
}

fn refused(why: String, retry_after_seconds: u32) -> Status {
    let mut status = Status::new(429, "TooManyRequests", REFUSED).because("DisruptionBudget", why, "");
    status.details.retry_after_seconds = retry_after_seconds;
    status
}

fn condition(status: &Value) -> Option<&Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == "DisruptionAllowed")
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Says on the pod why it goes, for whoever made it.
fn mark(pod: &mut Value) {
    let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": write::now()});
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return;
    }
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != "DisruptionTarget");
            conditions.push(target);
        }
        None => pod["status"]["conditions"] = json!([target]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b"}, "spec": {}, "status": status})
    }

    #[test]
    fn a_budget_is_asked() {
        let status = |allowed: i64, healthy: i64| json!({"observedGeneration": 2, "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": 2});
        let failed = json!({"observedGeneration": 2, "conditions":
            [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}]});
        let young = "429 The disruption budget b is still being processed by the server.";
        let short = "429 The disruption budget b needs 2 healthy pods and has 1 currently";
        for (status, generation, ready, expected) in [
            (json!({}), 1, true, young),
            (status(5, 5), 3, true, young),
            (status(0, 1), 2, true, short),
            (status(0, 2), 2, true, "429 The disruption budget b needs 2 healthy pods and has 2 currently"),
            (
                failed,
                2,
                true,
                "429 The disruption budget b does not allow evicting pods currently because it failed sync: no scale",
            ),
            (
                status(-1, 1),
                2,
                true,
                "403 poddisruptionbudgets.policy \"b\" is forbidden: pdb disruptions allowed is negative",
            ),
            (status(3, 5), 2, true, "takes one of 3"),
            (status(1, 3), 2, true, "takes one of 1"),
            // One that is not ready costs nothing while enough others are.
            (status(0, 2), 2, false, "free"),
            (status(0, 1), 2, false, short),
            (status(1, 1), 2, false, "takes one of 1"),
        ] {
            let budget = budget(status);
            let found = match decide(&budget, generation, "b", ready) {
                Ok(None) => "free".to_owned(),
                Ok(Some(after)) => {
                    let (before, after) =
                        (&budget["status"]["disruptionsAllowed"], &after["status"]["disruptionsAllowed"]);
                    assert_eq!(before.as_i64().unwrap() - 1, after.as_i64().unwrap());
                    format!("takes one of {before}")
                }
                Err(status) if status.code == 429 => format!("429 {}", status.details.causes[0].message),
                Err(status) => format!("{} {}", status.code, status.message),
            };
            assert_eq!(found, expected, "{budget} {generation} {ready}");
        }
        let mut always = budget(status(0, 0));
        always["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert_eq!(decide(&always, 2, "b", false).unwrap(), None);
        assert_eq!(decide(&always, 2, "b", true).unwrap_err().code, 429);
    }

    #[test]
    fn the_last_disruption_closes_the_budget() {
        let open = json!({"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods"});
        let open = budget(json!({"disruptionsAllowed": 1, "conditions": [open]}));
        let closed = decide(&open, 0, "b", true).unwrap().unwrap();
        assert_eq!(
            (&closed["status"]["conditions"][0]["status"], &closed["status"]["conditions"][0]["reason"]),
            (&json!("False"), &json!("InsufficientPods"))
        );
    }
}
