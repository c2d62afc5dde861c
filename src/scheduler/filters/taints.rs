//! Taints keep pods away that do not tolerate them (`component-helpers/scheduling/corev1/helpers.go`).

use super::Reason;
use crate::{NodeFacts, PodFacts};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let taints = node.node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    for taint in taints.into_iter().flatten() {
        let value = taint.value.as_deref().unwrap_or("");
        if taint.effect != "PreferNoSchedule" && !tolerates(pod, &taint.key, value, &taint.effect) {
            return vec![untolerated(&taint.key, value)];
        }
    }
    // A node that is not ready has no taint yet for a moment; pods must not slip through.
    let tainted = taints.into_iter().flatten().any(|taint| taint.key == NOT_READY || taint.key == UNREACHABLE);
    if !tainted && node.condition("Ready") != "True" && !tolerates(pod, NOT_READY, "", "NoSchedule") {
        return vec![untolerated(NOT_READY, "")];
    }
    Vec::new()
}

fn untolerated(key: &str, value: &str) -> Reason {
    format!("node(s) had untolerated taint {{{key}: {value}}}")
}

/// Whether a pod tolerates a taint.
pub(crate) fn tolerates(pod: &PodFacts, key: &str, value: &str, effect: &str) -> bool {
    let tolerations = pod.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    tolerations.into_iter().flatten().any(|toleration| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let (given_key, given_effect) = (part(&toleration.key), part(&toleration.effect));
        let values_match = match toleration.operator.as_deref().unwrap_or("") {
            "" | "Equal" => part(&toleration.value) == value,
            "Exists" => true,
            _ => false,
        };
        (given_effect.is_empty() || given_effect == effect)
            && (given_key.is_empty() || given_key == key)
            && values_match
    })
}
