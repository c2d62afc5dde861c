//! Sizes of the sets: how a rollout moves pods from old sets to the new one, and how a change of the Deployment's size is
//! shared out. Pure arithmetic.
//!
//! Follows upstream's `controller/deployment/rolling.go`, `recreate.go` and `sync.go` (`scale`).

use super::model::{Set, Wanted};
use super::revision::{DESIRED, MOST};

/// A set's new size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resize {
    pub name: String,
    pub from: i64,
    pub to: i64,
}

fn resize(set: &Set, to: i64) -> Option<Resize> {
    (set.replicas != to).then(|| Resize { name: set.name.clone(), from: set.replicas, to })
}

/// The size that the new set may have now (`NewRSNewReplicas`): as much as the surge leaves room for.
pub(super) fn new_size<'a>(wanted: &Wanted, all: impl Iterator<Item = &'a Set>, present: i64) -> i64 {
    if wanted.recreate {
        return wanted.replicas;
    }
    let room = wanted.most() - all.map(Set::room).sum::<i64>();
    if room <= 0 { present } else { present + room.min(wanted.replicas - present) }
}

/// One step of a rolling update: first the new set grows (or shrinks), and only when it cannot, old sets shrink.
pub(super) fn roll(wanted: &Wanted, new: &Set, old: &[&Set]) -> Vec<Resize> {
    let grown = if new.replicas > wanted.replicas {
        wanted.replicas
    } else {
        new_size(wanted, old.iter().copied().chain([new]), new.replicas)
    };
    match resize(new, grown) {
        Some(step) => vec![step],
        None => shrink_old(wanted, new, old),
    }
}

/// How old sets shrink: unhealthy pods first, which costs no availability, then as many as are available to spare.
fn shrink_old(wanted: &Wanted, new: &Set, old: &[&Set]) -> Vec<Resize> {
    let mut old: Vec<&Set> = old.iter().copied().filter(|set| set.replicas > 0).collect();
    old.sort_by(|left, right| left.created.cmp(&right.created));
    let asked: i64 = old.iter().map(|set| set.replicas).sum::<i64>() + new.replicas;
    let new_missing = (new.replicas - new.lasting()).max(0);
    let most = asked - wanted.least() - new_missing;
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i64> = old.iter().map(|set| set.replicas).collect();
    let mut cleaned = 0;
    for (size, set) in sizes.iter_mut().zip(&old) {
        let unhealthy = (set.replicas - set.lasting()).clamp(0, most - cleaned);
        *size -= unhealthy;
        cleaned += unhealthy;
    }
    let lasting: i64 = old.iter().zip(&sizes).map(|(set, size)| set.available.min(*size)).sum::<i64>() + new.lasting();
    let mut spare = (lasting - wanted.least()).max(0);
    for size in &mut sizes {
        let share = spare.min(*size);
        *size -= share;
        spare -= share;
    }
    old.iter().zip(sizes).filter_map(|(set, size)| resize(set, size)).collect()
}

/// All old sets to zero, as Recreate begins.
pub(super) fn empty_old(old: &[&Set]) -> Vec<Resize> {
    old.iter().filter_map(|set| resize(set, 0)).collect()
}

/// Whether the Deployment's size has changed since its sets were last sized (`isScalingEvent`).
pub(super) fn is_scaling(wanted: &Wanted, sets: &[Set]) -> bool {
    let desired = |set: &Set| set.annotations.get(DESIRED).and_then(|text| text.parse::<i64>().ok());
    sets.iter().filter(|set| set.replicas > 0).any(|set| desired(set).is_some_and(|desired| desired != wanted.replicas))
}

/// Shares a change of size among the sets, in proportion to what they have. Sets that keep their size are named as well
/// when they only have to note the Deployment's new size.
pub(super) fn scale(wanted: &Wanted, new: Option<&Set>, old: &[&Set]) -> Vec<Resize> {
    let to = |set: &Set, size: i64| Resize { name: set.name.clone(), from: set.replicas, to: size };
    let active: Vec<&Set> = old.iter().copied().chain(new).filter(|set| set.replicas > 0).collect();
    // One set alone, or the latest when all are empty, takes it all (`FindActiveOrLatest`).
    let latest = || new.or_else(|| old.iter().copied().max_by(|left, right| left.created.cmp(&right.created)));
    match active.len() {
        0 => return latest().map(|set| vec![to(set, wanted.replicas)]).unwrap_or_default(),
        1 => return vec![to(active[0], wanted.replicas)],
        _ => {}
    }
    if new.is_some_and(|new| is_saturated(wanted, new)) {
        return empty_old(old);
    }
    if wanted.recreate {
        return Vec::new();
    }
    let allowed = if wanted.replicas > 0 { wanted.most() } else { 0 };
    let missing = allowed - active.iter().map(|set| set.replicas).sum::<i64>();
    let mut order = active;
    // The larger first; among equals the newer grows and the older shrinks first.
    order.sort_by(|left, right| {
        let by_age = left.created.cmp(&right.created);
        right.replicas.cmp(&left.replicas).then(if missing > 0 { by_age.reverse() } else { by_age })
    });
    let mut given = 0;
    let mut sizes: Vec<i64> = Vec::with_capacity(order.len());
    for set in &order {
        let share = share(wanted, set, missing, given);
        given += share;
        sizes.push(set.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + missing - given).max(0);
    }
    order.iter().zip(sizes).map(|(set, size)| to(set, size)).collect()
}

/// Whether the new set has taken over for good (`IsSaturated`).
fn is_saturated(wanted: &Wanted, new: &Set) -> bool {
    let desired = new.annotations.get(DESIRED).and_then(|text| text.parse::<i64>().ok());
    desired == Some(wanted.replicas)
        && new.replicas == wanted.replicas
        && new.count("availableReplicas") == wanted.replicas
}

/// A set's share of what is still missing (`GetReplicaSetProportion`).
fn share(wanted: &Wanted, set: &Set, missing: i64, given: i64) -> i64 {
    if set.replicas == 0 || missing == 0 || missing == given {
        return 0;
    }
    let (fraction, allowed) = (fraction(wanted, set), missing - given);
    if missing > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

/// By how much a set would grow if all grew alike (`getReplicaSetFraction`).
fn fraction(wanted: &Wanted, set: &Set) -> i64 {
    if wanted.replicas == 0 {
        return -set.replicas;
    }
    let noted = set.annotations.get(MOST).and_then(|text| text.parse::<i64>().ok()).filter(|most| *most > 0);
    let before = noted.unwrap_or_else(|| wanted.status["replicas"].as_i64().unwrap_or(0));
    if before <= 0 {
        return 0;
    }
    // Half of it is added before the division, which rounds to the nearest.
    (set.replicas * wanted.most() * 2 + before) / (before * 2) - set.replicas
}

/// Old sets that the history has no room for, the oldest first (`cleanupDeployment`).
pub(super) fn forgotten(wanted: &Wanted, old: &[&Set]) -> Vec<String> {
    let Some(keep) = wanted.history_max else {
        return Vec::new();
    };
    let mut old: Vec<&Set> = old.iter().copied().filter(|set| !set.deleting).collect();
    old.sort_by(|left, right| left.revision().cmp(&right.revision()).then(left.created.cmp(&right.created)));
    let surplus = old.len().saturating_sub(keep);
    let is_empty = |set: &&Set| {
        let settled = set.generation <= set.count("observedGeneration");
        set.count("replicas") == 0 && set.replicas == 0 && set.alive == 0 && settled
    };
    old.into_iter().take(surplus).filter(is_empty).map(|set| set.name.clone()).collect()
}
