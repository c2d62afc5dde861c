//! Services, as far as that needs no data plane: where their traffic would go, and who holds which address and port.

mod cidrs;
mod endpoints;
mod masters;
mod mirror;
mod pack;
mod records;
mod slices;
mod targets;

pub(crate) use cidrs::Ranges;
pub(crate) use endpoints::LegacyEndpoints;
pub(crate) use masters::MastersService;
pub(crate) use mirror::Mirror;
pub(crate) use records::Records;
pub(crate) use slices::Slices;

use objects::{Key, Resource};
use serde_json::{Map, Value, json};
use state::{State, Stored};

use crate::owners::reference;
use crate::writes::{Draft, background, kind_named, value_of};
use crate::{Context, Error};
use pack::{Slice, Step};

/// On every EndpointSlice: of which Service it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Who keeps an EndpointSlice.
const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// On what belongs to a Service without an address.
const HEADLESS: &str = "service.kubernetes.io/headless";

fn services() -> Resource {
    "services".into()
}

fn endpoints() -> Resource {
    "endpoints".into()
}

fn endpoint_slices() -> Resource {
    "endpointslices.discovery.k8s.io".into()
}

/// The EndpointSlices of a Service that `keeper` keeps.
fn kept<'a>(state: &'a State, service: &'a Key, keeper: &'a str) -> impl Iterator<Item = &'a std::sync::Arc<Stored>> {
    state.list_in(&endpoint_slices(), &service.namespace).filter(move |slice| {
        let face = slice.face();
        face.label(SLICE_MANAGED_BY) == Some(keeper)
            && face.label(SERVICE_NAME) == Some(&*service.name)
            && !face.deleting
    })
}

/// Whose slices are to be written.
struct Keeper<'a> {
    /// Value of [`SLICE_MANAGED_BY`].
    name: &'static str,
    /// The Service.
    service: &'a Key,
    /// Whom the slices go with.
    owner: &'a Stored,
    /// Labels besides the two that every slice has.
    labels: Map<String, Value>,
}

impl Keeper<'_> {
    /// Brings the slices to the wanted groups, each slice by itself; what is added comes before what goes.
    async fn write(&self, context: &Context, state: &State, wanted: Vec<pack::Group>) -> Result<(), Error> {
        let mut labels = self.labels.clone();
        labels.insert(SERVICE_NAME.into(), json!(&*self.service.name));
        labels.insert(SLICE_MANAGED_BY.into(), json!(self.name));
        let mut known = Vec::new();
        for slice in kept(state, self.service, self.name) {
            known.push(Slice::of(&slice.key.name, &value_of(slice)?));
        }
        let find = |name: &str| state.get(&Key::new(endpoint_slices(), &self.service.namespace, name));
        for step in pack::pack(known, wanted) {
            let (mut draft, now) = (Draft::new(), base::clock::now());
            match step {
                Step::Create { address_type, ports, endpoints } => {
                    draft.require_exists(self.owner);
                    let slice = json!({
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                        "metadata": {
                            "generateName": format!("{}-", self.service.name), "namespace": &*self.service.namespace,
                            "labels": labels, "ownerReferences": [reference(self.owner)?],
                        },
                        "addressType": address_type, "ports": ports, "endpoints": endpoints,
                    });
                    draft.create(state, kind_named("discovery.k8s.io/v1", "EndpointSlice")?, slice, now)?;
                }
                Step::Put { name, endpoints } => {
                    let Some(stored) = find(&name) else { continue };
                    draft.edit(stored, |slice| {
                        slice["endpoints"] = Value::Array(endpoints);
                        slice["metadata"]["labels"] = Value::Object(labels.clone());
                    })?;
                }
                Step::Delete(name) => {
                    let Some(stored) = find(&name) else { continue };
                    draft.delete(stored, &background(), now)?;
                }
            }
            draft.commit(&context.duty).await?;
        }
        Ok(())
    }
}

/// The labels of an object, as a map of one's own.
fn labels_of(stored: &Stored) -> Map<String, Value> {
    stored.face().labels.iter().map(|(key, value)| (key.to_string(), json!(value))).collect()
}
