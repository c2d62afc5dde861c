//! Each filter by rows: a pod, a node, what is said.

use serde_json::{Value, json};

use super::*;
use crate::fixtures::{asking, node, pod};

fn check(pod: &PodFacts, node: &NodeFacts, expected: &[&str]) {
    let found = fits(pod, node).err().unwrap_or_default();
    assert_eq!(found, expected, "{:?} on {:?}", pod.pod.spec, node.node.spec);
}

#[test]
fn cordons_and_names() {
    let cordoned = node("n", json!({}), json!({"unschedulable": true}));
    let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]});
    check(&pod("p", json!({})), &cordoned, &["node(s) were unschedulable"]);
    check(&pod("p", tolerant), &cordoned, &[]);
    check(
        &pod("p", json!({"nodeName": "m"})),
        &node("n", json!({}), json!({})),
        &["node(s) didn't match the requested node name"],
    );
    check(&pod("p", json!({"nodeName": "n"})), &node("n", json!({}), json!({})), &[]);
}

#[test]
fn taints_and_tolerations() {
    let taint = |effect: &str| json!({"taints": [{"key": "k", "value": "v", "effect": effect}]});
    let tolerate = |toleration: Value| json!({"tolerations": [toleration]});
    const NO: &[&str] = &["node(s) had untolerated taint {k: v}"];
    for (taint, spec, expected) in [
        (taint("NoSchedule"), json!({}), NO),
        (taint("NoExecute"), json!({}), NO),
        (taint("PreferNoSchedule"), json!({}), &[]),
        (taint("NoSchedule"), tolerate(json!({"key": "k", "value": "v"})), &[]),
        (taint("NoSchedule"), tolerate(json!({"key": "k", "value": "w"})), NO),
        (taint("NoSchedule"), tolerate(json!({"key": "k", "operator": "Exists"})), &[]),
        (taint("NoSchedule"), tolerate(json!({"operator": "Exists"})), &[]),
        (taint("NoSchedule"), tolerate(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})), NO),
        (taint("NoExecute"), tolerate(json!({"key": "k", "operator": "Exists", "tolerationSeconds": 5})), &[]),
    ] {
        check(&pod("p", spec), &node("n", json!({}), taint), expected);
    }
}

#[test]
fn a_node_that_is_not_ready_is_closed_before_it_is_tainted() {
    let mut young = node("n", json!({}), json!({}));
    let mut value = (*young.node).clone();
    value.status.as_mut().unwrap().conditions = None;
    young.node = std::sync::Arc::new(value);
    check(&pod("p", json!({})), &young, &["node(s) had untolerated taint {node.kubernetes.io/not-ready: }"]);
    check(&pod("p", json!({"tolerations": [{"operator": "Exists"}]})), &young, &[]);
}

#[test]
fn node_selectors_and_affinity() {
    let target = node("n", json!({"disk": "ssd", "cores": "8"}), json!({}));
    let affine = |key: &str, operator: &str, values: Value| {
        let expression = json!({"key": key, "operator": operator, "values": values});
        let selector = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}})
    };
    let by_field = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}}}});
    let empty = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}});
    for (spec, fits) in [
        (json!({"nodeSelector": {"disk": "ssd"}}), true),
        (json!({"nodeSelector": {"disk": "hdd"}}), false),
        (affine("disk", "In", json!(["ssd", "nvme"])), true),
        (affine("disk", "NotIn", json!(["ssd"])), false),
        (affine("gpu", "NotIn", json!(["a"])), true),
        (affine("disk", "Exists", json!([])), true),
        (affine("disk", "DoesNotExist", json!([])), false),
        (affine("cores", "Gt", json!(["7"])), true),
        (affine("cores", "Lt", json!(["8"])), false),
        (affine("disk", "Gt", json!(["7"])), false),
        (by_field, true),
        (empty, false),
    ] {
        let expected: &[&str] = if fits { &[] } else { &["node(s) didn't match Pod's node affinity/selector"] };
        check(&pod("p", spec), &target, expected);
    }
}

#[test]
fn host_ports() {
    let with = |name: &str, ip: &str, port: i32, protocol: &str| {
        let ports = json!([{"containerPort": 80, "hostPort": port, "hostIP": ip, "protocol": protocol}]);
        pod(name, json!({"containers": [{"name": "c", "ports": ports}]}))
    };
    const TAKEN: &[&str] = &["node(s) didn't have free ports for the requested pod ports"];
    let mut holder = node("n", json!({}), json!({}));
    holder.add(with("a", "10.0.0.1", 8080, "TCP"));
    for (wanted, expected) in [
        (with("b", "", 8080, "TCP"), TAKEN),
        (with("b", "10.0.0.1", 8080, "TCP"), TAKEN),
        (with("b", "10.0.0.2", 8080, "TCP"), &[]),
        (with("b", "", 8080, "UDP"), &[]),
        (with("b", "", 8081, "TCP"), &[]),
        (
            pod("b", json!({"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]})),
            TAKEN,
        ),
    ] {
        check(&wanted, &holder, expected);
    }
}

#[test]
fn resources() {
    let mut full = node("n", json!({}), json!({}));
    full.add(asking("a", "3", "6Gi"));
    for (wanted, expected) in [
        (asking("b", "1", "2Gi"), &[] as &[&str]),
        (asking("b", "1001m", "1Gi"), &["Insufficient cpu"]),
        (asking("b", "2", "3Gi"), &["Insufficient cpu", "Insufficient memory"]),
        (pod("b", json!({})), &[]),
        (
            pod("b", json!({"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]})),
            &["Insufficient nvidia.com/gpu"],
        ),
    ] {
        check(&wanted, &full, expected);
    }
    let mut crowded = node("n", json!({}), json!({}));
    (0..10).for_each(|number| crowded.add(pod(&format!("p{number}"), json!({}))));
    check(&pod("b", json!({})), &crowded, &["Too many pods"]);
}
