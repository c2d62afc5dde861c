//! `barque up` beside processes that were told to end a moment before: whatever it finds, it leaves the whole cluster running.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chaos::{Cluster, Error, Shape};
use nix::sys::signal::Signal;
use serde_json::Value;

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster() -> Cluster {
    let shape = Shape { masters: 3, nodes: 2, runtime: "sim" };
    Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster")
}

/// The process that `up` has noted for this member, running or not.
fn pid(cluster: &Cluster, name: &str) -> i32 {
    let path = cluster.dir().join(name).join("process.json");
    let noted: Value = serde_json::from_slice(&std::fs::read(path).expect("a noted process")).expect("JSON");
    i32::try_from(noted["pid"].as_i64().expect("a pid")).expect("a pid")
}

/// Tells members to end and calls `up` at once: each must be another process then, and the cluster whole.
fn end_and_up(cluster: &Cluster, names: &[&str], signal: Signal) {
    let before: BTreeMap<&str, i32> = names.iter().map(|name| (*name, pid(cluster, name))).collect();
    for pid in before.values() {
        cluster.signal(*pid, signal).expect("it runs");
    }
    cluster.up().unwrap_or_else(|error| panic!("{signal} of {names:?}: {error}"));
    for (name, before) in before {
        assert_ne!(pid(cluster, name), before, "{name} was started again after {signal}");
    }
    whole(cluster);
}

/// Every process runs, every master and node says so, and the gateway takes a write at the first attempt.
fn whole(cluster: &Cluster) {
    for master in cluster.masters().expect("the masters") {
        assert!(master.pid != 0 && matches!(&*master.role, "leader" | "follower"), "{master:?}");
    }
    for node in cluster.nodes().expect("the nodes") {
        assert!(node.pid != 0 && node.ready, "{node:?}");
    }
    let status = cluster.status().expect("the status");
    assert_eq!(status["tolerates"], 1, "{status}");
    let name = format!("note-{}", cluster.term().expect("a term"));
    cluster
        .kubectl(&["create", "configmap", &name, "--from-literal=a=1", "--request-timeout=10s"])
        .expect("the gateway takes a ConfigMap");
    cluster
        .kubectl(&["delete", "configmap", &name, "--request-timeout=10s"])
        .expect("the gateway deletes the ConfigMap");
}

#[test]
fn a_leader_that_is_ending_is_brought_back() {
    let cluster = cluster();
    for round in 0..ROUNDS {
        let leader = cluster.leader().expect("a leader");
        eprintln!("round {round}: {} leads", leader.name);
        end_and_up(&cluster, &[&leader.name], if round == ROUNDS - 1 { Signal::SIGKILL } else { Signal::SIGTERM });
    }
}

#[test]
fn an_agent_and_the_gateway_that_are_ending_are_brought_back() {
    let cluster = cluster();
    for round in 0..ROUNDS {
        end_and_up(&cluster, &["node-1", "gateway"], if round % 2 == 0 { Signal::SIGTERM } else { Signal::SIGKILL });
    }
    end_and_up(&cluster, &["master-1", "master-2", "master-3", "node-1", "node-2", "gateway"], Signal::SIGTERM);
}

#[test]
fn masters_that_end_one_after_the_other_leave_no_write_without_an_answer() {
    let cluster = cluster();
    for round in 0..ROUNDS {
        // The leader first: whoever follows it may be the one that is told next.
        let leader = cluster.leader().expect("a leader");
        cluster.signal(leader.pid, Signal::SIGTERM).expect("the leader runs");
        cluster.up().expect("up succeeds beside masters that end");
        let next = cluster.leader().expect("a leader");
        cluster.signal(next.pid, Signal::SIGTERM).expect("the next leader runs");
        let name = format!("round-{round}");
        cluster
            .wait("a write while a master ends", PATIENCE, || {
                let outcome = cluster.kubectl(&["create", "configmap", &name, "--request-timeout=10s"]);
                match outcome {
                    // Its answer was lost with the master that ended; the write itself stands.
                    Err(Error::Command { output, .. }) if output.contains("already exists") => Ok(Some(())),
                    outcome => outcome.map(|_| Some(())),
                }
            })
            .expect("a write gets an answer");
        cluster.up().expect("up succeeds beside masters that end");
        whole(&cluster);
    }
}
