//! A pod that names its node goes nowhere else.

use super::Reason;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let wanted = pod.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("");
    if wanted.is_empty() || wanted == node.name {
        return Vec::new();
    }
    vec!["node(s) didn't match the requested node name".into()]
}
