//! Prefers nodes with much room left (`noderesources/least_allocated.go`).

use super::BEST;
use crate::{NodeFacts, PodFacts, Snapshot};

pub(super) fn score(pod: &PodFacts, nodes: &[&NodeFacts], _: &Snapshot) -> Vec<i64> {
    let left = |used: i64, offered: i64| {
        if offered <= 0 || used > offered { 0 } else { (offered - used).saturating_mul(BEST) / offered }
    };
    let one = |node: &&NodeFacts| {
        let cpu = left(node.weight.0 + pod.weight.0, node.allocatable.cpu_milli);
        let memory = left(node.weight.1 + pod.weight.1, node.allocatable.memory);
        (cpu + memory) / 2
    };
    nodes.iter().map(one).collect()
}
