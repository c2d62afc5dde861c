//! What admission writes into new pods that needs nothing but the pod: the service account and the tolerations of
//! failing nodes. What needs to know the cluster is the room `admission`'s.
//!
//! Follows upstream's admission plugins ServiceAccount and DefaultTolerationSeconds, except for the seconds.

use serde_json::{Map, Value, json};

use crate::defaulting::{object, or_set};

/// How long a pod stays on a node that is not ready or not reachable, unless it says otherwise; upstream has 300.
///
/// Barque promises that a replacement runs elsewhere within ten seconds of a node's death; what is left after noticing
/// the death, scheduling and starting the container allows two.
pub const TOLERATION_SECONDS: i64 = 2;

/// Fills what admission writes into a new pod; pod templates stay as they are.
///
/// The service account becomes `default`, and the taints of nodes that are not ready or unreachable are tolerated for
/// [`TOLERATION_SECONDS`] unless the pod tolerates them in its own way.
pub(super) fn admit(pod: &mut Map<String, Value>) {
    let Some(spec) = object(pod.get_mut("spec")) else { return };
    or_set(spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].clone();
    spec.insert("serviceAccount".into(), account);
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        tolerate(spec, taint);
    }
}

fn tolerate(spec: &mut Map<String, Value>, taint: &str) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(list) = tolerations.as_array_mut() else { return };
    let text = |toleration: &Value, key: &str| toleration[key].as_str().unwrap_or("").to_owned();
    let tolerated = list.iter().any(|toleration| {
        let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
        (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
    });
    if !tolerated {
        list.push(json!({
            "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
        }));
    }
}
