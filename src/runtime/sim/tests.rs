//! Tests of what only the simulated runtime can do; what it shares with Docker is in `contract`.

use super::*;
use crate::{PodRef, State};

fn scope() -> Scope {
    Scope::new("c", "n").unwrap()
}

fn pod() -> PodRef {
    PodRef { namespace: "default".into(), name: "web".into(), uid: "u".into() }
}

async fn started(sim: &Sim, script: &str) -> String {
    let sandbox = sim.run_sandbox(SandboxSpec { pod: pod(), ..Default::default() }).await.unwrap();
    let spec = ContainerSpec {
        pod: pod(),
        name: "app".into(),
        sandbox_id: sandbox.id,
        image: "any:1".into(),
        command: ["sh", "-c", script].map(str::to_owned).into(),
        ..Default::default()
    };
    let id = sim.create_container(spec).await.unwrap();
    sim.start_container(&id).await.unwrap();
    id
}

async fn state(sim: &Sim, id: &str) -> State {
    let listing = sim.list().await.unwrap();
    listing.containers.into_iter().find(|container| container.id == id).unwrap().state
}

#[tokio::test(start_paused = true)]
async fn time_and_a_start_delay_pass_as_told() {
    let options = SimOptions { start_delay: Duration::from_secs(7), ..Default::default() };
    let sim = Sim::open(scope(), options).unwrap();
    let before = Instant::now();
    let id = started(&sim, "sleep 10; exit 3").await;
    assert_eq!(before.elapsed().as_secs(), 7);
    assert!(state(&sim, &id).await.is_running());
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(state(&sim, &id).await.is_running());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(state(&sim, &id).await.exit().unwrap().code, 3);
}

#[tokio::test]
async fn containers_outlive_the_process_and_a_sweep_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = SimOptions { folder: Some(folder.path().to_owned()), ..Default::default() };
    let first = Sim::open(scope(), options.clone()).unwrap();
    let id = started(&first, "sleep infinity").await;
    let before = first.list().await.unwrap();
    drop(first);
    let second = Sim::open(scope(), options.clone()).unwrap();
    assert_eq!(second.list().await.unwrap(), before);
    second.end(&id, 137, true).unwrap();
    let third = Sim::open(scope(), options.clone()).unwrap();
    assert!(state(&third, &id).await.exit().unwrap().oom_killed);
    let other = Sim::open(Scope::new("c", "other").unwrap(), options.clone()).unwrap();
    assert_eq!(other.list().await.unwrap(), Listing::default());
    assert_eq!(sweep(folder.path(), "c").unwrap(), 2);
    assert_eq!(Sim::open(scope(), options).unwrap().list().await.unwrap(), Listing::default());
    assert!(sweep(folder.path(), "../up").is_err());
}

#[tokio::test]
async fn an_unreachable_engine_keeps_its_containers() {
    let sim = Sim::open(scope(), SimOptions::default()).unwrap();
    let id = started(&sim, "sleep infinity").await;
    sim.set_reachable(false);
    assert!(matches!(sim.list().await, Err(Error::EngineUnreachable { .. })));
    assert!(matches!(sim.remove_container(&id).await, Err(Error::EngineUnreachable { .. })));
    sim.set_reachable(true);
    assert!(state(&sim, &id).await.is_running());
}

#[tokio::test]
async fn every_log_says_that_it_is_simulated() {
    use futures::StreamExt;
    let sim = Sim::open(scope(), SimOptions::default()).unwrap();
    let id = started(&sim, "echo hello; sleep infinity").await;
    let mut logs = sim.logs(&id, LogOptions::default()).await.unwrap();
    let first = logs.next().await.unwrap().unwrap();
    assert!(first.bytes.starts_with(b"simulated: container app of image any:1"), "{first:?}");
}
