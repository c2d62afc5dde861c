//! Deployments: rolls a template out through ReplicaSets, one transaction a step.
//!
//! A step holds every set it looked at to the revision it was read at, so that a rollout stays within its bounds at every
//! revision, whoever leads.

mod decide;
mod model;
mod progress;
mod revision;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, EventKind, State, Stored};

use crate::owners::{Ownership, reference};
use crate::pods::{Member, in_namespace, pods};
use crate::replicaset::REPLICA_SETS;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, map_at};
use crate::{Context, Error};
use decide::{Seen, Step};
use model::{Set, Wanted};

const COMPONENT: &str = "deployment-controller";

const DEPLOYMENTS: Ownership =
    Ownership { owners: "deployments.apps", kind: "Deployment", managed: REPLICA_SETS.owners, adoptable: |_| true };

/// The controller.
pub(crate) struct Deployments {
    context: Context,
}

impl Deployments {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (duty, state) = (&self.context.duty, self.context.duty.current());
        let Some(owner) = DEPLOYMENTS.read(&state, key)? else {
            return Ok(Next::Rest);
        };
        let stored = &owner.stored;
        if owner.selector.is_everything() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.note(COMPONENT, stored, true, "SelectingAll", message.into());
            return Ok(Next::Rest);
        }
        if DEPLOYMENTS.claim(duty, &state, &owner).await? {
            return Ok(Next::Again);
        }
        let wanted = Wanted::of(&owner.value);
        let now = base::clock::now();
        let owned: Vec<Arc<Stored>> = DEPLOYMENTS.owned(&state, stored).cloned().collect();
        let (sets, old_pods) = observe(&state, &wanted, &owned)?;
        let taken =
            state.list_in(&REPLICA_SETS.resource(), &key.namespace).map(|set| set.key.name.to_string()).collect();
        let step = decide::step(&Seen { wanted: &wanted, sets: &sets, taken: &taken, old_pods, now });
        let look_in = step.look_in;
        self.write(&wanted, stored, &owned, step).await?;
        Ok(match look_in {
            Some(seconds) => Next::After(Duration::from_secs(seconds.unsigned_abs())),
            None => Next::Rest,
        })
    }

    async fn write(&self, wanted: &Wanted, stored: &Stored, sets: &[Arc<Stored>], step: Step) -> Result<(), Error> {
        let mut draft = Draft::new();
        let mut notes = Vec::new();
        let sizes: BTreeMap<&str, i64> = step.resizes.iter().map(|resize| (&*resize.name, resize.to)).collect();
        for set in sets {
            let name = &*set.key.name;
            let refresh = step.refresh.as_ref().filter(|(refreshed, _, _)| refreshed == name);
            if step.forget.iter().any(|forgotten| forgotten == name) {
                draft.delete(set, &background(), base::clock::now())?;
            } else if refresh.is_some() || sizes.contains_key(name) {
                draft.edit(set, |value| change_set(value, wanted, sizes.get(name).copied(), refresh))?;
            }
        }
        for resize in step.resizes.iter().filter(|resize| resize.from != resize.to) {
            let way = if resize.to > resize.from { "up" } else { "down" };
            let (name, from, to) = (&resize.name, resize.from, resize.to);
            notes.push(format!("Scaled {way} replica set {name} from {from} to {to}"));
        }
        if let Some(mut set) = step.create {
            set["metadata"]["ownerReferences"] = json!([reference(stored)?]);
            let size = set["spec"]["replicas"].as_i64().unwrap_or(0);
            draft.require_exists(stored);
            let key = draft.create(
                &self.context.duty.current(),
                kind_named("apps/v1", "ReplicaSet")?,
                set,
                base::clock::now(),
            )?;
            if size > 0 {
                notes.push(format!("Scaled up replica set {} from 0 to {size}", key.name));
            }
        }
        if !draft.is_empty() {
            // What was decided rests on all sets together and on the Deployment.
            sets.iter().for_each(|set| draft.require_unchanged(set));
            draft.require_unchanged(stored);
        }
        draft.edit(stored, |value| {
            value["status"] = step.status;
            if let Some(number) = step.revision {
                map_at(&mut value["metadata"], "annotations")[revision::REVISION] = json!(number);
            }
        })?;
        draft.commit(&self.context.duty).await?;
        for message in notes {
            self.context.note(COMPONENT, stored, false, "ScalingReplicaSet", message);
        }
        Ok(())
    }
}

/// Sizes a set, and brings its annotations up to date.
fn change_set(
    value: &mut Value,
    wanted: &Wanted,
    size: Option<i64>,
    refresh: Option<&(String, BTreeMap<String, String>, i64)>,
) {
    if let Some((_, annotations, min_ready_seconds)) = refresh {
        value["metadata"]["annotations"] = json!(annotations);
        value["spec"]["minReadySeconds"] = json!(min_ready_seconds);
    }
    if let Some(size) = size {
        value["spec"]["replicas"] = json!(size);
        let mut noted = BTreeMap::new();
        revision::sized(wanted, &mut noted);
        let annotations = map_at(&mut value["metadata"], "annotations");
        noted.into_iter().for_each(|(key, text)| annotations[key] = json!(text));
    }
}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec![DEPLOYMENTS.resource(), REPLICA_SETS.resource(), pods()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        DEPLOYMENTS.all(state)
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        if event.key().resource != pods() {
            return DEPLOYMENTS.concerns(event, state);
        }
        // The end of a pod matters to Recreate, which waits for the last old one; all else comes through the sets.
        if event.kind != EventKind::Deleted {
            return Vec::new();
        }
        let set = REPLICA_SETS.manager(&event.current);
        set.and_then(|set| DEPLOYMENTS.manager(state.get(&set)?)).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

/// The sets with their pods counted, and whether a pod of an old template is still there.
fn observe(state: &State, wanted: &Wanted, owned: &[Arc<Stored>]) -> Result<(Vec<Set>, bool), Error> {
    let uids: HashSet<&str> = owned.iter().map(|set| &*set.face().uid).collect();
    let mut pods: BTreeMap<&str, Vec<Member>> = BTreeMap::new();
    let Some(namespace) = owned.first().map(|set| Arc::clone(&set.key.namespace)) else {
        return Ok((Vec::new(), false));
    };
    for pod in in_namespace(state, &namespace) {
        if let Some(owner) = pod.face().controller().filter(|owner| uids.contains(&*owner.uid)) {
            pods.entry(&owner.uid).or_default().push(Member::of(pod)?);
        }
    }
    let now = base::clock::now();
    let none = Vec::new();
    let members = |set: &Stored| pods.get(&*set.face().uid).unwrap_or(&none);
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut sets = Vec::new();
    for stored in owned {
        let value = stored.typed::<Value>()?;
        let wait = value["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let alive = members(stored).iter().filter(|pod| pod.is_active());
        let available = alive.clone().filter(|pod| pod.available_in(wait, now) == Some(0)).count();
        sets.push(Set::of(&value, count(alive.count()), count(available)));
    }
    let new = revision::find_new(wanted, &sets).map(|set| set.name.clone());
    let is_old = |set: &&Arc<Stored>| new.as_deref() != Some(&*set.key.name);
    let old_pods = owned.iter().filter(is_old).any(|set| members(set).iter().any(|pod| !pod.is_over()));
    Ok((sets, old_pods))
}
