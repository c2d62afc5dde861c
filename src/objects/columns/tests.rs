//! Rows of objects and the cells that kubectl must print for them.

use serde_json::{Value, json};

use super::*;
use crate::{kind, time};

const NOW: &str = "2026-07-24T08:00:00Z";
const BORN: &str = "2026-07-24T07:55:00Z";

fn row(kind: &str, object: Value) -> Vec<Value> {
    let kind = kind::all().iter().find(|known| known.kind == kind).expect("served");
    let row = cells(kind, &object, time::parse(NOW).expect("a time"));
    assert_eq!(row.len(), columns(kind).len());
    row
}

fn headings(kind: &str) -> Vec<(&'static str, i32)> {
    let kind = kind::all().iter().find(|known| known.kind == kind).expect("served");
    columns(kind).iter().map(|column| (column.name, column.priority)).collect()
}

/// Ready, status and restarts of a pod.
fn pod(object: Value) -> (String, String, String) {
    let cells = row("Pod", object);
    let text = |at: usize| cells[at].as_str().unwrap().to_owned();
    (text(1), text(2), text(3))
}

fn shows(object: Value, ready: &str, status: &str, restarts: &str) {
    let shown = pod(object.clone());
    assert_eq!(shown, (ready.into(), status.into(), restarts.into()), "{object}");
}

#[test]
fn odd_objects_have_rows_as_well() {
    for kind in kind::all() {
        let now = time::parse(NOW).unwrap();
        for odd in [json!({}), json!([]), json!(null), json!({"metadata": [], "spec": "x", "status": 3, "data": 7})] {
            assert_eq!(cells(kind, &odd, now).len(), columns(kind).len(), "{}", kind.kind);
        }
        assert_eq!(columns(kind).iter().filter(|column| column.format == "name").count(), 1);
    }
}

#[test]
fn headings_are_upstreams() {
    assert_eq!(
        headings("Pod"),
        [
            ("Name", 0),
            ("Ready", 0),
            ("Status", 0),
            ("Restarts", 0),
            ("Age", 0),
            ("IP", 1),
            ("Node", 1),
            ("Nominated Node", 1),
            ("Readiness Gates", 1),
        ]
    );
    assert_eq!(
        headings("Node"),
        [
            ("Name", 0),
            ("Status", 0),
            ("Roles", 0),
            ("Age", 0),
            ("Version", 0),
            ("Internal-IP", 1),
            ("External-IP", 1),
            ("OS-Image", 1),
            ("Kernel-Version", 1),
            ("Container-Runtime", 1),
        ]
    );
    assert_eq!(
        headings("Deployment"),
        [
            ("Name", 0),
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ]
    );
    assert_eq!(
        headings("Event"),
        [
            ("Last Seen", 0),
            ("Type", 0),
            ("Reason", 0),
            ("Object", 0),
            ("Subobject", 1),
            ("Source", 1),
            ("Message", 0),
            ("First Seen", 1),
            ("Count", 1),
            ("Name", 1),
        ]
    );
    assert_eq!(headings("Secret"), [("Name", 0), ("Type", 0), ("Data", 0), ("Age", 0)]);
    assert_eq!(headings("Lease"), [("Name", 0), ("Holder", 0), ("Age", 0)]);
}

fn containers(statuses: Value) -> Value {
    let count = statuses.as_array().unwrap().len();
    let spec: Vec<Value> = (0..count).map(|at| json!({"name": format!("c{at}")})).collect();
    json!({"spec": {"containers": spec}, "status": {"phase": "Running", "containerStatuses": statuses}})
}

#[test]
fn pods_say_how_their_containers_are() {
    let running = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    let unready = json!({"ready": false, "restartCount": 0, "state": {"running": {}}});
    let waiting = |reason: &str| json!({"ready": false, "restartCount": 3, "state": {"waiting": {"reason": reason}}});
    let ended = |state: Value| json!({"ready": false, "restartCount": 0, "state": {"terminated": state}});
    for (statuses, ready, status, restarts) in [
        (json!([running]), "1/1", "Running", "0"),
        (json!([unready]), "0/1", "Running", "0"),
        (json!([waiting("ContainerCreating")]), "0/1", "ContainerCreating", "3"),
        (json!([waiting("CrashLoopBackOff"), running]), "1/2", "CrashLoopBackOff", "3"),
        (json!([running, waiting("ImagePullBackOff")]), "1/2", "ImagePullBackOff", "3"),
        (json!([waiting("A"), waiting("B")]), "0/2", "A", "6"),
        (json!([ended(json!({"reason": "Completed", "exitCode": 0}))]), "0/1", "Completed", "0"),
        (json!([ended(json!({"reason": "OOMKilled", "exitCode": 137}))]), "0/1", "OOMKilled", "0"),
        (json!([ended(json!({"exitCode": 3}))]), "0/1", "ExitCode:3", "0"),
        (json!([ended(json!({"exitCode": 137, "signal": 9}))]), "0/1", "Signal:9", "0"),
        (json!([ended(json!({"reason": "Completed"})), running]), "1/2", "NotReady", "0"),
    ] {
        shows(containers(statuses), ready, status, restarts);
    }
    let mut half = containers(json!([ended(json!({"reason": "Completed"})), running]));
    half["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    shows(half, "1/2", "Running", "0");
}

#[test]
fn restarts_say_when() {
    let restarted = |count: i64, at: &str| json!({"ready": true, "restartCount": count, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": at}}});
    shows(containers(json!([restarted(2, BORN)])), "1/1", "Running", "2 (5m ago)");
    shows(
        containers(json!([restarted(2, BORN), restarted(1, "2026-07-24T07:59:50Z")])),
        "2/2",
        "Running",
        "3 (10s ago)",
    );
    shows(containers(json!([restarted(0, BORN)])), "1/1", "Running", "0");
}

#[test]
fn pods_without_containers_say_their_phase() {
    for (status, shown) in [
        (json!({"phase": "Pending"}), "Pending"),
        (json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
        (json!({"phase": "Succeeded"}), "Succeeded"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "SchedulingGated",
        ),
        (json!({}), ""),
    ] {
        shows(json!({"spec": {"containers": [{"name": "c"}]}, "status": status}), "0/1", shown, "0");
    }
}

#[test]
fn deleted_pods_terminate() {
    for (status, shown) in [
        (json!({"phase": "Running"}), "Terminating"),
        (json!({"phase": "Pending"}), "Terminating"),
        (json!({"phase": "Succeeded"}), "Succeeded"),
        (json!({"phase": "Failed"}), "Failed"),
        (json!({"phase": "Running", "reason": "NodeLost"}), "Unknown"),
    ] {
        shows(json!({"metadata": {"deletionTimestamp": NOW}, "spec": {}, "status": status}), "0/0", shown, "0");
    }
}

#[test]
fn init_containers_come_first() {
    let spec = json!({"initContainers": [{"name": "i0"}, {"name": "i1"}], "containers": [{"name": "c"}]});
    let done =
        json!({"name": "i0", "restartCount": 1, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let waiting = json!([{"name": "c", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]);
    for (inits, shown, restarts) in [
        (json!([{"name": "i0", "restartCount": 0, "state": {"running": {}}}]), "Init:0/2", "0"),
        (
            json!([done, {"name": "i1", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]),
            "Init:1/2",
            "1",
        ),
        (
            json!([done, {"name": "i1", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
            "Init:CrashLoopBackOff",
            "3",
        ),
        (
            json!([{"name": "i0", "restartCount": 0, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
            "Init:Error",
            "0",
        ),
        (json!([{"name": "i0", "restartCount": 0, "state": {"terminated": {"exitCode": 2}}}]), "Init:ExitCode:2", "0"),
        (
            json!([{"name": "i0", "restartCount": 0, "state": {"terminated": {"exitCode": 137, "signal": 9}}}]),
            "Init:Signal:9",
            "0",
        ),
        // Through: their restarts no longer count.
        (json!([done]), "PodInitializing", "0"),
    ] {
        let object = json!({"spec": spec, "status": {"phase": "Pending", "initContainerStatuses": inits, "containerStatuses": waiting}});
        shows(object, "0/1", shown, restarts);
    }
}

#[test]
fn sidecars_count_as_containers() {
    let object = json!({
        "spec": {"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]},
        "status": {"phase": "Running",
            "initContainerStatuses": [{"name": "s", "restartCount": 2, "started": true, "ready": true, "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": BORN}}}],
            "containerStatuses": [{"name": "c", "restartCount": 1, "ready": true, "state": {"running": {}}}]},
    });
    shows(object, "2/2", "Running", "3 (5m ago)");
}

#[test]
fn wide_rows_of_pods() {
    let object = json!({
        "metadata": {"name": "p", "creationTimestamp": BORN},
        "spec": {"nodeName": "n1", "containers": [], "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "a", "status": "True"}, {"type": "b", "status": "False"}]},
    });
    assert_eq!(row("Pod", object), ["p", "0/0", "Running", "0", "5m", "10.0.0.1", "n1", "<none>", "1/2"]);
    let bare = row("Pod", json!({"metadata": {"name": "p"}}));
    assert_eq!(bare, ["p", "0/0", "", "0", "<unknown>", "<none>", "<none>", "<none>", "<none>"]);
    let pod = kind::by_kind("v1", "Pod").unwrap();
    assert_eq!(row_conditions(pod, &json!({"status": {"phase": "Failed"}}))[0]["reason"], "Failed");
    assert_eq!(row_conditions(pod, &json!({"status": {"phase": "Running"}})), Vec::<Value>::new());
}

#[test]
fn rows_of_nodes() {
    let node = |spec: Value, conditions: Value, labels: Value| {
        let cells = row(
            "Node",
            json!({"metadata": {"name": "n", "labels": labels}, "spec": spec, "status": {"conditions": conditions}}),
        );
        (cells[1].as_str().unwrap().to_owned(), cells[2].as_str().unwrap().to_owned())
    };
    let pair = |status: &str, roles: &str| (status.to_owned(), roles.to_owned());
    let ready = json!([{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]);
    assert_eq!(node(json!({}), ready.clone(), json!({})), pair("Ready", "<none>"));
    assert_eq!(
        node(
            json!({"unschedulable": true}),
            ready,
            json!({"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/": "x",
            "kubernetes.io/role": "master", "node-role.kubernetes.io/control-plane": ""})
        ),
        pair("Ready,SchedulingDisabled", "control-plane,master,worker")
    );
    assert_eq!(node(json!({}), json!([{"type": "Ready", "status": "Unknown"}]), json!({})), pair("NotReady", "<none>"));
    assert_eq!(node(json!({}), json!([]), json!({})), pair("Unknown", "<none>"));
    let full = row(
        "Node",
        json!({"metadata": {"name": "n", "creationTimestamp": BORN}, "status": {
        "conditions": [{"type": "Ready", "status": "False"}],
        "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}],
        "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "docker://20"}}}),
    );
    assert_eq!(
        full,
        ["n", "NotReady", "<none>", "5m", "v1.37.0", "10.0.0.1", "<none>", "Debian", "6.1", "docker://20"]
    );
}

#[test]
fn rows_of_workloads() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]}, {"key": "zone", "operator": "NotIn", "values": ["x"]},
            {"key": "old", "operator": "DoesNotExist"}, {"key": "live", "operator": "Exists"}]},
        "template": {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}});
    let deployment = row(
        "Deployment",
        json!({"metadata": {"name": "d", "creationTimestamp": BORN}, "spec": spec,
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1}}),
    );
    let selector = "app=web,live,!old,tier in (a,b),zone notin (x)";
    assert_eq!(
        deployment,
        [json!("d"), json!("2/3"), json!(1), json!(0), json!("5m"), json!("a,b"), json!("i,j"), json!(selector)]
    );
    let set = row(
        "ReplicaSet",
        json!({"metadata": {"name": "r"}, "spec": {"replicas": 2}, "status": {"replicas": 1, "readyReplicas": 1}}),
    );
    assert_eq!(
        set,
        [json!("r"), json!(2), json!(1), json!(1), json!("<unknown>"), json!(""), json!(""), json!("<none>")]
    );
}

#[test]
fn rows_of_small_kinds() {
    let metadata = json!({"name": "x", "creationTimestamp": BORN});
    for (kind, object, cells) in [
        (
            "Namespace",
            json!({"metadata": metadata, "status": {"phase": "Active"}}),
            vec![json!("x"), json!("Active"), json!("5m")],
        ),
        (
            "ConfigMap",
            json!({"metadata": metadata, "data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
            vec![json!("x"), json!(3), json!("5m")],
        ),
        (
            "Secret",
            json!({"metadata": metadata, "type": "Opaque", "data": {"a": ""}}),
            vec![json!("x"), json!("Opaque"), json!(1), json!("5m")],
        ),
        ("ServiceAccount", json!({"metadata": metadata}), vec![json!("x"), json!(0), json!("5m")]),
        (
            "Lease",
            json!({"metadata": metadata, "spec": {"holderIdentity": "h"}}),
            vec![json!("x"), json!("h"), json!("5m")],
        ),
        ("Lease", json!({"metadata": metadata}), vec![json!("x"), json!(""), json!("5m")]),
    ] {
        assert_eq!(row(kind, object), cells, "{kind}");
    }
    // Of kinds without a printer upstream shows the name and when the object was made.
    let other = kind::by_kind("v1", "LimitRange").unwrap();
    assert_eq!(cells(other, &json!({ "metadata": metadata }), time::parse(NOW).unwrap()), ["x", BORN]);
    assert_eq!(columns(other)[1].name, "Created At");
}

#[test]
fn rows_of_events() {
    let base = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": " pulled\n",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}});
    let event = |change: Value| {
        let mut object = base.clone();
        for (key, value) in change.as_object().unwrap() {
            object[key] = value.clone();
        }
        row("Event", object)
    };
    assert_eq!(
        event(
            json!({"firstTimestamp": "2026-07-24T07:00:00Z", "lastTimestamp": BORN, "count": 4, "source": {"component": "kubelet", "host": "n"}})
        ),
        [
            json!("5m"),
            json!("Normal"),
            json!("Pulled"),
            json!("pod/p"),
            json!("spec.containers{c}"),
            json!("kubelet, n"),
            json!("pulled"),
            json!("60m"),
            json!(4),
            json!("e")
        ]
    );
    let new = event(
        json!({"eventTime": "2026-07-24T07:55:00.000000Z", "source": {}, "reportingComponent": "scheduler", "reportingInstance": "m1"}),
    );
    assert_eq!((&new[0], &new[5], &new[7], &new[8]), (&json!("5m"), &json!("scheduler, m1"), &json!("5m"), &json!(1)));
    let series = event(
        json!({"eventTime": "2026-07-24T07:00:00.000000Z", "series": {"count": 9, "lastObservedTime": "2026-07-24T07:59:00.000000Z"}}),
    );
    assert_eq!((&series[0], &series[8]), (&json!("60s"), &json!(9)));
    let nowhere = row("Event", json!({"involvedObject": {"kind": "Node"}}));
    assert_eq!((&nowhere[0], &nowhere[3]), (&json!("<unknown>"), &json!("node")));
}
