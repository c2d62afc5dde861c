//! ReplicaSets: keeps the pods of each at the number it asks for.

mod decide;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use objects::{Face, Key, Resource};
use serde_json::{Value, json};
use state::{Event, State, Stored};

use crate::owners::Ownership;
use crate::pods::{Member, from_template, in_namespace, pods, with_account};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, value_of};
use crate::{Context, Error, conditions};
use decide::{Scale, Spec};

const COMPONENT: &str = "replicaset-controller";
const QUOTAS: &str = "resourcequotas";
/// Pods made or deleted in one transaction: enough to share an fsync, few enough to share a fate.
const BATCH: usize = 50;

/// Who manages pods. One that has ended is left to whoever made it.
pub(crate) const REPLICA_SETS: Ownership = Ownership {
    owners: "replicasets.apps",
    kind: "ReplicaSet",
    managed: "pods",
    adoptable: |pod| !matches!(pod.field("status.phase"), "Succeeded" | "Failed"),
};

/// The controller.
pub(crate) struct ReplicaSets {
    context: Context,
}

impl ReplicaSets {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (duty, state) = (&self.context.duty, self.context.duty.current());
        let Some(owner) = REPLICA_SETS.read(&state, key)? else {
            return Ok(Next::Rest);
        };
        if REPLICA_SETS.claim(duty, &state, &owner).await? {
            return Ok(Next::Again);
        }
        let (stored, set) = (&owner.stored, &*owner.value);
        let now = base::clock::now();
        let owned = owned(&state, stored)?;
        let members: Vec<Member> = owned.iter().map(|(_, member)| member.clone()).collect();
        let desired = set["spec"]["replicas"].as_i64().unwrap_or(1);
        let mut failure = None;
        if !stored.face().deleting {
            match decide::scale(desired, &members, &crowd(&state, stored)) {
                Scale::Keep => {}
                Scale::Create(number) => match self.create(stored, set, number, now).await {
                    // The new pods are in the state by now; the next look counts them.
                    Ok(()) => return Ok(Next::Again),
                    Err(Error::Invalid(status)) => failure = Some(status.message),
                    Err(error) => return Err(error),
                },
                Scale::Delete(names) => {
                    let chosen: HashSet<&str> = names.iter().map(String::as_str).collect();
                    self.delete(stored, owned.iter().filter(|(pod, _)| chosen.contains(&*pod.key.name)), now).await?;
                    return Ok(Next::Again);
                }
            }
        }
        let spec = Spec {
            generation: set["metadata"]["generation"].as_i64().unwrap_or(0),
            min_ready_seconds: set["spec"]["minReadySeconds"].as_i64().unwrap_or(0),
            template_labels: &set["spec"]["template"]["metadata"]["labels"],
            failure: failure.as_deref(),
        };
        let labelled: Vec<(Member, Value)> =
            owned.into_iter().map(|(pod, member)| (member, labels_of(pod.face()))).collect();
        let (status, wait) = decide::status(&set["status"], spec, &labelled, now);
        let mut draft = Draft::new();
        draft.edit(stored, |value| value["status"] = status)?;
        draft.commit(&self.context.duty).await?;
        Ok(match wait {
            Some(seconds) => Next::After(std::time::Duration::from_secs(seconds.unsigned_abs())),
            None if failure.is_some() => Next::After(std::time::Duration::from_secs(30)),
            None => Next::Rest,
        })
    }

    async fn create(&self, set: &Stored, spec: &Value, number: usize, now: Timestamp) -> Result<(), Error> {
        let kind = kind_named("v1", "Pod")?;
        let pod = from_template(set, spec)?;
        let mut left = number;
        while left > 0 {
            let (mut draft, state) = (Draft::new(), self.context.duty.current());
            draft.require_exists(set);
            let (mut names, mut refused) = (Vec::new(), None);
            for _ in 0..left.min(BATCH) {
                match with_account(&state, pod.clone()).and_then(|pod| draft.create(&state, kind, pod, now)) {
                    Ok(key) => names.push(key.name),
                    // As many as a quota allows are made all the same.
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            if !names.is_empty() {
                draft.commit(&self.context.duty).await?;
            }
            for name in &names {
                self.context.note(COMPONENT, set, false, "SuccessfulCreate", format!("Created pod: {name}"));
            }
            if let Some(error) = refused {
                self.context.note(COMPONENT, set, true, "FailedCreate", format!("Error creating: {error}"));
                return Err(error);
            }
            left -= names.len();
        }
        Ok(())
    }

    async fn delete<'a>(
        &self,
        set: &Stored,
        pods: impl Iterator<Item = &'a (Arc<Stored>, Member)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for (pod, _) in pods {
            let mut draft = Draft::new();
            draft.require_exists(set);
            if draft.delete(pod, &background(), now)? {
                draft.commit(&self.context.duty).await?;
                let message = format!("Deleted pod: {}", pod.key.name);
                self.context.note(COMPONENT, set, false, "SuccessfulDelete", message);
            }
        }
        Ok(())
    }
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec![REPLICA_SETS.resource(), pods(), QUOTAS.into(), "serviceaccounts".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        REPLICA_SETS.all(state)
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        if event.key().resource.as_str() != QUOTAS {
            return REPLICA_SETS.concerns(event, state);
        }
        // Sets that a quota stopped go on at once.
        if !admission::quota::eases(event) {
            return Vec::new();
        }
        let sets = state.list_in(&REPLICA_SETS.resource(), &event.key().namespace);
        sets.filter(|set| is_stopped(set)).map(|set| set.key.clone()).collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

/// Whether the last attempt to make pods of a set was refused.
fn is_stopped(set: &Stored) -> bool {
    let failure = value_of(set).map(|value| conditions::find(&value["status"], "ReplicaFailure").cloned());
    failure.ok().flatten().is_some_and(|condition| condition["status"] == "True")
}

/// The pods that a set manages.
fn owned(state: &State, set: &Stored) -> Result<Vec<(Arc<Stored>, Member)>, Error> {
    REPLICA_SETS.owned(state, set).map(|pod| Ok((Arc::clone(pod), Member::of(pod)?))).collect()
}

/// Active pods by node, of this set and of all sets with the same owner (`replica_set.go`, `getIndirectlyRelatedPods`).
fn crowd(state: &State, set: &Stored) -> HashMap<String, usize> {
    let mut uids: HashSet<&str> = HashSet::from([&*set.face().uid]);
    let siblings: Vec<&Arc<Stored>> = match set.face().controller() {
        Some(owner) => state
            .list_in(&set.key.resource, &set.key.namespace)
            .filter(|other| other.face().controller().is_some_and(|known| known.uid == owner.uid))
            .collect(),
        None => Vec::new(),
    };
    uids.extend(siblings.iter().map(|set| &*set.face().uid));
    let mut crowd = HashMap::new();
    for pod in in_namespace(state, &set.key.namespace) {
        let face = pod.face();
        let ours = face.controller().is_some_and(|owner| uids.contains(&*owner.uid));
        if ours && !face.deleting && !matches!(face.field("status.phase"), "Succeeded" | "Failed") {
            *crowd.entry(face.field("spec.nodeName").to_owned()).or_default() += 1;
        }
    }
    crowd
}

fn labels_of(face: &Face) -> Value {
    Value::Object(face.labels.iter().map(|(key, value)| (key.to_string(), json!(value))).collect())
}
