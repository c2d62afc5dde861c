//! What the API is told, as a table of situations.

use super::backoff::Trouble;
use super::fixtures::*;
use super::memory::{Failure, ImageFact, Memory, Observed};
use super::status::{Facts, says_the_same, status};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn report(pod: &Pod, observed: &Observed, memory: &Memory, backing_off: &[&str]) -> Value {
    let backing_off: Vec<String> = backing_off.iter().map(|it| (*it).to_owned()).collect();
    let host = "192.168.0.1".parse().unwrap();
    status(&Facts { pod, observed, memory, backing_off: &backing_off, host, now: at(100) })
}

fn condition<'a>(status: &'a Value, name: &str) -> &'a str {
    let list = status["conditions"].as_array().unwrap();
    list.iter().find(|it| it["type"] == name).unwrap()["status"].as_str().unwrap()
}

fn up() -> Vec<runtime::Sandbox> {
    vec![sandbox(0, running(0))]
}

#[test]
fn phases_and_reasons() {
    let trouble =
        |reason: &str, attempts| Trouble { reason: reason.into(), message: "m".into(), attempts, retry_at: at(200) };
    let with_image = |trouble| {
        let mut memory = admitted();
        memory.container_mut("a").image = Some(ImageFact::Trouble(trouble));
        memory
    };
    let with_trouble = |trouble| {
        let mut memory = admitted();
        memory.container_mut("a").trouble = Some(trouble);
        memory
    };
    let mut oom = exited(137, 50);
    if let runtime::State::Exited(exit) = &mut oom {
        exit.oom_killed = true;
    }
    // (restart policy, instance, memory, backing off) → (phase, state, reason, ready)
    let cases = [
        ("Always", None, admitted(), false, "Pending", "waiting", "ContainerCreating", false),
        ("Always", Some(running(1)), admitted(), false, "Running", "running", "", true),
        ("Always", Some(exited(1, 50)), admitted(), true, "Running", "waiting", "CrashLoopBackOff", false),
        ("Always", Some(exited(1, 50)), admitted(), false, "Running", "terminated", "Error", false),
        ("Always", Some(oom), admitted(), false, "Running", "terminated", "OOMKilled", false),
        ("Never", Some(exited(0, 50)), admitted(), false, "Succeeded", "terminated", "Completed", false),
        ("Never", Some(exited(2, 50)), admitted(), false, "Failed", "terminated", "Error", false),
        ("OnFailure", Some(exited(0, 50)), admitted(), false, "Succeeded", "terminated", "Completed", false),
        ("Always", None, with_image(trouble("ErrImagePull", 1)), false, "Pending", "waiting", "ErrImagePull", false),
        (
            "Always",
            None,
            with_image(trouble("ErrImagePull", 2)),
            false,
            "Pending",
            "waiting",
            "ImagePullBackOff",
            false,
        ),
        (
            "Always",
            None,
            with_image(trouble("ErrImageNeverPull", 3)),
            false,
            "Pending",
            "waiting",
            "ErrImageNeverPull",
            false,
        ),
        (
            "Always",
            None,
            with_trouble(trouble("CreateContainerConfigError", 1)),
            false,
            "Pending",
            "waiting",
            "CreateContainerConfigError",
            false,
        ),
    ];
    for (policy, state, memory, backing_off, phase, kind, reason, ready) in cases {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "img"}]}));
        let containers = state.into_iter().map(|state| container("a", 0, 0, state)).collect();
        let seen = observed(up(), containers);
        let status = report(&pod, &seen, &memory, if backing_off { &["a"] } else { &[] });
        let own = &status["containerStatuses"][0];
        let why = format!("{policy} {seen:?} {status:#}");
        assert_eq!(status["phase"], phase, "{why}");
        assert_eq!(own["state"][kind]["reason"].as_str().unwrap_or_default(), reason, "{why}");
        assert!(own["state"].get(kind).is_some(), "{why}");
        assert_eq!(own["ready"], ready, "{why}");
        assert_eq!(condition(&status, "Ready") == "True", ready, "{why}");
        assert_eq!(condition(&status, "ContainersReady") == "True", ready, "{why}");
    }
}

#[test]
fn a_running_pod_is_told_in_full() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "img"}]}));
    let seen = observed(up(), vec![container("a", 1, 0, running(60)), container("a", 0, 0, exited(143, 50))]);
    let status = report(&pod, &seen, &admitted(), &[]);
    assert_eq!(status["podIP"], "10.1.0.7");
    assert_eq!(status["podIPs"], json!([{"ip": "10.1.0.7"}]));
    assert_eq!(status["hostIP"], "192.168.0.1");
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(status["startTime"], "2027-01-15T08:00:00Z");
    let own = &status["containerStatuses"][0];
    assert_eq!(own["restartCount"], 1);
    assert_eq!(own["containerID"], "docker://a1");
    assert_eq!(own["started"], true);
    assert_eq!(own["lastState"]["terminated"]["exitCode"], 143);
    for name in ["PodReadyToStartContainers", "Initialized", "PodScheduled"] {
        assert_eq!(condition(&status, name), "True", "{name}");
    }
    assert!(serde_json::from_value::<k8s_openapi::api::core::v1::PodStatus>(status).is_ok());
}

#[test]
fn probes_gate_readiness() {
    let pod = pod(json!({"containers": [
        {"name": "a", "readinessProbe": {"exec": {"command": ["x"]}}, "startupProbe": {"exec": {"command": ["x"]}}},
    ]}));
    let seen = observed(up(), vec![container("a", 0, 0, running(60))]);
    let mut memory = admitted();
    let own = |memory: &Memory| report(&pod, &seen, memory, &[])["containerStatuses"][0].clone();
    assert_eq!((&own(&memory)["started"], &own(&memory)["ready"]), (&json!(false), &json!(false)));
    memory.container_mut("a").started = Some("a0".into());
    assert_eq!((&own(&memory)["started"], &own(&memory)["ready"]), (&json!(true), &json!(false)));
    memory.container_mut("a").ready = Some("a0".into());
    assert_eq!(own(&memory)["ready"], true);
    memory.container_mut("a").ready = Some("another".into());
    assert_eq!(own(&memory)["ready"], false);
}

#[test]
fn init_containers_hold_the_others_back() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let seen = observed(up(), vec![container("i", 0, 0, running(5))]);
    let status = report(&pod, &seen, &admitted(), &[]);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(condition(&status, "Initialized"), "False");
    let seen = observed(up(), vec![container("i", 0, 0, exited(0, 5)), container("a", 0, 0, running(6))]);
    let status = report(&pod, &seen, &admitted(), &[]);
    assert_eq!((condition(&status, "Initialized"), condition(&status, "Ready")), ("True", "True"));
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
}

#[test]
fn a_status_never_goes_back_and_keeps_what_others_own() {
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    pod.status = Some(
        serde_json::from_value(json!({
            "phase": "Running", "podIP": "10.1.0.9",
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "mine", "status": "Unknown"},
            ],
            "containerStatuses": [{"name": "a", "restartCount": 7, "containerID": "docker://x", "image": "i",
                "imageID": "", "ready": true, "lastState": {"terminated": {"exitCode": 9}}}],
        }))
        .unwrap(),
    );
    let seen = observed(up(), vec![container("a", 2, 0, running(60))]);
    let status = report(&pod, &seen, &admitted(), &[]);
    assert_eq!(status["containerStatuses"][0]["restartCount"], 7);
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 9);
    assert_eq!(condition(&status, "mine"), "Unknown");
    let gone = report(&pod, &Observed::default(), &admitted(), &[]);
    assert_eq!(gone["containerStatuses"][0]["restartCount"], 7);
    assert_eq!(gone["podIP"], "10.1.0.9");
    pod.status.as_mut().unwrap().phase = Some("Succeeded".into());
    assert_eq!(report(&pod, &Observed::default(), &Memory::default(), &[])["phase"], "Succeeded");
}

#[test]
fn a_refused_pod_says_why() {
    let memory =
        Memory { failure: Some(Failure { reason: "OutOfcpu".into(), message: "m".into() }), ..Memory::default() };
    let status = report(&pod(json!({"containers": [{"name": "a"}]})), &Observed::default(), &memory, &[]);
    assert_eq!(
        (&status["phase"], &status["reason"], &status["message"]),
        (&json!("Failed"), &json!("OutOfcpu"), &json!("m"))
    );
}

#[test]
fn times_alone_are_no_news() {
    let one = json!({"phase": "Running", "reason": null, "conditions": [{"type": "Ready", "lastTransitionTime": "a"}]});
    let other = json!({"phase": "Running", "conditions": [{"type": "Ready", "lastTransitionTime": "b"}]});
    assert!(says_the_same(&one, &other));
    assert!(!says_the_same(&one, &json!({"phase": "Failed", "conditions": [{"type": "Ready"}]})));
}
