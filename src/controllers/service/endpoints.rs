//! Endpoints of Services that select pods, for those who still read the old form.
//!
//! As upstream's `controller/endpoint/endpoints_controller.go`.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use objects::{Key, Resource};
use serde_json::{Map, Value, json};
use state::{Event, EventKind, State};

use super::slices::selecting;
use super::targets::Wants;
use super::{HEADLESS, endpoints, labels_of, services};
use crate::pods::{in_namespace, pods};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, map_at};
use crate::{Context, Error};

/// On Endpoints that are kept here, and not by hand.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const KEEPER: &str = "endpoint-controller";
/// Says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses of one object at most; upstream's.
const ADDRESSES_MAX: usize = 1000;

/// The controller.
pub(crate) struct LegacyEndpoints {
    context: Context,
}

impl LegacyEndpoints {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let known = state.get(&Key::new(endpoints(), &key.namespace, &key.name));
        let mut draft = Draft::new();
        let Some(service) = state.get(key) else {
            if let Some(known) = known {
                draft.require(state::Precondition::Absent(key.clone()));
                draft.delete(known, &background(), now)?;
                draft.commit(&self.context.duty).await?;
            }
            return Ok(Next::Rest);
        };
        let Some((wants, selector)) = Wants::of(&key.name, &*service.typed::<Service>()?) else {
            return Ok(Next::Rest);
        };
        let mut found = Vec::new();
        for pod in in_namespace(&state, &key.namespace).filter(|pod| selector.matches(&pod.face().labels)) {
            let view = pod.typed::<Pod>()?;
            if let (Some(ports), Some((address, ready))) = (wants.ports(&view), wants.address(&pod.face().uid, &view)) {
                found.push((ports, address, ready));
            }
        }
        let (subsets, truncated) = subsets(found);
        let mut labels = labels_of(service);
        labels.retain(|label, _| label != HEADLESS);
        labels.insert(MANAGED_BY.into(), json!(KEEPER));
        if wants.headless {
            labels.insert(HEADLESS.into(), json!(""));
        }
        match known {
            None => {
                draft.require_exists(service);
                let mut metadata = json!({"name": &*key.name, "namespace": &*key.namespace, "labels": labels});
                if truncated {
                    metadata["annotations"] = json!({OVER_CAPACITY: "truncated"});
                }
                let made = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets});
                draft.create(&state, kind_named("v1", "Endpoints")?, made, now)?;
            }
            Some(known) => {
                draft.edit(known, |value| {
                    value["subsets"] = Value::Array(subsets);
                    let metadata = map_at(value, "metadata");
                    metadata["labels"] = Value::Object(labels);
                    mark(metadata, truncated);
                })?;
            }
        }
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

/// Says in the annotations whether addresses were left out.
fn mark(metadata: &mut Value, truncated: bool) {
    if truncated {
        map_at(metadata, "annotations")[OVER_CAPACITY] = json!("truncated");
    } else if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(OVER_CAPACITY);
    }
}

/// Pods (their ports, their address, whether they are ready) by ports, in an order that depends on nothing else; and whether
/// some had to be left out, those first that are not ready.
fn subsets(mut pods: Vec<(Value, Value, bool)>) -> (Vec<Value>, bool) {
    let text = |value: &Value| value["ip"].to_string() + &value["targetRef"]["uid"].to_string();
    pods.sort_by_cached_key(|(_, address, ready)| (!ready, text(address)));
    let truncated = pods.len() > ADDRESSES_MAX;
    pods.truncate(ADDRESSES_MAX);
    let mut by_ports: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (ports, address, ready) in pods {
        let subset = by_ports.entry(ports.to_string()).or_default();
        if ports.as_array().is_some_and(|ports| !ports.is_empty()) {
            subset.insert("ports".into(), unnamed(ports));
        }
        let list = subset.entry(if ready { "addresses" } else { "notReadyAddresses" }).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(address);
        }
    }
    (by_ports.into_values().map(Value::Object).collect(), truncated)
}

/// The old form leaves an empty name out.
fn unnamed(mut ports: Value) -> Value {
    for port in ports.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if port.get("name").is_some_and(|name| name == "") {
            port.remove("name");
        }
    }
    ports
}

impl Controller for LegacyEndpoints {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![services(), pods(), endpoints()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let ours = state.list(&endpoints()).filter(|one| one.face().label(MANAGED_BY) == Some(KEEPER));
        let left = ours.map(|one| Key::new(services(), &one.key.namespace, &one.key.name));
        let mut keys: Vec<Key> = state.list(&services()).map(|service| service.key.clone()).chain(left).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        match key.resource.as_str() {
            "services" => vec![key.clone()],
            "pods" => selecting(state, event),
            _ => {
                // Endpoints may be made by hand before their Service: these are left alone.
                let service = Key::new(services(), &key.namespace, &key.name);
                let ours = event.kind != EventKind::Deleted && event.current.face().label(MANAGED_BY) == Some(KEEPER);
                (ours || state.get(&service).is_some()).then_some(service).into_iter().collect()
            }
        }
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(port: u16, last: usize, ready: bool) -> (Value, Value, bool) {
        let ports = json!([{"name": "", "port": port, "protocol": "TCP"}]);
        (ports, json!({"ip": format!("10.0.{}.{}", last / 250, last % 250)}), ready)
    }

    #[test]
    fn addresses_are_grouped_by_ports_and_sorted() {
        let (found, truncated) = subsets(vec![pod(80, 3, true), pod(80, 1, false), pod(81, 2, true), pod(80, 2, true)]);
        assert!(!truncated);
        assert_eq!(
            json!(found),
            json!([
                {"ports": [{"port": 80, "protocol": "TCP"}], "addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}],
                    "notReadyAddresses": [{"ip": "10.0.0.1"}]},
                {"ports": [{"port": 81, "protocol": "TCP"}], "addresses": [{"ip": "10.0.0.2"}]},
            ])
        );
        let (found, _) = subsets(vec![(json!([]), json!({"ip": "10.0.0.1"}), true)]);
        assert_eq!(json!(found), json!([{"addresses": [{"ip": "10.0.0.1"}]}]));
        assert_eq!(subsets(vec![]), (vec![], false));
    }

    #[test]
    fn beyond_the_limit_those_go_first_that_are_not_ready() {
        let pods = (0..ADDRESSES_MAX + 2).map(|number| pod(80, number, number > 0 && number != 7)).collect();
        let (found, truncated) = subsets(pods);
        assert!(truncated);
        assert_eq!(found[0]["addresses"].as_array().map(Vec::len), Some(ADDRESSES_MAX));
        assert_eq!(found[0].get("notReadyAddresses"), None);
        let mut metadata = json!({});
        mark(&mut metadata, true);
        assert_eq!(metadata["annotations"][OVER_CAPACITY], "truncated");
        mark(&mut metadata, false);
        assert_eq!(metadata["annotations"], json!({}));
    }
}
