//! What `sync` decides, as a table of situations.

use super::backoff::Trouble;
use super::fixtures::*;
use super::memory::{Failure, ImageFact, Memory, Observed};
use super::sync::{Action, Input, Plan, sync};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn decide(pod: Option<&Pod>, gone: bool, observed: &Observed, memory: &Memory, second: i64) -> Plan {
    sync(&Input { pod, gone, observed, memory, now: at(second) })
}

/// The actions in short: one word each.
fn short(plan: &Plan) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::PrepareVolumes => "volumes".to_owned(),
        Action::CreateSandbox { attempt } => format!("sandbox:{attempt}"),
        Action::RemoveSandbox { id } => format!("remove-sandbox:{id}"),
        Action::PullImage { container, attempt } => format!("pull:{container}:{attempt}"),
        Action::Start { container, attempt, sandbox_id } => format!("start:{container}:{attempt}@{sandbox_id}"),
        Action::Stop { id, grace_seconds, .. } => format!("stop:{id}:{grace_seconds}"),
        Action::Remove { id, .. } => format!("remove:{id}"),
        Action::CleanUp => "clean".to_owned(),
        Action::Finalize => "finalize".to_owned(),
    };
    plan.actions.iter().map(word).collect()
}

fn one() -> Pod {
    pod(json!({"containers": [{"name": "a"}]}))
}

fn up() -> Vec<runtime::Sandbox> {
    vec![sandbox(0, running(0))]
}

#[test]
fn a_pod_comes_up_step_by_step() {
    let pod = one();
    let mut memory = Memory::default();
    let nothing = Observed::default();
    let step = |memory: &Memory, observed: &Observed| short(&decide(Some(&pod), false, observed, memory, 1));
    assert!(step(&memory, &nothing).is_empty(), "nothing happens before the pod is admitted");
    memory.admitted = true;
    assert_eq!(step(&memory, &nothing), ["volumes"]);
    memory.volumes_ready = true;
    assert_eq!(step(&memory, &nothing), ["sandbox:0"]);
    memory.busy.insert("sandbox".into());
    assert!(step(&memory, &nothing).is_empty(), "what is under way is not begun again");
    memory.busy.clear();
    let there = observed(up(), vec![]);
    assert_eq!(step(&memory, &there), ["pull:a:0"]);
    memory.container_mut("a").image = Some(ImageFact::Ready(0));
    assert_eq!(step(&memory, &there), ["start:a:0@s0"]);
    assert!(step(&memory, &observed(up(), vec![container("a", 0, 0, running(1))])).is_empty());
}

#[test]
fn restart_policies_and_back_off() {
    // (policy, exit code, restarts so far, seconds since it ended) → what happens
    let cases = [
        ("Always", 0, 0, 1, vec!["pull:a:1"], false),
        ("Always", 1, 0, 1, vec!["pull:a:1"], false),
        ("Always", 1, 2, 5, vec![], true),
        ("Always", 1, 2, 21, vec!["pull:a:3"], false),
        ("OnFailure", 1, 0, 1, vec!["pull:a:1"], false),
        ("OnFailure", 0, 0, 1, vec!["remove-sandbox:s0"], false),
        ("Never", 1, 0, 1, vec!["remove-sandbox:s0"], false),
    ];
    for (policy, code, attempt, after, expected, waits) in cases {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let seen = observed(up(), vec![container("a", attempt, 0, exited(code, 100))]);
        let plan = decide(Some(&pod), false, &seen, &admitted(), 100 + after);
        assert_eq!(short(&plan), expected, "{policy} {code} {attempt} {after}");
        assert_eq!((!plan.backing_off.is_empty(), plan.wake.is_some()), (waits, waits), "{policy} {code} {attempt}");
    }
}

#[test]
fn init_containers_run_one_after_another_and_sidecars_stay() {
    let pod = pod(json!({
        "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}, {"name": "j"}],
        "containers": [{"name": "a"}],
    }));
    let images = with_images(&[("i", 0), ("side", 0), ("j", 0), ("a", 0)]);
    let (i_done, side) = (container("i", 0, 0, exited(0, 5)), container("side", 0, 0, running(6)));
    let j_done = container("j", 0, 0, exited(0, 8));
    let cases = [
        (vec![], vec!["start:i:0@s0"]),
        (vec![container("i", 0, 0, running(1))], vec![]),
        (vec![i_done.clone()], vec!["start:side:0@s0"]),
        (vec![i_done.clone(), side.clone()], vec!["start:j:0@s0"]),
        (vec![i_done.clone(), side.clone(), j_done.clone()], vec!["start:a:0@s0"]),
        (vec![i_done, side, j_done, container("a", 0, 0, running(9))], vec![]),
        // A pod that runs does not begin anew because an ended init container was removed.
        (vec![container("side", 0, 0, running(6)), container("a", 0, 0, running(9))], vec![]),
        (vec![container("side", 0, 0, exited(1, 9)), container("a", 0, 0, running(9))], vec!["pull:side:1"]),
        (vec![container("i", 0, 0, exited(1, 9))], vec!["pull:i:1"]),
    ];
    for (containers, expected) in cases {
        let seen = observed(up(), containers);
        assert_eq!(short(&decide(Some(&pod), false, &seen, &images, 10)), expected, "{seen:?}");
    }
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let pod = pod(json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let seen = observed(up(), vec![container("i", 0, 0, exited(3, 5))]);
    assert_eq!(short(&decide(Some(&pod), false, &seen, &admitted(), 6)), ["remove-sandbox:s0"]);
}

#[test]
fn a_dead_sandbox_is_replaced_after_its_programs_ended() {
    let pod = one();
    let dead = sandbox(0, exited(137, 5));
    let orphan = observed(vec![dead.clone()], vec![container("a", 0, 0, running(1))]);
    assert_eq!(short(&decide(Some(&pod), false, &orphan, &admitted(), 6)), ["stop:a0:2"]);
    let ended = observed(vec![dead.clone()], vec![container("a", 0, 0, exited(137, 6))]);
    assert_eq!(short(&decide(Some(&pod), false, &ended, &admitted(), 7)), ["sandbox:1"]);
    let replaced = observed(vec![dead, sandbox(1, running(8))], vec![container("a", 0, 0, exited(137, 6))]);
    let plan = decide(Some(&pod), false, &replaced, &with_images(&[("a", 1)]), 9);
    assert_eq!(short(&plan), ["remove-sandbox:s0", "start:a:1@s1"]);
}

#[test]
fn a_deleted_pod_goes_step_by_step() {
    let mut pod = pod(json!({
        "initContainers": [{"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "a"}],
    }));
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(50)));
    pod.metadata.deletion_grace_period_seconds = Some(20);
    let mut memory = admitted();
    let step = |memory: &Memory, observed: &Observed| short(&decide(Some(&pod), false, observed, memory, 60));
    let both = observed(up(), vec![container("a", 0, 0, running(1)), container("side", 0, 0, running(1))]);
    assert_eq!(step(&memory, &both), ["stop:a0:20"]);
    let side = observed(up(), vec![container("a", 0, 0, exited(143, 61)), container("side", 0, 0, running(1))]);
    assert_eq!(step(&memory, &side), ["stop:side0:20"]);
    let ended = observed(up(), vec![container("a", 0, 0, exited(143, 61)), container("side", 0, 0, exited(143, 62))]);
    assert_eq!(step(&memory, &ended), ["remove:a0", "remove:side0"]);
    assert_eq!(step(&memory, &observed(up(), vec![])), ["remove-sandbox:s0"]);
    assert_eq!(step(&memory, &Observed::default()), ["clean"]);
    memory.cleaned = true;
    assert_eq!(step(&memory, &Observed::default()), ["finalize"]);
    memory.finalized = true;
    let waiting = decide(Some(&pod), false, &Observed::default(), &memory, 60);
    assert!(waiting.actions.is_empty() && !waiting.over);
    assert!(decide(Some(&pod), true, &Observed::default(), &memory, 60).over);
    // A start under way is waited for.
    memory = admitted();
    memory.busy.insert("start a".into());
    assert!(step(&memory, &Observed::default()).is_empty());
}

#[test]
fn an_instance_that_is_being_started_is_left_alone() {
    let pod = one();
    let made = observed(up(), vec![container("a", 0, 0, runtime::State::Created)]);
    let mut memory = admitted();
    memory.busy.insert("start a".into());
    assert!(short(&decide(Some(&pod), false, &made, &memory, 60)).is_empty());
    // Left behind by a start that failed, or by an agent that ended, it makes room.
    memory.busy.clear();
    assert_eq!(short(&decide(Some(&pod), false, &made, &memory, 60)), ["remove:a0"]);
}

#[test]
fn a_forced_deletion_overtakes_a_patient_one() {
    let mut pod = one();
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(50)));
    pod.metadata.deletion_grace_period_seconds = Some(600);
    let seen = observed(up(), vec![container("a", 0, 0, running(1))]);
    let mut memory = admitted();
    memory.container_mut("a").stopping.insert("a0".into(), 600);
    memory.busy.insert("stop a0 600".into());
    assert!(short(&decide(Some(&pod), false, &seen, &memory, 60)).is_empty());
    assert_eq!(short(&decide(Some(&pod), true, &seen, &memory, 60)), ["stop:a0:2"]);
    memory.container_mut("a").stopping.insert("a0".into(), 2);
    memory.busy.insert("stop a0 2".into());
    assert!(short(&decide(Some(&pod), true, &seen, &memory, 60)).is_empty());
}

#[test]
fn what_nobody_knows_is_stopped_gracefully_and_removed() {
    let seen = observed(up(), vec![container("a", 0, 0, running(1))]);
    assert_eq!(short(&decide(None, true, &seen, &Memory::default(), 60)), ["stop:a0:30"]);
    let memory = Memory { cleaned: true, ..Memory::default() };
    assert!(decide(None, true, &Observed::default(), &memory, 60).over);
}

#[test]
fn probes_deadlines_failures_and_troubles() {
    let seen = observed(up(), vec![container("a", 0, 0, running(1))]);
    let mut unhealthy = admitted();
    unhealthy.container_mut("a").unhealthy = Some("a0".into());
    assert_eq!(short(&decide(Some(&one()), false, &seen, &unhealthy, 60)), ["stop:a0:30"]);

    let late = pod(json!({"activeDeadlineSeconds": 50, "containers": [{"name": "a"}]}));
    let plan = decide(Some(&late), false, &seen, &admitted(), 49);
    assert_eq!((short(&plan).len(), plan.wake), (0, Some(at(50))));
    let plan = decide(Some(&late), false, &seen, &admitted(), 50);
    assert_eq!(plan.fail.as_ref().unwrap().reason, "DeadlineExceeded");
    assert_eq!(short(&plan), ["stop:a0:30"]);

    let refused = Memory { failure: Some(Failure { reason: "OutOfcpu".into(), message: String::new() }), ..admitted() };
    assert!(short(&decide(Some(&one()), false, &Observed::default(), &refused, 1)).is_empty());

    let trouble = Trouble { reason: "r".into(), message: "m".into(), attempts: 1, retry_at: at(70) };
    let mut pulling = admitted();
    pulling.container_mut("a").image = Some(ImageFact::Trouble(trouble.clone()));
    let plan = decide(Some(&one()), false, &observed(up(), vec![]), &pulling, 69);
    assert_eq!((short(&plan).len(), plan.wake), (0, Some(at(70))));
    assert_eq!(short(&decide(Some(&one()), false, &observed(up(), vec![]), &pulling, 70)), ["pull:a:0"]);

    let volumes = Memory { volumes_ready: false, volumes_trouble: Some(trouble), ..admitted() };
    assert!(short(&decide(Some(&one()), false, &seen, &volumes, 69)).is_empty(), "what runs goes on");
    assert_eq!(short(&decide(Some(&one()), false, &seen, &volumes, 70)), ["volumes"]);
}

#[test]
fn old_instances_go_and_counts_never_fall() {
    let containers = (0..4).map(|attempt| container("a", attempt, 0, exited(1, 10))).collect();
    let plan = decide(Some(&one()), false, &observed(up(), containers), &admitted(), 11);
    assert_eq!(short(&plan), ["remove:a1", "remove:a0"]);
    let mut known = one();
    known.status = Some(
        serde_json::from_value(json!({"containerStatuses": [{
            "name": "a", "restartCount": 4, "containerID": "docker://x", "image": "", "imageID": "", "ready": false,
        }]}))
        .unwrap(),
    );
    assert_eq!(short(&decide(Some(&known), false, &observed(up(), vec![]), &admitted(), 11)), ["pull:a:5"]);
}
