//! Keeps pods of one owner apart, and follows spread constraints that only prefer.
//!
//! Upstream's default constraints (`podtopologyspread`, `maxSkew` 3 by host and 5 by zone) spread by Service and owner;
//! here the owner decides, or for pods without one, equal labels.

use super::stretch;
use crate::filters::spread::peers;
use crate::{NodeFacts, PodFacts, Snapshot};

const ZONE: &str = "topology.kubernetes.io/zone";

pub(super) fn score(pod: &PodFacts, nodes: &[&NodeFacts], snapshot: &Snapshot) -> Vec<i64> {
    let wishes: Vec<_> = pod.terms.spread.iter().filter(|constraint| !constraint.required).collect();
    let mut raw = vec![0; nodes.len()];
    if wishes.is_empty() {
        let on = |node: &NodeFacts| node.pods.iter().filter(|other| is_sibling(pod, other)).count() as i64;
        for (sum, node) in raw.iter_mut().zip(nodes) {
            let zone = node
                .label(ZONE)
                .map_or(0, |zone| snapshot.nodes.iter().filter(|other| other.label(ZONE) == Some(zone)).map(on).sum());
            // A shared host is worse than a shared zone.
            *sum = 4 * on(node) + zone;
        }
    }
    for constraint in wishes {
        for (sum, node) in raw.iter_mut().zip(nodes) {
            let Some(part) = node.label(&constraint.topology_key) else {
                continue;
            };
            let same = snapshot.nodes.iter().filter(|other| other.label(&constraint.topology_key) == Some(part));
            *sum += same.map(|other| peers(constraint, pod, other)).sum::<i64>();
        }
    }
    stretch(raw, true)
}

fn is_sibling(pod: &PodFacts, other: &PodFacts) -> bool {
    let alive = other.pod.metadata.deletion_timestamp.is_none();
    alive
        && pod.namespace == other.namespace
        && match (&pod.owner, &other.owner) {
            (Some(left), Some(right)) => left == right,
            (None, None) => !pod.labels.is_empty() && pod.labels == other.labels,
            _ => false,
        }
}
