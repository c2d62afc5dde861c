//! What the API is told about a pod: a pure function of the same facts that `sync` decides from.
//!
//! A status never goes back: restart counts come from the instances themselves, an end that the API knows stays, and
//! conditions that others own are kept as they are.

use super::memory::{ContainerMemory, ImageFact, Memory, Observed};
use super::sync;
use super::view::{self, Policy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Wanted, Pod};
use objects::time;
use runtime::{Container, State};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Everything that a status is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// What the engine shows.
    pub observed: &'a Observed,
    /// What is remembered.
    pub memory: &'a Memory,
    /// Containers whose restart waits for its back-off.
    pub backing_off: &'a [String],
    /// This node's address.
    pub host: IpAddr,
    /// The time, for conditions that change.
    pub now: Timestamp,
}

/// The conditions that this agent owns.
const OWN_CONDITIONS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// The pod's status as a merge patch for its `status`: fields that no longer hold are null.
pub(crate) fn status(facts: &Facts<'_>) -> Value {
    let Facts { pod, observed, memory, .. } = *facts;
    let phase = phase(facts);
    let over = phase == "Succeeded" || phase == "Failed";
    let init: Vec<Value> =
        view::init_containers(pod).iter().map(|it| container_status(facts, it, true, over)).collect();
    let regular: Vec<Value> =
        view::spec(pod).containers.iter().map(|it| container_status(facts, it, false, over)).collect();
    let host_network = view::spec(pod).host_network == Some(true);
    let known = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|address| !address.is_empty());
    let address = match observed.sandboxes.first().and_then(|sandbox| sandbox.address) {
        Some(address) => Some(address.to_string()),
        None if host_network && observed.sandbox().is_some() => Some(facts.host.to_string()),
        None => memory.address.map(|address| address.to_string()).or(known),
    };
    let failure = memory.failure.as_ref();
    let told = pod.status.as_ref().filter(|_| view::is_terminal(pod));
    let reason = failure.map(|it| it.reason.clone()).or_else(|| told.and_then(|status| status.reason.clone()));
    let message = failure.map(|it| it.message.clone()).or_else(|| told.and_then(|status| status.message.clone()));
    let mut status = json!({
        "phase": phase,
        "conditions": conditions(facts, phase, &init, &regular),
        "hostIP": facts.host.to_string(),
        "hostIPs": [{"ip": facts.host.to_string()}],
        "podIP": address.as_deref(),
        "podIPs": address.as_deref().map(|address| json!([{"ip": address}])),
        "startTime": memory.start_time.map(time::format),
        "containerStatuses": regular,
        "qosClass": pod.status.as_ref().and_then(|it| it.qos_class.as_deref()).unwrap_or_else(|| view::qos_class(pod)),
        "reason": reason,
        "message": message,
    });
    if !init.is_empty() {
        status["initContainerStatuses"] = Value::Array(init);
    }
    if let Some(generation) = pod.metadata.generation {
        status["observedGeneration"] = json!(generation);
    }
    status
}

/// The pod's phase, by the rules of upstream's `getPhase`.
fn phase(facts: &Facts<'_>) -> &'static str {
    let Facts { pod, observed, memory, .. } = *facts;
    match view::phase(pod) {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    let running = observed.containers.iter().any(|container| container.state.is_running());
    if memory.failure.is_some() {
        return if running { "Running" } else { "Failed" };
    }
    if !running {
        match sync::ending(pod, observed) {
            Some(true) => return "Succeeded",
            Some(false) => return "Failed",
            None => {}
        }
        // All ended because the pod is deleted: upstream says which end that was.
        if view::is_deleted(pod) && !observed.containers.is_empty() {
            let codes =
                view::spec(pod).containers.iter().map(|it| observed.latest(&it.name).and_then(|it| it.state.exit()));
            let codes: Option<Vec<i32>> = codes.map(|exit| exit.map(|exit| exit.code)).collect();
            match codes {
                Some(codes) if codes.iter().all(|code| *code == 0) => return "Succeeded",
                Some(_) => return "Failed",
                None => {}
            }
        }
    }
    let begun = |container: &Wanted| {
        observed.instances(&container.name).any(|it| !matches!(it.state, State::Created))
            || view::known_status(pod, &container.name)
                .is_some_and(|it| it.restart_count > 0 || it.started == Some(true))
    };
    if view::spec(pod).containers.iter().all(begun) { "Running" } else { "Pending" }
}

fn conditions(facts: &Facts<'_>, phase: &str, init: &[Value], regular: &[Value]) -> Value {
    let Facts { pod, observed, memory, .. } = *facts;
    let is = |status: &Value, name: &str| status[name] == true;
    let names = |statuses: &[Value]| -> String {
        let lacking: Vec<&str> =
            statuses.iter().filter(|it| !is(it, "ready")).filter_map(|it| it["name"].as_str()).collect();
        format!("[{}]", lacking.join(" "))
    };
    let begun = regular.iter().any(|it| it["state"].get("waiting").is_none());
    let sidecar_names: Vec<&str> =
        view::init_containers(pod).iter().filter(|it| view::is_sidecar(it)).map(|it| it.name.as_str()).collect();
    let of_sidecar = |it: &&Value| it["name"].as_str().is_some_and(|name| sidecar_names.contains(&name));
    let done = |it: &Value| if of_sidecar(&it) { is(it, "started") } else { is(it, "ready") };
    let initialized = begun || phase == "Succeeded" || init.iter().all(done);
    let all: Vec<Value> = init.iter().filter(of_sidecar).chain(regular).cloned().collect();
    let completed = phase == "Succeeded" || phase == "Failed";
    let containers_ready = !completed && all.iter().all(|it| is(it, "ready"));
    let gates_open = view::spec(pod).readiness_gates.iter().flatten().all(|gate| {
        let known = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        known.into_iter().flatten().any(|it| it.type_ == gate.condition_type && it.status == "True")
    });
    let not_ready = || match phase {
        "Succeeded" => ("PodCompleted", String::new()),
        "Failed" => ("PodFailed", String::new()),
        _ => ("ContainersNotReady", format!("containers with unready status: {}", names(&all))),
    };
    type Condition = (&'static str, bool, Option<(&'static str, String)>);
    let mut own: [Condition; 4] = [
        ("PodReadyToStartContainers", observed.sandbox().is_some() && memory.volumes_ready, None),
        (
            "Initialized",
            initialized,
            (!initialized)
                .then(|| ("ContainersNotInitialized", format!("containers with incomplete status: {}", names(init)))),
        ),
        (
            "Ready",
            containers_ready && gates_open,
            match (containers_ready, gates_open) {
                (true, true) => None,
                (true, false) => Some(("ReadinessGatesNotReady", "a readiness gate is not open".to_owned())),
                (false, _) => Some(not_ready()),
            },
        ),
        ("ContainersReady", containers_ready, (!containers_ready).then(not_ready)),
    ];
    if phase == "Succeeded" {
        own[1].2 = Some(("PodCompleted", String::new()));
    }
    let known: Vec<Value> = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter_map(|condition| serde_json::to_value(condition).ok())
        .collect();
    let now = time::format(facts.now);
    let mut list: Vec<Value> = own
        .into_iter()
        .map(|(name, holds, why)| {
            let status = if holds { "True" } else { "False" };
            let since = known
                .iter()
                .find(|it| it["type"] == name && it["status"] == status)
                .and_then(|it| it["lastTransitionTime"].as_str())
                .unwrap_or(&now);
            let mut condition =
                json!({"type": name, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
            if let Some(generation) = pod.metadata.generation {
                condition["observedGeneration"] = json!(generation);
            }
            if let Some((reason, message)) = why {
                condition["reason"] = json!(reason);
                if !message.is_empty() {
                    condition["message"] = json!(message);
                }
            }
            condition
        })
        .collect();
    let foreign = known.iter().filter(|it| !OWN_CONDITIONS.iter().any(|own| it["type"] == **own));
    list.extend(foreign.cloned());
    if !list.iter().any(|it| it["type"] == "PodScheduled") {
        list.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
    }
    Value::Array(list)
}

fn container_status(facts: &Facts<'_>, wanted: &Wanted, init: bool, over: bool) -> Value {
    let Facts { pod, observed, memory, .. } = *facts;
    let name = wanted.name.as_str();
    let known = memory.container(name);
    let told = view::known_status(pod, name);
    let Some(latest) = observed.latest(name) else {
        // Its instances are gone, or there was none yet: what the API knows stays.
        if let Some(told) = told.filter(|it| it.container_id.is_some()) {
            let mut status = serde_json::to_value(told).unwrap_or_default();
            if view::is_deleted(pod) || over {
                status["ready"] = json!(false);
            }
            return status;
        }
        return json!({
            "name": name, "image": wanted.image.as_deref().unwrap_or_default(), "imageID": "", "restartCount": 0,
            "ready": false, "started": false, "state": {"waiting": waiting(facts, wanted, known, init)},
        });
    };
    let words = |instance: &Container| {
        let said = known.and_then(|it| it.last_words.get(&instance.id)).cloned();
        said.or_else(|| told_message(told, &instance.id))
    };
    let restarts = match (init, latest.state.exit()) {
        (true, Some(exit)) => Policy::of(pod).of_init(wanted).restarts(exit.code),
        (false, Some(exit)) => Policy::of(pod).restarts(exit.code),
        _ => false,
    };
    let goes_on = restarts && !over && memory.failure.is_none() && !view::is_deleted(pod);
    let mut status = Map::new();
    let mut previous = observed.instances(name).nth(1).filter(|it| it.state.exit().is_some());
    let state = match &latest.state {
        State::Running { started } => json!({"running": {"startedAt": started.map(time::format)}}),
        State::Exited(_) if goes_on && is_waiting(facts, name, known) => {
            previous = Some(latest);
            json!({"waiting": waiting(facts, wanted, known, init)})
        }
        State::Exited(_) => json!({"terminated": terminated(latest, words(latest))}),
        State::Created => json!({"waiting": waiting(facts, wanted, known, init)}),
    };
    let running = latest.state.is_running();
    let is_this = |id: Option<&String>| id == Some(&latest.id);
    let started = running && (wanted.startup_probe.is_none() || is_this(known.and_then(|it| it.started.as_ref())));
    let ready = match (init && !view::is_sidecar(wanted), &wanted.readiness_probe) {
        (true, _) => latest.state.exit().is_some_and(|exit| exit.code == 0),
        (false, None) => started,
        (false, Some(_)) => started && is_this(known.and_then(|it| it.ready.as_ref())),
    };
    let count = told.map_or(0, |it| it.restart_count).max(i32::try_from(latest.attempt).unwrap_or(i32::MAX));
    status.insert("name".into(), json!(name));
    status.insert("state".into(), state);
    if let Some(previous) = previous {
        status.insert("lastState".into(), json!({"terminated": terminated(previous, words(previous))}));
    } else if let Some(last) = told.and_then(|it| it.last_state.as_ref()).filter(|_| count > 0) {
        status.insert("lastState".into(), serde_json::to_value(last).unwrap_or_default());
    }
    status.insert("ready".into(), json!(ready));
    status.insert("started".into(), json!(started));
    status.insert("restartCount".into(), json!(count));
    status.insert(
        "image".into(),
        json!(if latest.image.is_empty() { wanted.image.as_deref().unwrap_or_default() } else { &latest.image }),
    );
    status.insert("imageID".into(), json!(image_id(&latest.image_id)));
    status.insert("containerID".into(), json!(container_id(&latest.id)));
    Value::Object(status)
}

/// Whether an ended container shows as waiting for its next start, rather than as ended.
fn is_waiting(facts: &Facts<'_>, name: &str, known: Option<&ContainerMemory>) -> bool {
    facts.backing_off.iter().any(|it| it == name)
        || known.is_some_and(|it| it.trouble.is_some() || matches!(it.image, Some(ImageFact::Trouble(_))))
}

fn waiting(facts: &Facts<'_>, wanted: &Wanted, known: Option<&ContainerMemory>, init: bool) -> Value {
    let Facts { pod, observed, memory, now, .. } = *facts;
    if facts.backing_off.contains(&wanted.name) {
        let attempt = observed.latest(&wanted.name).map_or(0, |it| it.attempt);
        let seconds = known.map_or(0, |it| it.crash.delay_seconds(attempt));
        let delay = if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) };
        let (name, namespace) = (pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref());
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        return json!({
            "reason": "CrashLoopBackOff",
            "message": format!(
                "back-off {delay} restarting failed container={} pod={}_{}({uid})",
                wanted.name, name.unwrap_or_default(), namespace.unwrap_or_default(),
            ),
        });
    }
    if let Some(ImageFact::Trouble(trouble)) = known.and_then(|it| it.image.as_ref()) {
        // Upstream alternates: the error when it happens, the back-off while it is waited out.
        let backing_off = trouble.reason == "ErrImagePull" && trouble.attempts > 1 && !trouble.is_over(now);
        if backing_off {
            let image = wanted.image.as_deref().unwrap_or_default();
            return json!({
                "reason": "ImagePullBackOff",
                "message": format!("Back-off pulling image \"{image}\": ErrImagePull: {}", trouble.message),
            });
        }
        return json!({"reason": trouble.reason, "message": trouble.message});
    }
    if let Some(trouble) = known.and_then(|it| it.trouble.as_ref()) {
        return json!({"reason": trouble.reason, "message": trouble.message});
    }
    let init_done = view::init_containers(pod).iter().filter(|it| !view::is_sidecar(it)).all(|it| {
        observed.latest(&it.name).and_then(|instance| instance.state.exit()).is_some_and(|exit| exit.code == 0)
    });
    let initializing = !init && !init_done && memory.failure.is_none();
    let later_init = init
        && observed.sandbox().is_some()
        && view::init_containers(pod).first().map(|it| &it.name) != Some(&wanted.name);
    json!({"reason": if initializing || later_init { "PodInitializing" } else { "ContainerCreating" }})
}

fn terminated(instance: &Container, words: Option<String>) -> Value {
    let Some(exit) = instance.state.exit() else { return Value::Null };
    let reason = match exit {
        exit if exit.oom_killed => "OOMKilled",
        exit if exit.started.is_none() && exit.code != 0 => "ContainerCannotRun",
        exit if exit.code == 0 => "Completed",
        _ => "Error",
    };
    let created = instance.created;
    let mut value = json!({
        "exitCode": exit.code,
        "reason": reason,
        "startedAt": exit.started.or(created).map(time::format),
        "finishedAt": exit.finished.or(created).map(time::format),
        "containerID": container_id(&instance.id),
    });
    if let Some(message) = words.or_else(|| Some(exit.message.clone())).filter(|it| !it.is_empty()) {
        value["message"] = json!(message);
    }
    value
}

fn told_message(told: Option<&k8s_openapi::api::core::v1::ContainerStatus>, id: &str) -> Option<String> {
    let told = told?;
    let states = [told.state.as_ref(), told.last_state.as_ref()];
    let mut ended = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
    ended.find(|it| it.container_id.as_deref() == Some(&container_id(id))).and_then(|it| it.message.clone())
}

fn container_id(id: &str) -> String {
    format!("docker://{id}")
}

fn image_id(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!("docker://{id}") }
}

/// Whether two statuses say the same: what they show, times of conditions aside.
pub(crate) fn says_the_same(one: &Value, other: &Value) -> bool {
    fn bare(status: &Value) -> Value {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = condition.as_object_mut() {
                fields.remove("lastTransitionTime");
                fields.remove("lastProbeTime");
            }
        }
        if let Some(fields) = status.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        status
    }
    bare(one) == bare(other)
}
