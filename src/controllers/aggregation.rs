//! Cluster roles that gather the rules of others: kept at what those others allow.
//!
//! As upstream's `pkg/controller/clusterroleaggregation`.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use rbac::PolicyKind;
use serde_json::Value;
use state::{Event, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, value_of};
use crate::{Context, Error};

/// The controller.
pub(crate) struct Aggregation {
    context: Context,
}

impl Aggregation {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn gather(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key) else { return Ok(Next::Rest) };
        let rules = rbac::aggregation::missing_change(&value_of(stored)?, &roles(&state));
        let Some(rules) = rules.map_err(|error| error.status())? else { return Ok(Next::Rest) };
        let mut draft = Draft::new();
        draft.edit(stored, |value: &mut Value| value["rules"] = rules)?;
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

/// All cluster roles; one that cannot be read has no rules to gather.
fn roles(state: &State) -> Vec<Value> {
    state.list(&PolicyKind::ClusterRole.resource()).filter_map(|stored| value_of(stored).ok()).collect()
}

/// The cluster roles that gather.
fn gathering(state: &State) -> Vec<Key> {
    let gathers = |role: &Value| !role["aggregationRule"].is_null();
    let listed = state.list(&PolicyKind::ClusterRole.resource());
    listed.filter(|stored| value_of(stored).is_ok_and(|role| gathers(&role))).map(|stored| stored.key.clone()).collect()
}

impl Controller for Aggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![PolicyKind::ClusterRole.resource()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        gathering(state)
    }

    /// Whichever role changes, any of those that gather may have to follow.
    fn concerns(&self, _: &Event, state: &State) -> Vec<Key> {
        gathering(state)
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.gather(key).boxed()
    }
}
