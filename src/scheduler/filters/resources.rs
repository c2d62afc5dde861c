//! What a node still has must cover what a pod asks for.

use super::Reason;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let lacks = pod.requests.lacking(&node.requested, &node.allocatable).into_iter();
    lacks
        .map(|lack| match lack.resource.as_str() {
            "pods" => "Too many pods".to_owned(),
            resource => format!("Insufficient {resource}"),
        })
        .collect()
}
