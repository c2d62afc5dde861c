//! What all parts of one agent share.

use crate::Options;
use crate::configs::Configs;
use crate::disk::Disk;
use crate::limits::{PULLS_PARALLEL, STARTS_PARALLEL};
use crate::notes::{Note, Notes};
use crate::observer::Observer;
use crate::pod::admit::admit;
use crate::pod::env::Place;
use crate::pod::memory::Failure;
use crate::pod::view;
use crate::tokens::Tokens;
use client::Client;
use fit::Amounts;
use k8s_openapi::api::core::v1::Pod;
use runtime::{PodRef, Runtime};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// One agent's shared parts.
pub(crate) struct Context {
    pub options: Options,
    pub runtime: Arc<dyn Runtime>,
    pub client: Arc<Client>,
    pub disk: Disk,
    pub observer: Observer,
    pub configs: Configs,
    pub tokens: Tokens,
    pub notes: Notes,
    pub room: Amounts,
    pub pulls: Semaphore,
    pub starts: Semaphore,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A pod that this node knows.
#[derive(Debug, Clone)]
struct Known {
    pod: Arc<Pod>,
    takes_room: bool,
}

impl Context {
    pub fn new(
        options: Options,
        runtime: Arc<dyn Runtime>,
        client: Arc<Client>,
        disk: Disk,
        notes: Notes,
        room: Amounts,
    ) -> Self {
        Self {
            options,
            runtime,
            configs: Configs::new(client.clone()),
            tokens: Tokens::new(client.clone()),
            client,
            disk,
            observer: Observer::new(),
            notes,
            room,
            pulls: Semaphore::new(PULLS_PARALLEL),
            starts: Semaphore::new(STARTS_PARALLEL),
            known: Mutex::default(),
        }
    }

    /// Remembers what a pod is meant to be, for those who ask by its name.
    pub fn learn(&self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut known = self.known();
        match known.get_mut(&uid) {
            Some(entry) => entry.pod = pod.clone(),
            None => {
                known.insert(uid, Known { pod: pod.clone(), takes_room: false });
            }
        }
    }

    /// Takes a pod in if there is room beside those taken in before; one that runs already is always taken.
    pub fn admit(&self, pod: &Arc<Pod>, runs_already: bool) -> Result<(), Failure> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut known = self.known();
        if !runs_already {
            let others = known.values().filter(|entry| entry.takes_room).map(|entry| entry.pod.as_ref());
            admit(pod, others, &self.room)?;
        }
        known.insert(uid, Known { pod: pod.clone(), takes_room: true });
        Ok(())
    }

    /// Frees the room of a pod that has come to its end.
    pub fn release(&self, uid: &str) {
        if let Some(entry) = self.known().get_mut(uid) {
            entry.takes_room = false;
        }
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.known().remove(uid);
        self.tokens.forget(uid);
    }

    /// The pod of this name; of several, one that is not being deleted.
    pub fn pod_by_name(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let known = self.known();
        let named = known.values().map(|entry| &entry.pod).filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name)
        });
        named.min_by_key(|pod| view::is_deleted(pod)).cloned()
    }

    /// All pods that this node knows.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.known().values().map(|entry| entry.pod.clone()).collect()
    }

    /// What a pod with this address may learn about its place.
    pub fn place(&self, address: Option<IpAddr>) -> Place {
        Place {
            node: self.options.node.clone(),
            host: self.options.address,
            address,
            allocatable: (self.room.cpu_milli, self.room.memory),
        }
    }

    /// Tells people about a pod.
    pub fn tell(&self, pod: &PodRef, container: Option<&str>, warning: bool, reason: &'static str, message: String) {
        let container = container.map(str::to_owned);
        self.notes.tell(Note { pod: pod.clone(), container, warning, reason, message });
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
