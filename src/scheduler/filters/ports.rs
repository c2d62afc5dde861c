//! Two pods of one node cannot hold the same port of it (`framework/types.go`, `HostPortInfo`).

use super::Reason;
use crate::facts::HostPort;
use crate::{NodeFacts, PodFacts};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Vec<Reason> {
    let taken =
        |wanted: &HostPort| node.pods.iter().flat_map(|other| &other.host_ports).any(|held| collide(wanted, held));
    if pod.host_ports.iter().any(taken) {
        return vec!["node(s) didn't have free ports for the requested pod ports".into()];
    }
    Vec::new()
}

fn collide(left: &HostPort, right: &HostPort) -> bool {
    let all = |port: &HostPort| matches!(port.address.as_str(), "" | "0.0.0.0" | "::");
    let addresses = all(left) || all(right) || left.address == right.address;
    addresses && left.port == right.port && left.protocol == right.protocol
}
