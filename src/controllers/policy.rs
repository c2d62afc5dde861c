//! The roles and bindings that every cluster has: brought up to date at the start of a tenure, and again whenever somebody
//! changes or deletes one. What says `autoupdate: "false"` is left alone, but made anew should it be deleted.
//!
//! As upstream's `pkg/registry/rbac/rest/storage_rbac.go`, which does it at the start of an API server only.

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use rbac::PolicyKind;
use rbac::reconcile::{self, Step};
use serde_json::Value;
use state::{Event, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, value_of};
use crate::{Context, Error};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// The controller.
pub(crate) struct Policy {
    context: Context,
    /// Roles before the bindings that refer to them.
    keys: Vec<Key>,
    expected: HashMap<Key, (PolicyKind, Value)>,
}

impl Policy {
    pub fn new(context: Context) -> Self {
        let objects = rbac::bootstrap::objects().unwrap_or_else(|error| {
            tracing::error!(%error, "this build has no roles and bindings for a cluster to start with");
            Vec::new()
        });
        let named = |(kind, object): (PolicyKind, Value)| {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
            (Key::new(kind.resource(), &text("namespace"), &text("name")), (kind, object))
        };
        let expected: Vec<_> = objects.into_iter().map(named).collect();
        let keys = expected.iter().map(|(key, _)| key.clone()).collect();
        Self { context, keys, expected: expected.into_iter().collect() }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let Some((kind, expected)) = self.expected.get(key) else { return Ok(Next::Rest) };
        let state = self.context.duty.current();
        let stored = state.get(key);
        // What is being deleted is made anew once it is gone.
        if stored.is_some_and(|stored| stored.face().deleting) {
            return Ok(Next::Rest);
        }
        let existing = stored.map(|stored| value_of(stored)).transpose()?;
        let step = reconcile::step(*kind, existing.as_ref(), expected).map_err(|error| error.status())?;
        let (mut draft, now) = (Draft::new(), base::clock::now());
        match (step, stored) {
            (Step::Create(object), None) => {
                draft.create(&state, kind_named(API_VERSION, kind.name())?, object, now)?;
            }
            (Step::Update(object), Some(stored)) => {
                draft.edit(stored, |value: &mut Value| *value = object)?;
            }
            // Its end wakes this key, and then it is created.
            (Step::Recreate(_), Some(stored)) => {
                draft.delete(stored, &background(), now)?;
            }
            _ => {}
        }
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

impl Controller for Policy {
    fn name(&self) -> &'static str {
        "bootstrap-policy-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        PolicyKind::ALL.map(PolicyKind::resource).to_vec()
    }

    fn all(&self, _: &State) -> Vec<Key> {
        self.keys.clone()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        self.expected.contains_key(event.key()).then(|| event.key().clone()).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
