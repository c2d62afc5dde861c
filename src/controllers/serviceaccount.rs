//! What every namespace has: the service account `default`, and the CA that its pods trust.
//!
//! As upstream's `controller/serviceaccount` and `controller/certificates/rootcacertpublisher`.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, EventKind, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, kind_named, value_of};
use crate::{Context, Error};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";

/// The controller.
pub(crate) struct Accounts {
    context: Context,
}

impl Accounts {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        if state.get(key).is_none_or(|namespace| namespace.face().deleting) {
            return Ok(Next::Rest);
        }
        let (namespace, now) = (&*key.name, base::clock::now());
        let mut draft = Draft::new();
        if state.get(&Key::new("serviceaccounts", namespace, ACCOUNT)).is_none() {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": ACCOUNT, "namespace": namespace}});
            draft.create(&state, kind_named("v1", "ServiceAccount")?, account, now)?;
        }
        let data = json!({"ca.crt": &*self.context.options.root_ca_pem});
        match state.get(&Key::new("configmaps", namespace, ROOT_CA)) {
            None => {
                let about = "Contains a CA bundle that can be used to verify the API server of this cluster.";
                let published = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {
                    "name": ROOT_CA, "namespace": namespace,
                    "annotations": {"kubernetes.io/description": about}}});
                draft.create(&state, kind_named("v1", "ConfigMap")?, published, now)?;
            }
            Some(stored) if value_of(stored)?["data"] != data => {
                draft.edit(stored, |value: &mut Value| value["data"] = data)?;
            }
            Some(_) => {}
        }
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

impl Controller for Accounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["namespaces".into(), "serviceaccounts".into(), "configmaps".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&"namespaces".into()).map(|namespace| namespace.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        let key = event.key();
        let concerns = match key.resource.as_str() {
            "namespaces" => event.kind == EventKind::Created,
            "serviceaccounts" => event.kind == EventKind::Deleted && &*key.name == ACCOUNT,
            _ => event.kind != EventKind::Created && &*key.name == ROOT_CA,
        };
        let namespace = if key.namespace.is_empty() { &key.name } else { &key.namespace };
        concerns.then(|| Key::new("namespaces", "", namespace)).into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
