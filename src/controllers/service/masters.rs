//! The Service `kubernetes`, by which pods and clients reach the masters, with the masters as its endpoints.
//!
//! As upstream's `controlplane/controller/kubernetesservice` and `controlplane/reconcilers`. Masters that the others know by a
//! name and not by an address are left out: Endpoints hold addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::allocation::{AddressRange, Good, Holder, NODE_PORT_RANGE, Pool, plan};
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, State};

use super::{SERVICE_NAME, SLICE_MANAGED_BY, endpoint_slices, endpoints, services};
use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, kind_named, value_of};
use crate::{Context, Error};

const COMPONENT: &str = "kubernetes-service-controller";
const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// Port of the Service.
const PORT: u16 = 443;
/// Port of a master's API when none is known yet.
const API_PORT: u16 = 6443;
/// How often the masters are asked for: nobody tells when one comes or goes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The masters of one family and port: in one slice.
type Masters = BTreeMap<(&'static str, u16), Vec<IpAddr>>;

/// The controller.
pub(crate) struct MastersService {
    context: Context,
}

impl MastersService {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let masters = masters(&(self.context.options.masters)());
        self.service(&state, masters.keys().next().map_or(API_PORT, |(_, port)| *port)).await?;
        // Without a master that can be shown, what is shown stays.
        if !masters.is_empty() {
            self.endpoints(&state, &masters).await?;
            self.slices(&state, &masters).await?;
        }
        Ok(Next::After(LOOK_EVERY))
    }

    async fn service(&self, state: &State, port: u16) -> Result<(), Error> {
        let key = Key::new(services(), NAMESPACE, NAME);
        let ports = json!([{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": port}]);
        let mut draft = Draft::new();
        if let Some(stored) = state.get(&key) {
            draft.edit(stored, |service| service["spec"]["ports"] = ports)?;
            draft.commit(&self.context.duty).await?;
            return Ok(());
        }
        let Some(first) = self.context.options.service_ranges.first() else { return Ok(()) };
        let address = first.at(0).to_string();
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"component": "apiserver", "provider": NAME}},
            "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports},
        });
        let taken = complete(state, &self.context.options.service_ranges, &mut service)?;
        for good in taken {
            let key = good.key();
            match state.get(&key) {
                Some(record) => draft.require_unchanged(record),
                None => {
                    let me = Holder { namespace: NAMESPACE.into(), name: NAME.into() };
                    draft.record(key, good.record(&me, &base::random::uid(), base::clock::now())?);
                }
            }
        }
        draft.create(state, kind_named("v1", "Service")?, service, base::clock::now())?;
        draft.commit(&self.context.duty).await?;
        Ok(())
    }

    async fn endpoints(&self, state: &State, masters: &Masters) -> Result<(), Error> {
        let mut draft = Draft::new();
        let subsets: Vec<Value> = masters
            .iter()
            .map(|((_, port), addresses)| {
                let addresses: Vec<Value> =
                    addresses.iter().map(|address| json!({"ip": address.to_string()})).collect();
                json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
            })
            .collect();
        let labels = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
        match state.get(&Key::new(endpoints(), NAMESPACE, NAME)) {
            None => {
                let made = json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": subsets,
                    "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels}});
                draft.create(state, kind_named("v1", "Endpoints")?, made, base::clock::now())?;
            }
            Some(stored) => {
                draft.edit(stored, |value| {
                    value["subsets"] = Value::Array(subsets);
                    value["metadata"]["labels"] = labels;
                })?;
            }
        }
        draft.commit(&self.context.duty).await?;
        Ok(())
    }

    async fn slices(&self, state: &State, masters: &Masters) -> Result<(), Error> {
        let labels = json!({SERVICE_NAME: NAME, SLICE_MANAGED_BY: COMPONENT});
        let mut draft = Draft::new();
        let mut wanted = Vec::new();
        for ((family, port), addresses) in masters {
            let name = slice_name(wanted.is_empty(), family, *port);
            let endpoint =
                |address: &IpAddr| json!({"addresses": [address.to_string()], "conditions": {"ready": true}});
            let endpoints: Vec<Value> = addresses.iter().map(endpoint).collect();
            let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
            let known = state.get(&Key::new(endpoint_slices(), NAMESPACE, &name));
            let fits = |value: &Value| value["addressType"] == *family;
            match known {
                // The type of a slice's addresses cannot change.
                Some(stored) if !fits(&value_of(stored)?) => {
                    draft.delete(stored, &background(), base::clock::now())?;
                }
                Some(stored) => {
                    draft.edit(stored, |value| {
                        value["endpoints"] = Value::Array(endpoints);
                        value["ports"] = ports;
                        value["metadata"]["labels"] = labels.clone();
                    })?;
                }
                None => {
                    let made = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
                        "addressType": family, "ports": ports, "endpoints": endpoints});
                    draft.create(
                        state,
                        kind_named("discovery.k8s.io/v1", "EndpointSlice")?,
                        made,
                        base::clock::now(),
                    )?;
                }
            }
            wanted.push(name);
        }
        let service = Key::new(services(), NAMESPACE, NAME);
        for old in
            super::kept(state, &service, COMPONENT).filter(|old| !wanted.iter().any(|name| **name == *old.key.name))
        {
            draft.delete(old, &background(), base::clock::now())?;
        }
        draft.commit(&self.context.duty).await?;
        Ok(())
    }
}

/// Fills in what follows from the Service's address, and says what it takes.
fn complete(state: &State, ranges: &[AddressRange], service: &mut Value) -> Result<Vec<Good>, Error> {
    let holder = |key: &Key| {
        let record = state.get(key)?;
        Some(value_of(record).ok().and_then(|record| Holder::named_by(&record)))
    };
    // Nothing is drawn: the address is given, and there are no node ports.
    let mut pool = Pool { ranges, ports: NODE_PORT_RANGE, holder: &holder, draw: &mut || 0 };
    Ok(plan(None, service, &mut pool)?.taken)
}

/// The first slice has the Service's name, as upstream's only one.
fn slice_name(first: bool, family: &str, port: u16) -> String {
    if first { NAME.to_owned() } else { format!("{NAME}-{}-{port}", family.to_lowercase()) }
}

/// Masters by family and port, from the URLs of their APIs.
fn masters(urls: &[String]) -> Masters {
    let mut masters = Masters::new();
    for url in urls {
        let host = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
        let Some((host, port)) = host.rsplit_once(':') else { continue };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (Ok(address), Ok(port)) = (host.parse::<IpAddr>(), port.parse()) else { continue };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        masters.entry((family, port)).or_default().push(address);
    }
    for addresses in masters.values_mut() {
        addresses.sort();
        addresses.dedup();
    }
    masters
}

impl Controller for MastersService {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec![services(), endpoints(), endpoint_slices()]
    }

    fn all(&self, _: &State) -> Vec<Key> {
        vec![Key::new(services(), NAMESPACE, NAME)]
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        let ours = &*key.namespace == NAMESPACE && key.name.starts_with(NAME);
        if ours { self.all(state) } else { Vec::new() }
    }

    fn sync<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_shown_by_address_and_port() {
        let urls = [
            "https://10.0.0.2:6443",
            "https://10.0.0.1:6443/",
            "https://[fd00::1]:6443",
            "https://127.0.0.1:7443",
            "https://10.0.0.1:6443",
            "https://m1.example.com:6443",
            "https://10.0.0.3",
            "https://10.0.0.3:x",
            "",
        ];
        let urls: Vec<String> = urls.map(str::to_owned).into();
        let found: Vec<String> =
            masters(&urls).into_iter().map(|((family, port), all)| format!("{family} {port} {all:?}")).collect();
        assert_eq!(found, ["IPv4 6443 [10.0.0.1, 10.0.0.2]", "IPv4 7443 [127.0.0.1]", "IPv6 6443 [fd00::1]"]);
        assert_eq!(
            (slice_name(true, "IPv4", 1), slice_name(false, "IPv6", 1)),
            ("kubernetes".into(), "kubernetes-ipv6-1".into())
        );
    }
}
