//! Which of the possible nodes is best: each score gives every node 0 to 100, a weighted sum decides.

mod affinity;
mod balanced;
mod images;
mod least_allocated;
mod spreading;
mod taints;

use crate::{NodeFacts, PodFacts, Snapshot};

/// The best a score can give.
const BEST: i64 = 100;

type Score = fn(&PodFacts, &[&NodeFacts], &Snapshot) -> Vec<i64>;

/// Weights follow `apis/config/v1/default_plugins.go`; spreading weighs a little more, because replicas that share a node
/// fail together.
const SCORES: [(i64, Score); 7] = [
    (1, least_allocated::score),
    (1, balanced::score),
    (1, images::score),
    (2, affinity::of_nodes),
    (2, affinity::of_pods),
    (3, taints::score),
    (3, spreading::score),
];

/// The score of each of `nodes`, in order; all of them passed the filters.
pub(crate) fn total(pod: &PodFacts, nodes: &[&NodeFacts], snapshot: &Snapshot) -> Vec<i64> {
    let mut sums = vec![0; nodes.len()];
    for (weight, score) in SCORES {
        for (sum, points) in sums.iter_mut().zip(score(pod, nodes, snapshot)) {
            *sum += weight * points;
        }
    }
    sums
}

/// Stretches raw values to 0..=100; `reversed` gives the smallest the best. Equal values all get the same.
fn stretch(raw: Vec<i64>, reversed: bool) -> Vec<i64> {
    let (Some(low), Some(high)) = (raw.iter().copied().min(), raw.iter().copied().max()) else {
        return raw;
    };
    if low == high {
        return vec![if reversed { BEST } else { 0 }; raw.len()];
    }
    let scaled = |value: i64| (value - low).saturating_mul(BEST) / (high - low);
    raw.into_iter().map(|value| if reversed { BEST - scaled(value) } else { scaled(value) }).collect()
}
