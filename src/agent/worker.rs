//! One pod's worker: it alone decides about its pod, one step after another. What takes long runs beside it and reports back.

use crate::act::{Effect, Subject, blocking};
use crate::context::Context;
use crate::limits::{CONFIG_AGE, LAST_STATUS_DEADLINE, MAILBOX_MAX, PULL_SECONDS, RETRY_SECONDS};
use crate::observer::Look;
use crate::pod::backoff::Trouble;
use crate::pod::memory::{ImageFact, Memory, Observed};
use crate::pod::status::{Facts, status};
use crate::pod::sync::{Action, Input, Plan, sync};
use crate::pod::view;
use crate::probes::{Kind, Probes, Verdict, probe_of};
use crate::reporter::Reporter;
use crate::volumes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use runtime::PodRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What a worker is told about its pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    /// The pod; `None` when only the engine knows it.
    pub pod: Option<Arc<Pod>>,
    /// Whether a fresh answer of the cluster lacks it.
    pub gone: bool,
}

/// The end of a finished action.
struct Done {
    key: String,
    effect: Effect,
}

/// Looks after one pod until nothing of it is left.
pub(crate) async fn look_after(context: Arc<Context>, pod_ref: PodRef, desired: watch::Receiver<Desired>) {
    let (done, mailbox) = mpsc::channel(MAILBOX_MAX);
    let (verdict, verdicts) = mpsc::channel(MAILBOX_MAX);
    let reporter = Reporter::start(context.client.clone(), pod_ref.clone());
    let needed = context.observer.ask();
    let worker = Worker {
        looks: context.observer.subscribe(),
        context,
        pod_ref,
        desired,
        memory: Memory::default(),
        probes: Probes::default(),
        reporter,
        done,
        verdict,
        needed,
        recalled: false,
        volumes_checked: tokio::time::Instant::now(),
        read: Vec::new(),
    };
    worker.run(mailbox, verdicts).await;
}

struct Worker {
    context: Arc<Context>,
    pod_ref: PodRef,
    desired: watch::Receiver<Desired>,
    looks: watch::Receiver<Arc<Look>>,
    memory: Memory,
    probes: Probes,
    reporter: Reporter,
    done: mpsc::Sender<Done>,
    verdict: mpsc::Sender<Verdict>,
    /// The look that shows all that this worker has done.
    needed: u64,
    recalled: bool,
    volumes_checked: tokio::time::Instant,
    /// Ended instances whose last words were read.
    read: Vec<String>,
}

impl Worker {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Done>, mut verdicts: mpsc::Receiver<Verdict>) {
        loop {
            let look = self.looks.borrow_and_update().clone();
            let mut wake = None;
            if look.covers >= self.needed {
                let empty = Observed::default();
                let observed = look.pods.get(&self.pod_ref.uid).map_or(&empty, |(_, observed)| observed);
                match self.step(observed).await {
                    Some(plan) if plan.over => return,
                    Some(plan) => wake = plan.wake,
                    None => {}
                }
            }
            let pause = match wake {
                Some(at) => Duration::try_from(at.duration_since(base::clock::now())).unwrap_or(Duration::ZERO),
                None => CONFIG_AGE,
            };
            // A wake that is due already would spin if what it waits for does not come.
            let pause = pause.clamp(Duration::from_millis(20), CONFIG_AGE);
            tokio::select! {
                Some(done) = mailbox.recv() => self.finished(done),
                Some(verdict) = verdicts.recv() => self.judge(verdict),
                changed = self.desired.changed() => if changed.is_err() { return },
                changed = self.looks.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn step(&mut self, observed: &Observed) -> Option<Plan> {
        let desired = self.desired.borrow_and_update().clone();
        let now = base::clock::now();
        if let Some(pod) = &desired.pod {
            self.recall(pod);
            self.admit(pod, observed, now);
            self.read_last_words(pod, observed).await;
        }
        if let Some(address) = observed.sandboxes.first().and_then(|sandbox| sandbox.address) {
            self.memory.address = Some(address);
        }
        self.forget_old(observed);
        let pod = desired.pod.as_deref();
        let plan = sync(&Input { pod, gone: desired.gone, observed, memory: &self.memory, now });
        if let Some(failure) = &plan.fail {
            self.context.tell(&self.pod_ref, None, true, "Failed", failure.message.clone());
            self.memory.failure = Some(failure.clone());
        }
        if let Some(pod) = &desired.pod {
            if !desired.gone {
                self.report(pod, observed, &plan, now);
            }
            self.probe(pod, observed, desired.gone);
            self.refresh_volumes(pod);
        }
        for action in plan.actions.clone() {
            self.begin(action, desired.pod.as_ref(), observed, now);
        }
        Some(plan)
    }

    /// What the API knows from before this agent's start is where we go on: no pod becomes unready by our restart.
    fn recall(&mut self, pod: &Pod) {
        if std::mem::replace(&mut self.recalled, true) {
            return;
        }
        self.memory.start_time = view::start_time(pod);
        let told = pod
            .status
            .iter()
            .flat_map(|it| it.container_statuses.iter().flatten().chain(it.init_container_statuses.iter().flatten()));
        for status in told {
            let id = status.container_id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
            let Some(id) = id else { continue };
            let memory = self.memory.container_mut(&status.name);
            if status.ready {
                memory.ready = Some(id.clone());
            }
            if status.started == Some(true) {
                memory.started = Some(id);
            }
        }
    }

    fn admit(&mut self, pod: &Arc<Pod>, observed: &Observed, now: Timestamp) {
        self.context.learn(pod);
        if self.memory.admitted || self.memory.failure.is_some() || view::is_terminal(pod) || view::is_deleted(pod) {
            return;
        }
        match self.context.admit(pod, !observed.is_empty()) {
            Ok(()) => {
                self.memory.admitted = true;
                self.memory.start_time.get_or_insert(now);
            }
            Err(failure) => {
                tracing::info!(pod = %self.pod_ref, reason = failure.reason, "a pod was refused");
                self.context.tell(&self.pod_ref, None, true, "FailedAdmission", failure.message.clone());
                self.memory.start_time.get_or_insert(now);
                self.memory.failure = Some(failure);
            }
        }
    }

    fn report(&mut self, pod: &Arc<Pod>, observed: &Observed, plan: &Plan, now: Timestamp) {
        for name in &plan.backing_off {
            let key = format!("told {name} {}", observed.latest(name).map_or(0, |it| it.attempt));
            if !self.read.contains(&key) {
                self.read.push(key);
                let PodRef { namespace, name: pod_name, uid } = &self.pod_ref;
                let message =
                    format!("Back-off restarting failed container {name} in pod {pod_name}_{namespace}({uid})");
                self.context.tell(&self.pod_ref, Some(name), true, "BackOff", message);
            }
        }
        let host = self.context.options.address;
        let backing_off = &plan.backing_off;
        let status = status(&Facts { pod, observed, memory: &self.memory, backing_off, host, now });
        if matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
            self.context.release(&self.pod_ref.uid);
        }
        // Before anything is known there is nothing to say.
        if self.memory.admitted || self.memory.failure.is_some() || !observed.is_empty() {
            self.reporter.report(status, pod);
        }
    }

    fn probe(&mut self, pod: &Arc<Pod>, observed: &Observed, gone: bool) {
        let mut wanted: Vec<(String, &Container, Kind)> = Vec::new();
        let runs = !gone && !view::is_deleted(pod) && self.memory.failure.is_none();
        let sidecars = view::init_containers(pod).iter().filter(|it| view::is_sidecar(it));
        for container in view::spec(pod).containers.iter().chain(sidecars).filter(|_| runs) {
            let Some(instance) = observed.latest(&container.name).filter(|it| it.state.is_running()) else { continue };
            let known = self.memory.container(&container.name);
            let started =
                container.startup_probe.is_none() || known.and_then(|it| it.started.as_ref()) == Some(&instance.id);
            let unhealthy = known.and_then(|it| it.unhealthy.as_ref()) == Some(&instance.id);
            let kinds: &[Kind] = if started { &[Kind::Readiness, Kind::Liveness] } else { &[Kind::Startup] };
            for kind in kinds.iter().filter(|kind| !unhealthy && probe_of(container, **kind).is_some()) {
                wanted.push((instance.id.clone(), container, *kind));
            }
        }
        let address = self.memory.address;
        self.probes.keep(&self.context, pod, &wanted, address, &self.verdict);
    }

    fn judge(&mut self, verdict: Verdict) {
        let Verdict { container, id, kind, healthy, message } = verdict;
        if !message.is_empty() {
            let text = format!("{} probe failed: {message}", kind.name());
            self.context.tell(&self.pod_ref, Some(&container), true, "Unhealthy", text);
        }
        let memory = self.memory.container_mut(&container);
        match (kind, healthy) {
            (_, None) => {}
            (Kind::Readiness, Some(true)) => memory.ready = Some(id),
            (Kind::Readiness, Some(false)) => memory.ready = None,
            (Kind::Startup, Some(true)) => memory.started = Some(id),
            (Kind::Liveness, Some(true)) => {}
            (Kind::Startup | Kind::Liveness, Some(false)) => memory.unhealthy = Some(id),
        }
    }

    /// Starts an action beside the worker.
    fn begin(&mut self, action: Action, pod: Option<&Arc<Pod>>, observed: &Observed, now: Timestamp) {
        tracing::debug!(pod = %self.pod_ref, ?action, "next step");
        let key = action.key();
        self.memory.busy.insert(key.clone());
        match &action {
            Action::Start { container, attempt, .. } => {
                if let Some(finished) =
                    observed.latest(container).and_then(|it| it.state.exit()).and_then(|it| it.finished)
                {
                    self.memory.container_mut(container).crash.restarted(finished, attempt - 1.min(*attempt), now);
                }
            }
            Action::Stop { container, id, grace_seconds, .. } => {
                self.memory.container_mut(container).stopping.insert(id.clone(), *grace_seconds);
            }
            _ => {}
        }
        let subject = Subject {
            context: self.context.clone(),
            pod_ref: self.pod_ref.clone(),
            pod: pod.cloned(),
            address: self.memory.address,
            stamp: stamp(now),
        };
        let settled = matches!(action, Action::Finalize).then(|| self.reporter.settled(LAST_STATUS_DEADLINE));
        let done = self.done.clone();
        base::task::spawn(format!("{key} of {}", self.pod_ref), async move {
            if let Some(settled) = settled {
                settled.await;
            }
            let effect = subject.act(action).await;
            if let Effect::Failed(reason) = &effect {
                tracing::debug!(pod = %subject.pod_ref, key, reason, "a step failed and is tried again");
                // The key stays taken meanwhile, which keeps the repetition away.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let _ = done.send(Done { key, effect }).await;
        });
    }

    fn finished(&mut self, done: Done) {
        self.memory.busy.remove(&done.key);
        self.needed = self.context.observer.ask();
        let now = base::clock::now();
        let memory = &mut self.memory;
        match done.effect {
            Effect::Seen | Effect::Failed(_) => {}
            Effect::VolumesReady => {
                memory.volumes_ready = true;
                memory.volumes_trouble = None;
            }
            Effect::VolumesTrouble(message) => {
                let before = memory.volumes_trouble.as_ref();
                memory.volumes_trouble = Some(Trouble::after(before, "FailedMount", message, now, RETRY_SECONDS));
            }
            Effect::SandboxReady(address) => {
                memory.address = address.or(memory.address);
                memory.sandbox_trouble = None;
            }
            Effect::SandboxTrouble(message) => {
                let before = memory.sandbox_trouble.as_ref();
                memory.sandbox_trouble =
                    Some(Trouble::after(before, "FailedCreatePodSandBox", message, now, RETRY_SECONDS));
            }
            Effect::ImageReady { container, attempt } => {
                memory.container_mut(&container).image = Some(ImageFact::Ready(attempt));
            }
            Effect::ImageTrouble { container, reason, message } => {
                let known = memory.container_mut(&container);
                let before = match &known.image {
                    Some(ImageFact::Trouble(trouble)) => Some(trouble),
                    _ => None,
                };
                known.image = Some(ImageFact::Trouble(Trouble::after(before, reason, message, now, PULL_SECONDS)));
            }
            Effect::Started { container } => memory.container_mut(&container).trouble = None,
            Effect::ContainerTrouble { container, reason, message } => {
                let known = memory.container_mut(&container);
                known.trouble = Some(Trouble::after(known.trouble.as_ref(), reason, message, now, RETRY_SECONDS));
            }
            Effect::CleanedUp => memory.cleaned = true,
            Effect::Finalized => memory.finalized = true,
        }
    }

    /// Reads what ended instances wrote as their last words, once each.
    async fn read_last_words(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        for instance in observed.containers.iter().filter(|it| it.state.exit().is_some()) {
            if self.read.contains(&instance.id) {
                continue;
            }
            self.read.push(instance.id.clone());
            let (disk, uid) = (self.context.disk.clone(), self.pod_ref.uid.clone());
            let (name, attempt) = (instance.name.clone(), instance.attempt);
            let words = blocking(move || volumes::read_last_words(&disk, &uid, &name, attempt)).await;
            let mut words = words.unwrap_or_default();
            let from_log = view::container(pod, &instance.name)
                .is_some_and(|it| it.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"));
            if words.is_empty() && from_log && instance.state.exit().is_some_and(|exit| exit.code != 0) {
                words = crate::server::logs::tail(&self.context, &instance.id).await;
            }
            if !words.is_empty() {
                self.memory.container_mut(&instance.name).last_words.insert(instance.id.clone(), words);
            }
        }
    }

    /// Drops what is remembered about instances that no longer exist.
    fn forget_old(&mut self, observed: &Observed) {
        let there = |id: &String| observed.containers.iter().any(|container| &container.id == id);
        for known in self.memory.containers.values_mut() {
            known.stopping.retain(|id, _| there(id));
            known.last_words.retain(|id, _| there(id));
        }
        self.read.retain(|id| id.starts_with("told ") || there(id));
        let told = self.read.iter().filter(|id| id.starts_with("told ")).count();
        if told > MAILBOX_MAX {
            self.read.retain(|id| !id.starts_with("told "));
        }
    }

    /// Now and then, brings mounted configuration up to date.
    fn refresh_volumes(&mut self, pod: &Arc<Pod>) {
        let due = self.volumes_checked.elapsed() >= CONFIG_AGE;
        let runs = self.memory.volumes_ready && self.memory.failure.is_none() && !view::is_deleted(pod);
        let any = view::spec(pod).volumes.iter().flatten().any(volumes::is_refreshed);
        if !due || !runs || !any || view::is_terminal(pod) || self.memory.busy.contains("volumes") {
            return;
        }
        self.volumes_checked = tokio::time::Instant::now();
        let (context, pod, namespace) = (self.context.clone(), pod.clone(), self.pod_ref.namespace.clone());
        let (place, stamp) = (self.context.place(self.memory.address), stamp(base::clock::now()));
        base::task::spawn(format!("volumes of {}", self.pod_ref), async move {
            // While no master answers the files stay as they are.
            if let Ok(mut bundle) = context.configs.bundle(&namespace, &volumes::needs(&pod), CONFIG_AGE).await {
                if let Err(reason) = context.tokens.add_to(&mut bundle, &pod).await {
                    tracing::warn!(pod = %view::pod_ref(&pod), reason, "a mounted token cannot be renewed");
                }
                let disk = context.disk.clone();
                let refreshed = blocking(move || {
                    volumes::refresh(&disk, &pod, &place, &bundle, &stamp);
                    Ok::<(), String>(())
                });
                let _ = refreshed.await;
            }
        });
    }
}

fn stamp(now: Timestamp) -> String {
    now.strftime("%Y_%m_%d_%H_%M_%S.%9f").to_string()
}
