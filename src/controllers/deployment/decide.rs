//! One step of a Deployment: everything that is to be written together. Pure.
//!
//! Follows upstream's `controller/deployment/deployment_controller.go` (`syncDeployment`) and `sync.go`.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::model::{Set, Wanted};
use super::sizes::{self, Resize};
use super::{progress, revision};

/// What is to be done. Equal inputs give equal steps; a step of a settled Deployment writes nothing new.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Step {
    /// A set to make.
    pub create: Option<Value>,
    /// Sets to size. One whose size stays only notes the Deployment's size.
    pub resizes: Vec<Resize>,
    /// Annotations and `minReadySeconds` of the new set, where they changed.
    pub refresh: Option<(String, BTreeMap<String, String>, i64)>,
    /// Sets to forget.
    pub forget: Vec<String>,
    /// The revision that the Deployment shows.
    pub revision: Option<String>,
    /// The status.
    pub status: Value,
    /// Seconds after which to look again, although nothing may have changed.
    pub look_in: Option<i64>,
}

/// What the decision rests on.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub wanted: &'a Wanted,
    /// The Deployment's own sets.
    pub sets: &'a [Set],
    /// Names that ReplicaSets of the namespace have, whoever owns them.
    pub taken: &'a HashSet<String>,
    /// Whether a pod of an old set is still there, alive or ending; Recreate waits for it.
    pub old_pods: bool,
    pub now: Timestamp,
}

/// Decides the next step.
pub(super) fn step(seen: &Seen<'_>) -> Step {
    let (wanted, now) = (seen.wanted, seen.now);
    let new = revision::find_new(wanted, seen.sets);
    let old: Vec<&Set> = seen.sets.iter().filter(|set| new.is_none_or(|new| new.name != set.name)).collect();
    let all: Vec<&Set> = seen.sets.iter().collect();
    let collisions = wanted.status["collisionCount"].as_i64();
    let mut step = Step { status: progress::counts(wanted, new, &all, collisions, now), ..Step::default() };
    if wanted.deleting {
        return step;
    }
    progress::note_pause(wanted, &mut step.status, now);
    if let Some(new) = new {
        refresh(seen, new, &old, &mut step);
    }
    if wanted.paused {
        step.resizes = sizes::scale(wanted, new, &old);
        step.forget = sizes::forgotten(wanted, &old);
        return step;
    }
    if sizes::is_scaling(wanted, seen.sets) {
        step.resizes = sizes::scale(wanted, new, &old);
        return step;
    }
    match new {
        None if wanted.recreate => {
            step.resizes = sizes::empty_old(&old);
            if step.resizes.is_empty() && !seen.old_pods {
                create(seen, &old, &mut step);
            }
        }
        None => create(seen, &old, &mut step),
        Some(new) => {
            step.resizes = if wanted.recreate { recreate(seen, new, &old) } else { sizes::roll(wanted, new, &old) };
            if step.resizes.is_empty() && progress::is_complete(wanted, &step.status) {
                step.forget = sizes::forgotten(wanted, &old);
            }
        }
    }
    progress::judge(wanted, new, &all, &mut step.status, now);
    step.look_in = step.look_in.or_else(|| progress::deadline_in(wanted, &step.status, now));
    step
}

fn recreate(seen: &Seen<'_>, new: &Set, old: &[&Set]) -> Vec<Resize> {
    let emptied = sizes::empty_old(old);
    if !emptied.is_empty() || seen.old_pods {
        return emptied;
    }
    let size = seen.wanted.replicas;
    (new.replicas != size)
        .then(|| Resize { name: new.name.clone(), from: new.replicas, to: size })
        .into_iter()
        .collect()
}

/// The set that is there already: its number, its annotations, and the Deployment's own number (`getNewReplicaSet`).
fn refresh(seen: &Seen<'_>, new: &Set, old: &[&Set], step: &mut Step) {
    let number = revision::next_number(old.iter().copied());
    let annotations = revision::annotations(seen.wanted, &new.annotations, number);
    let shown = annotations.get(revision::REVISION).cloned();
    if annotations != new.annotations || seen.wanted.min_ready_seconds != new.min_ready_seconds {
        step.refresh = Some((new.name.clone(), annotations, seen.wanted.min_ready_seconds));
    }
    if shown.as_ref() != seen.wanted.annotations.get(revision::REVISION) {
        step.revision = shown;
    }
    progress::note_set(seen.wanted, &mut step.status, &new.name, false, seen.now);
}

fn create(seen: &Seen<'_>, old: &[&Set], step: &mut Step) {
    let wanted = seen.wanted;
    let collisions = wanted.status["collisionCount"].as_i64();
    let hash = revision::hash(&wanted.template, collisions);
    let name = format!("{}-{hash}", wanted.name);
    if seen.taken.contains(&name) {
        // Somebody else's set has the name: the next look draws another.
        step.status["collisionCount"] = Value::from(collisions.unwrap_or(0) + 1);
        step.look_in = Some(0);
        return;
    }
    let number = revision::next_number(old.iter().copied());
    let size = sizes::new_size(wanted, old.iter().copied(), 0);
    step.create = Some(revision::new_set(wanted, &hash, number, size));
    step.revision = Some(number.to_string());
    progress::note_set(wanted, &mut step.status, &name, true, seen.now);
}
