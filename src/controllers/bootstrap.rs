//! The namespaces that every cluster has: made at the start of a tenure, and again should somebody delete one.
//!
//! As upstream's `controlplane/controller/systemnamespaces`.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use serde_json::json;
use state::{Event, EventKind, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, kind_named};
use crate::{Context, Error};

const NAMES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The controller.
pub(crate) struct Bootstrap {
    context: Context,
}

impl Bootstrap {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        if state.get(key).is_none() {
            let mut draft = Draft::new();
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &*key.name}});
            draft.create(&state, kind_named("v1", "Namespace")?, namespace, base::clock::now())?;
            draft.commit(&self.context.duty).await?;
        }
        Ok(Next::Rest)
    }
}

impl Controller for Bootstrap {
    fn name(&self) -> &'static str {
        "system-namespaces-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["namespaces".into()]
    }

    fn all(&self, _: &State) -> Vec<Key> {
        NAMES.iter().map(|name| Key::new("namespaces", "", name)).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        let ours = event.kind == EventKind::Deleted && NAMES.contains(&&*event.key().name);
        ours.then(|| event.key().clone()).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
