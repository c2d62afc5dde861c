//! Preferred affinity to nodes (`nodeaffinity/node_affinity.go`) and to other pods (`interpodaffinity/scoring.go`).

use super::stretch;
use crate::filters::matches_term;
use crate::filters::pod_affinity::by_part;
use crate::{NodeFacts, PodFacts, Snapshot};

pub(super) fn of_nodes(pod: &PodFacts, nodes: &[&NodeFacts], _: &Snapshot) -> Vec<i64> {
    let preferred = pod
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref())
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default();
    let one = |node: &&NodeFacts| {
        let holds = preferred.iter().filter(|term| matches_term(&term.preference, node));
        holds.map(|term| i64::from(term.weight)).sum()
    };
    stretch(nodes.iter().map(one).collect(), false)
}

pub(super) fn of_pods(pod: &PodFacts, nodes: &[&NodeFacts], snapshot: &Snapshot) -> Vec<i64> {
    let mut raw = vec![0; nodes.len()];
    for term in &pod.terms.preferred {
        let parts = by_part(term, snapshot);
        for (sum, node) in raw.iter_mut().zip(nodes) {
            let there = node.label(&term.topology_key).and_then(|part| parts.get(part)).copied().unwrap_or(0);
            *sum += term.weight * there as i64;
        }
    }
    stretch(raw, false)
}
