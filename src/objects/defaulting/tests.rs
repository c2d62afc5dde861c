//! Rows of objects before and after their defaults.

use serde_json::{Value, json};

use super::*;
use crate::{canonical, kind};

fn of(name: &str) -> &'static Kind {
    kind::all().iter().find(|kind| kind.kind == name).unwrap()
}

fn filled(kind: &str, mut value: Value) -> Value {
    apply(of(kind), &mut value);
    let once = value.clone();
    apply(of(kind), &mut value);
    assert_eq!(value, once, "filling twice changes nothing");
    let mut canonical = value.clone();
    canonical::canonicalize(of(kind), &mut canonical).unwrap();
    let mut again = canonical.clone();
    apply(of(kind), &mut again);
    assert_eq!(again, canonical, "the canonical form keeps the defaults");
    value
}

#[test]
fn values_of_the_wrong_shape_are_left_alone() {
    for value in [
        json!(null),
        json!([]),
        json!({"spec": 7}),
        json!({"spec": {"containers": {}, "volumes": 1}}),
        json!({"spec": {"containers": [7, {"ports": 1, "resources": []}]}}),
    ] {
        for kind in kind::all() {
            let mut found = value.clone();
            apply(kind, &mut found);
            admission_defaults(kind, &mut found);
        }
    }
}

#[test]
fn a_pod_is_filled_as_upstream_fills_it() {
    let found = filled("Pod", json!({"spec": {"containers": [{"name": "c", "image": "nginx"}]}}));
    assert_eq!(
        found,
        json!({"spec": {
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
            "containers": [{
                "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
        }})
    );
}

#[test]
fn parts_of_a_pod_are_filled() {
    let spec = |part: Value| json!({"spec": part});
    let container = |part: Value| json!({"spec": {"containers": [part]}});
    for (value, path, expected) in [
        (
            spec(json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0})),
            "/spec/restartPolicy",
            json!("Never"),
        ),
        (spec(json!({"terminationGracePeriodSeconds": 0})), "/spec/terminationGracePeriodSeconds", json!(0)),
        (spec(json!({"enableServiceLinks": false})), "/spec/enableServiceLinks", json!(false)),
        (spec(json!({"serviceAccount": "a"})), "/spec/serviceAccountName", json!("a")),
        (spec(json!({"serviceAccountName": "b", "serviceAccount": "a"})), "/spec/serviceAccount", json!("b")),
        (container(json!({"image": "a:latest"})), "/spec/containers/0/imagePullPolicy", json!("Always")),
        (container(json!({"image": "a:1"})), "/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        (container(json!({"image": "host:5000/a"})), "/spec/containers/0/imagePullPolicy", json!("Always")),
        (container(json!({"image": "host:5000/a:1"})), "/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        (container(json!({"image": "a@sha256:00"})), "/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        (container(json!({"image": "a:latest@sha256:00"})), "/spec/containers/0/imagePullPolicy", json!("Always")),
        (container(json!({"imagePullPolicy": "Never"})), "/spec/containers/0/imagePullPolicy", json!("Never")),
        (
            container(json!({"ports": [{"containerPort": 80}]})),
            "/spec/containers/0/ports/0",
            json!({"containerPort": 80, "protocol": "TCP"}),
        ),
        (
            json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]}}),
            "/spec/containers/0/ports/0/hostPort",
            json!(80),
        ),
        (
            container(json!({"livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5}})),
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 3}),
        ),
        (
            container(json!({"startupProbe": {"grpc": {"port": 80}}})),
            "/spec/containers/0/startupProbe/grpc",
            json!({"port": 80, "service": ""}),
        ),
        (
            container(json!({"lifecycle": {"preStop": {"httpGet": {"port": 1}}}})),
            "/spec/containers/0/lifecycle/preStop/httpGet/scheme",
            json!("HTTP"),
        ),
        (
            container(json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]})),
            "/spec/containers/0/env/0/valueFrom/fieldRef/apiVersion",
            json!("v1"),
        ),
        (
            container(json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}})),
            "/spec/containers/0/resources/requests",
            json!({"cpu": "500m", "memory": "1Gi"}),
        ),
        (
            container(json!({"resources": {"limits": {"cpu": "1u"}}})),
            "/spec/containers/0/resources/limits/cpu",
            json!("1m"),
        ),
        (spec(json!({"volumes": [{"name": "v"}]})), "/spec/volumes/0", json!({"name": "v", "emptyDir": {}})),
        (
            spec(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]})),
            "/spec/volumes/0/secret/defaultMode",
            json!(420),
        ),
        (
            spec(json!({"volumes": [{"name": "v", "configMap": {"name": "s", "defaultMode": 0}}]})),
            "/spec/volumes/0/configMap/defaultMode",
            json!(0),
        ),
        (
            spec(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})),
            "/spec/volumes/0/hostPath/type",
            json!(""),
        ),
        (
            spec(
                json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            ),
            "/spec/volumes/0/projected",
            json!({"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}),
        ),
        (
            spec(
                json!({"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}),
            ),
            "/spec/volumes/0/downwardAPI/items/0/fieldRef/apiVersion",
            json!("v1"),
        ),
        (
            spec(json!({"volumes": [{"name": "v", "azureDisk": {"diskName": "d", "diskURI": "u"}}]})),
            "/spec/volumes/0/azureDisk",
            json!({"diskName": "d", "diskURI": "u", "cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": false, "kind": "Shared"}),
        ),
    ] {
        assert_eq!(filled("Pod", value.clone()).pointer(path), Some(&expected), "{value}");
    }
}

#[test]
fn workloads_are_filled() {
    let template =
        json!({"spec": {"containers": [{"name": "c", "image": "a:1", "resources": {"limits": {"cpu": "1"}}}]}});
    let found = filled("Deployment", json!({"spec": {"template": template}}));
    let spec = &found["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]),
        (&json!(1), &json!(10), &json!(600))
    );
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let inner = &spec["template"]["spec"];
    assert_eq!(inner["restartPolicy"], "Always");
    assert!(inner.get("enableServiceLinks").is_none(), "only pods have it");
    assert_eq!(
        inner["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}}),
        "only pods get requests from limits"
    );
    for (kind, value, path, expected) in [
        ("Deployment", json!({"spec": {"replicas": 0}}), "/spec/replicas", json!(0)),
        (
            "Deployment",
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
            "/spec/strategy",
            json!({"type": "Recreate"}),
        ),
        (
            "Deployment",
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}}),
            "/spec/strategy/rollingUpdate/maxSurge",
            json!(0),
        ),
        ("ReplicaSet", json!({"spec": {}}), "/spec", json!({"replicas": 1})),
        (
            "Secret",
            json!({"data": {"a": "AA=="}, "stringData": {"a": "x", "b": "ü"}}),
            "",
            json!({"type": "Opaque", "data": {"a": "eA==", "b": "w7w="}}),
        ),
        ("Secret", json!({"type": "t"}), "", json!({"type": "t"})),
        (
            "Namespace",
            json!({"metadata": {"name": "n", "labels": {"a": "b"}}}),
            "/metadata/labels",
            json!({"a": "b", "kubernetes.io/metadata.name": "n"}),
        ),
        ("Namespace", json!({"metadata": {"generateName": "n"}}), "/status/phase", json!("Active")),
        ("Node", json!({"status": {"capacity": {"cpu": "1"}}}), "/status/allocatable", json!({"cpu": "1"})),
        ("ConfigMap", json!({"data": {}}), "", json!({"data": {}})),
        ("Lease", json!({"spec": {}}), "", json!({"spec": {}})),
    ] {
        assert_eq!(filled(kind, value.clone()).pointer(path), Some(&expected), "{kind} {value}");
    }
}

#[test]
fn quality_follows_resources() {
    let with = |list: Value| json!({"containers": [{"resources": list}]});
    for (spec, expected) in [
        (json!({}), "BestEffort"),
        (with(json!({})), "BestEffort"),
        (with(json!({"requests": {"cpu": "0"}})), "BestEffort"),
        (with(json!({"requests": {"example.com/gpu": "1"}})), "BestEffort"),
        (with(json!({"requests": {"cpu": "1"}})), "Burstable"),
        (with(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Burstable"),
        (
            with(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}})),
            "Guaranteed",
        ),
        (
            json!({"containers": [{"resources": {"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}}, {}]}),
            "Burstable",
        ),
    ] {
        assert_eq!(qos_class(&spec), expected, "{spec}");
    }
}

#[test]
fn admission_adds_account_and_tolerations() {
    let mut pod = json!({"spec": {}});
    admission_defaults(of("Pod"), &mut pod);
    let toleration =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2});
    assert_eq!(
        pod["spec"],
        json!({
            "serviceAccountName": "default", "serviceAccount": "default",
            "tolerations": [toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")],
        })
    );
    for (tolerations, count) in [
        (json!([{"operator": "Exists"}]), 1),
        (
            json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]),
            2,
        ),
        (json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}]), 3),
    ] {
        let mut pod = json!({"spec": {"tolerations": tolerations}});
        admission_defaults(of("Pod"), &mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), count, "{pod}");
    }
    let mut deployment = json!({"spec": {}});
    admission_defaults(of("Deployment"), &mut deployment);
    assert_eq!(deployment, json!({"spec": {}}));
}
