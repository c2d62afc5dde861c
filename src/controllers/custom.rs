//! Which resources the definitions of custom resources describe: for what has to do with objects of every kind.
//!
//! Only names are read. Whether a definition is served is not asked: what lies in the state is to be found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use objects::{Key, Resource};
use serde::Deserialize;
use state::{Revision, State, Stored};

/// The resource that holds the definitions.
pub(crate) fn definitions() -> Resource {
    Resource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// The definition of a resource, by the name that it must have.
pub(crate) fn definition_of(resource: &Resource) -> Key {
    Key::new(definitions(), "", &format!("{}.{}", resource.plural(), resource.group()))
}

/// What a definition is called, and what it describes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub resource: Resource,
    pub kind: String,
    pub namespaced: bool,
    /// The change before which there was no object of it.
    pub since: Revision,
}

/// What all definitions describe, as of the state that was asked last: what did not change is not read again.
#[derive(Default)]
pub(crate) struct Customs {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    revision: Revision,
    all: Arc<[Arc<Described>]>,
    by_name: HashMap<Box<str>, (Revision, Arc<Described>)>,
}

impl Customs {
    /// What the definitions of a state describe, by name.
    pub fn of(&self, state: &State) -> Arc<[Arc<Described>]> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.revision == state.revision() {
            return Arc::clone(&seen.all);
        }
        let mut before = std::mem::take(&mut seen.by_name);
        let mut all = Vec::new();
        for stored in state.list(&definitions()) {
            let name: Box<str> = (*stored.key.name).into();
            let described = match before.remove(&name) {
                Some((revision, described)) if revision == stored.revision => described,
                _ => match read(stored) {
                    Some(described) => Arc::new(described),
                    None => continue,
                },
            };
            all.push(Arc::clone(&described));
            seen.by_name.insert(name, (stored.revision, described));
        }
        seen.revision = state.revision();
        seen.all = all.into();
        Arc::clone(&seen.all)
    }

    /// Resources to watch besides the built-in ones, each from its definition's beginning.
    pub fn watched(&self, state: &State) -> Vec<(Resource, Revision)> {
        self.of(state).iter().map(|one| (one.resource.clone(), one.since)).collect()
    }
}

#[derive(Deserialize)]
struct Definition {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    scope: String,
    names: Names,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
    kind: String,
}

fn read(stored: &Stored) -> Option<Described> {
    let Definition { spec } = serde_json::from_slice(stored.object.bytes()).ok()?;
    Some(Described {
        resource: Resource::new(&spec.group, &spec.names.plural),
        kind: spec.names.kind,
        namespaced: spec.scope == "Namespaced",
        since: stored.created,
    })
}
