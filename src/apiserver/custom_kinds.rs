//! Which kinds the definitions of custom resources give: a table, as fresh as this master's copy of the state.
//!
//! Nothing runs in the background: whoever asks takes in what has changed since somebody asked last. So a definition whose
//! change this master has applied is served by it at once. Definitions that did not change are not read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use objects::{Kind, Resource};
use schemas::definition::{Definition, version_order};
use schemas::served::{self, Standing};
use state::{Revision, State, Stored};
use store::{Store, Watch};
use tracing::warn;

use crate::document::Document;
use crate::rules::CEL;

/// The resource that holds the definitions.
pub fn definitions() -> Resource {
    Resource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// The kinds at one moment.
#[derive(Default)]
pub struct Table {
    /// In the order of discovery: by group, then by version, the preferred one first.
    kinds: Vec<Arc<Kind>>,
    by_group: HashMap<String, Vec<Arc<Kind>>>,
    /// OpenAPI documents of the group-versions that have such kinds, made when first asked for.
    pub documents: OnceLock<BTreeMap<String, Document>>,
}

impl Table {
    /// All kinds, in the order of discovery.
    pub fn all(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// One kind by its place in paths.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_group.get(group)?.iter().find(|kind| kind.version == version && kind.plural == plural)
    }

    fn of(mut kinds: Vec<Arc<Kind>>) -> Self {
        kinds.sort_by(|a, b| {
            let versions = || version_order(&a.version, &b.version);
            a.group.cmp(&b.group).then_with(versions).then_with(|| a.plural.cmp(&b.plural))
        });
        let mut by_group: HashMap<String, Vec<Arc<Kind>>> = HashMap::new();
        for kind in &kinds {
            by_group.entry(kind.group.clone()).or_default().push(Arc::clone(kind));
        }
        Self { kinds, by_group, documents: OnceLock::new() }
    }
}

/// The table and what keeps it fresh.
pub struct CustomKinds {
    store: Store,
    inner: Mutex<Option<Inner>>,
}

struct Inner {
    watch: Watch,
    known: HashMap<Box<str>, Known>,
    table: Arc<Table>,
}

/// A definition that was read.
struct Known {
    uid: Box<str>,
    generation: i64,
    revision: Revision,
    /// `None` when it cannot be read, which those that were judged can.
    definition: Option<Arc<Definition>>,
    kinds: Vec<Arc<Kind>>,
}

impl CustomKinds {
    /// A table that is made when first asked for.
    pub fn new(store: Store) -> Self {
        Self { store, inner: Mutex::new(None) }
    }

    /// The kinds as this master's copy of the state has them now.
    pub fn table(&self) -> Arc<Table> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.as_mut() {
            match known.watch.ready() {
                Ok(events) if events.is_empty() => return Arc::clone(&known.table),
                Ok(_) => {
                    known.renew(&self.store.current());
                    return Arc::clone(&known.table);
                }
                // The place in history is lost: begin anew, with what is known.
                Err(_) => {}
            }
        }
        let state = self.store.current();
        let known = inner.take().map(|inner| inner.known).unwrap_or_default();
        let mut fresh =
            Inner { watch: self.store.watch(definitions(), state.revision()), known, table: Arc::default() };
        fresh.renew(&state);
        let table = Arc::clone(&fresh.table);
        *inner = Some(fresh);
        table
    }
}

impl Inner {
    fn renew(&mut self, state: &State) {
        let mut before = std::mem::take(&mut self.known);
        for stored in state.list(&definitions()) {
            let old = before.remove(&*stored.key.name);
            self.known.insert(stored.key.name.to_string().into(), Known::of(stored, old));
        }
        let kinds = self.known.values().flat_map(|known| known.kinds.iter().cloned()).collect();
        self.table = Arc::new(Table::of(kinds));
    }
}

impl Known {
    /// Reads a definition, or as little of it as has changed since it was read last.
    fn of(stored: &Stored, old: Option<Self>) -> Self {
        let face = stored.face();
        let same_spec = |old: &Self| old.uid == face.uid && old.generation == face.generation;
        let old = old.filter(same_spec);
        if let Some(old) = old.as_ref().filter(|old| old.revision == stored.revision) {
            return Self { uid: old.uid.clone(), definition: old.definition.clone(), kinds: old.kinds.clone(), ..*old };
        }
        let mut known = Self {
            uid: face.uid.clone(),
            generation: face.generation,
            revision: stored.revision,
            definition: None,
            kinds: Vec::new(),
        };
        let name = &stored.key.name;
        let value = match stored.to_value() {
            Ok(value) => value,
            Err(error) => {
                warn!(%name, %error, "a definition of custom resources is damaged and is not served");
                return known;
            }
        };
        known.definition = match old.and_then(|old| old.definition) {
            Some(read) => Some(read),
            None => match Definition::read(&value, Some(CEL)) {
                Ok(read) => Some(Arc::new(read)),
                Err(error) => {
                    warn!(%name, %error, "a definition of custom resources cannot be read and is not served");
                    None
                }
            },
        };
        let standing = Standing::read(&value);
        known.kinds = known.definition.iter().flat_map(|definition| served::kinds(definition, &standing)).collect();
        known
    }
}
