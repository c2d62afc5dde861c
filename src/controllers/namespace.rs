//! The end of a namespace: all that is in it is deleted, and when nothing is left, so is the namespace.
//!
//! As upstream's `controller/namespace/deletion`. Nothing can be created meanwhile: every creation demands that its
//! namespace is not ending.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use objects::{Key, Resource, kind};
use serde_json::{Value, json};
use state::{Event, Revision, State, Stored};

use crate::conditions;
use crate::custom::{Customs, definitions};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background};
use crate::{Context, Error};

/// The finalizer in `spec.finalizers` that stands for this controller.
const OURS: &str = "kubernetes";
/// Deletions under way at once; they share log entries.
const WRITES_MAX: usize = 64;

/// The controller.
pub(crate) struct Namespaces {
    context: Context,
    customs: Customs,
}

impl Namespaces {
    pub fn new(context: Context) -> Self {
        Self { context, customs: Customs::default() }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key).filter(|namespace| namespace.face().deleting) else {
            return Ok(Next::Rest);
        };
        let content = self.content(&state, &key.name);
        let going = content.into_iter().filter(|object| !object.face().deleting);
        let failures: Vec<String> = stream::iter(going)
            .map(|object| async move { self.delete(&object).await })
            .buffer_unordered(WRITES_MAX)
            .collect::<Vec<Result<(), Error>>>()
            .await
            .into_iter()
            .filter_map(|result| match result {
                Err(error) if error.is_fenced() => Some(Err(error)),
                Err(error) if !error.is_conflict() => Some(Ok(error.to_string())),
                _ => None,
            })
            .collect::<Result<_, _>>()?;
        let state = self.context.duty.current();
        let left = self.content(&state, &key.name);
        let Some(stored) = state.get(key).filter(|now| now.face().uid == stored.face().uid) else {
            return Ok(Next::Rest);
        };
        let mut draft = Draft::new();
        let now = base::clock::now();
        draft.edit(stored, |value| {
            report(&mut value["status"], &left, &failures, now);
            if left.is_empty()
                && let Some(list) = value["spec"]["finalizers"].as_array_mut()
            {
                // With the last finalizer the object goes as well.
                list.retain(|finalizer| finalizer != OURS);
            }
        })?;
        draft.commit(&self.context.duty).await?;
        let untouched = left.iter().any(|object| !object.face().deleting);
        Ok(if untouched { Next::After(std::time::Duration::from_millis(100)) } else { Next::Rest })
    }

    /// Everything in a namespace, of every kind.
    fn content(&self, state: &State, namespace: &str) -> Vec<Arc<Stored>> {
        let namespaced = kind::all().iter().filter(|kind| kind.namespaced).map(|kind| kind.resource());
        let customs = self.customs.of(state);
        let described = customs.iter().filter(|one| one.namespaced).map(|one| one.resource.clone());
        let mut resources: Vec<Resource> = namespaced.chain(described).collect();
        resources.sort();
        resources.dedup();
        resources.iter().flat_map(|resource| state.list_in(resource, namespace)).cloned().collect()
    }

    async fn delete(&self, object: &Stored) -> Result<(), Error> {
        let mut draft = Draft::new();
        draft.delete(object, &background(), base::clock::now())?;
        draft.commit(&self.context.duty).await.map(drop)
    }
}

/// The conditions that say how far the deletion is (`status_condition_utils.go`).
fn report(status: &mut Value, left: &[Arc<Stored>], failures: &[String], now: Timestamp) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for object in left {
        *kinds.entry(object.key.resource.to_string()).or_default() += 1;
        for finalizer in &object.face().finalizers {
            *finalizers.entry(finalizer.to_string()).or_default() += 1;
        }
    }
    let list = |counts: &BTreeMap<String, usize>, what: &str| {
        let parts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {what} {count} resource instances")).collect();
        parts.join(", ")
    };
    let mut set = |kind: &str, bad: bool, reasons: [&str; 2], messages: [String; 2]| {
        let at = usize::from(bad);
        let [reason, message] = [reasons[at], &messages[at]];
        let value = if bad { "True" } else { "False" };
        conditions::set(status, json!({"type": kind, "status": value, "reason": reason, "message": message}), now);
    };
    let plain = |text: &str| [text.to_owned(), String::new()];
    set(
        "NamespaceDeletionDiscoveryFailure",
        false,
        ["ResourcesDiscovered", ""],
        plain("All resources successfully discovered"),
    );
    set(
        "NamespaceDeletionGroupVersionParsingFailure",
        false,
        ["ParsedGroupVersions", ""],
        plain("All legacy kube types successfully parsed"),
    );
    let failed = format!("Failed to delete all resource types, {} remaining: {}", kinds.len(), failures.join(", "));
    let deleted = "All content successfully deleted, may be waiting on finalization".to_owned();
    set(
        "NamespaceDeletionContentFailure",
        !failures.is_empty(),
        ["ContentDeleted", "ContentDeletionFailed"],
        [deleted, failed],
    );
    let remaining = format!("Some resources are remaining: {}", list(&kinds, "has"));
    let removed = "All content successfully removed".to_owned();
    set(
        "NamespaceContentRemaining",
        !kinds.is_empty(),
        ["ContentRemoved", "SomeResourcesRemain"],
        [removed, remaining],
    );
    let held = format!("Some content in the namespace has finalizers remaining: {}", list(&finalizers, "in"));
    let free = "All content-preserving finalizers finished".to_owned();
    set(
        "NamespaceFinalizersRemaining",
        !finalizers.is_empty(),
        ["ContentHasNoFinalizers", "SomeFinalizersRemain"],
        [free, held],
    );
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        let mut resources: Vec<Resource> =
            kind::all().iter().filter(|kind| kind.namespaced).map(|kind| kind.resource()).collect();
        resources.extend([resource(), definitions()]);
        resources.sort();
        resources.dedup();
        resources
    }

    fn also(&self, state: &State) -> Vec<(Resource, Revision)> {
        self.customs.watched(state)
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&resource()).filter(|one| one.face().deleting).map(|one| one.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        let name = if key.resource == resource() { &key.name } else { &key.namespace };
        let key = Key::new(resource(), "", name);
        state.get(&key).filter(|namespace| namespace.face().deleting).map(|_| key).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

fn resource() -> Resource {
    "namespaces".into()
}
