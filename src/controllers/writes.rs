//! From what a controller wants to what the store takes: values through the rules that hold for every writer, with
//! preconditions on all that the decision rested on.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use admission::{Ledger, Operation, Request, User};
use jiff::Timestamp;
use objects::lifecycle::{self, DeleteOptions, Deletion, Propagation};
use objects::{Key, Kind, Object, canonical, defaulting, kind, time};
use serde_json::Value;
use state::{Change, Committed, Precondition, State, Stored};
use store::Duty;

use crate::Error;
use crate::custom::definitions;

/// Length of the random end of a generated name, as upstream's.
pub(crate) const SUFFIX_LENGTH: usize = 5;

/// Who writes, for policies that ask.
static CONTROLLERS: LazyLock<User> = LazyLock::new(|| User {
    name: "system:kube-controller-manager".into(),
    uid: String::new(),
    groups: vec!["system:authenticated".into()],
    extra: BTreeMap::new(),
});

/// Changes that are to happen together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    preconditions: Vec<Precondition>,
    changes: Vec<Change>,
    /// What the created objects charge to quotas.
    ledger: Ledger,
}

impl Draft {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Demands something more.
    pub fn require(&mut self, precondition: Precondition) {
        if !self.preconditions.contains(&precondition) {
            self.preconditions.push(precondition);
        }
    }

    /// Demands that an object be as it was read.
    pub fn require_unchanged(&mut self, stored: &Stored) {
        self.require(Precondition::Unchanged { key: stored.key.clone(), revision: stored.revision });
    }

    /// Demands that an object exist, in the incarnation that was read.
    pub fn require_exists(&mut self, stored: &Stored) {
        self.require(Precondition::Exists { key: stored.key.clone(), uid: Some(stored.face().uid.clone()) });
    }

    /// Creates an object, admitted as a client's would be; says under which key. `state` is what the decision rests on. What
    /// was created before is not undone by a refusal.
    pub fn create(&mut self, state: &State, kind: &Kind, mut value: Value, now: Timestamp) -> Result<Key, Error> {
        defaulting::apply(kind, &mut value);
        defaulting::admission_defaults(kind, &mut value);
        let (uid, suffix) = (base::random::uid(), base::random::suffix(SUFFIX_LENGTH));
        lifecycle::prepare_create(kind, &mut value, &uid, &time::format(now), &suffix)?;
        canonical::canonicalize(kind, &mut value)?;
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or("").to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let request = Request {
            state,
            kind,
            operation: Operation::Create,
            name: "",
            namespace: &namespace,
            subresource: "",
            old: None,
            user: &CONTROLLERS,
            dry_run: false,
            now,
        };
        admission::mutate(&request, &mut value)?;
        canonical::canonicalize(kind, &mut value)?;
        // Nobody is there to be warned.
        admission::validate(&request, &value)?;
        admission::charge(&request, &value, &mut self.ledger)?;
        let key = Key::new(kind.resource(), &namespace, &name);
        if !namespace.is_empty() {
            self.require(Precondition::Active(Key::new("namespaces", "", &namespace)));
        }
        self.require(Precondition::Absent(key.clone()));
        self.changes.push(Change::Put { key: key.clone(), object: Arc::new(Object::new(kind, &value)?) });
        Ok(key)
    }

    /// Changes an object as it was read, spec, status and metadata alike; says whether that changes anything.
    ///
    /// The generation counts changes of the spec; an object whose last finalizer goes while it is being deleted goes too.
    pub fn edit(&mut self, stored: &Stored, mutate: impl FnOnce(&mut Value)) -> Result<bool, Error> {
        let (kind, old) = (kind_of(stored)?, value_of(stored)?);
        let mut new = old.clone();
        mutate(&mut new);
        let status = new.get("status").cloned();
        let subresource = (kind.kind == "Namespace").then_some("finalize");
        lifecycle::prepare_update(&kind, &old, &mut new, subresource)?;
        if let (Some(status), Some(map)) = (status, new.as_object_mut()) {
            map.insert("status".into(), status);
        }
        self.put(&kind, stored, &old, new)
    }

    /// Deletes an object as it was read, as a client's DELETE would; says whether that changes anything.
    pub fn delete(&mut self, stored: &Stored, how: &DeleteOptions, now: Timestamp) -> Result<bool, Error> {
        self.delete_after(stored, how, now, |_| {})
    }

    /// As [`Draft::delete`], with a last change of the object that others see while it goes.
    pub fn delete_after(
        &mut self,
        stored: &Stored,
        how: &DeleteOptions,
        now: Timestamp,
        mutate: impl FnOnce(&mut Value),
    ) -> Result<bool, Error> {
        let (kind, old) = (kind_of(stored)?, value_of(stored)?);
        let mut last = old.clone();
        mutate(&mut last);
        if stored.key.resource == definitions() && !stored.face().deleting {
            schemas::definition::begin_removal(&mut last, &time::format(now));
        }
        match lifecycle::prepare_delete(&kind, &last, how, &time::format(now))? {
            Deletion::Remove => {
                self.require_unchanged(stored);
                self.changes.push(Change::Delete { key: stored.key.clone() });
                Ok(true)
            }
            Deletion::Update(new) => self.put(&kind, stored, &old, new),
            Deletion::Nothing => Ok(false),
        }
    }

    /// Writes an object that is made already, where there must be none.
    pub fn record(&mut self, key: Key, object: Object) {
        self.require(Precondition::Absent(key.clone()));
        self.changes.push(Change::Put { key, object: Arc::new(object) });
    }

    /// Removes an object as it was read, whatever its kind says about deletions.
    pub fn forget(&mut self, stored: &Stored) {
        self.require_unchanged(stored);
        self.changes.push(Change::Delete { key: stored.key.clone() });
    }

    fn put(&mut self, kind: &Kind, stored: &Stored, old: &Value, mut new: Value) -> Result<bool, Error> {
        canonical::canonicalize(kind, &mut new)?;
        if !lifecycle::differs(old, &new) {
            return Ok(false);
        }
        self.require_unchanged(stored);
        self.changes.push(if lifecycle::after_update(kind, &new) {
            Change::Delete { key: stored.key.clone() }
        } else {
            Change::Put { key: stored.key.clone(), object: Arc::new(Object::new(kind, &new)?) }
        });
        Ok(true)
    }

    /// Does it; does nothing when there is nothing to do.
    pub async fn commit(self, duty: &Duty) -> Result<Committed, Error> {
        if self.is_empty() {
            return Ok(Committed { revisions: Vec::new() });
        }
        let (mut preconditions, mut changes) = self.ledger.into_parts()?;
        let charges = changes.len();
        preconditions.extend(self.preconditions);
        changes.extend(self.changes);
        let mut committed = duty.transact(preconditions, changes).await?;
        committed.revisions.drain(..charges.min(committed.revisions.len()));
        Ok(committed)
    }
}

/// The stored object as a value of one's own.
pub(crate) fn value_of(stored: &Stored) -> Result<Value, Error> {
    serde_json::from_slice(stored.object.bytes()).map_err(|error| objects::Error::Malformed(error.to_string()).into())
}

/// The kind of a stored object; of a custom resource as much as the object itself says.
pub(crate) fn kind_of(stored: &Stored) -> Result<Arc<Kind>, Error> {
    if let Some(kind) = kind::by_resource(&stored.key.resource) {
        return Ok(Arc::clone(kind));
    }
    let value = value_of(stored)?;
    let unserved = || Error::Unserved("objects of such a resource");
    let (group, version) = value["apiVersion"].as_str().and_then(|text| text.split_once('/')).ok_or_else(unserved)?;
    let (name, resource) = (value["kind"].as_str().ok_or_else(unserved)?, &stored.key.resource);
    let mut kind = Kind::undeclared(group, version, name, resource.plural(), !stored.key.namespace.is_empty());
    kind.counts_generation = true;
    Ok(Arc::new(kind))
}

/// A kind by its manifest's words.
pub(crate) fn kind_named(api_version: &str, name: &'static str) -> Result<&'static Arc<Kind>, Error> {
    kind::by_kind(api_version, name).ok_or(Error::Unserved(name))
}

/// Deletion in the background, of this incarnation, with the grace the object asks for.
pub(crate) fn background() -> DeleteOptions {
    DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() }
}

/// Deletion without waiting for anybody: for pods whose node is known to be gone.
pub(crate) fn forced() -> DeleteOptions {
    DeleteOptions { grace: Some(0), propagation: Some(Propagation::Background), ..DeleteOptions::default() }
}

/// The map behind a key of an object, made if absent.
pub(crate) fn map_at<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value[key].is_object() {
        value[key] = Value::Object(serde_json::Map::new());
    }
    &mut value[key]
}
