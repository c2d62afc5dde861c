//! ResourceQuotas: counts anew what a namespace uses when something in it is gone, ends or asks for less.
//!
//! As upstream's `controller/resourcequota`. Whoever writes something that asks for more charges it in the same transaction
//! (`admission::quota`); a count is written only if no charge came in between, so none is lost.

use futures::FutureExt;
use futures::future::BoxFuture;
use objects::{Key, Resource, kind};
use state::{Event, EventKind, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, value_of};
use crate::{Context, Error};

const QUOTAS: &str = "resourcequotas";

/// The controller.
pub(crate) struct Quotas {
    context: Context,
}

impl Quotas {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let Some(stored) = state.get(key).filter(|quota| !quota.face().deleting) else {
            return Ok(Next::Rest);
        };
        let counted = admission::quota::counted(&state, &key.namespace, &value_of(stored)?, now);
        let mut draft = Draft::new();
        draft.edit(stored, |quota| quota["status"] = counted.status)?;
        draft.commit(&self.context.duty).await?;
        let wait = counted.again_at.map(|at| at.duration_since(now).unsigned_abs());
        // The moment itself still counts.
        Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + std::time::Duration::from_millis(1))))
    }
}

impl Controller for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        // Events are never counted, and there are many.
        let counted = kind::stored().filter(|kind| kind.namespaced && kind.kind != "Event");
        counted.map(|kind| kind.resource()).collect()
    }

    fn all(&self, state: &State) -> Vec<Key> {
        state.list(&QUOTAS.into()).map(|quota| quota.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        let quotas = || state.list_in(&QUOTAS.into(), &key.namespace).map(|quota| quota.key.clone());
        if key.resource.as_str() == QUOTAS && event.kind == EventKind::Created {
            // Others may count it.
            return quotas().collect();
        }
        match kind::by_resource(&key.resource) {
            Some(kind) if admission::quota::needs_count(kind, event) => quotas().collect(),
            _ => Vec::new(),
        }
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
