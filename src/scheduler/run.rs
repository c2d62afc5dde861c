//! The loop: woken by pods and nodes, it plans from the state as it stands and writes what was planned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Stopping};
use events::{Note, Recorder, Regarding};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use objects::Key;
use state::{Event, EventKind, Refusal, Revision, State, Stored};
use store::{Duty, Watch};

use crate::facts::takes_room;
use crate::plan::{Placement, Refused};
use crate::{Error, NAME, NodeFacts, Plan, PodFacts, Snapshot, plan, writes};

/// Bindings under way at once: enough to fill a log entry, few enough that a slow disk is not buried.
const WRITES_MAX: usize = 256;
/// The event of a refusal is repeated for the same pod and message after this time at the earliest.
const REPEAT_AFTER: Duration = Duration::from_secs(30);
const COMPONENT: &str = NAME;

/// Places pods until `stopping`, or until another leader has taken over.
pub async fn run(duty: Duty, stopping: Stopping) {
    let recorder = events::recorder(duty.clone(), stopping.clone());
    let mut scheduler = Scheduler { duty, recorder, facts: HashMap::new(), told: HashMap::new() };
    stopping.unless(scheduler.work()).await;
}

struct Scheduler {
    duty: Duty,
    recorder: Recorder,
    /// What pods looked like when they were last read; holds present pods only.
    facts: HashMap<Key, (Revision, Arc<PodFacts>)>,
    /// What pods were last told, by uid; holds pending pods only.
    told: HashMap<String, (String, tokio::time::Instant)>,
}

/// How a pass ended.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    /// All is written; nothing to do until something changes.
    Settled,
    /// A write did not succeed, or a placement may let another pod in: plan again.
    Again,
    /// Another leader has taken over.
    Over,
}

impl Scheduler {
    async fn work(&mut self) {
        let mut backoff = Backoff::doubling(Duration::from_millis(20), Duration::from_secs(2));
        loop {
            let from = self.duty.current().revision();
            let mut pods = self.duty.watch("pods", from);
            let mut nodes = self.duty.watch("nodes", from);
            let mut due = true;
            loop {
                if due {
                    match self.pass().await {
                        Pass::Over => return,
                        Pass::Settled => backoff.reset(),
                        Pass::Again => {
                            backoff.wait().await;
                            continue;
                        }
                    }
                }
                match woken(&mut pods, &mut nodes).await {
                    Ok(relevant) => due = relevant,
                    Err(error) => {
                        tracing::debug!(%error, "the scheduler reads anew");
                        backoff.wait().await;
                        break;
                    }
                }
            }
        }
    }

    async fn pass(&mut self) -> Pass {
        let state = self.duty.current();
        let waiting: Vec<Arc<Stored>> = state.list(&"pods".into()).filter(|pod| is_pending(pod)).cloned().collect();
        self.told.retain(|uid, _| waiting.iter().any(|pod| *pod.face().uid == **uid));
        if waiting.is_empty() {
            return Pass::Settled;
        }
        let mut by_uid: HashMap<String, Arc<Stored>> = HashMap::new();
        let mut pending = Vec::new();
        for stored in &waiting {
            if let Some(facts) = self.facts(stored)
                && is_ours(&facts.pod)
            {
                by_uid.insert(facts.uid.clone(), Arc::clone(stored));
                pending.push((stored.created, facts));
            }
        }
        pending.sort_by_key(|(created, _)| *created);
        let pending: Vec<_> = pending.into_iter().map(|(_, facts)| facts).collect();
        let plan = plan(self.snapshot(&state), &pending);
        let both = !plan.placements.is_empty() && !plan.refusals.is_empty();
        match self.write(plan, &by_uid).await {
            Pass::Settled if both => Pass::Again,
            other => other,
        }
    }

    /// The cluster as it stands, with facts of pods that have not changed taken from the last pass.
    fn snapshot(&mut self, state: &State) -> Snapshot {
        let mut nodes: Vec<NodeFacts> = Vec::new();
        let mut by_name: HashMap<String, usize> = HashMap::new();
        for stored in state.list(&"nodes".into()).filter(|node| !node.face().deleting) {
            match stored.typed::<Node>() {
                Ok(node) => {
                    by_name.insert(stored.key.name.to_string(), nodes.len());
                    nodes.push(NodeFacts::of(node));
                }
                Err(error) => tracing::warn!(%error, "a node is left out"),
            }
        }
        self.facts.retain(|key, _| state.get(key).is_some());
        for stored in state.list(&"pods".into()) {
            let Some(index) = by_name.get(stored.face().field("spec.nodeName")).copied() else {
                continue;
            };
            if let Some(facts) = self.facts(stored).filter(|facts| takes_room(&facts.pod)) {
                nodes[index].add(facts);
            }
        }
        let namespaces = state.list(&"namespaces".into());
        let namespaces = namespaces.map(|stored| (stored.key.name.to_string(), stored.face().labels.clone())).collect();
        Snapshot { nodes, namespaces }
    }

    fn facts(&mut self, stored: &Stored) -> Option<Arc<PodFacts>> {
        if let Some((revision, facts)) = self.facts.get(&stored.key)
            && *revision == stored.revision
        {
            return Some(Arc::clone(facts));
        }
        match stored.typed::<Pod>() {
            Ok(pod) => {
                let facts = Arc::new(PodFacts::of(pod));
                self.facts.insert(stored.key.clone(), (stored.revision, Arc::clone(&facts)));
                Some(facts)
            }
            Err(error) => {
                tracing::warn!(%error, "a pod is left out");
                None
            }
        }
    }

    async fn write(&mut self, plan: Plan, stored: &HashMap<String, Arc<Stored>>) -> Pass {
        self.tell(&plan.refusals);
        let this = &*self;
        let bindings = stream::iter(plan.placements)
            .map(|placement| async move { this.bind(&placement, stored.get(&placement.pod.uid)).await });
        let mut results: Vec<Result<(), Error>> = bindings.buffer_unordered(WRITES_MAX).collect().await;
        let refusals = stream::iter(plan.refusals)
            .map(|refused| async move { this.refuse(&refused, stored.get(&refused.pod.uid)).await });
        results.extend(refusals.buffer_unordered(WRITES_MAX).collect::<Vec<_>>().await);
        let mut pass = Pass::Settled;
        for result in results {
            match result {
                Ok(()) => {}
                Err(Error::Store(store::Error::Refused(Refusal::Fenced(_)))) => return Pass::Over,
                Err(error) => {
                    tracing::debug!(%error, "a decision was not written");
                    pass = Pass::Again;
                }
            }
        }
        pass
    }

    async fn bind(&self, placement: &Placement, stored: Option<&Arc<Stored>>) -> Result<(), Error> {
        let Some(stored) = stored else {
            return Ok(());
        };
        let (preconditions, changes) = writes::bind(stored, &placement.node, &placement.node_uid, base::clock::now())?;
        self.duty.transact(preconditions, changes).await?;
        let pod = &placement.pod;
        tracing::debug!(pod = %stored.key, node = %placement.node, "bound");
        let message = format!("Successfully assigned {}/{} to {}", pod.namespace, pod.name, placement.node);
        self.recorder.record(note(stored, false, "Scheduled", message));
        Ok(())
    }

    async fn refuse(&self, refused: &Refused, stored: Option<&Arc<Stored>>) -> Result<(), Error> {
        let Some(stored) = stored else {
            return Ok(());
        };
        match writes::refuse(stored, &refused.message, base::clock::now())? {
            Some((preconditions, changes)) => self.duty.transact(preconditions, changes).await.map(drop)?,
            None => return Ok(()),
        }
        Ok(())
    }

    /// Events about refusals: at once when the reason is new, otherwise now and then.
    fn tell(&mut self, refusals: &[Refused]) {
        let now = tokio::time::Instant::now();
        for refused in refusals {
            let known = self.told.get(&refused.pod.uid);
            if known.is_some_and(|(message, at)| *message == refused.message && now < *at + REPEAT_AFTER) {
                continue;
            }
            self.told.insert(refused.pod.uid.clone(), (refused.message.clone(), now));
            let regarding = Regarding {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: refused.pod.namespace.clone(),
                name: refused.pod.name.clone(),
                uid: refused.pod.uid.clone(),
            };
            let (reason, message) = ("FailedScheduling".to_owned(), refused.message.clone());
            self.recorder.record(Note { regarding, warning: true, reason, message, component: COMPONENT });
        }
    }
}

fn note(stored: &Stored, warning: bool, reason: &str, message: String) -> Note {
    Note { regarding: Regarding::of(stored), warning, reason: reason.into(), message, component: COMPONENT }
}

/// Waits for changes; says whether one of them can matter to a pod that waits.
async fn woken(pods: &mut Watch, nodes: &mut Watch) -> Result<bool, store::Error> {
    let (events, of_pods) = tokio::select! {
        events = pods.next() => (events?, true),
        events = nodes.next() => (events?, false),
    };
    Ok(events.iter().any(|event| if of_pods { pod_matters(event) } else { node_matters(event) }))
}

/// Whether a pod has no node yet and lives.
fn is_pending(stored: &Stored) -> bool {
    let face = stored.face();
    !face.deleting
        && face.field("spec.nodeName").is_empty()
        && matches!(face.field("spec.schedulerName"), "" | NAME)
        && !matches!(face.field("status.phase"), "Succeeded" | "Failed")
}

/// Pods whose gates are closed are not to be placed yet.
fn is_ours(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_none_or(Vec::is_empty)
}

/// A pod matters when it begins to wait, when it gives room back, and when its labels change.
fn pod_matters(event: &Event) -> bool {
    let pod = &event.current;
    let Some(previous) = event.previous.as_ref().filter(|_| event.kind == EventKind::Updated) else {
        return event.kind == EventKind::Deleted || is_pending(pod);
    };
    let ended = |stored: &Stored| matches!(stored.face().field("status.phase"), "Succeeded" | "Failed");
    if previous.face().labels != pod.face().labels || ended(pod) && !ended(previous) {
        return true;
    }
    // Our own word about a refusal changes the status alone.
    is_pending(pod) && (previous.face().generation != pod.face().generation || !same_spec(previous, pod))
}

fn same_spec(left: &Stored, right: &Stored) -> bool {
    match (left.typed::<Pod>(), right.typed::<Pod>()) {
        (Ok(left), Ok(right)) => left.spec == right.spec,
        _ => false,
    }
}

/// A node matters unless only its heartbeat or its observations changed.
fn node_matters(event: &Event) -> bool {
    let Some(previous) = event.previous.as_ref().filter(|_| event.kind == EventKind::Updated) else {
        return true;
    };
    if previous.face().labels != event.current.face().labels {
        return true;
    }
    let (Ok(before), Ok(after)) = (previous.typed::<Node>(), event.current.typed::<Node>()) else {
        return true;
    };
    let offered =
        |node: &Node| node.status.as_ref().map(|status| (status.allocatable.clone(), status.capacity.clone()));
    let ready = |node: Arc<Node>| NodeFacts::of(node).condition("Ready").to_owned();
    before.spec != after.spec || offered(&before) != offered(&after) || ready(before) != ready(after)
}

#[cfg(test)]
mod tests;
