//! Topology spread constraints that forbid (`framework/plugins/podtopologyspread/filtering.go`).

use std::collections::HashMap;

use super::{Reason, selects};
use crate::terms::Spread;
use crate::{NodeFacts, PodFacts, Snapshot};

/// For each forbidding constraint of a pod: how many of its peers each part of the cluster has.
pub(crate) struct Counted(Vec<HashMap<String, i64>>);

/// Counts for `pod`; `None` when it has no such constraint.
pub(crate) fn count(pod: &PodFacts, snapshot: &Snapshot) -> Option<Counted> {
    let constraints: Vec<&Spread> = required(pod).collect();
    if constraints.is_empty() {
        return None;
    }
    let eligible = |node: &&NodeFacts| {
        selects(pod, node) && constraints.iter().all(|constraint| node.label(&constraint.topology_key).is_some())
    };
    let counts = constraints.iter().map(|constraint| {
        let mut parts = HashMap::new();
        for node in snapshot.nodes.iter().filter(eligible) {
            let part = node.label(&constraint.topology_key).unwrap_or("").to_owned();
            *parts.entry(part).or_default() += peers(constraint, pod, node);
        }
        parts
    });
    Some(Counted(counts.collect()))
}

/// How many pods on `node` a constraint of `pod` counts.
pub(crate) fn peers(constraint: &Spread, pod: &PodFacts, node: &NodeFacts) -> i64 {
    let counts =
        |other: &PodFacts| other.pod.metadata.deletion_timestamp.is_none() && constraint.matches(other, &pod.namespace);
    node.pods.iter().filter(|other| counts(other)).count() as i64
}

fn required(pod: &PodFacts) -> impl Iterator<Item = &Spread> {
    pod.terms.spread.iter().filter(|constraint| constraint.required)
}

impl Counted {
    /// The reason against `node`, if there is one.
    pub fn check(&self, pod: &PodFacts, node: &NodeFacts) -> Option<Reason> {
        const WORDS: &str = "node(s) didn't match pod topology spread constraints";
        for (constraint, parts) in required(pod).zip(&self.0) {
            let Some(part) = node.label(&constraint.topology_key) else {
                return Some(format!("{WORDS} (missing required label)"));
            };
            let few = (parts.len() as i64) < constraint.domains_min;
            let least = if few { 0 } else { parts.values().copied().min().unwrap_or(0) };
            let own = i64::from(constraint.matches(pod, &pod.namespace));
            if parts.get(part).copied().unwrap_or(0) + own - least > constraint.skew_max {
                return Some(WORDS.into());
            }
        }
        None
    }
}
