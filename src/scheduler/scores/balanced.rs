//! Prefers nodes whose CPU and memory fill up evenly (`noderesources/balanced_allocation.go`).

use super::BEST;
use crate::{NodeFacts, PodFacts, Snapshot};

pub(super) fn score(pod: &PodFacts, nodes: &[&NodeFacts], _: &Snapshot) -> Vec<i64> {
    // In thousandths, so that the same inputs give the same answer on every machine.
    let share =
        |used: i64, offered: i64| if offered <= 0 { 1000 } else { (used.saturating_mul(1000) / offered).min(1000) };
    let one = |node: &&NodeFacts| {
        let cpu = share(node.requested.cpu_milli + pod.requests.cpu_milli, node.allocatable.cpu_milli);
        let memory = share(node.requested.memory + pod.requests.memory, node.allocatable.memory);
        // The deviation of two values is half their distance.
        BEST - (cpu - memory).abs() * BEST / 2000
    };
    nodes.iter().map(one).collect()
}
