//! The EndpointSlices of Services that select pods.
//!
//! As upstream's `controller/endpointslice`. With the Service they go by garbage collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use objects::{Key, Resource};
use serde_json::json;
use state::{Event, EventKind, State, Stored};

use super::pack::Group;
use super::targets::{Wants, node, selects};
use super::{HEADLESS, Keeper, SERVICE_NAME, SLICE_MANAGED_BY, endpoint_slices, labels_of, services};
use crate::pods::{in_namespace, pods};
use crate::runner::{Controller, Next};
use crate::{Context, Error};

const KEEPER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller.
pub(crate) struct Slices {
    context: Context,
}

impl Slices {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(service) = state.get(key) else {
            return Ok(Next::Rest);
        };
        let Some((wants, selector)) = Wants::of(&key.name, &*service.typed::<Service>()?) else {
            return Ok(Next::Rest);
        };
        let mut selected = Vec::new();
        for pod in in_namespace(&state, &key.namespace).filter(|pod| selector.matches(&pod.face().labels)) {
            let view = pod.typed::<Pod>()?;
            let zone = match node(&view) {
                None => Some(""),
                Some(name) => {
                    let node = state.get(&Key::new("nodes", "", name));
                    node.map(|node| node.face().label(ZONE).unwrap_or(""))
                }
            };
            selected.push((&*pod.face().uid, view, zone));
        }
        let mut labels = labels_of(service);
        labels.retain(|label, _| label != HEADLESS);
        if wants.headless {
            labels.insert(HEADLESS.into(), json!(""));
        }
        let keeper = Keeper { name: KEEPER, service: key, owner: service, labels };
        keeper.write(&self.context, &state, groups(&wants, &selected)).await?;
        Ok(Next::Rest)
    }
}

/// The endpoints of a Service, by type of address and ports. A Service whose pods give none has one empty slice of each type.
fn groups(wants: &Wants, pods: &[(&str, Arc<Pod>, Option<&str>)]) -> Vec<Group> {
    let mut groups = Vec::new();
    for family in &wants.families {
        let mut by_ports: BTreeMap<String, Group> = BTreeMap::new();
        for (uid, pod, zone) in pods {
            let (Some(ports), Some(endpoint)) = (wants.ports(pod), wants.endpoint(uid, pod, family, *zone)) else {
                continue;
            };
            let group = by_ports.entry(ports.to_string());
            let group = group.or_insert_with(|| Group { address_type: family, ports, endpoints: Vec::new() });
            group.endpoints.push(endpoint);
        }
        if by_ports.is_empty() {
            groups.push(Group { address_type: family, ports: json!([]), endpoints: Vec::new() });
        }
        groups.extend(by_ports.into_values());
    }
    groups
}

/// The Services of a namespace whose selector finds an object, as it was or as it is.
pub(super) fn selecting(state: &State, event: &Event) -> Vec<Key> {
    let faces: Vec<_> =
        [Some(&event.current), event.previous.as_ref()].into_iter().flatten().map(|one| one.face()).collect();
    let finds = |service: &&Arc<Stored>| {
        service.typed::<Service>().is_ok_and(|view| faces.iter().any(|face| selects(&view, face)))
    };
    let near = state.list_in(&services(), &event.key().namespace);
    near.filter(finds).map(|service| service.key.clone()).collect()
}

impl Controller for Slices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![services(), pods(), endpoint_slices(), "nodes".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&services()).map(|service| service.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        match key.resource.as_str() {
            "services" => vec![key.clone()],
            "pods" => selecting(state, event),
            "nodes" => {
                // Which pods count hangs on their nodes being there, and what they say on the nodes' zones.
                let zone = |node: &Stored| node.face().label(ZONE).map(str::to_owned);
                let moved = event.previous.as_ref().is_some_and(|previous| zone(previous) != zone(&event.current));
                if event.kind != EventKind::Updated || moved { self.all(state) } else { Vec::new() }
            }
            _ => {
                let ours = |slice: &Stored| slice.face().label(SLICE_MANAGED_BY) == Some(KEEPER);
                let both = [Some(&event.current), event.previous.as_ref()].into_iter().flatten();
                let names = both.filter(|slice| ours(slice)).filter_map(|slice| slice.face().label(SERVICE_NAME));
                names.map(|name| Key::new(services(), &key.namespace, name)).collect()
            }
        }
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn pod(name: &str, ip: &str, web: u16) -> Arc<Pod> {
        let value: Value = json!({"metadata": {"name": name, "namespace": "n"},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": web}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn endpoints_are_grouped_by_family_and_ports() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"port": 80, "targetPort": "web"}]}});
        let (wants, _) = Wants::of("s", &serde_json::from_value(service).unwrap()).unwrap();
        let pods = [
            ("1", pod("p1", "10.0.0.1", 80), Some("")),
            ("2", pod("p2", "10.0.0.2", 81), Some("")),
            ("3", pod("p3", "10.0.0.3", 80), Some("")),
        ];
        let found: Vec<String> = groups(&wants, &pods)
            .iter()
            .map(|group| format!("{} {} {}", group.address_type, group.ports[0]["port"], group.endpoints.len()))
            .collect();
        assert_eq!(found, ["IPv4 80 2", "IPv4 81 1", "IPv6 null 0"]);
        assert_eq!(groups(&wants, &[]).len(), 2);
    }
}
