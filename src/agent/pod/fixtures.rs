//! Pods and what an engine shows of them, for tests.

use super::memory::{ImageFact, Memory, Observed};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use runtime::{Container, Exit, PodRef, Sandbox, State};
use serde_json::{Value, json};

/// A moment, in seconds after a fixed one.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A pod of this spec.
pub(crate) fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}},
        "spec": spec,
    }))
    .unwrap()
}

/// The reference to [`pod`].
pub(crate) fn of() -> PodRef {
    PodRef { namespace: "ns".into(), name: "p".into(), uid: "u".into() }
}

pub(crate) fn running(second: i64) -> State {
    State::Running { started: Some(at(second)) }
}

pub(crate) fn exited(code: i32, second: i64) -> State {
    State::Exited(Exit {
        code,
        signal: Exit::signal_of(code),
        oom_killed: false,
        started: Some(at(second - 5)),
        finished: Some(at(second)),
        message: String::new(),
    })
}

pub(crate) fn sandbox(attempt: u32, state: State) -> Sandbox {
    Sandbox {
        id: format!("s{attempt}"),
        pod: of(),
        attempt,
        address: state.is_running().then(|| "10.1.0.7".parse().unwrap()),
        state,
        host_network: false,
        spec_hash: String::new(),
        created: Some(at(0)),
    }
}

pub(crate) fn container(name: &str, attempt: u32, sandbox: u32, state: State) -> Container {
    Container {
        id: format!("{name}{attempt}"),
        pod: of(),
        name: name.into(),
        attempt,
        sandbox_id: format!("s{sandbox}"),
        state,
        image: "img".into(),
        image_id: "sha256:1".into(),
        spec_hash: String::new(),
        created: Some(at(0)),
    }
}

/// What the engine shows, sorted as the agent sorts it.
pub(crate) fn observed(sandboxes: Vec<Sandbox>, containers: Vec<Container>) -> Observed {
    let listing = runtime::Listing { sandboxes, containers };
    Observed::group(listing).remove("u").map(|(_, observed)| observed).unwrap_or_default()
}

/// The memory of a pod that may run and whose volumes are there.
pub(crate) fn admitted() -> Memory {
    Memory { admitted: true, volumes_ready: true, start_time: Some(at(0)), ..Memory::default() }
}

/// As [`admitted`], with the images of these containers there for these attempts.
pub(crate) fn with_images(images: &[(&str, u32)]) -> Memory {
    let mut memory = admitted();
    for (name, attempt) in images {
        memory.container_mut(name).image = Some(ImageFact::Ready(*attempt));
    }
    memory
}
