//! What rules a node out, one file a rule, in upstream's order and words.
//!
//! A filter that looks at the node alone is part of [`fits`]; those that look at the whole cluster are asked by the plan. What
//! the node's agent checks again, amounts and ports, is the rule of the crate `fit`.

mod node_affinity;
mod node_name;
pub(crate) mod pod_affinity;
mod ports;
mod resources;
pub(crate) mod spread;
mod taints;
mod unschedulable;

pub(crate) use node_affinity::{matches_term, selects};
pub(crate) use taints::tolerates;

use crate::{NodeFacts, PodFacts};

/// Why a pod cannot go to a node, as clients see it in the count of refusals.
pub type Reason = String;

type Filter = fn(&PodFacts, &NodeFacts) -> Vec<Reason>;

/// The order of upstream's `apis/config/v1/default_plugins.go`: the first filter that objects is the one that is told of.
const FILTERS: [Filter; 6] =
    [unschedulable::check, node_name::check, taints::check, node_affinity::check, ports::check, resources::check];

/// Whether `pod` may be placed on `node` as far as this node alone is concerned.
///
/// # Errors
/// The reasons of the first filter that objects; never empty.
pub fn fits(pod: &PodFacts, node: &NodeFacts) -> Result<(), Vec<Reason>> {
    for filter in FILTERS {
        let reasons = filter(pod, node);
        if !reasons.is_empty() {
            return Err(reasons);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
