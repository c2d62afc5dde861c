//! Real containers: kubectl drives Docker through three masters, and the leader or a node may die meanwhile.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chaos::{Cluster, Error, IMAGE, Shape};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster on Docker; `None` where no engine answers, which is a failure on CI.
fn cluster() -> Option<Cluster> {
    let engine = Command::new("docker").arg("version").output().is_ok_and(|output| output.status.success());
    if !engine {
        assert!(std::env::var_os("CI").is_none(), "no Docker engine answers: start one (make test does)");
        eprintln!("NOT RUN: no Docker engine answers");
        return None;
    }
    chaos::ensure_image().expect("the test image");
    let shape = Shape { masters: 3, nodes: 3, runtime: "docker" };
    Some(Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster"))
}

fn ok(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn apply(cluster: &Cluster, object: &Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("object.json");
    std::fs::write(&path, object.to_string()).expect("a file");
    ok(cluster, &["apply", "-f", &path.display().to_string()]);
}

fn pod(name: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": IMAGE, "command": command}]},
    })
}

fn deployment(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]}]}}},
    })
}

/// Waits until `kubectl get pod NAME -o jsonpath=PATH` prints `wanted`.
fn until(cluster: &Cluster, name: &str, path: &str, wanted: &str) {
    let path = format!("jsonpath={path}");
    let seen = cluster.wait(&format!("{name} {path} = {wanted}"), PATIENCE, || {
        let text = cluster.kubectl(&["get", "pod", name, "-o", &path])?;
        if text == wanted { Ok(Some(())) } else { Err(Error::Answer(text)) }
    });
    if let Err(error) = seen {
        panic!("{error}\n{}", ok(cluster, &["describe", "pod", name]));
    }
}

/// Containers of this cluster in the engine, running or not.
fn containers(cluster_id: &str) -> Vec<String> {
    let filter = format!("label=io.barque.cluster={cluster_id}");
    let output = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().expect("docker");
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn pods_are_real_containers() {
    let Some(cluster) = cluster() else { return };
    let id = cluster.id().unwrap();

    // Logs, exit codes and phases.
    apply(&cluster, &pod("steady", &["sh", "-c", "echo hello; echo oops >&2; exec sleep 1000000"]));
    until(&cluster, "steady", "{.status.phase}", "Running");
    let mut once = pod("once", &["sh", "-c", "echo done; exit 3"]);
    once["spec"]["restartPolicy"] = json!("Never");
    apply(&cluster, &once);
    until(&cluster, "once", "{.status.phase}", "Failed");
    until(&cluster, "once", "{.status.containerStatuses[0].state.terminated.exitCode}", "3");
    assert_eq!(ok(&cluster, &["logs", "once"]), "done\n");
    let logs = ok(&cluster, &["logs", "steady"]);
    assert!(logs.contains("hello\n") && logs.contains("oops\n"), "{logs}");

    // Commands inside, with their exit codes.
    assert_eq!(ok(&cluster, &["exec", "steady", "--", "echo", "inside"]), "inside\n");
    let failed = cluster.kubectl(&["exec", "steady", "--", "sh", "-c", "exit 7"]).expect_err("it exits with 7");
    assert!(failed.to_string().contains("exit code 7"), "{failed}");

    // Reasons, as kubectl shows them.
    apply(
        &cluster,
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"},
            "spec": {"containers": [{"name": "main", "image": "registry.invalid/none:1"}]},
        }),
    );
    apply(&cluster, &pod("crashing", &["false"]));
    until(&cluster, "crashing", "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff");
    cluster
        .wait("the image's reason", PATIENCE, || {
            let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
            let reason = cluster.kubectl(&["get", "pod", "lost", "-o", path])?;
            Ok((reason == "ErrImagePull" || reason == "ImagePullBackOff").then_some(()))
        })
        .unwrap();

    // Volumes, environment, one address for all containers of a pod.
    ok(&cluster, &["create", "configmap", "settings", "--from-literal=colour=blue"]);
    ok(&cluster, &["create", "secret", "generic", "key", "--from-literal=password=s3cret"]);
    apply(
        &cluster,
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rich", "labels": {"tier": "front"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "volumes": [
                    {"name": "shared", "emptyDir": {}},
                    {"name": "settings", "configMap": {"name": "settings"}},
                    {"name": "key", "secret": {"secretName": "key"}}],
                "initContainers": [{"name": "first", "image": IMAGE, "command": ["sh", "-c", "echo ready > /shared/flag"],
                    "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
                "containers": [
                    {"name": "server", "image": IMAGE, "command": ["sh", "-c", "exec httpd -f -p 8080 -h /shared"],
                     "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
                    {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"],
                     "env": [
                        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                        {"name": "GREETING", "value": "$(WHO)-$(COLOUR)"}],
                     "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}},
                     "volumeMounts": [
                        {"name": "settings", "mountPath": "/settings"},
                        {"name": "key", "mountPath": "/key"},
                        {"name": "shared", "mountPath": "/shared"}]}]},
        }),
    );
    until(&cluster, "rich", "{.status.phase}", "Running");
    let inside = |command: &str| ok(&cluster, &["exec", "rich", "-c", "main", "--", "sh", "-c", command]);
    assert_eq!(inside("cat /settings/colour; cat /key/password; echo; echo $GREETING"), "blues3cret\nrich-blue\n");
    cluster
        .wait("the neighbour's port", PATIENCE, || {
            let seen =
                cluster.kubectl(&["exec", "rich", "-c", "main", "--", "wget", "-qO-", "http://127.0.0.1:8080/flag"])?;
            Ok((seen == "ready\n").then_some(()))
        })
        .expect("containers of a pod share their address");
    let address = ok(&cluster, &["get", "pod", "rich", "-o", "jsonpath={.status.podIP}"]);
    let url = format!("http://{address}:8080/flag");
    assert_eq!(ok(&cluster, &["exec", "steady", "--", "wget", "-qO-", &url]), "ready\n", "pods reach each other");

    // Gone means gone.
    ok(&cluster, &["delete", "pod", "--all", "--timeout=60s"]);
    cluster.wait("no container left", PATIENCE, || Ok(containers(&id).is_empty().then_some(()))).unwrap();
}

#[test]
fn the_leader_may_die_and_nothing_is_lost() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(6));
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    let fingerprint = || {
        let path = r"jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.containerStatuses[0].containerID}{'\n'}{end}";
        ok(&cluster, &["get", "pods", "-l", "app=web", "-o", path])
    };
    let before = fingerprint();
    ok(&cluster, &["create", "configmap", "before", "--from-literal=a=1"]);
    let leader = cluster.leader().unwrap();
    cluster.signal(leader.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster
        .wait("a write through another master", PATIENCE, || {
            cluster.kubectl(&["create", "configmap", "after", "--from-literal=a=1", "--request-timeout=2s"]).map(Some)
        })
        .unwrap();
    ok(&cluster, &["get", "configmap", "before", "after"]);
    assert_ne!(cluster.leader().unwrap().name, leader.name);
    ok(&cluster, &["scale", "deployment", "web", "--replicas=7"]);
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    ok(&cluster, &["scale", "deployment", "web", "--replicas=6"]);
    for line in before.lines() {
        let name = line.split(' ').next().unwrap();
        let restarts = ok(
            &cluster,
            &["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}"],
        );
        assert!(restarts.split(' ').all(|count| count == "0"), "{name} restarted: {restarts}");
    }
    assert!(cluster.nodes().unwrap().iter().all(|node| node.ready), "no agent noticed");
    // The dead master comes back as a follower, and the chain of all changes is the same everywhere.
    cluster.up().unwrap();
    cluster
        .wait("all three masters", PATIENCE, || {
            let status = cluster.status()?;
            Ok((status["tolerates"] == 1 && status["leader"].is_string()).then_some(()))
        })
        .unwrap();
}

#[test]
fn a_dead_node_is_replaced_and_taken_back() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(6));
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    let nodes = cluster.nodes().unwrap();
    let victim = &nodes[0];
    cluster.kill_node(victim).unwrap();
    let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    cluster
        .wait("NotReady", PATIENCE, || {
            let text = cluster.kubectl(&["get", "node", &victim.name, "-o", ready])?;
            Ok((text == "Unknown").then_some(()))
        })
        .unwrap();
    cluster
        .wait("six pods elsewhere", PATIENCE, || {
            let selector = format!("spec.nodeName!={},status.phase=Running", victim.name);
            let text =
                cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "name", "--field-selector", &selector])?;
            Ok((text.lines().count() == 6).then_some(()))
        })
        .unwrap();
    cluster.up().unwrap();
    cluster
        .wait("the node to be taken back", PATIENCE, || {
            let text = cluster.kubectl(&["get", "node", &victim.name, "-o", ready])?;
            Ok((text == "True").then_some(()))
        })
        .unwrap();
    // What the dead node still had is confirmed gone by its agent.
    cluster
        .wait("the old pods to go", PATIENCE, || {
            let text = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"])?;
            Ok((text.lines().count() == 6).then_some(()))
        })
        .unwrap();
}

#[test]
fn an_agent_that_restarts_and_masters_that_vanish_leave_containers_alone() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(3));
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    let id = cluster.id().unwrap();
    let mut before = containers(&id);
    before.sort();
    for master in cluster.masters().unwrap() {
        cluster.signal(master.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    for node in cluster.nodes().unwrap_or_default() {
        cluster.signal(node.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    cluster.up().unwrap();
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    let mut after = containers(&id);
    after.sort();
    assert_eq!(before, after);
}

#[test]
fn down_removes_every_container() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(3));
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
    let id = cluster.id().unwrap();
    assert!(!containers(&id).is_empty());
    cluster.barque(&["down"]).unwrap();
    assert_eq!(containers(&id), Vec::<String>::new());
    // A folder that exists is started again, with its data.
    cluster.up().unwrap();
    ok(&cluster, &["rollout", "status", "deployment", "web", "--timeout=90s"]);
}
