//! Who depends on whom: an index from an owner's uid to the objects that name it, kept by events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use objects::{Face, Key, Resource};
use state::{Event, EventKind, State, Stored};

/// The index. Holds keys only, so that it can never disagree with the state about content.
#[derive(Debug, Default)]
pub(super) struct Graph {
    dependents: HashMap<Box<str>, HashSet<Key>>,
}

impl Graph {
    /// Builds the index anew.
    pub fn rebuild<'a>(&mut self, objects: impl Iterator<Item = (&'a Key, &'a Face)>) {
        self.dependents.clear();
        objects.for_each(|(key, face)| self.insert(key, face));
    }

    /// Takes a change in.
    pub fn note(&mut self, event: &Event) {
        if let Some(previous) = &event.previous {
            for owner in &previous.face().owners {
                if let Some(known) = self.dependents.get_mut(&owner.uid) {
                    known.remove(event.key());
                    if known.is_empty() {
                        self.dependents.remove(&owner.uid);
                    }
                }
            }
        }
        if event.kind != EventKind::Deleted {
            self.insert(event.key(), event.current.face());
        }
    }

    /// The objects that name an owner of this uid, in order; the state says whether they still do.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        let mut keys: Vec<Key> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        keys.sort();
        keys
    }

    fn insert(&mut self, key: &Key, face: &Face) {
        for owner in &face.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
    }
}

/// The dependents as the state alone has them: slower than by the index, and never behind the state. An owner in a namespace
/// has its dependents there.
pub(super) fn scanned<'a>(
    resources: impl Iterator<Item = Resource>,
    state: &'a State,
    namespace: &str,
    uid: &str,
) -> Vec<&'a Arc<Stored>> {
    let named = |stored: &&Arc<Stored>| stored.face().owners.iter().any(|owner| &*owner.uid == uid);
    let mut found = Vec::new();
    for resource in resources {
        if namespace.is_empty() {
            found.extend(state.list(&resource).filter(named));
        } else {
            found.extend(state.list_in(&resource, namespace).filter(named));
        }
    }
    found
}

/// The dependents that still exist and still name the owner, with their faces.
pub(super) fn living<'a>(graph: &Graph, state: &'a State, uid: &str) -> Vec<&'a Arc<Stored>> {
    let keys = graph.dependents(uid);
    let named = |stored: &&Arc<Stored>| stored.face().owners.iter().any(|owner| &*owner.uid == uid);
    keys.iter().filter_map(|key| state.get(key)).filter(named).collect()
}
