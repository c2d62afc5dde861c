//! What a worker knows about its pod beyond what the API and the engine tell: plain values that `sync` and `status` read.

use super::backoff::{Crash, Trouble};
use jiff::Timestamp;
use runtime::{Container, Listing, PodRef, Sandbox};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the engine shows of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Sandboxes, the newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Containers, the newest of each name first.
    pub containers: Vec<Container>,
}

impl Observed {
    /// Sorts a listing by pod uid.
    pub fn group(listing: Listing) -> BTreeMap<String, (PodRef, Observed)> {
        let mut pods: BTreeMap<String, (PodRef, Observed)> = BTreeMap::new();
        for sandbox in listing.sandboxes {
            let pod = sandbox.pod.clone();
            pods.entry(pod.uid.clone()).or_insert_with(|| (pod, Observed::default())).1.sandboxes.push(sandbox);
        }
        for container in listing.containers {
            let pod = container.pod.clone();
            pods.entry(pod.uid.clone()).or_insert_with(|| (pod, Observed::default())).1.containers.push(container);
        }
        for (_, observed) in pods.values_mut() {
            observed.sandboxes.sort_by(|one, other| (other.attempt, &other.id).cmp(&(one.attempt, &one.id)));
            observed.containers.sort_by(|one, other| {
                (&one.name, other.attempt, other.created, &other.id).cmp(&(
                    &other.name,
                    one.attempt,
                    one.created,
                    &one.id,
                ))
            });
        }
        pods
    }

    /// Whether nothing of the pod is left.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// The newest sandbox, if it runs.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.state.is_running())
    }

    /// The instances of a container, newest first.
    pub fn instances<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |container| container.name == name)
    }

    /// The newest instance of a container.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// Why a pod is not run at all, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// As one word: `OutOfcpu`, `DeadlineExceeded`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Whether an image may be used for the next start of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageFact {
    /// It is there, for the start of this attempt.
    Ready(u32),
    /// It is not, and why.
    Trouble(Trouble),
}

/// What is known about a container beyond its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerMemory {
    /// Its image.
    pub image: Option<ImageFact>,
    /// Why its last start failed before there was a program.
    pub trouble: Option<Trouble>,
    /// Its crashes.
    pub crash: Crash,
    /// The instance that failed its liveness or startup probe.
    pub unhealthy: Option<String>,
    /// The instance whose readiness probe succeeds.
    pub ready: Option<String>,
    /// The instance whose startup probe has succeeded.
    pub started: Option<String>,
    /// The smallest grace, in seconds, with which a stop of an instance was asked for.
    pub stopping: BTreeMap<String, i64>,
    /// What instances wrote as their last words.
    pub last_words: BTreeMap<String, String>,
}

/// What a worker remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// When this node took the pod on.
    pub start_time: Option<Timestamp>,
    /// Whether the node has room for it; `false` until that was looked at.
    pub admitted: bool,
    /// Why it is not run.
    pub failure: Option<Failure>,
    /// Whether its volumes are there.
    pub volumes_ready: bool,
    /// Why they are not.
    pub volumes_trouble: Option<Trouble>,
    /// Why it has no sandbox.
    pub sandbox_trouble: Option<Trouble>,
    /// By container.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// What runs at the moment, by [`super::sync::Action::key`].
    pub busy: BTreeSet<String>,
    /// Whether everything on disk is gone.
    pub cleaned: bool,
    /// Whether the pod is gone from the API.
    pub finalized: bool,
    /// The pod's last address, for statuses after its sandbox ended.
    pub address: Option<IpAddr>,
}

impl Memory {
    /// What is known of a container.
    pub fn container(&self, name: &str) -> Option<&ContainerMemory> {
        self.containers.get(name)
    }

    /// What is known of a container, to change it.
    pub fn container_mut(&mut self, name: &str) -> &mut ContainerMemory {
        self.containers.entry(name.to_owned()).or_default()
    }
}
