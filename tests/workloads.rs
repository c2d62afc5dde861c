//! Rules about time that need a whole cluster: a rollout's deadline, nodes that vanish, tolerations. Containers are
//! simulated.

use std::path::Path;
use std::time::Duration;

use chaos::{Cluster, Error, Node, Shape};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a node's grace and the default toleration together.
const LONG_LOST_SECONDS: i64 = 9;

fn cluster(nodes: u8) -> Cluster {
    let shape = Shape { masters: 1, nodes, runtime: "sim" };
    Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster")
}

fn ok(cluster: &Cluster, line: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    cluster.kubectl(&arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn list(cluster: &Cluster, what: &str) -> Result<Vec<Value>, Error> {
    let text = cluster.kubectl(&["get", what, "-o", "json"])?;
    let list: Value = serde_json::from_str(&text).map_err(|error| Error::Answer(error.to_string()))?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn apply(cluster: &Cluster, object: &Value) {
    let path = cluster.dir().join("object.json");
    std::fs::write(&path, object.to_string()).expect("a file");
    ok(cluster, &format!("apply -f {}", path.display()));
}

/// Nodes that are NotReady, and have been for long.
fn long_lost(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let lost = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        let since = ready["lastTransitionTime"].as_str()?.parse().ok()?;
        let long = base::clock::now().duration_since(since).as_secs() >= LONG_LOST_SECONDS;
        let name = node["metadata"]["name"].as_str()?;
        (long && ready["status"] == "Unknown").then(|| name.to_owned())
    };
    Ok(list(cluster, "nodes")?.iter().filter_map(lost).collect())
}

fn freeze(cluster: &Cluster, nodes: &[Node], signal: Signal) {
    for node in nodes {
        cluster.signal(node.pid, signal).expect("it runs");
    }
}

#[test]
fn a_rollout_past_its_deadline_fails_in_upstreams_words() {
    let cluster = cluster(1);
    apply(
        &cluster,
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"progressDeadlineSeconds": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "missing:1"}]}}},
        }),
    );
    let failed =
        cluster.kubectl(&["rollout", "status", "deployment", "web", "--timeout=60s"]).expect_err("no progress");
    let said = failed.to_string();
    assert!(said.contains(r#"error: deployment "web" exceeded its progress deadline"#), "{said}");
    let reason = "get deployment web -o jsonpath={.status.conditions[?(@.type=='Progressing')].reason}";
    assert_eq!(ok(&cluster, reason), "ProgressDeadlineExceeded");
    // A good image ends it.
    ok(&cluster, "set image deployment/web main=sim:1");
    ok(&cluster, "rollout status deployment web --timeout=60s");
}

#[test]
fn when_most_nodes_vanish_nothing_is_moved() {
    let cluster = cluster(3);
    ok(&cluster, "create deployment web --image=sim --replicas=6");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    let pods = || {
        let all = list(&cluster, "pods")?;
        let moved = all.iter().any(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        let mut names: Vec<String> = all.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect();
        names.sort();
        Ok::<_, Error>((names, moved))
    };
    let before = pods().unwrap();
    let nodes = cluster.nodes().unwrap();
    freeze(&cluster, &nodes[..2], Signal::SIGSTOP);
    let lost = cluster.wait("two nodes long lost", PATIENCE, || {
        assert_eq!(pods()?, before, "a pod was moved");
        Ok((long_lost(&cluster)?.len() == 2).then_some(()))
    });
    let status = cluster.status().unwrap();
    freeze(&cluster, &nodes[..2], Signal::SIGCONT);
    lost.unwrap();
    assert!(status["warnings"].to_string().contains("no pod is moved"), "{status}");
    cluster
        .wait("the nodes to be back", PATIENCE, || {
            let status = cluster.status()?;
            let held = status["warnings"].to_string().contains("no pod is moved");
            Ok((!held && cluster.nodes()?.iter().all(|node| node.ready)).then_some(()))
        })
        .unwrap();
    assert_eq!(pods().unwrap(), before);
}

#[test]
fn a_pods_own_toleration_is_honoured_on_a_dead_node() {
    let cluster = cluster(2);
    let victim = cluster.nodes().unwrap().remove(0);
    let pod = |name: &str, tolerations: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeSelector": {"kubernetes.io/hostname": victim.name}, "tolerations": tolerations,
                "containers": [{"name": "main", "image": "sim"}]},
        })
    };
    apply(&cluster, &pod("usual", json!([])));
    let patient = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 300}]);
    apply(&cluster, &pod("patient", patient));
    ok(&cluster, "wait --for=condition=Ready pod/usual pod/patient --timeout=60s");
    cluster.signal(victim.pid, Signal::SIGKILL).unwrap();
    cluster
        .wait("a node long lost, and its usual pod evicted", PATIENCE, || {
            let usual = cluster.kubectl(&["get", "pod", "usual", "-o", "jsonpath={.metadata.deletionTimestamp}"]);
            // Evicted and not confirmed by its dead agent, or gone.
            let evicted = usual.map_or_else(|error| error.to_string().contains("NotFound"), |text| !text.is_empty());
            Ok((evicted && long_lost(&cluster)? == [victim.name.clone()]).then_some(()))
        })
        .unwrap();
    let patient = ok(&cluster, "get pod patient -o jsonpath={.metadata.deletionTimestamp}/{.spec.nodeName}");
    assert_eq!(patient, format!("/{}", victim.name));
}
