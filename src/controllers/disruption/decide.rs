//! How many pods of a disruption budget may go: pure.
//!
//! Follows upstream's `controller/disruption/disruption.go`. An eviction marks its pod in the transaction that takes from the
//! budget, so no list of pods that are about to go has to be kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::conditions;

/// A pod that the budget selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Whether it is ready and stays.
    pub healthy: bool,
    /// Who manages it.
    pub manager: Manager,
}

/// How many pods the manager of a pod is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manager {
    /// Nobody manages it.
    None,
    /// A manager, by uid, with its number.
    Scaled(Box<str>, i64),
    /// A manager without a number, by resource.
    Unscaled(String),
}

/// The status after `old`, of a budget of this generation.
pub(super) fn status(old: &Value, spec: &Value, generation: i64, pods: &[Sight], now: Timestamp) -> Value {
    let mut status = old.clone();
    if !status.is_object() {
        status = json!({});
    }
    if let Some(map) = status.as_object_mut() {
        map.remove("disruptedPods");
    }
    status["observedGeneration"] = json!(generation);
    let (expected, desired) = match expected(spec, pods) {
        Ok(found) => found,
        Err(why) => {
            status["disruptionsAllowed"] = json!(0);
            allow(&mut status, false, "SyncFailed", &why, now);
            return status;
        }
    };
    let healthy = count(pods.iter().filter(|pod| pod.healthy).count());
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    status["expectedPods"] = json!(expected);
    status["desiredHealthy"] = json!(desired);
    status["currentHealthy"] = json!(healthy);
    status["disruptionsAllowed"] = json!(allowed);
    allow(&mut status, allowed > 0, if allowed > 0 { "SufficientPods" } else { "InsufficientPods" }, "", now);
    status
}

fn allow(status: &mut Value, allowed: bool, reason: &str, message: &str, now: Timestamp) {
    let value = if allowed { "True" } else { "False" };
    let generation = status["observedGeneration"].clone();
    let condition = json!({"type": "DisruptionAllowed", "status": value, "reason": reason, "message": message,
        "observedGeneration": generation});
    conditions::set(status, condition, now);
}

/// Pods there should be, and those of them that must be healthy.
fn expected(spec: &Value, pods: &[Sight]) -> Result<(i64, i64), String> {
    let (most, least) = (&spec["maxUnavailable"], &spec["minAvailable"]);
    if !most.is_null() {
        let expected = scale(pods)?;
        return Ok((expected, (expected - share(most, expected)?).max(0)));
    }
    match least.as_i64() {
        Some(number) => Ok((count(pods.len()), number)),
        None if least.is_null() => Ok((count(pods.len()), 0)),
        None => {
            let expected = scale(pods)?;
            Ok((expected, share(least, expected)?))
        }
    }
}

/// What the managers of the pods want together; pods of nobody do not count.
fn scale(pods: &[Sight]) -> Result<i64, String> {
    let mut managers: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in pods {
        match &pod.manager {
            Manager::None => {}
            Manager::Scaled(uid, number) => drop(managers.insert(uid, *number)),
            Manager::Unscaled(resource) => return Err(format!("{resource} does not implement the scale subresource")),
        }
    }
    Ok(managers.values().fold(0, |sum, number| sum.saturating_add(*number)))
}

/// A number, or a percentage of `whole`, rounded up.
fn share(value: &Value, whole: i64) -> Result<i64, String> {
    if let Some(number) = value.as_i64() {
        return Ok(number);
    }
    let text = value.as_str().unwrap_or("");
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok()).filter(|percent| *percent >= 0);
    let percent = percent.ok_or_else(|| format!("invalid value {text:?}: it is neither a number nor a percentage"))?;
    let parts = whole.saturating_mul(percent);
    Ok(parts / 100 + i64::from(parts % 100 > 0))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(text: &str) -> Vec<Sight> {
        let one = |letter: char| Sight {
            healthy: letter.is_ascii_uppercase(),
            manager: match letter.to_ascii_lowercase() {
                'x' => Manager::None,
                'j' => Manager::Unscaled("jobs.batch".into()),
                // Two sets: one of four pods, one of ten.
                'a' => Manager::Scaled("a".into(), 4),
                _ => Manager::Scaled("b".into(), 10),
            },
        };
        text.chars().map(one).collect()
    }

    #[test]
    fn what_may_go_is_what_is_healthy_beyond_what_must_be() {
        // A capital is a healthy pod. Expected, desired, healthy, allowed.
        for (spec, seen, expected) in [
            (json!({}), "", "0 0 0 0"),
            (json!({"minAvailable": 2}), "", "0 2 0 0"),
            (json!({"minAvailable": 2}), "AAAa", "4 2 3 1"),
            (json!({"minAvailable": 2}), "AAaa", "4 2 2 0"),
            (json!({"minAvailable": 2}), "Aaaa", "4 2 1 0"),
            (json!({"minAvailable": 2}), "XXXJ", "4 2 4 2"),
            (json!({"minAvailable": 0}), "A", "1 0 1 1"),
            (json!({"minAvailable": "50%"}), "AAA", "4 2 3 1"),
            (json!({"minAvailable": "51%"}), "AAAA", "4 3 4 1"),
            (json!({"minAvailable": "100%"}), "AAAA", "4 4 4 0"),
            (json!({"minAvailable": "10%"}), "AB", "14 2 2 0"),
            (json!({"minAvailable": "50%"}), "XX", "0 0 2 0"),
            (json!({"maxUnavailable": 1}), "AAAA", "4 3 4 1"),
            (json!({"maxUnavailable": 1}), "AAAa", "4 3 3 0"),
            (json!({"maxUnavailable": 1}), "AA", "4 3 2 0"),
            (json!({"maxUnavailable": 9}), "AAAA", "4 0 4 4"),
            (json!({"maxUnavailable": "30%"}), "AAAA", "4 2 4 2"),
            (json!({"maxUnavailable": "0%"}), "AAAA", "4 4 4 0"),
            (json!({"maxUnavailable": i64::MAX}), "A", "4 0 1 1"),
        ] {
            let found = status(&json!({}), &spec, 3, &pods(seen), Timestamp::UNIX_EPOCH);
            let number = |field: &str| found[field].to_string();
            let shown =
                ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"].map(number).join(" ");
            assert_eq!(shown, expected, "{spec} {seen}");
            let condition = conditions::find(&found, "DisruptionAllowed");
            let reason = if expected.ends_with(" 0") { "InsufficientPods" } else { "SufficientPods" };
            assert_eq!((conditions::text(condition, "reason"), &found["observedGeneration"]), (reason, &json!(3)));
        }
    }

    #[test]
    fn what_cannot_be_counted_allows_nothing() {
        let old = json!({"disruptionsAllowed": 3, "currentHealthy": 5, "disruptedPods": {"p": "t"}});
        for (spec, why) in [
            (json!({"maxUnavailable": 1}), "jobs.batch does not implement the scale subresource"),
            (json!({"minAvailable": "50%"}), "jobs.batch does not implement the scale subresource"),
            (json!({"minAvailable": "many"}), "jobs.batch"),
        ] {
            let found = status(&old, &spec, 1, &pods("AJ"), Timestamp::UNIX_EPOCH);
            let condition = conditions::find(&found, "DisruptionAllowed");
            assert_eq!(
                (&found["disruptionsAllowed"], conditions::text(condition, "reason")),
                (&json!(0), "SyncFailed")
            );
            assert!(conditions::text(condition, "message").contains(why), "{found}");
            assert_eq!((&found["currentHealthy"], found.get("disruptedPods")), (&json!(5), None));
        }
        let found = status(&old, &json!({"maxUnavailable": "-5%"}), 1, &pods("A"), Timestamp::UNIX_EPOCH);
        assert_eq!(conditions::text(conditions::find(&found, "DisruptionAllowed"), "reason"), "SyncFailed");
    }
}
