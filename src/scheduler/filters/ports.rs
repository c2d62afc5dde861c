//! Two pods of one node cannot hold the same port of it.

use super::Reason;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    if fit::collision(&pod.host_ports, node.pods.iter().flat_map(|other| &other.host_ports)).is_some() {
        return vec!["node(s) didn't have free ports for the requested pod ports".into()];
    }
    Vec::new()
}
