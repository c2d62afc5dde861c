//! Prefers nodes with fewer `PreferNoSchedule` taints that the pod does not tolerate (`tainttoleration`).

use super::stretch;
use crate::filters::tolerates;
use crate::{NodeFacts, PodFacts, Snapshot};

pub(super) fn score(pod: &PodFacts, nodes: &[&NodeFacts], _: &Snapshot) -> Vec<i64> {
    let one = |node: &&NodeFacts| {
        let taints = node.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let unwanted = taints.iter().filter(|taint| {
            taint.effect == "PreferNoSchedule"
                && !tolerates(pod, &taint.key, taint.value.as_deref().unwrap_or(""), &taint.effect)
        });
        unwanted.count() as i64
    };
    stretch(nodes.iter().map(one).collect(), true)
}
