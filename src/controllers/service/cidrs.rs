//! ServiceCIDRs: the range that every cluster has, and none goes while addresses of it are in use.
//!
//! As upstream's `controller/servicecidrs` and `controlplane/controller/defaultservicecidr`.

use std::net::IpAddr;

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::allocation::{ADDRESSES, AddressRange, DEFAULT_RANGE, RANGES};
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, EventKind, State, Stored};

use crate::conditions;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, kind_named, map_at};
use crate::{Context, Error};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const IN_USE: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// The controller.
pub(crate) struct Ranges {
    context: Context,
}

impl Ranges {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let mut draft = Draft::new();
        match state.get(key) {
            None if &*key.name == DEFAULT_RANGE => {
                let cidrs: Vec<String> =
                    self.context.options.service_ranges.iter().map(AddressRange::to_string).collect();
                let made = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                    "metadata": {"name": DEFAULT_RANGE, "finalizers": [FINALIZER]}, "spec": {"cidrs": cidrs}});
                draft.create(&state, kind_named("networking.k8s.io/v1", "ServiceCIDR")?, made, now)?;
            }
            None => {}
            Some(stored) if !stored.face().deleting => {
                let ready = json!({"type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready"});
                draft.edit(stored, |value| {
                    conditions::set(map_at(value, "status"), ready, now);
                    let finalizers = &mut value["metadata"]["finalizers"];
                    match finalizers.as_array_mut() {
                        Some(list) if list.iter().any(|one| one == FINALIZER) => {}
                        Some(list) => list.push(json!(FINALIZER)),
                        None => *finalizers = json!([FINALIZER]),
                    }
                })?;
            }
            Some(stored) if in_use(&state, stored)? => {
                let ending = json!({"type": "Ready", "status": "False", "reason": "Terminating", "message": IN_USE});
                draft.edit(stored, |value| conditions::set(map_at(value, "status"), ending, now))?;
            }
            Some(stored) => {
                // With the last finalizer the object goes. An address that is taken meanwhile demands that it is not going.
                draft.edit(stored, |value| {
                    if let Some(list) = value["metadata"]["finalizers"].as_array_mut() {
                        list.retain(|one| one != FINALIZER);
                    }
                })?;
            }
        }
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }
}

fn ranges_of(stored: &Stored) -> Result<Vec<AddressRange>, Error> {
    let value = stored.typed::<Value>()?;
    let cidrs = value["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(cidrs.filter_map(|text| text.parse().ok()).collect())
}

/// Whether there is an address that lies in this range and in no other that stays.
fn in_use(state: &State, going: &Stored) -> Result<bool, Error> {
    let mine = ranges_of(going)?;
    let mut others = Vec::new();
    for other in state.list(&RANGES.into()).filter(|other| other.key != going.key && !other.face().deleting) {
        others.extend(ranges_of(other)?);
    }
    let within = |ranges: &[AddressRange], address: IpAddr| ranges.iter().any(|range| range.contains(address));
    let mut addresses = state.list(&ADDRESSES.into()).filter_map(|record| record.key.name.parse().ok());
    Ok(addresses.any(|address| within(&mine, address) && !within(&others, address)))
}

impl Controller for Ranges {
    fn name(&self) -> &'static str {
        "service-cidr-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![RANGES.into(), ADDRESSES.into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let mut keys: Vec<Key> = state.list(&RANGES.into()).map(|one| one.key.clone()).collect();
        keys.push(Key::new(RANGES, "", DEFAULT_RANGE));
        keys.dedup();
        keys
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let going = state.list(&RANGES.into()).filter(|one| one.face().deleting).map(|one| one.key.clone());
        match event.key().resource.as_str() {
            RANGES => going.chain([event.key().clone()]).collect(),
            _ if event.kind == EventKind::Deleted => going.collect(),
            _ => Vec::new(),
        }
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
