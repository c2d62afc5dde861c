//! A watch: a position in the history, and a wake-up. It queues nothing, so a slow reader costs nothing.

use std::sync::Arc;

use objects::Resource;
use state::{Event, Revision};
use tokio::sync::watch;

use crate::{Error, Replica};

/// Most events handed out at once, so that one reader does not hold a whole burst.
const BATCH_MAX: usize = 500;

/// Changes of one resource, in order and without a gap.
pub struct Watch {
    replica: Arc<Replica>,
    resource: Resource,
    at: Revision,
    wake: watch::Receiver<Revision>,
}

impl Watch {
    pub(crate) fn new(replica: Arc<Replica>, resource: Resource, at: Revision) -> Self {
        // Subscribed before the first look, so that no change falls between the two.
        let wake = replica.changes_of(&resource);
        Self { replica, resource, at, wake }
    }

    /// Everything up to here has been handed out (or did not concern the resource): a bookmark.
    pub fn position(&self) -> Revision {
        self.at
    }

    /// Events that are there already; empty when there are none.
    ///
    /// # Errors
    /// [`Error::Compacted`] when events after the position are forgotten: list anew.
    pub fn ready(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        self.wake.borrow_and_update();
        let state = self.replica.current();
        let events = state
            .events_after(&self.resource, self.at)
            .ok_or(Error::Compacted { asked: self.at, compacted: state.compacted() })?;
        let events: Vec<Arc<Event>> = events.take(BATCH_MAX).cloned().collect();
        self.at = match events.last() {
            Some(last) if events.len() == BATCH_MAX => last.revision(),
            _ => self.at.max(state.revision()),
        };
        Ok(events)
    }

    /// The next events, at least one; waits for them. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Compacted`] as for [`Watch::ready`]; [`Error::Unavailable`] when this master has ended.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.wake.changed().await.map_err(|_| Error::Unavailable("this master has ended".into()))?;
        }
    }
}
