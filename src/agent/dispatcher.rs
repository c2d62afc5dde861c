//! From the cluster's list of this node's pods to workers: one for each pod, and one for each pod that only the engine knows.
//!
//! Fail static: a pod counts as gone only when a list that is not older than anything seen before lacks it. Until such a list
//! has arrived, the pods kept on disk are looked after as before.

use crate::Error;
use crate::context::Context;
use crate::observer::Look;
use crate::pod::sync::owner;
use crate::pod::view;
use crate::worker::{Desired, look_after};
use base::{Stopping, TaskGroup};
use client::{Floor, Reflector, Source};
use k8s_openapi::api::core::v1::Pod;
use runtime::PodRef;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the highest revision is kept even though no pod of this node changed.
const KEEP_INTERVAL: Duration = Duration::from_secs(10);

struct Entry {
    desired: watch::Sender<Desired>,
    pod_ref: PodRef,
}

/// Hands pods to workers until `stopping`. Workers end with it; containers go on.
pub(crate) async fn dispatch(context: Arc<Context>, floor: Floor, stopping: Stopping) -> Result<(), Error> {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", context.options.node);
    let source = Source { path, floor: floor.clone() };
    let reflector = Reflector::start((*context.client).clone(), source, &stopping, |value: Value| {
        serde_json::from_value::<Pod>(value)
    });
    let workers = TaskGroup::new("pods");
    let mut dispatcher = Dispatcher { context: context.clone(), workers, entries: BTreeMap::new(), kept: floor.get() };
    // The engine is looked at before anything is decided.
    let mut looks = context.observer.subscribe();
    if stopping.unless(looks.wait_for(|look| look.covers > 0)).await.is_none() {
        return Ok(());
    }
    let kept_disk = context.disk.clone();
    for pod in tokio::task::spawn_blocking(move || kept_disk.pods()).await.unwrap_or_default() {
        dispatcher.desire(Arc::new(pod), true);
    }
    let mut changes = reflector.subscribe();
    loop {
        let snapshot = reflector.snapshot();
        if snapshot.synced {
            // What was seen is kept before anything is done because of it.
            dispatcher.keep_revision(snapshot.revision.max(floor.get())).await?;
            let pods: BTreeMap<String, Arc<Pod>> =
                snapshot.objects.values().filter_map(|pod| Some((pod.metadata.uid.clone()?, pod.clone()))).collect();
            dispatcher.update(&pods, &context.observer.look()).await;
        }
        tokio::select! {
            () = stopping.stopped() => break,
            changed = changes.changed() => if changed.is_err() { break },
            changed = looks.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(KEEP_INTERVAL) => {}
        }
    }
    dispatcher.workers.abort_and_join().await;
    Ok(())
}

struct Dispatcher {
    context: Arc<Context>,
    workers: TaskGroup,
    entries: BTreeMap<String, Entry>,
    kept: u64,
}

impl Dispatcher {
    async fn keep_revision(&mut self, revision: u64) -> Result<(), Error> {
        if revision <= self.kept {
            return Ok(());
        }
        let disk = self.context.disk.clone();
        match tokio::task::spawn_blocking(move || disk.keep_revision(revision)).await {
            Ok(outcome) => outcome?,
            Err(error) => return Err(Error::Task(format!("keeping the revision: {error}"))),
        }
        self.kept = revision;
        Ok(())
    }

    /// Takes in a fresh list of this node's pods.
    async fn update(&mut self, pods: &BTreeMap<String, Arc<Pod>>, look: &Look) {
        for (uid, pod) in pods {
            let known = self.entries.get(uid).map(|entry| entry.desired.borrow().clone());
            let before = known.as_ref().and_then(|desired| desired.pod.as_deref());
            if !before.is_some_and(|before| view::same_intent(before, pod)) {
                let (disk, uid, pod) = (self.context.disk.clone(), uid.clone(), pod.clone());
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || disk.keep_pod(&uid, &pod)).await {
                    tracing::warn!(%error, "a pod could not be kept on disk");
                }
            }
            if !known
                .is_some_and(|desired| !desired.gone && desired.pod.as_ref().is_some_and(|it| Arc::ptr_eq(it, pod)))
            {
                self.desire(pod.clone(), false);
            }
        }
        let absent: Vec<String> = self.entries.keys().filter(|uid| !pods.contains_key(*uid)).cloned().collect();
        for uid in absent {
            let Some(entry) = self.entries.get(&uid) else { continue };
            if entry.desired.is_closed() {
                // Its worker has ended: nothing of the pod is left.
                self.entries.remove(&uid);
                self.context.forget(&uid);
                continue;
            }
            entry.desired.send_if_modified(|desired| !std::mem::replace(&mut desired.gone, true));
        }
        for (uid, (_, observed)) in &look.pods {
            if self.entries.contains_key(uid) || pods.contains_key(uid) {
                continue;
            }
            if let Some(pod_ref) = owner(observed) {
                tracing::info!(pod = %pod_ref, "the cluster does not know this pod: it is stopped");
                self.begin(pod_ref.clone(), Desired { pod: None, gone: true });
            }
        }
        self.forget_leftovers(pods, look).await;
    }

    /// Deletes what earlier pods left on disk.
    async fn forget_leftovers(&self, pods: &BTreeMap<String, Arc<Pod>>, look: &Look) {
        let busy: Vec<String> = self.entries.keys().chain(pods.keys()).chain(look.pods.keys()).cloned().collect();
        let disk = self.context.disk.clone();
        let cleaning = move || {
            for uid in disk.pod_uids().into_iter().filter(|uid| !busy.contains(uid)) {
                if let Err(error) = disk.forget_pod(&uid) {
                    tracing::warn!(%error, "what a pod left cannot be deleted");
                }
            }
        };
        let _ = tokio::task::spawn_blocking(cleaning).await;
    }

    fn desire(&mut self, pod: Arc<Pod>, from_disk: bool) {
        let pod_ref = view::pod_ref(&pod);
        if pod_ref.uid.is_empty() {
            return;
        }
        if from_disk {
            tracing::info!(pod = %pod_ref, "a pod is taken up again from disk");
        }
        self.context.learn(&pod);
        let desired = Desired { pod: Some(pod), gone: false };
        match self.entries.get(&pod_ref.uid) {
            Some(entry) if !entry.desired.is_closed() => {
                entry.desired.send_replace(desired);
            }
            _ => self.begin(pod_ref, desired),
        }
    }

    fn begin(&mut self, pod_ref: PodRef, desired: Desired) {
        let (sender, receiver) = watch::channel(desired);
        let name = format!("worker of {pod_ref}");
        self.workers.spawn(name, look_after(self.context.clone(), pod_ref.clone(), receiver));
        self.entries.insert(pod_ref.uid.clone(), Entry { desired: sender, pod_ref });
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "worker of {}", self.pod_ref)
    }
}
