//! This master's copy of the state, and who is told when it changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use objects::Resource;
use state::{Event, Revision, State};
use tokio::sync::watch;

/// This master's copy. Consensus publishes into it; the store reads from it.
///
/// Publishing never waits for a reader: watchers are only told *that* something changed, and read at their own pace.
pub struct Replica {
    state: RwLock<State>,
    all: watch::Sender<Revision>,
    by_resource: Mutex<HashMap<Resource, watch::Sender<Revision>>>,
}

impl Replica {
    /// A copy that starts at `state`.
    pub fn new(state: State) -> Arc<Self> {
        let (all, _) = watch::channel(state.revision());
        Arc::new(Self { state: RwLock::new(state), all, by_resource: Mutex::default() })
    }

    /// The copy as it stands; cheap.
    pub fn current(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a newer state. Call only after it is written to the disk's log, in order.
    pub fn publish(&self, state: State, events: &[Arc<Event>]) {
        let revision = state.revision();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        let senders = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if let Some(sender) = senders.get(&event.key().resource) {
                sender.send_replace(event.revision());
            }
        }
        drop(senders);
        self.all.send_replace(revision);
    }

    /// Shows a state that does not follow from the last one by events: a snapshot was installed. Wakes every watcher.
    pub fn replace(&self, state: State) {
        let revision = state.revision();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        for sender in self.by_resource.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sender.send_replace(revision);
        }
        self.all.send_replace(revision);
    }

    /// Wakes at every publication.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.all.subscribe()
    }

    /// Wakes when objects of one resource change.
    pub(crate) fn changes_of(&self, resource: &Resource) -> watch::Receiver<Revision> {
        let mut senders = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        // Resources without a watcher cost nothing to publish to; the map holds those that were ever watched and still are.
        senders.retain(|known, sender| sender.receiver_count() > 0 || known == resource);
        senders.entry(resource.clone()).or_insert_with(|| watch::channel(Revision::default()).0).subscribe()
    }
}
