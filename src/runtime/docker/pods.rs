//! Sandboxes and containers on a Docker engine: list, create, start, stop, remove.

use super::convert::{self, Item, label_filter};
use super::engine::Docker;
use super::faults;
use crate::labels::{CLUSTER, Labels, NODE};
use crate::limits::{
    CREATE_DEADLINE, INSPECT_MEMORY, INSPECT_PARALLEL, LIST_DEADLINE, QUESTION_DEADLINE, REMOVE_DEADLINE,
    START_DEADLINE, STOP_MARGIN,
};
use crate::{ContainerSpec, Error, Listing, Result, Sandbox, SandboxSpec};
use bollard::models::{ContainerCreateBody, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures::stream::{self, StreamExt};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often a sandbox is tried when its image or network vanishes under it (someone prunes the engine).
const SANDBOX_TRIES: u32 = 3;

/// The sandbox is nearly the last to be killed when memory runs out, for with it goes its pod's network (the value of
/// upstream's `pkg/kubelet/qos/policy.go` for the pause container).
const SANDBOX_OOM_SCORE_ADJ: i64 = -998;

/// What was last learnt about a container of ours, so that a list needs no inspection of what did not change.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The state by the engine's summary; an entry is good as long as it stays the same.
    state: String,
    at: Instant,
    /// `None` for a container of ours that the list has not shown yet.
    item: Option<Item>,
}

impl Docker {
    pub(super) async fn list_own(&self) -> Result<Listing> {
        let summaries = self.summaries(&[(CLUSTER, &self.scope.cluster), (NODE, &self.scope.node)]).await?;
        let ids: HashSet<String> = summaries.iter().filter_map(|summary| summary.id.clone()).collect();
        // What is being created right now is in `seen` without an item and not yet in the list: keep it for a while.
        self.seen().retain(|id, seen| ids.contains(id) || (seen.item.is_none() && seen.at.elapsed() < INSPECT_MEMORY));
        let found = stream::iter(summaries).map(|summary| self.look_up(summary)).buffer_unordered(INSPECT_PARALLEL);
        let found: Vec<Result<Option<Item>>> = found.collect().await;
        let mut listing = Listing::default();
        for item in found {
            match item? {
                Some(Item::Sandbox(sandbox)) => listing.sandboxes.push(sandbox),
                Some(Item::Container(container)) => listing.containers.push(container),
                None => {}
            }
        }
        Ok(listing)
    }

    async fn summaries(&self, labels: &[(&str, &str)]) -> Result<Vec<ContainerSummary>> {
        let options = ListContainersOptions { all: true, filters: Some(label_filter(labels)), ..Default::default() };
        let call = |client: bollard::Docker| async move { client.list_containers(Some(options)).await };
        let mut summaries = self.call("listing containers", LIST_DEADLINE, call).await?;
        // The engine's filter is trusted for speed, not for safety.
        summaries.retain(|summary| {
            let own = summary.labels.as_ref();
            labels.iter().all(|(key, value)| own.is_some_and(|own| own.value(key) == Some(value)))
        });
        Ok(summaries)
    }

    /// The full picture of a listed container: from memory if its state is unchanged, else by inspection.
    async fn look_up(&self, summary: ContainerSummary) -> Result<Option<Item>> {
        let Some(id) = summary.id else { return Ok(None) };
        let state = summary.state.map(|state| state.to_string()).unwrap_or_default();
        if let Some(seen) = self.seen().get(&id)
            && seen.item.is_some()
            && seen.state == state
            && (state == "exited" || seen.at.elapsed() < INSPECT_MEMORY)
        {
            return Ok(seen.item.clone());
        }
        let known = self.seen().get(&id).and_then(|seen| seen.item.clone());
        match (self.learn(&id).await, known) {
            // One container that hangs in the engine must not hide the others. What we changed ourselves is not known here.
            (Err(error), Some(known)) => {
                warn!(%id, %error, "a container could not be inspected; it counts as it was before");
                Ok(Some(known))
            }
            (outcome, _) => outcome,
        }
    }

    /// Inspects a container; `None` when it is gone or not ours.
    async fn learn(&self, id: &str) -> Result<Option<Item>> {
        let at = Instant::now();
        let call = |client: bollard::Docker| async move {
            client.inspect_container(id, None::<InspectContainerOptions>).await
        };
        let inspected = match self.call("inspecting a container", QUESTION_DEADLINE, call).await {
            Ok(inspected) => inspected,
            Err(Error::NotFound { .. }) => {
                self.seen().remove(id);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(item) = convert::item(&self.scope, &inspected) else {
            debug!(id, "a container without our labels is left alone");
            return Ok(None);
        };
        let state = inspected.state.and_then(|state| state.status).map(|status| status.to_string());
        let full_id = inspected.id.unwrap_or_else(|| id.to_owned());
        self.seen().insert(full_id, Seen { state: state.unwrap_or_default(), at, item: Some(item.clone()) });
        Ok(Some(item))
    }

    /// Fails with [`Error::NotFound`] unless the container carries the labels of this cluster and node: nothing else is
    /// ever touched, whatever id a caller comes with.
    pub(super) async fn owned(&self, id: &str) -> Result<()> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::not_found(id));
        }
        if self.seen().contains_key(id) {
            return Ok(());
        }
        self.learn(id).await?.map(drop).ok_or_else(|| Error::not_found(id))
    }

    pub(super) async fn run_pod(&self, spec: SandboxSpec) -> Result<Sandbox> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.start_pod(&spec).await {
                Err(error @ (Error::ImageMissing { .. } | Error::NotFound { .. })) if tries < SANDBOX_TRIES => {
                    debug!(%error, pod = %spec.pod, "the sandbox's image or network vanished, trying again");
                    self.known_network().take();
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_pod(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        let oom_score_adj = self.lowers_oom_score().then_some(SANDBOX_OOM_SCORE_ADJ);
        let image = self.sandbox_image().await?;
        let network = if spec.host_network { None } else { Some(self.network().await?.id) };
        let (name, body) = convert::sandbox_body(&self.scope, spec, &image, network.as_deref(), oom_score_adj)?;
        let id = self.create_named(name, body).await?;
        if let Err(error) = self.start(&id).await {
            if let Err(left) = self.remove(&id).await {
                warn!(%id, error = %left, "a sandbox that could not start is left behind");
            }
            return Err(error);
        }
        match self.learn(&id).await? {
            Some(Item::Sandbox(sandbox)) => Ok(sandbox),
            _ => Err(Error::not_found(&id)),
        }
    }

    pub(super) async fn create(&self, mut spec: ContainerSpec) -> Result<String> {
        self.owned(&spec.sandbox_id).await?;
        if let crate::PidNamespace::Container(id) = &spec.pid {
            self.owned(id).await?;
        }
        crate::image::split_reference(&spec.image)?;
        if !self.lowers_oom_score() && spec.resources.oom_score_adj.is_some_and(|adj| adj < 0) {
            // The engine would refuse to start the container for this wish alone.
            spec.resources.oom_score_adj = None;
        }
        let (name, body) = convert::container_body(&self.scope, &spec)?;
        self.create_named(name, body).await
    }

    async fn create_named(&self, name: String, body: ContainerCreateBody) -> Result<String> {
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let call = |client: bollard::Docker| async move { client.create_container(Some(options), body).await };
        let created = self.call("creating a container", CREATE_DEADLINE, call).await?;
        let fresh = Seen { state: String::new(), at: Instant::now(), item: None };
        self.seen().insert(created.id.clone(), fresh);
        Ok(created.id)
    }

    pub(super) async fn start(&self, id: &str) -> Result<()> {
        self.owned(id).await?;
        let call =
            |client: bollard::Docker| async move { client.start_container(id, None::<StartContainerOptions>).await };
        let outcome = self.call("starting a container", START_DEADLINE, call).await;
        self.outdated(id);
        outcome.map_err(faults::start_failed)
    }

    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        match self.owned(id).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            outcome => outcome?,
        }
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions { t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)), signal: None };
        let call = |client: bollard::Docker| async move { client.stop_container(id, Some(options)).await };
        let deadline = Duration::from_secs(seconds).saturating_add(STOP_MARGIN);
        let outcome = self.call("stopping a container", deadline, call).await;
        self.outdated(id);
        gone_is_fine(outcome)
    }

    pub(super) async fn signal(&self, id: &str, signal: &str) -> Result<()> {
        self.owned(id).await?;
        let options = KillContainerOptions { signal: signal.to_owned() };
        let call = |client: bollard::Docker| async move { client.kill_container(id, Some(options)).await };
        let outcome = self.call("signalling a container", QUESTION_DEADLINE, call).await;
        self.outdated(id);
        match outcome {
            // Old engines answer an unknown signal with 500.
            Err(Error::Engine { message, .. }) if message.contains("signal") => Err(Error::invalid(message)),
            outcome => outcome,
        }
    }

    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        match self.owned(id).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            outcome => outcome?,
        }
        self.remove_any(id).await
    }

    /// Removes a container that the caller knows to be ours.
    async fn remove_any(&self, id: &str) -> Result<()> {
        let mut backoff = base::Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));
        let removing = async {
            loop {
                let options = RemoveContainerOptions { v: true, force: true, link: false };
                let call = |client: bollard::Docker| async move { client.remove_container(id, Some(options)).await };
                match gone_is_fine(self.call("removing a container", REMOVE_DEADLINE, call).await) {
                    // Someone else is removing it: it counts once it is gone, for until then its name is taken.
                    Err(Error::Engine { message, .. }) if message.contains("already in progress") => {
                        backoff.wait().await;
                    }
                    outcome => return outcome,
                }
            }
        };
        base::within(REMOVE_DEADLINE, "removing a container", removing).await??;
        self.seen().remove(id);
        Ok(())
    }

    /// Removes the containers of all nodes of the cluster, sandboxes last.
    pub(super) async fn remove_cluster_containers(&self) -> Result<usize> {
        let mut summaries = self.summaries(&[(CLUSTER, &self.scope.cluster)]).await?;
        summaries.sort_by_key(|summary| {
            summary.labels.as_ref().and_then(|own| own.value(crate::labels::ROLE).map(str::to_owned))
        });
        let ids: Vec<String> = summaries.into_iter().filter_map(|summary| summary.id).collect();
        let outcomes: Vec<Result<()>> =
            stream::iter(&ids).map(|id| self.remove_any(id)).buffered(INSPECT_PARALLEL).collect().await;
        let removed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        outcomes.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(removed)
    }

    /// Forgets what was learnt about a container that we just changed, but not that it is ours.
    fn outdated(&self, id: &str) {
        if let Some(seen) = self.seen().get_mut(id) {
            seen.item = None;
            seen.at = Instant::now();
        }
    }
}

fn gone_is_fine(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Error::NotFound { .. }) => Ok(()),
        outcome => outcome,
    }
}
