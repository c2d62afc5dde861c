//! Deployments and their ReplicaSets as the decisions read them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Label that tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// What a Deployment asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub name: String,
    pub namespace: String,
    pub generation: i64,
    pub replicas: i64,
    pub paused: bool,
    pub deleting: bool,
    /// Whether all old pods end before the first new one starts.
    pub recreate: bool,
    /// Pods over `replicas` that a rollout may have.
    pub surge: i64,
    /// Pods below `replicas` that a rollout may have.
    pub unavailable: i64,
    pub min_ready_seconds: i64,
    /// Old sets that are kept; `None` keeps all.
    pub history_max: Option<usize>,
    /// Seconds without progress after which a rollout counts as stuck; `None` waits for ever.
    pub progress_deadline: Option<i64>,
    pub selector: Value,
    pub template: Value,
    pub annotations: BTreeMap<String, String>,
    pub status: Value,
}

/// One of its ReplicaSets.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    pub name: String,
    /// Order of creation: time, then name as upstream's `ReplicaSetsByCreationTimestamp`.
    pub created: (String, String),
    pub deleting: bool,
    pub generation: i64,
    /// `spec.replicas`.
    pub replicas: i64,
    pub min_ready_seconds: i64,
    pub template: Value,
    pub annotations: BTreeMap<String, String>,
    pub status: Value,
    /// Its pods that live now; the status may lag behind.
    pub alive: i64,
    /// Its pods that are available now.
    pub available: i64,
}

impl Wanted {
    /// Reads a Deployment.
    pub fn of(value: &Value) -> Self {
        let (metadata, spec) = (&value["metadata"], &value["spec"]);
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        let rolling = &spec["strategy"]["rollingUpdate"];
        let recreate = spec["strategy"]["type"] == "Recreate";
        let (surge, unavailable) = if recreate { (0, 0) } else { fenceposts(rolling, replicas) };
        // The largest number means "no limit", as upstream's `HasRevisionHistoryLimit` has it.
        let limit = |value: &Value| value.as_i64().filter(|number| *number != i64::from(i32::MAX));
        Self {
            name: text(&metadata["name"]),
            namespace: text(&metadata["namespace"]),
            generation: metadata["generation"].as_i64().unwrap_or(0),
            replicas,
            paused: spec["paused"].as_bool().unwrap_or(false),
            deleting: metadata["deletionTimestamp"].is_string(),
            recreate,
            surge,
            unavailable,
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            history_max: limit(&spec["revisionHistoryLimit"]).and_then(|number| usize::try_from(number).ok()),
            progress_deadline: limit(&spec["progressDeadlineSeconds"]),
            selector: spec["selector"].clone(),
            template: spec["template"].clone(),
            annotations: strings(&metadata["annotations"]),
            status: value["status"].clone(),
        }
    }

    /// Pods that the sets may have together while a rollout is under way.
    pub fn most(&self) -> i64 {
        self.replicas + self.surge
    }

    /// Pods that must be available while a rollout is under way.
    pub fn least(&self) -> i64 {
        self.replicas - self.unavailable
    }
}

impl Set {
    /// Reads a ReplicaSet, of whose pods `alive` live and `available` are available.
    pub fn of(value: &Value, alive: i64, available: i64) -> Self {
        let (metadata, spec) = (&value["metadata"], &value["spec"]);
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        Self {
            name: text(&metadata["name"]),
            created: (text(&metadata["creationTimestamp"]), text(&metadata["name"])),
            deleting: metadata["deletionTimestamp"].is_string(),
            generation: metadata["generation"].as_i64().unwrap_or(0),
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            template: spec["template"].clone(),
            annotations: strings(&metadata["annotations"]),
            status: value["status"].clone(),
            alive,
            available,
        }
    }

    /// A count of the set's status.
    pub fn count(&self, field: &str) -> i64 {
        self.status[field].as_i64().unwrap_or(0)
    }

    /// Pods that the set has or is about to have. Counting both keeps a rollout within its bounds at every revision, while
    /// upstream, which counts only what is asked for, lets the sum overshoot until the pods that must go are gone.
    pub fn room(&self) -> i64 {
        self.replicas.max(self.alive)
    }

    /// Pods of the set that are available and will stay: those beyond its size are about to go.
    pub fn lasting(&self) -> i64 {
        self.available.min(self.replicas)
    }

    /// The revision that its annotation names.
    pub fn revision(&self) -> i64 {
        self.annotations.get(super::revision::REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Surge rounded up and unavailability rounded down; both zero would stand still, so one may then be unavailable
/// (`deployment_util.go`, `ResolveFenceposts`).
fn fenceposts(rolling: &Value, replicas: i64) -> (i64, i64) {
    let surge = resolve(&rolling["maxSurge"], replicas, true);
    let mut unavailable = resolve(&rolling["maxUnavailable"], replicas, false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    (surge, unavailable.min(replicas))
}

/// A number, or a share of `replicas` in percent; the default is a quarter.
fn resolve(value: &Value, replicas: i64, up: bool) -> i64 {
    let share = |percent: i64| {
        let product = percent.max(0).saturating_mul(replicas);
        if up { product.saturating_add(99) / 100 } else { product / 100 }
    };
    match value {
        Value::Number(number) => number.as_i64().unwrap_or(0).max(0),
        Value::String(text) => match text.strip_suffix('%') {
            Some(percent) => share(percent.parse().unwrap_or(0)),
            None => text.parse().unwrap_or(0),
        },
        _ => share(25),
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_round_away_from_harm() {
        for (surge, unavailable, replicas, expected) in [
            (json!("25%"), json!("25%"), 10, (3, 2)),
            (json!("25%"), json!("25%"), 1, (1, 0)),
            (json!("0%"), json!("10%"), 5, (0, 1)),
            (json!(0), json!("10%"), 5, (0, 1)),
            (json!(2), json!(7), 5, (2, 5)),
            (Value::Null, Value::Null, 4, (1, 1)),
            (json!("150%"), json!("200%"), 4, (6, 4)),
            (json!(0), json!(0), 0, (0, 0)),
        ] {
            let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            assert_eq!(fenceposts(&rolling, replicas), expected, "{rolling} of {replicas}");
        }
    }
}
