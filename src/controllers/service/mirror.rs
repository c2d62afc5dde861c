//! EndpointSlices of Endpoints that are made by hand, so that those who read slices only see them too.
//!
//! As upstream's `controller/endpointslicemirroring`.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Service;
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, State, Stored};

use super::pack::Group;
use super::{Keeper, SERVICE_NAME, SLICE_MANAGED_BY, endpoint_slices, endpoints, kept, labels_of, services};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background};
use crate::{Context, Error};

const KEEPER: &str = "endpointslicemirroring-controller.k8s.io";
/// On Endpoints whose maker makes the slices as well.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// On Endpoints that only hold a leader's name.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of a subset at most; upstream's default.
const SUBSET_MAX: usize = 1000;

/// The controller.
pub(crate) struct Mirror {
    context: Context,
}

impl Mirror {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let service = Key::new(services(), &key.namespace, &key.name);
        let (made, of) = (state.get(key), state.get(&service));
        let made = match (made, of) {
            (Some(made), Some(of)) if mirrored(made, &*made.typed::<Value>()?, &*of.typed::<Service>()?) => made,
            _ => {
                let old: Vec<_> = kept(&state, &service, KEEPER).cloned().collect();
                for slice in old {
                    let mut draft = Draft::new();
                    draft.delete(&slice, &background(), base::clock::now())?;
                    draft.commit(&self.context.duty).await?;
                }
                return Ok(Next::Rest);
            }
        };
        let keeper = Keeper { name: KEEPER, service: &service, owner: made, labels: labels_of(made) };
        keeper.write(&self.context, &state, groups(&*made.typed::<Value>()?)).await?;
        Ok(Next::Rest)
    }
}

/// Whether the slices of these Endpoints are ours to make.
fn mirrored(made: &Stored, endpoints: &Value, service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selects = selector.is_some_and(|selector| !selector.is_empty());
    let leads = endpoints["metadata"]["annotations"].get(LEADER).is_some();
    !selects && !leads && !made.face().deleting && made.face().label(SKIP) != Some("true")
}

/// The addresses of Endpoints, by type and ports.
fn groups(endpoints: &Value) -> Vec<Group> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut groups: BTreeMap<(&str, String), Group> = BTreeMap::new();
    for subset in list(&endpoints["subsets"]) {
        let mut ports = list(&subset["ports"]);
        for port in &mut ports {
            if port["name"].is_null() {
                port["name"] = json!("");
            }
        }
        let ready = list(&subset["addresses"]).into_iter().map(|address| (address, true));
        let waiting = list(&subset["notReadyAddresses"]).into_iter().map(|address| (address, false));
        for (address, ready) in ready.chain(waiting).take(SUBSET_MAX) {
            let Some(ip) = address["ip"].as_str() else { continue };
            let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
            let mut endpoint = json!({"addresses": [ip], "conditions": {"ready": ready}});
            for field in ["hostname", "nodeName", "targetRef"] {
                if !address[field].is_null() {
                    endpoint[field] = address[field].clone();
                }
            }
            let ports = Value::Array(ports.clone());
            let group = groups.entry((family, ports.to_string()));
            group
                .or_insert_with(|| Group { address_type: family, ports, endpoints: Vec::new() })
                .endpoints
                .push(endpoint);
        }
    }
    groups.into_values().collect()
}

impl Controller for Mirror {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![endpoints(), services(), endpoint_slices()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let made = state.list(&endpoints()).map(|one| one.key.clone());
        let mut keys: Vec<Key> =
            made.chain(state.list(&endpoint_slices()).filter_map(|slice| mirror_of(slice))).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        let key = event.key();
        match key.resource.as_str() {
            "endpoints" => vec![key.clone()],
            "services" => vec![Key::new(endpoints(), &key.namespace, &key.name)],
            _ => {
                let both = [Some(&event.current), event.previous.as_ref()].into_iter().flatten();
                both.filter_map(|slice| mirror_of(slice)).collect()
            }
        }
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

/// The Endpoints that a slice mirrors.
fn mirror_of(slice: &Stored) -> Option<Key> {
    let face = slice.face();
    let name = face.label(SERVICE_NAME).filter(|_| face.label(SLICE_MANAGED_BY) == Some(KEEPER))?;
    Some(Key::new(endpoints(), &slice.key.namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_endpoints() {
        let made = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.1", "hostname": "h", "nodeName": "n"}, {"ip": "fd00::1"}],
                "notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 80, "protocol": "TCP"}]},
            {"addresses": [{"ip": "10.0.0.3"}, {}], "ports": [{"name": "b", "port": 81, "protocol": "TCP"}]},
            {"notReadyAddresses": [{"ip": "10.0.0.4"}]}]});
        let found: Vec<String> = groups(&made)
            .into_iter()
            .map(|group| format!("{} {} {}", group.address_type, group.ports, Value::Array(group.endpoints)))
            .collect();
        assert_eq!(
            found,
            [
                r#"IPv4 [] [{"addresses":["10.0.0.4"],"conditions":{"ready":false}}]"#,
                r#"IPv4 [{"name":"","port":80,"protocol":"TCP"}] [{"addresses":["10.0.0.1"],"conditions":{"ready":true},"hostname":"h","nodeName":"n"},{"addresses":["10.0.0.2"],"conditions":{"ready":false}}]"#,
                r#"IPv4 [{"name":"b","port":81,"protocol":"TCP"}] [{"addresses":["10.0.0.3"],"conditions":{"ready":true}}]"#,
                r#"IPv6 [{"name":"","port":80,"protocol":"TCP"}] [{"addresses":["fd00::1"],"conditions":{"ready":true}}]"#,
            ]
        );
        assert_eq!(groups(&json!({})), []);
    }
}
