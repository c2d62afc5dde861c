//! Cordoned nodes take no new pods, except those that tolerate the taint of a cordon.

use super::{Reason, tolerates};
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let cordoned = node.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    if !cordoned || tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule") {
        return Vec::new();
    }
    vec!["node(s) were unschedulable".into()]
}
