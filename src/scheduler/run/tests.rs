//! The loop against a proposer that applies at once.

use objects::{Object, kind};
use serde_json::{Value, json};
use state::{Change, Origin};
use store::Store;
use store::testing::Direct;
use tokio::time::Instant;

use super::*;

fn world() -> (Store, Arc<Direct>, Duty) {
    let (store, direct) = Direct::start();
    let duty = Duty::new(store.clone(), direct.lead(1));
    (store, direct, duty)
}

async fn put(store: &Store, value: Value) {
    let kind = kind::by_kind("v1", value["kind"].as_str().unwrap()).unwrap();
    let metadata = &value["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("");
    let key = Key::new(kind.resource(), namespace, metadata["name"].as_str().unwrap());
    let change = Change::Put { key, object: Arc::new(Object::new(kind, &value).unwrap()) };
    let deadline = Instant::now() + Duration::from_secs(5);
    store.transact(Origin::Client("t".into()), vec![], vec![change], deadline).await.unwrap();
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}, "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "uid": name, "generation": 1},
        "spec": {"schedulerName": NAME, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": "Pending"}})
}

/// Waits until every pod is as `settled` says.
async fn until(store: &Store, what: &str, settled: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut changes = store.changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            let state = store.current();
            let pods: Vec<Value> =
                state.list(&"pods".into()).map(|pod| serde_json::from_slice(pod.object.bytes()).unwrap()).collect();
            if pods.iter().all(&settled) {
                return pods;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

#[tokio::test]
async fn pods_are_bound_refused_and_bound_once_there_is_room() {
    let (store, direct, duty) = world();
    let shutdown = base::Shutdown::new();
    put(&store, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d", "uid": "d"}})).await;
    put(&store, node("n1", "1")).await;
    let running = tokio::spawn(run(duty, shutdown.stopping()));
    put(&store, pod("a", "600m")).await;
    put(&store, pod("b", "600m")).await;
    let scheduled = |pod: &Value| pod["status"]["conditions"][0]["status"] == "True";
    until(&store, "one bound, one refused", |pod| pod["status"]["conditions"].is_array()).await;
    let pods = until(&store, "told", |pod| pod["status"]["conditions"].is_array()).await;
    assert_eq!(pods.iter().filter(|pod| scheduled(pod)).count(), 1);
    let refused = pods.iter().find(|pod| !scheduled(pod)).unwrap();
    assert_eq!(refused["status"]["conditions"][0]["reason"], "Unschedulable");
    assert_eq!(refused["status"]["conditions"][0]["message"], "0/1 nodes are available: 1 Insufficient cpu.");
    put(&store, node("n2", "1")).await;
    let pods = until(&store, "both bound", |pod| scheduled(pod)).await;
    let mut nodes: Vec<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2"]);
    assert!(pods.iter().all(|pod| pod["metadata"]["generation"] == 1));
    // A newer leader: the loop ends by itself at its next write.
    direct.lead(2);
    put(&store, pod("c", "100m")).await;
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("fenced").unwrap();
    let left = store.current();
    let unbound = left.get(&Key::new("pods", "d", "c")).unwrap();
    assert_eq!(unbound.face().field("spec.nodeName"), "");
}

#[tokio::test]
async fn a_thousand_pods_are_bound() {
    let (store, _, duty) = world();
    let shutdown = base::Shutdown::new();
    for number in 0..10 {
        put(&store, node(&format!("n{number}"), "64")).await;
    }
    for number in 0..1000 {
        put(&store, pod(&format!("p{number:04}"), "100m")).await;
    }
    let running = tokio::spawn(run(duty, shutdown.stopping()));
    until(&store, "all bound", |pod| pod["spec"]["nodeName"].is_string()).await;
    shutdown.trigger();
    running.await.unwrap();
}
