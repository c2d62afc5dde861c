//! Rules between pods: near those it needs, away from those it, or they, cannot bear
//! (`framework/plugins/interpodaffinity/filtering.go`).

use std::collections::HashMap;

use super::Reason;
use crate::terms::Term;
use crate::{NodeFacts, PodFacts, Snapshot};

/// What the cluster says about one pod's rules, counted once for all nodes.
pub(crate) struct Counted {
    /// For each required term: pods it is about, by value of its topology label.
    affinity: Vec<HashMap<String, usize>>,
    anti_affinity: Vec<HashMap<String, usize>>,
    /// Parts of the cluster (label and value) where a pod lives that cannot bear this one.
    unwelcome: Vec<(String, String)>,
    /// Whether the pod would satisfy its own affinity, so that the first of a group can be placed.
    first: bool,
}

/// Counts for `pod`; `None` when no rule concerns it.
pub(crate) fn count(pod: &PodFacts, snapshot: &Snapshot, with_anti: &[(usize, usize)]) -> Option<Counted> {
    let terms = &pod.terms;
    if terms.affinity.is_empty() && terms.anti_affinity.is_empty() && with_anti.is_empty() {
        return None;
    }
    let per_term = |terms: &[Term]| terms.iter().map(|term| by_part(term, snapshot)).collect::<Vec<_>>();
    let affinity = per_term(&terms.affinity);
    let mut unwelcome = Vec::new();
    for &(node, index) in with_anti {
        let node = &snapshot.nodes[node];
        for term in &node.pods[index].terms.anti_affinity {
            if let Some(part) = node.label(&term.topology_key).filter(|_| term.matches(pod, snapshot)) {
                unwelcome.push((term.topology_key.clone(), part.to_owned()));
            }
        }
    }
    let nobody = affinity.iter().all(HashMap::is_empty);
    let first = nobody && terms.affinity.iter().all(|term| term.matches(pod, snapshot));
    Some(Counted { affinity, anti_affinity: per_term(&terms.anti_affinity), unwelcome, first })
}

/// Pods that a term is about, by value of its topology label.
pub(crate) fn by_part(term: &Term, snapshot: &Snapshot) -> HashMap<String, usize> {
    let mut parts = HashMap::new();
    for node in &snapshot.nodes {
        let Some(part) = node.label(&term.topology_key) else {
            continue;
        };
        let number = node.pods.iter().filter(|other| !is_going(other) && term.matches(other, snapshot)).count();
        if number > 0 {
            *parts.entry(part.to_owned()).or_default() += number;
        }
    }
    parts
}

fn is_going(pod: &PodFacts) -> bool {
    pod.pod.metadata.deletion_timestamp.is_some()
}

impl Counted {
    /// The reason against `node`, if there is one.
    pub fn check(&self, pod: &PodFacts, node: &NodeFacts) -> Option<Reason> {
        let there = |terms: &[Term], counts: &[HashMap<String, usize>], index: usize| -> Option<usize> {
            let part = node.label(&terms[index].topology_key)?;
            Some(counts[index].get(part).copied().unwrap_or(0))
        };
        let terms = &pod.terms;
        let near = (0..terms.affinity.len()).all(|index| match there(&terms.affinity, &self.affinity, index) {
            Some(number) => number > 0 || self.first,
            None => false,
        });
        if !near {
            return Some("node(s) didn't match pod affinity rules".into());
        }
        if (0..terms.anti_affinity.len()).any(|i| there(&terms.anti_affinity, &self.anti_affinity, i) > Some(0)) {
            return Some("node(s) didn't match pod anti-affinity rules".into());
        }
        if self.unwelcome.iter().any(|(label, part)| node.label(label) == Some(part)) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules".into());
        }
        None
    }
}
