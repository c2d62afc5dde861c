//! PodDisruptionBudgets: how many of their pods may be evicted now. The eviction itself asks and takes, in the API.

mod decide;

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::selector::Labels;
use objects::{Key, Owner, Resource, kind};
use serde_json::Value;
use state::{Event, State, Stored};

use crate::pods::{Member, in_namespace, pods};
use crate::runner::{Controller, Next};
use crate::writes::Draft;
use crate::{Context, Error};
use decide::{Manager, Sight};

/// Resources of those who say how many pods there should be.
const SCALED: [&str; 4] = ["deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers"];

/// The controller.
pub(crate) struct Budgets {
    context: Context,
}

impl Budgets {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key) else {
            return Ok(Next::Rest);
        };
        let budget = stored.typed::<Value>()?;
        let mut sights = Vec::new();
        if let Some(selector) = selector(&budget) {
            for pod in in_namespace(&state, &key.namespace).filter(|pod| selector.matches(&pod.face().labels)) {
                let member = Member::of(pod)?;
                let healthy = member.ready_since.is_some() && !member.terminating;
                sights.push(Sight { healthy, manager: manager(&state, pod)? });
            }
        }
        let mut draft = Draft::new();
        let generation = stored.face().generation;
        draft.edit(stored, |value| {
            value["status"] =
                decide::status(&value["status"], &budget["spec"], generation, &sights, base::clock::now());
        })?;
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

/// The pods of a budget: none without a selector, all with an empty one.
fn selector(budget: &Value) -> Option<Labels> {
    let selector = &budget["spec"]["selector"];
    if selector.is_null() { None } else { Labels::from_value(selector).ok() }
}

/// Who manages a pod: the Deployment behind its ReplicaSet, where there is one.
fn manager(state: &State, pod: &Stored) -> Result<Manager, Error> {
    let Some(owner) = pod.face().controller() else {
        return Ok(Manager::None);
    };
    let find = |owner: &Owner| {
        let kind = kind::by_kind(&owner.api_version, &owner.kind)?;
        let key = Key::new(kind.resource(), &pod.key.namespace, &owner.name);
        state.get(&key).filter(|found| found.face().uid == owner.uid)
    };
    let Some(mut found) = find(owner) else {
        // Its manager is gone, and the pod will be.
        return Ok(Manager::None);
    };
    if found.key.resource.as_str() == "replicasets.apps"
        && let Some(above) = found.face().controller().and_then(find)
    {
        found = above;
    }
    if !SCALED.contains(&found.key.resource.as_str()) {
        return Ok(Manager::Unscaled(found.key.resource.to_string()));
    }
    let number = found.typed::<Value>()?["spec"]["replicas"].as_i64().unwrap_or(1);
    Ok(Manager::Scaled(found.face().uid.clone(), number))
}

impl Controller for Budgets {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        [resource(), pods()].into_iter().chain(SCALED.map(Resource::from)).collect()
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&resource()).map(|budget| budget.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if key.resource == resource() {
            return vec![key.clone()];
        }
        let near = state.list_in(&resource(), &key.namespace);
        if key.resource != pods() {
            return near.map(|budget| budget.key.clone()).collect();
        }
        let faces: Vec<_> =
            [Some(&event.current), event.previous.as_ref()].into_iter().flatten().map(|one| one.face()).collect();
        let selects =
            |budget: &Value| selector(budget).is_some_and(|of| faces.iter().any(|face| of.matches(&face.labels)));
        near.filter(|budget| budget.typed::<Value>().is_ok_and(|value| selects(&value)))
            .map(|budget| budget.key.clone())
            .collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

fn resource() -> Resource {
    "poddisruptionbudgets.policy".into()
}
