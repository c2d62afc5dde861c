//! The heart of the agent: what to do next about one pod. A pure function of what should be, what is, and what is
//! remembered; called again after everything that happens, it need never plan further than the next step.

use super::backoff::Trouble;
use super::memory::{Failure, ImageFact, Memory, Observed};
use super::view::{self, Policy};
use crate::limits::KEPT_INSTANCES;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Wanted, Pod};
use runtime::{Container, PodRef};

/// One thing to do. What takes long runs beside others; [`Action::key`] keeps two from meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the pod's volumes.
    PrepareVolumes,
    /// Make and start a sandbox.
    CreateSandbox { attempt: u32 },
    /// Stop a sandbox and remove it.
    RemoveSandbox { id: String },
    /// Make sure that a container's image is there.
    PullImage { container: String, attempt: u32 },
    /// Create and start a container.
    Start { container: String, attempt: u32, sandbox_id: String },
    /// Ask a container to end, and end it after the grace.
    Stop { container: String, id: String, grace_seconds: i64, why: Why },
    /// Remove a container that does not run.
    Remove { container: String, id: String },
    /// Delete the pod's volumes and forget it.
    CleanUp,
    /// Tell the API that nothing of the deleted pod is left.
    Finalize,
}

/// Why a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its pod is deleted, or unknown.
    Deleted,
    /// Its pod has come to its end.
    Ended,
    /// It failed a probe and starts again.
    Unhealthy,
    /// Its sandbox is gone.
    SandboxGone,
}

impl Action {
    /// Actions with the same key never run at the same time. Stops differ by their grace, so that a shorter one overtakes.
    pub fn key(&self) -> String {
        match self {
            Action::PrepareVolumes | Action::CleanUp => "volumes".to_owned(),
            Action::CreateSandbox { .. } => "sandbox".to_owned(),
            Action::RemoveSandbox { id } => format!("sandbox {id}"),
            Action::PullImage { container, .. } | Action::Start { container, .. } => start_key(container),
            Action::Stop { id, grace_seconds, .. } => format!("stop {id} {grace_seconds}"),
            Action::Remove { id, .. } => format!("remove {id}"),
            Action::Finalize => "finalize".to_owned(),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The actions, none of which is under way.
    pub actions: Vec<Action>,
    /// When to look again even if nothing happens.
    pub wake: Option<Timestamp>,
    /// Why the pod fails from here on.
    pub fail: Option<Failure>,
    /// Containers whose restart waits for its back-off.
    pub backing_off: Vec<String>,
    /// Nothing is left to do, ever: the worker may end.
    pub over: bool,
}

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The pod as the API wants it, or wanted it last.
    pub pod: Option<&'a Pod>,
    /// Whether the API has it no longer, or never had: known from a fresh answer only.
    pub gone: bool,
    /// What the engine shows.
    pub observed: &'a Observed,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The time.
    pub now: Timestamp,
}

/// Decides what to do next.
pub(crate) fn sync(input: &Input<'_>) -> Plan {
    let mut planner = Planner { input: *input, plan: Plan::default() };
    match input.pod {
        Some(pod) if !input.gone && !view::is_deleted(pod) => planner.run(pod),
        pod => planner.tear_down(pod),
    }
    let busy = &input.memory.busy;
    // An instance that was made and not yet started belongs to the start that is under way.
    let being_started =
        |action: &Action| matches!(action, Action::Remove { container, .. } if busy.contains(&start_key(container)));
    planner.plan.actions.retain(|action| !busy.contains(&action.key()) && !being_started(action));
    planner.plan
}

/// How a pod's regular containers, and with them the pod, have ended; `None` while they have not.
pub(crate) fn ending(pod: &Pod, observed: &Observed) -> Option<bool> {
    let policy = Policy::of(pod);
    for init in view::init_containers(pod).iter().filter(|init| !view::is_sidecar(init)) {
        let exit = observed.latest(&init.name).and_then(|instance| instance.state.exit());
        if let Some(exit) = exit
            && exit.code != 0
            && !policy.of_init(init).restarts(exit.code)
        {
            return Some(false);
        }
    }
    if policy == Policy::Always {
        return None;
    }
    let mut success = true;
    for container in &view::spec(pod).containers {
        let exit = observed.latest(&container.name).and_then(|instance| instance.state.exit())?;
        if policy.restarts(exit.code) {
            return None;
        }
        success &= exit.code == 0;
    }
    Some(success)
}

/// Which restart the next start of a container would be. The API's count steps in where somebody removed instances.
pub(crate) fn next_attempt(pod: &Pod, observed: &Observed, name: &str) -> u32 {
    let seen = observed.instances(name).map(|instance| instance.attempt + 1).max().unwrap_or(0);
    let known = view::known_status(pod, name).filter(|status| status.container_id.is_some());
    let told = known.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0) + 1);
    seen.max(told)
}

struct Planner<'a> {
    input: Input<'a>,
    plan: Plan,
}

/// How one init container stands.
enum Step {
    /// The next may start.
    Done,
    /// The next must wait.
    Wait,
}

impl<'a> Planner<'a> {
    fn run(&mut self, pod: &'a Pod) {
        let Input { observed, memory, now, .. } = self.input;
        if memory.failure.is_some() || view::is_terminal(pod) {
            return self.wind_up(pod, Why::Ended);
        }
        if !memory.admitted {
            return;
        }
        if let (Some(seconds), Some(start)) = (view::spec(pod).active_deadline_seconds, memory.start_time) {
            let end = super::backoff::later(start, seconds);
            if now >= end {
                self.plan.fail = Some(Failure {
                    reason: "DeadlineExceeded".to_owned(),
                    message: "Pod was active on the node longer than the specified deadline".to_owned(),
                });
                return self.wind_up(pod, Why::Ended);
            }
            self.wake(end);
        }
        if ending(pod, observed).is_some() {
            return self.wind_up(pod, Why::Ended);
        }
        self.remove_old_instances();
        if !memory.volumes_ready {
            match &memory.volumes_trouble {
                Some(trouble) if !trouble.is_over(now) => self.wake(trouble.retry_at),
                _ => self.act(Action::PrepareVolumes),
            }
            // What runs already goes on; nothing new starts without its volumes.
            return;
        }
        let Some(sandbox) = observed.sandbox() else {
            return self.make_sandbox();
        };
        self.remove_old_sandboxes(&sandbox.id);
        let sandbox_id = sandbox.id.clone();
        let regular_begun =
            view::spec(pod).containers.iter().any(|container| self.instance_in(&sandbox_id, &container.name).is_some());
        for init in view::init_containers(pod) {
            if !view::is_sidecar(init) && regular_begun {
                continue;
            }
            if matches!(self.init_step(pod, init, &sandbox_id), Step::Wait) && !regular_begun {
                return;
            }
        }
        for container in &view::spec(pod).containers {
            self.regular(pod, container, &sandbox_id);
        }
    }

    fn init_step(&mut self, pod: &'a Pod, init: &'a Wanted, sandbox_id: &str) -> Step {
        let sidecar = view::is_sidecar(init);
        let Some(instance) = self.instance_in(sandbox_id, &init.name) else {
            self.start(pod, init, sandbox_id);
            return Step::Wait;
        };
        if instance.state.is_running() {
            if !sidecar {
                return Step::Wait;
            }
            self.stop_if_unhealthy(pod, init, instance);
            let waits = init.startup_probe.is_some()
                && self.input.memory.container(&init.name).and_then(|it| it.started.as_deref()) != Some(&instance.id);
            return if waits { Step::Wait } else { Step::Done };
        }
        let Some(exit) = instance.state.exit() else {
            self.act(Action::Remove { container: init.name.clone(), id: instance.id.clone() });
            return Step::Wait;
        };
        if exit.code == 0 && !sidecar {
            return Step::Done;
        }
        if Policy::of(pod).of_init(init).restarts(exit.code) {
            self.restart(pod, init, instance, sandbox_id);
        }
        Step::Wait
    }

    fn regular(&mut self, pod: &'a Pod, container: &'a Wanted, sandbox_id: &str) {
        let Some(instance) = self.instance_in(sandbox_id, &container.name) else {
            // An instance of an earlier sandbox that ended for good stays ended.
            let before = self.input.observed.latest(&container.name).and_then(|instance| instance.state.exit());
            if before.is_none_or(|exit| Policy::of(pod).restarts(exit.code) || exit.code == 137) {
                self.start(pod, container, sandbox_id);
            }
            return;
        };
        if instance.state.is_running() {
            return self.stop_if_unhealthy(pod, container, instance);
        }
        match instance.state.exit() {
            None => self.act(Action::Remove { container: container.name.clone(), id: instance.id.clone() }),
            Some(exit) if Policy::of(pod).restarts(exit.code) => self.restart(pod, container, instance, sandbox_id),
            Some(_) => {}
        }
    }

    fn restart(&mut self, pod: &'a Pod, container: &'a Wanted, instance: &'a Container, sandbox_id: &str) {
        let exit = instance.state.exit();
        let finished = exit.and_then(|exit| exit.finished).or(instance.created).unwrap_or(self.input.now);
        let known = self.input.memory.container(&container.name);
        let at = known.map(|it| it.crash.clone()).unwrap_or_default().restart_at(finished, instance.attempt);
        if at > self.input.now {
            self.plan.backing_off.push(container.name.clone());
            return self.wake(at);
        }
        self.start(pod, container, sandbox_id);
    }

    fn start(&mut self, pod: &'a Pod, container: &'a Wanted, sandbox_id: &str) {
        let Input { observed, memory, now, .. } = self.input;
        let attempt = next_attempt(pod, observed, &container.name);
        let known = memory.container(&container.name);
        if let Some(trouble) = known.and_then(|it| it.trouble.as_ref())
            && !trouble.is_over(now)
        {
            return self.wake(trouble.retry_at);
        }
        match known.and_then(|it| it.image.as_ref()) {
            Some(ImageFact::Ready(ready)) if *ready == attempt => {
                let container = container.name.clone();
                self.act(Action::Start { container, attempt, sandbox_id: sandbox_id.to_owned() });
            }
            Some(ImageFact::Trouble(trouble)) if !trouble.is_over(now) => self.wake(trouble.retry_at),
            _ => self.act(Action::PullImage { container: container.name.clone(), attempt }),
        }
    }

    fn stop_if_unhealthy(&mut self, pod: &Pod, container: &Wanted, instance: &Container) {
        let known = self.input.memory.container(&container.name);
        if known.and_then(|it| it.unhealthy.as_deref()) == Some(&instance.id) {
            let probes = [&container.liveness_probe, &container.startup_probe];
            let own = probes.into_iter().flatten().find_map(|probe| probe.termination_grace_period_seconds);
            self.stop(instance, own.unwrap_or_else(|| view::grace_seconds(pod)), Why::Unhealthy);
        }
    }

    fn make_sandbox(&mut self) {
        let Input { observed, memory, now, .. } = self.input;
        // Programs of a sandbox that died have no network: they end before a new one is made.
        let orphans: Vec<&Container> = observed.containers.iter().filter(|it| it.state.is_running()).collect();
        if !orphans.is_empty() {
            for container in orphans {
                self.stop(container, 2, Why::SandboxGone);
            }
            return;
        }
        match &memory.sandbox_trouble {
            Some(Trouble { retry_at, .. }) if *retry_at > now => self.wake(*retry_at),
            _ => {
                let attempt = observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt + 1);
                self.act(Action::CreateSandbox { attempt });
            }
        }
    }

    /// Ends what still runs of a pod that has come to its end, and frees its network; ended containers stay for their logs.
    fn wind_up(&mut self, pod: &'a Pod, why: Why) {
        if self.stop_running(Some(pod), view::grace_seconds(pod), why) {
            return;
        }
        for sandbox in self.input.observed.sandboxes.iter() {
            self.act(Action::RemoveSandbox { id: sandbox.id.clone() });
        }
        self.remove_old_instances();
    }

    fn tear_down(&mut self, pod: Option<&'a Pod>) {
        let Input { observed, memory, gone, .. } = self.input;
        let grace = match pod {
            // Deleted with force while it was ending: nobody waits for it any longer.
            Some(pod) if gone && view::is_deleted(pod) => 2.min(view::grace_seconds(pod)),
            Some(pod) => view::grace_seconds(pod),
            None => 30,
        };
        if self.stop_running(pod, grace, Why::Deleted) {
            return;
        }
        // A start that is under way would leave a container behind.
        if memory.busy.iter().any(|key| key.starts_with("start ") || key == "sandbox") {
            return;
        }
        if !observed.is_empty() {
            for container in &observed.containers {
                self.act(Action::Remove { container: container.name.clone(), id: container.id.clone() });
            }
            if observed.containers.is_empty() {
                for sandbox in &observed.sandboxes {
                    self.act(Action::RemoveSandbox { id: sandbox.id.clone() });
                }
            }
        } else if !memory.cleaned {
            self.act(Action::CleanUp);
        } else if pod.is_some() && !gone && !memory.finalized {
            self.act(Action::Finalize);
        } else {
            // Until the API says so itself the pod is not forgotten, or its last echo would start it again.
            self.plan.over = gone;
        }
    }

    /// Stops what runs, sidecars last. Says whether anything ran.
    fn stop_running(&mut self, pod: Option<&Pod>, grace: i64, why: Why) -> bool {
        let observed = self.input.observed;
        let sidecar = |name: &str| pod.and_then(|pod| view::container(pod, name)).is_some_and(view::is_sidecar);
        let running: Vec<&Container> = observed.containers.iter().filter(|it| it.state.is_running()).collect();
        let only_sidecars = running.iter().all(|container| sidecar(&container.name));
        for container in running.iter().filter(|container| only_sidecars || !sidecar(&container.name)) {
            self.stop(container, grace, why);
        }
        !running.is_empty()
    }

    fn stop(&mut self, container: &Container, grace_seconds: i64, why: Why) {
        let known = self.input.memory.container(&container.name);
        let asked = known.and_then(|it| it.stopping.get(&container.id)).copied();
        let stopping = asked.is_some_and(|grace| {
            let key =
                Action::Stop { container: String::new(), id: container.id.clone(), grace_seconds: grace, why }.key();
            grace <= grace_seconds && self.input.memory.busy.contains(&key)
        });
        if !stopping {
            let (name, id) = (container.name.clone(), container.id.clone());
            self.act(Action::Stop { container: name, id, grace_seconds, why });
        }
    }

    fn remove_old_instances(&mut self) {
        let observed = self.input.observed;
        let mut kept: Option<(&str, usize)> = None;
        for container in &observed.containers {
            let count = match kept {
                Some((name, count)) if name == container.name => count + 1,
                _ => 1,
            };
            kept = Some((&container.name, count));
            if count > KEPT_INSTANCES && !container.state.is_running() {
                self.act(Action::Remove { container: container.name.clone(), id: container.id.clone() });
            }
        }
    }

    fn remove_old_sandboxes(&mut self, current: &str) {
        let observed = self.input.observed;
        for sandbox in observed.sandboxes.iter().filter(|sandbox| sandbox.id != current) {
            let mut left = observed.containers.iter().filter(|it| it.sandbox_id == sandbox.id && it.state.is_running());
            match left.next() {
                Some(container) => self.stop(container, 2, Why::SandboxGone),
                None => self.act(Action::RemoveSandbox { id: sandbox.id.clone() }),
            }
        }
    }

    fn instance_in(&self, sandbox_id: &str, name: &str) -> Option<&'a Container> {
        let observed = self.input.observed;
        observed.latest(name).filter(|instance| instance.sandbox_id == sandbox_id)
    }

    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |before| before.min(at)));
    }
}

fn start_key(container: &str) -> String {
    format!("start {container}")
}

/// Which pod a decision is about, for those that have only what the engine shows.
pub(crate) fn owner(observed: &Observed) -> Option<&PodRef> {
    observed.sandboxes.first().map(|it| &it.pod).or_else(|| observed.containers.first().map(|it| &it.pod))
}
