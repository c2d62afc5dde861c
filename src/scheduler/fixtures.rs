//! Pods and nodes for tests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{NodeFacts, PodFacts, Snapshot};

/// A pod of namespace `d`, with `spec` laid over a spec of one container.
pub(crate) fn pod(name: &str, spec: Value) -> Arc<PodFacts> {
    labelled(name, json!({}), spec)
}

/// As [`pod`], with labels.
pub(crate) fn labelled(name: &str, labels: Value, spec: Value) -> Arc<PodFacts> {
    let mut whole = json!({"containers": [{"name": "c"}]});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": "d", "uid": format!("uid-{name}"), "labels": labels});
    let pod = serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap();
    Arc::new(PodFacts::of(Arc::new(pod)))
}

/// A pod that asks for CPU and memory.
pub(crate) fn asking(name: &str, cpu: &str, memory: &str) -> Arc<PodFacts> {
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
    pod(name, json!({"containers": [{"name": "c", "resources": resources}]}))
}

/// A ready node with 4 cores, 8 GiB and room for 10 pods; `change` is laid over its spec, labels and status.
pub(crate) fn node(name: &str, labels: Value, spec: Value) -> NodeFacts {
    let mut all = json!({"kubernetes.io/hostname": name});
    for (key, value) in labels.as_object().unwrap() {
        all[key] = value.clone();
    }
    let amounts = json!({"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "10"});
    let status = json!({"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]});
    let metadata = json!({"name": name, "uid": format!("uid-{name}"), "labels": all});
    let node = json!({"metadata": metadata, "spec": spec, "status": status});
    NodeFacts::of(Arc::new(serde_json::from_value(node).unwrap()))
}

/// A snapshot of nodes.
pub(crate) fn snapshot(nodes: Vec<NodeFacts>) -> Snapshot {
    Snapshot { nodes, namespaces: [("d".to_owned(), vec![("team".into(), "red".into())])].into() }
}
