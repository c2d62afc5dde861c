//! Node selector and required node affinity (`component-helpers/scheduling/corev1/nodeaffinity`).

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::Reason;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    if selects(pod, node) { Vec::new() } else { vec!["node(s) didn't match Pod's node affinity/selector".into()] }
}

/// Whether the pod's node selector and required node affinity allow the node.
pub(crate) fn selects(pod: &PodFacts, node: &NodeFacts) -> bool {
    let Some(spec) = &pod.pod.spec else {
        return true;
    };
    let plain = spec.node_selector.iter().flatten().all(|(key, value)| node.label(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    plain && required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| matches_term(term, node)))
}

/// Whether a node satisfies every requirement of a term; an empty term matches nothing.
pub(crate) fn matches_term(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|one| holds(one, node.label(&one.key)))
        && fields.iter().all(|one| one.key == "metadata.name" && holds(one, Some(&node.name)))
}

fn holds(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |found: &str| values.iter().any(|value| value == found);
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = |accepts: fn(i64, i64) -> bool| match (found.and_then(number), values) {
        (Some(found), [bound]) => number(bound).is_some_and(|bound| accepts(found, bound)),
        _ => false,
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(|found, bound| found > bound),
        "Lt" => compare(|found, bound| found < bound),
        _ => false,
    }
}
