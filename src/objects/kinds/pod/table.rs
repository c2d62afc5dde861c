//! The table of pods, and the one word that says how a pod is.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::columns::{AGE, Column, NAME, human, list, number, since, text, text_or};
use crate::time;

pub(in crate::kinds) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    Column::text("Status", "The aggregate status of the containers in this pod."),
    Column::text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    Column::wide("IP", "Address of the pod inside of the cluster."),
    Column::wide("Node", "Node that the pod is assigned to."),
    Column::wide("Nominated Node", "Node that will be freed for the pod by preemption."),
    Column::wide("Readiness Gates", "How many of the conditions that readiness waits for are true."),
];

/// Why upstream's node controller marks pods of a lost node.
const NODE_LOST: &str = "NodeLost";

pub(in crate::kinds) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let seen = observe(pod);
    let restarts = match seen.last_restart {
        Some(at) if seen.restarts != 0 => {
            format!("{} ({} ago)", seen.restarts, human(now.duration_since(at).as_secs()))
        }
        _ => seen.restarts.to_string(),
    };
    let address = list(&status["podIPs"]).first().map_or(&status["podIP"], |first| &first["ip"]);
    vec![
        json!(text(&pod["metadata"]["name"])),
        json!(format!("{}/{}", seen.ready, seen.total)),
        json!(seen.reason),
        json!(restarts),
        json!(since(&pod["metadata"]["creationTimestamp"], now)),
        json!(text_or(address, "<none>")),
        json!(text_or(&spec["nodeName"], "<none>")),
        json!(text_or(&status["nominatedNodeName"], "<none>")),
        json!(readiness_gates(pod)),
    ]
}

pub(in crate::kinds) fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

/// What the statuses of the containers add up to.
#[derive(Default)]
struct Seen {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn observe(pod: &Value) -> Seen {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = text(&status["phase"]);
    let sidecars: HashSet<&str> = list(&spec["initContainers"])
        .iter()
        .filter(|container| container["restartPolicy"] == "Always")
        .map(|container| text(&container["name"]))
        .collect();
    let mut seen = Seen {
        total: list(&spec["containers"]).len() + sidecars.len(),
        reason: text_or(&status["reason"], phase).to_owned(),
        ..Seen::default()
    };
    let gated = |condition: &Value| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
    if list(&status["conditions"]).iter().any(gated) {
        seen.reason = "SchedulingGated".into();
    }
    let sidecar_restarts = observe_initialization(pod, &sidecars, &mut seen);
    if let Some((restarts, last_restart)) = sidecar_restarts {
        seen.restarts = restarts;
        seen.last_restart = last_restart;
        observe_containers(status, &mut seen);
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        if status["reason"] == NODE_LOST {
            seen.reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            seen.reason = "Terminating".into();
        }
    }
    seen
}

/// Walks the init containers. While they run, they say how the pod is; once they are through (then the result is `Some`),
/// only restarts of sidecars still count.
fn observe_initialization(pod: &Value, sidecars: &HashSet<&str>, seen: &mut Seen) -> Option<(i64, Option<Timestamp>)> {
    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    let mut initializing = false;
    for (at, container) in list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        let sidecar = sidecars.contains(text(&container["name"]));
        let restarts = number(&container["restartCount"]);
        let last = finished(&container["lastState"]);
        seen.restarts += restarts;
        seen.last_restart = seen.last_restart.max(last);
        if sidecar {
            sidecar_restarts += restarts;
            sidecar_last = sidecar_last.max(last);
        }
        let (waiting, terminated) = (&container["state"]["waiting"], &container["state"]["terminated"]);
        if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if sidecar && container["started"] == true {
            seen.ready += usize::from(container["ready"] == true);
            continue;
        }
        seen.reason = if terminated.is_object() {
            format!("Init:{}", ending(terminated))
        } else {
            match text(&waiting["reason"]) {
                "" | "PodInitializing" => format!("Init:{at}/{}", list(&pod["spec"]["initContainers"]).len()),
                reason => format!("Init:{reason}"),
            }
        };
        initializing = true;
        break;
    }
    (!initializing || condition_is_true(&pod["status"], "Initialized")).then_some((sidecar_restarts, sidecar_last))
}

fn observe_containers(status: &Value, seen: &mut Seen) {
    let mut running = false;
    // The first container has the last word.
    for container in list(&status["containerStatuses"]).iter().rev() {
        seen.restarts += number(&container["restartCount"]);
        seen.last_restart = seen.last_restart.max(finished(&container["lastState"]));
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            seen.reason = waiting.into();
        } else if state["terminated"].is_object() {
            seen.reason = ending(&state["terminated"]);
        } else if container["ready"] == true && state["running"].is_object() {
            running = true;
            seen.ready += 1;
        }
    }
    if seen.reason == "Completed" && running {
        seen.reason = if condition_is_true(status, "Ready") { "Running" } else { "NotReady" }.into();
    }
}

/// How a container ended: its reason, its signal or its exit code.
fn ending(terminated: &Value) -> String {
    let (reason, signal) = (text(&terminated["reason"]), number(&terminated["signal"]));
    if !reason.is_empty() {
        reason.into()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", number(&terminated["exitCode"]))
    }
}

fn finished(state: &Value) -> Option<Timestamp> {
    time::parse(state["terminated"]["finishedAt"].as_str()?).ok()
}

fn condition_is_true(status: &Value, name: &str) -> bool {
    list(&status["conditions"]).iter().any(|condition| condition["type"] == name && condition["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let conditions = list(&pod["status"]["conditions"]);
    let open = gates.iter().filter(|gate| {
        let condition = conditions.iter().find(|condition| condition["type"] == gate["conditionType"]);
        condition.is_some_and(|condition| condition["status"] == "True")
    });
    format!("{}/{}", open.count(), gates.len())
}
