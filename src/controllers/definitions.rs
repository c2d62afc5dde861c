//! Definitions of custom resources: their names are accepted, and when they go, so do their objects.
//!
//! As upstream's `apiextensions-apiserver/pkg/controller/{status,establish,finalizer}`; what is decided is in `schemas`.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use objects::{Key, Resource, kind, time};
use schemas::definition::{self, CLEANUP_FINALIZER, Claims, Removal};
use serde_json::Value;
use state::{Event, EventKind, Revision, State, Stored};
use tokio::sync::Mutex;

use crate::custom::{Customs, definition_of, definitions};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, value_of};
use crate::{Context, Error};

/// Deletions under way at once; they share log entries.
const WRITES_MAX: usize = 64;
/// When to look again whether what was to be deleted can be.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// The controller.
pub(crate) struct Definitions {
    context: Context,
    customs: Customs,
    /// Names are given one by one: else two definitions could be given the same.
    giving: Mutex<()>,
}

impl Definitions {
    pub fn new(context: Context) -> Self {
        Self { context, customs: Customs::default(), giving: Mutex::default() }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        match state.get(key) {
            None => Ok(Next::Rest),
            Some(stored) if stored.face().deleting => self.remove(stored).await,
            Some(_) => self.settle(key).await,
        }
    }

    async fn settle(&self, key: &Key) -> Result<Next, Error> {
        let _turn = self.giving.lock().await;
        let state = self.context.duty.current();
        let Some(stored) = state.get(key).filter(|stored| !stored.face().deleting) else {
            return Ok(Next::Rest);
        };
        let value = value_of(stored)?;
        let others: Vec<Value> = siblings(&state, key).map(|stored| value_of(stored)).collect::<Result<_, _>>()?;
        let claims = Claims::beside(&value, &others, kind::all().iter().map(AsRef::as_ref));
        let Some(status) = definition::settle(&value, &claims, &time::format(base::clock::now())) else {
            return Ok(Next::Rest);
        };
        let mut draft = Draft::new();
        draft.edit(stored, |value| value["status"] = status)?;
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }

    /// Deletes what it describes, then lets it go.
    async fn remove(&self, stored: &Arc<Stored>) -> Result<Next, Error> {
        if !stored.face().finalizers.iter().any(|finalizer| &**finalizer == CLEANUP_FINALIZER) {
            return Ok(Next::Rest);
        }
        let value = value_of(stored)?;
        let spec = &value["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = Resource::new(&text(&spec["group"]), &text(&spec["names"]["plural"]));
        let state = self.context.duty.current();
        let going: Vec<Arc<Stored>> = state.list(&resource).filter(|one| !one.face().deleting).cloned().collect();
        if !going.is_empty() {
            self.record(stored, &Removal::InProgress).await?;
        }
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
        let left: Vec<&Arc<Stored>> = state.list(&resource).collect();
        let step = match failures.first() {
            Some(why) => Removal::Failed(why.clone()),
            None if !left.is_empty() => Removal::InProgress,
            None if definition::is_established(&value) => Removal::Done,
            None => Removal::NeverEstablished,
        };
        if let Some(now) = state.get(&stored.key).filter(|now| now.face().uid == stored.face().uid) {
            self.record(now, &step).await?;
        }
        let untouched = left.iter().any(|object| !object.face().deleting);
        Ok(if untouched { Next::After(AGAIN) } else { Next::Rest })
    }

    async fn record(&self, stored: &Stored, step: &Removal) -> Result<(), Error> {
        let mut draft = Draft::new();
        draft.edit(stored, |value| definition::removal(value, step, &time::format(base::clock::now())))?;
        draft.commit(&self.context.duty).await.map(drop)
    }

    async fn delete(&self, object: &Stored) -> Result<(), Error> {
        let mut draft = Draft::new();
        draft.delete(object, &background(), base::clock::now())?;
        draft.commit(&self.context.duty).await.map(drop)
    }
}

/// The other definitions of a definition's group: their names tell.
fn siblings<'a>(state: &'a State, key: &'a Key) -> impl Iterator<Item = &'a Arc<Stored>> {
    let group = |key: &'a Key| key.name.split_once('.').map_or("", |(_, group)| group);
    let of = group(key);
    state.list(&definitions()).filter(move |stored| stored.key != *key && group(&stored.key) == of)
}

impl Controller for Definitions {
    fn name(&self) -> &'static str {
        "crd-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![definitions()]
    }

    fn also(&self, state: &State) -> Vec<(Resource, Revision)> {
        self.customs.watched(state)
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&definitions()).map(|stored| stored.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if key.resource != definitions() {
            // Whoever goes waits for its last object.
            let of = definition_of(&key.resource);
            let waits = event.kind == EventKind::Deleted && state.get(&of).is_some_and(|of| of.face().deleting);
            return waits.then_some(of).into_iter().collect();
        }
        // Names that one gives up another may have.
        siblings(state, key).map(|stored| stored.key.clone()).chain([key.clone()]).collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
