//! What a node still has must cover what a pod asks for (`framework/plugins/noderesources/fit.go`).

use super::Reason;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let (wanted, used, offered) = (&pod.requests, &node.requested, &node.allocatable);
    let mut reasons = Vec::new();
    if used.pods + 1 > offered.pods {
        reasons.push("Too many pods".into());
    }
    let lacks = |wanted: i64, used: i64, offered: i64| wanted > 0 && wanted > offered.saturating_sub(used);
    if lacks(wanted.cpu_milli, used.cpu_milli, offered.cpu_milli) {
        reasons.push("Insufficient cpu".into());
    }
    if lacks(wanted.memory, used.memory, offered.memory) {
        reasons.push("Insufficient memory".into());
    }
    if lacks(wanted.ephemeral_storage, used.ephemeral_storage, offered.ephemeral_storage) {
        reasons.push("Insufficient ephemeral-storage".into());
    }
    for (name, amount) in &wanted.other {
        let of = |amounts: &crate::Amounts| amounts.other.get(name).copied().unwrap_or(0);
        if lacks(*amount, of(used), of(offered)) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
