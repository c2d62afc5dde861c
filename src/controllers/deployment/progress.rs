//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` and Helm read. Pure.
//!
//! Follows upstream's `controller/deployment/sync.go` (`calculateStatus`) and `progress.go`.

use jiff::Timestamp;
use objects::time;
use serde_json::{Value, json};

use super::model::{Set, Wanted};
use crate::conditions;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The rollout is complete.
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The counts and the availability, with the other conditions as they were.
pub(super) fn counts(
    wanted: &Wanted,
    new: Option<&Set>,
    all: &[&Set],
    collisions: Option<i64>,
    now: Timestamp,
) -> Value {
    let sum = |field: &str| all.iter().map(|set| set.count(field)).sum::<i64>();
    let available = sum("availableReplicas");
    let mut status = json!({
        "observedGeneration": wanted.generation,
        "replicas": sum("replicas"),
        "updatedReplicas": new.map_or(0, |set| set.count("replicas")),
        "readyReplicas": sum("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": (all.iter().map(|set| set.replicas).sum::<i64>() - available).max(0),
        "terminatingReplicas": sum("terminatingReplicas"),
    });
    if let Some(collisions) = collisions {
        status["collisionCount"] = json!(collisions);
    }
    if let Some(known) = wanted.status.get("conditions") {
        status["conditions"] = known.clone();
    }
    if available >= wanted.least() {
        set(&mut status, AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now);
    } else {
        let message = "Deployment does not have minimum availability.";
        set(&mut status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now);
    }
    status
}

/// Notes that the new set was found or made; only when nothing was known of progress, or when it was made.
pub(super) fn note_set(wanted: &Wanted, status: &mut Value, name: &str, made: bool, now: Timestamp) {
    if wanted.progress_deadline.is_none() {
        return;
    }
    if made {
        set(status, PROGRESSING, "True", "NewReplicaSetCreated", &format!("Created new replica set {name:?}"), now);
    } else if conditions::find(status, PROGRESSING).is_none() {
        set(status, PROGRESSING, "True", "FoundNewReplicaSet", &format!("Found new replica set {name:?}"), now);
    }
}

/// Notes a pause and its end, so that paused time does not count against the deadline (`checkPausedConditions`).
pub(super) fn note_pause(wanted: &Wanted, status: &mut Value, now: Timestamp) {
    let reason = conditions::text(conditions::find(status, PROGRESSING), "reason").to_owned();
    if wanted.progress_deadline.is_none() || reason == TIMED_OUT {
        return;
    }
    let paused = reason == "DeploymentPaused";
    if wanted.paused && !paused {
        set(status, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now);
    } else if !wanted.paused && paused {
        set(status, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now);
    }
}

/// Judges a rollout: done, moving, or stuck; and hands on why pods cannot be made (`syncRolloutStatus`).
pub(super) fn judge(wanted: &Wanted, new: Option<&Set>, all: &[&Set], status: &mut Value, now: Timestamp) {
    if wanted.progress_deadline.is_none() {
        conditions::remove(status, PROGRESSING);
    }
    let reason = conditions::text(conditions::find(status, PROGRESSING), "reason").to_owned();
    let count = |status: &Value, field: &str| status[field].as_i64().unwrap_or(0);
    let at_rest = count(status, "replicas") == count(status, "updatedReplicas") && reason == DONE;
    let who = match new {
        Some(set) => format!("ReplicaSet {:?}", set.name),
        None => format!("Deployment {:?}", wanted.name),
    };
    if wanted.progress_deadline.is_some() && !at_rest {
        if is_complete(wanted, status) {
            set(status, PROGRESSING, "True", DONE, &format!("{who} has successfully progressed."), now);
        } else if is_progress(&wanted.status, status) {
            // Every step is progress, even under the same reason: the update time has to move.
            let message = format!("{who} is progressing.");
            force(status, PROGRESSING, "True", "ReplicaSetUpdated", &message, now);
        } else if is_stuck(wanted, status, now) {
            set(status, PROGRESSING, "False", TIMED_OUT, &format!("{who} has timed out progressing."), now);
        }
    }
    let failure =
        new.into_iter().chain(all.iter().copied()).find_map(|set| conditions::find(&set.status, REPLICA_FAILURE));
    match failure {
        Some(failure) => {
            let (reason, message) =
                (conditions::text(Some(failure), "reason"), conditions::text(Some(failure), "message"));
            set(status, REPLICA_FAILURE, conditions::text(Some(failure), "status"), reason, message, now);
        }
        None => conditions::remove(status, REPLICA_FAILURE),
    }
}

/// Whether all pods are new and available (`DeploymentComplete`).
pub(super) fn is_complete(wanted: &Wanted, status: &Value) -> bool {
    ["updatedReplicas", "replicas", "availableReplicas"]
        .iter()
        .all(|field| status[*field].as_i64().unwrap_or(0) == wanted.replicas)
        && status["observedGeneration"].as_i64().unwrap_or(0) >= wanted.generation
}

/// Whether the rollout moved between two statuses (`DeploymentProgressing`).
fn is_progress(old: &Value, new: &Value) -> bool {
    let count = |status: &Value, field: &str| status[field].as_i64().unwrap_or(0);
    let stale = |status: &Value| count(status, "replicas") - count(status, "updatedReplicas");
    ["updatedReplicas", "readyReplicas", "availableReplicas"].iter().any(|field| count(new, field) > count(old, field))
        || stale(new) < stale(old)
}

fn is_stuck(wanted: &Wanted, status: &Value, now: Timestamp) -> bool {
    let condition = conditions::find(status, PROGRESSING);
    match conditions::text(condition, "reason") {
        "" | DONE => false,
        TIMED_OUT => true,
        _ => left(wanted, condition, now).is_some_and(|left| left < 0),
    }
}

/// Seconds until a rollout that does not move counts as stuck; `None` when it is not waited for.
pub(super) fn deadline_in(wanted: &Wanted, status: &Value, now: Timestamp) -> Option<i64> {
    let condition = conditions::find(status, PROGRESSING);
    let reason = conditions::text(condition, "reason");
    if wanted.paused || is_complete(wanted, status) || matches!(reason, "" | TIMED_OUT | DONE) {
        return None;
    }
    // A second more, because times have whole seconds.
    left(wanted, condition, now).map(|left| left.max(0) + 1)
}

fn left(wanted: &Wanted, condition: Option<&Value>, now: Timestamp) -> Option<i64> {
    let since = time::parse(conditions::text(condition, "lastUpdateTime")).ok()?;
    Some(since.as_second() + wanted.progress_deadline? - now.as_second())
}

/// Sets a condition unless it says the same already (`SetDeploymentCondition`).
fn set(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let known = conditions::find(status, kind);
    if conditions::text(known, "status") == value && conditions::text(known, "reason") == reason {
        return;
    }
    force(status, kind, value, reason, message, now);
}

fn force(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let condition = json!({
        "type": kind, "status": value, "reason": reason, "message": message, "lastUpdateTime": time::format(now),
    });
    conditions::set(status, condition, now);
}
