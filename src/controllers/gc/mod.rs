//! Garbage collection: objects go after their last owner, before an owner that waits for them, or live on as orphans.
//!
//! The state is consistent, so an owner that is not there is gone; upstream, which looks through caches, has to ask again.

mod decide;
mod graph;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::lifecycle::DeleteOptions;
use objects::{Face, Key, Owner, Resource, kind};
use serde_json::{Value, json};
use state::{Event, EventKind, Revision, State, Stored};

use crate::custom::{Customs, Described};
use crate::owners::release;
use crate::runner::{Controller, Next};
use crate::writes::Draft;
use crate::{Context, Error};
use decide::{Dependent, FOREGROUND, ORPHAN, OwnerIs, Verdict};
use graph::Graph;

/// The controller.
pub(crate) struct Collector {
    context: Context,
    customs: Customs,
    graph: Mutex<Graph>,
}

impl Collector {
    pub fn new(context: Context) -> Self {
        Self { context, customs: Customs::default(), graph: Mutex::default() }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key) else {
            return Ok(Next::Rest);
        };
        let face = stored.face();
        let customs = self.customs.of(&state);
        let look = |owner: &Owner| look(&state, &customs, &key.namespace, owner);
        let decided = |dependents: &[&Arc<Stored>]| {
            let seen: Vec<Dependent> = dependents.iter().map(|one| dependent(one.face(), &face.uid)).collect();
            decide::verdict(face, look, &seen)
        };
        let mut dependents = graph::living(&self.graph(), &state, &face.uid);
        let mut verdict = decided(&dependents);
        // The index follows events, and may lack what this state has already. That no dependent is left has to be certain.
        if matches!(verdict, Verdict::Finish(_) | Verdict::Orphan) {
            let resources = self.resources().into_iter().chain(customs.iter().map(|one| one.resource.clone()));
            dependents = graph::scanned(resources, &state, &key.namespace, &face.uid);
            verdict = decided(&dependents);
        }
        let mut draft = Draft::new();
        match verdict {
            Verdict::Leave => return Ok(Next::Rest),
            Verdict::Drop(uids) => {
                let uids: Vec<&str> = uids.iter().map(|uid| &**uid).collect();
                release(&mut draft, stored, &uids)?;
            }
            Verdict::Delete { unblock: true, .. } => {
                draft.edit(stored, unblock)?;
                if !draft.is_empty() {
                    draft.commit(&self.context.duty).await?;
                    return Ok(Next::Again);
                }
                // It blocks nobody any more; the deletion itself is still to be done.
                self.delete(stored, objects::lifecycle::Propagation::Foreground, &mut draft)?;
            }
            Verdict::Delete { how, .. } => self.delete(stored, how, &mut draft)?,
            Verdict::Finish(finalizer) => finish(&mut draft, stored, finalizer)?,
            Verdict::Orphan => {
                for one in &dependents {
                    let mut freed = Draft::new();
                    release(&mut freed, one, &[&*face.uid])?;
                    freed.commit(&self.context.duty).await?;
                }
                finish(&mut draft, stored, ORPHAN)?;
            }
        }
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }

    fn delete(&self, stored: &Stored, how: objects::lifecycle::Propagation, draft: &mut Draft) -> Result<(), Error> {
        let options = DeleteOptions { propagation: Some(how), ..DeleteOptions::default() };
        draft.delete(stored, &options, base::clock::now())?;
        Ok(())
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        // The graph is whole between any two of its methods.
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller for Collector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn resources(&self) -> Vec<Resource> {
        let mut resources: Vec<Resource> = kind::all().iter().map(|kind| kind.resource()).collect();
        resources.sort();
        resources.dedup();
        resources
    }

    fn also(&self, state: &State) -> Vec<(Resource, Revision)> {
        self.customs.watched(state)
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let mut resources = self.resources();
        resources.extend(self.customs.of(state).iter().map(|one| one.resource.clone()));
        let objects = || resources.iter().flat_map(|resource| state.list(resource));
        self.graph().rebuild(objects().map(|stored| (&stored.key, stored.face())));
        objects().filter(|stored| matters(stored.face())).map(|stored| stored.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let mut graph = self.graph();
        graph.note(event);
        let face = event.current.face();
        let mut keys = Vec::new();
        if event.kind == EventKind::Deleted {
            keys.extend(graph.dependents(&face.uid));
        } else if matters(face) {
            keys.push(event.key().clone());
            let waits = |face: &Face| face.deleting && held_by(face, FOREGROUND);
            if waits(face) && !event.previous.as_ref().is_some_and(|previous| waits(previous.face())) {
                keys.extend(graph.dependents(&face.uid));
            }
        }
        let customs = self.customs.of(state);
        // An owner that waits hears when a dependent goes, or lets it go.
        for owner in
            [Some(&event.current), event.previous.as_ref()].into_iter().flatten().flat_map(|one| &one.face().owners)
        {
            if let Some(key) = key_of(&customs, &event.key().namespace, owner)
                && state.get(&key).is_some_and(|owner| owner.face().deleting)
            {
                keys.push(key);
            }
        }
        keys
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

/// Whether garbage collection may have to do with an object.
fn matters(face: &Face) -> bool {
    !face.owners.is_empty() || face.deleting && (held_by(face, FOREGROUND) || held_by(face, ORPHAN))
}

fn held_by(face: &Face, finalizer: &str) -> bool {
    face.finalizers.iter().any(|one| &**one == finalizer)
}

fn dependent(face: &Face, owner: &str) -> Dependent {
    let blocks = face.owners.iter().any(|known| &*known.uid == owner && known.block_owner_deletion);
    Dependent { blocks, waiting: face.deleting && held_by(face, FOREGROUND) }
}

/// Where an owner of an object in `namespace` lies; `None` for kinds that are not served, and for an owner in a namespace
/// that the object, having none itself, cannot name.
fn key_of(customs: &[Arc<Described>], namespace: &str, owner: &Owner) -> Option<Key> {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let built_in = || {
        let kind = kind::by_kind(&owner.api_version, &owner.kind)
            .or_else(|| kind::all().iter().find(|kind| *kind.kind == *owner.kind && kind.group == group))?;
        Some((kind.resource(), kind.namespaced))
    };
    let described = || {
        let one = customs.iter().find(|one| *one.kind == *owner.kind && one.resource.group() == group)?;
        Some((one.resource.clone(), one.namespaced))
    };
    let (resource, namespaced) = built_in().or_else(described)?;
    if namespaced && namespace.is_empty() {
        return None;
    }
    Some(Key::new(resource, if namespaced { namespace } else { "" }, &owner.name))
}

/// What has become of an owner. One that cannot be looked up counts as being there: nothing is deleted on a guess.
fn look(state: &State, customs: &[Arc<Described>], namespace: &str, owner: &Owner) -> OwnerIs {
    let Some(key) = key_of(customs, namespace, owner) else {
        return OwnerIs::Solid;
    };
    match state.get(&key).map(|stored| stored.face()).filter(|face| face.uid == owner.uid) {
        None => OwnerIs::Gone,
        Some(face) if face.deleting && held_by(face, FOREGROUND) => OwnerIs::Waiting,
        Some(_) => OwnerIs::Solid,
    }
}

/// Lets no owner of the object wait for it.
fn unblock(value: &mut Value) {
    for owner in value["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
        if owner["blockOwnerDeletion"] == true {
            owner["blockOwnerDeletion"] = json!(false);
        }
    }
}

fn finish(draft: &mut Draft, stored: &Arc<Stored>, finalizer: &str) -> Result<(), Error> {
    draft.edit(stored, |value| {
        if let Some(list) = value["metadata"]["finalizers"].as_array_mut() {
            list.retain(|known| known != finalizer);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use base::Stopping;
    use state::Change;
    use store::Duty;
    use store::testing::Direct;

    use super::*;
    use crate::Options;

    /// The watch that feeds the index is behind: a dependent that the state has already must hold its owner all the same.
    #[tokio::test]
    async fn an_owner_waits_for_dependents_that_the_index_does_not_know_yet() {
        let (store, direct) = Direct::start();
        let duty = Duty::new(store.clone(), direct.lead(1));
        let recorder = events::recorder(duty.clone(), Stopping::never());
        let options = Options::new("PEM", crate::tests::seal(), Arc::new(|_| Box::pin(async { Ok(()) })));
        let collector = Collector::new(Context { duty, recorder, options: Arc::new(options) });
        let kind = kind::by_kind("v1", "ConfigMap").unwrap();
        let put = |name: &str, metadata: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            object["metadata"]["name"] = json!(name);
            object["metadata"]["namespace"] = json!("d");
            object["metadata"]["uid"] = json!(name);
            let key = Key::new("configmaps", "d", name);
            let object = Arc::new(objects::Object::new(kind, &object).unwrap());
            direct.write(vec![Change::Put { key: key.clone(), object }]);
            key
        };
        let owner = put("owner", json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]}));
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "owner",
            "blockOwnerDeletion": true});
        let dependent = put("dependent", json!({"ownerReferences": [reference]}));
        collector.bring(&owner).await.unwrap();
        let finalizers = |key: &Key| store.current().get(key).map(|stored| stored.face().finalizers.len());
        assert_eq!(finalizers(&owner), Some(1), "it waits");
        direct.write(vec![Change::Delete { key: dependent }]);
        collector.bring(&owner).await.unwrap();
        assert!(finalizers(&owner).is_none_or(|count| count == 0), "nothing holds it any longer");
    }
}
