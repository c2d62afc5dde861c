//! The priority classes that every cluster has: made at the start of a tenure, and again should somebody delete one.
//!
//! As upstream's `registry/scheduling/rest/storage_scheduling.go`.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use serde_json::json;
use state::{Event, EventKind, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, kind_named};
use crate::{Context, Error};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";

/// Name, value and description.
const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// The controller.
pub(crate) struct PriorityClasses {
    context: Context,
}

impl PriorityClasses {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let wanted = SYSTEM.iter().find(|(name, ..)| *name == &*key.name);
        if let (Some((name, value, description)), None) = (wanted, state.get(key)) {
            let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": value, "description": description});
            let mut draft = Draft::new();
            let kind = kind_named("scheduling.k8s.io/v1", "PriorityClass")?;
            draft.create(&state, kind, class, base::clock::now())?;
            draft.commit(&self.context.duty).await?;
        }
        Ok(Next::Rest)
    }
}

impl Controller for PriorityClasses {
    fn name(&self) -> &'static str {
        "system-priority-classes-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![CLASSES.into()]
    }

    fn all(&self, _: &State) -> Vec<Key> {
        SYSTEM.iter().map(|(name, ..)| Key::new(CLASSES, "", name)).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        let ours = event.kind == EventKind::Deleted && SYSTEM.iter().any(|(name, ..)| *name == &*event.key().name);
        ours.then(|| event.key().clone()).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
