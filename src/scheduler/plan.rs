//! The plan: which pending pod goes where, and why the others cannot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::filters::{Reason, fits, pod_affinity, spread};
use crate::{NodeFacts, PodFacts, Snapshot, scores};

/// A pod and its node.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The pod.
    pub pod: Arc<PodFacts>,
    /// Name of the node.
    pub node: String,
    /// Uid of the node: the decision is about this incarnation.
    pub node_uid: String,
}

/// A pod that fits nowhere.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The pod.
    pub pod: Arc<PodFacts>,
    /// Why, in upstream's words, as the condition and the event show it.
    pub message: String,
}

/// What is to be done about all pending pods.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Pods that have found a node.
    pub placements: Vec<Placement>,
    /// Pods that have not.
    pub refusals: Vec<Refused>,
}

/// Places pending pods one after the other, the highest priority first and otherwise in the order given; each sees those
/// before it.
pub fn plan(mut snapshot: Snapshot, pending: &[Arc<PodFacts>]) -> Plan {
    let mut queue: Vec<&Arc<PodFacts>> = pending.iter().collect();
    queue.sort_by_key(|pod| std::cmp::Reverse(pod.priority()));
    let mut with_anti = pods_with_anti_affinity(&snapshot);
    let mut plan = Plan::default();
    for pod in queue {
        match place(pod, &snapshot, &with_anti) {
            Ok(index) => {
                let node = &mut snapshot.nodes[index];
                if !pod.terms.anti_affinity.is_empty() {
                    with_anti.push((index, node.pods.len()));
                }
                node.add(Arc::clone(pod));
                let (name, uid) = (node.name.clone(), node.uid.clone());
                plan.placements.push(Placement { pod: Arc::clone(pod), node: name, node_uid: uid });
            }
            Err(message) => plan.refusals.push(Refused { pod: Arc::clone(pod), message }),
        }
    }
    plan
}

/// The best node for `pod` by index, or why there is none.
fn place(pod: &PodFacts, snapshot: &Snapshot, with_anti: &[(usize, usize)]) -> Result<usize, String> {
    if snapshot.nodes.is_empty() {
        return Err("no nodes available to schedule pods".into());
    }
    let spread = spread::count(pod, snapshot);
    let affinity = pod_affinity::count(pod, snapshot, with_anti);
    let mut possible = Vec::new();
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
    for (index, node) in snapshot.nodes.iter().enumerate() {
        let verdict = fits(pod, node).and_then(|()| {
            let uneven = spread.as_ref().and_then(|counted| counted.check(pod, node));
            let apart = || affinity.as_ref().and_then(|counted| counted.check(pod, node));
            uneven.or_else(apart).map_or(Ok(()), |reason| Err(vec![reason]))
        });
        match verdict {
            Ok(()) => possible.push(index),
            Err(why) => why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
    }
    if possible.is_empty() {
        return Err(explain(snapshot.nodes.len(), &reasons));
    }
    Ok(best(pod, &possible, snapshot))
}

/// Among equals the node with the fewest pods wins, then the first by name: a plan can be replayed.
fn best(pod: &PodFacts, possible: &[usize], snapshot: &Snapshot) -> usize {
    let nodes: Vec<&NodeFacts> = possible.iter().map(|index| &snapshot.nodes[*index]).collect();
    let totals = scores::total(pod, &nodes, snapshot);
    let rank = |at: &usize| (totals[*at], std::cmp::Reverse(nodes[*at].pods.len()), std::cmp::Reverse(*at));
    let winner = (0..nodes.len()).max_by_key(rank).unwrap_or(0);
    possible[winner]
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` (`framework/types.go`, `FitError`)
fn explain(nodes: usize, reasons: &BTreeMap<Reason, usize>) -> String {
    let mut parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

fn pods_with_anti_affinity(snapshot: &Snapshot) -> Vec<(usize, usize)> {
    let nodes = snapshot.nodes.iter().enumerate();
    nodes
        .flat_map(|(at, node)| node.pods.iter().enumerate().map(move |(index, pod)| (at, index, pod)))
        .filter(|(_, _, pod)| !pod.terms.anti_affinity.is_empty())
        .map(|(at, index, _)| (at, index))
        .collect()
}
