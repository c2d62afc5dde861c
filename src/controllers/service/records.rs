//! The records of what Services hold agree with the Services: what is left behind is freed, what is missing is written.
//!
//! The API writes both in one transaction, so there is work here only when something else removes a Service (the end of its
//! namespace, garbage collection), or somebody a record. As upstream's `service/ipallocator/controller/repairip.go`.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::allocation::{ADDRESSES, Good, Holder, NODE_PORTS, held, is_ours};
use objects::{Key, Resource};
use serde_json::Value;
use state::{Event, Precondition, State, Stored};

use super::services;
use crate::runner::{Controller, Next};
use crate::writes::{Draft, value_of};
use crate::{Context, Error};

const COMPONENT: &str = "service-allocation-controller";

/// The controller.
pub(crate) struct Records {
    context: Context,
}

impl Records {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let state = self.context.duty.current();
        let Some(stored) = state.get(key) else {
            return Ok(Next::Rest);
        };
        let draft = match Good::of(key) {
            Some(good) => free(&state, stored, good)?,
            None => self.complete(&state, stored)?,
        };
        draft.commit(&self.context.duty).await?;
        Ok(Next::Rest)
    }

    /// Records what a Service holds and nobody has recorded.
    fn complete(&self, state: &State, service: &Stored) -> Result<Draft, Error> {
        let (mut draft, me) = (Draft::new(), Holder::of(&service.key));
        for good in held(&value_of(service)?) {
            match state.get(&good.key()) {
                None => {
                    draft.require_unchanged(service);
                    draft.record(good.key(), good.record(&me, &base::random::uid(), base::clock::now())?);
                }
                Some(record) if Holder::named_by(&value_of(record)?).as_ref() == Some(&me) => {}
                Some(_) => {
                    let (reason, what) = match good {
                        Good::Address(address) => ("ClusterIPAlreadyAllocated", format!("Cluster IP {address}")),
                        Good::Port(port) => ("PortAlreadyAllocated", format!("Port {port}")),
                    };
                    let message = format!("{what} was assigned to multiple services; please recreate service");
                    self.context.note(COMPONENT, service, true, reason, message);
                }
            }
        }
        Ok(draft)
    }
}

/// Removes a record whose Service is gone, or holds it no longer.
fn free(state: &State, record: &Stored, good: Good) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let holder = Holder::named_by(&value_of(record)?).filter(|_| is_ours(&record.key, record.face()));
    let Some(holder) = holder else {
        // Somebody keeps the address for a purpose of their own.
        return Ok(draft);
    };
    match state.get(&holder.key()) {
        None => draft.require(Precondition::Absent(holder.key())),
        Some(service) if held(&value_of(service)?).contains(&good) => return Ok(draft),
        Some(service) => draft.require_unchanged(service),
    }
    draft.forget(record);
    Ok(draft)
}

impl Controller for Records {
    fn name(&self) -> &'static str {
        COMPONENT
    }

    fn resources(&self) -> Vec<Resource> {
        vec![services(), ADDRESSES.into(), NODE_PORTS.into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        self.resources().iter().flat_map(|resource| state.list(resource)).map(|one| one.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        let (key, mut keys) = (event.key(), vec![event.key().clone()]);
        // What was written before the change may need a look as well: goods of a Service, the Service of a record.
        let before = event.previous.as_ref().and_then(|previous| value_of(previous).ok()).unwrap_or(Value::Null);
        if key.resource == services() {
            keys.extend(held(&before).iter().map(Good::key));
        } else {
            keys.extend(Holder::named_by(&before).map(|holder| holder.key()));
        }
        keys
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
