//! Bodies of the kinds that clients write: a whole pod as kubectl sends it, and what no command of kubectl sends in protobuf.
//! Field numbers here are those of the descriptors in kubectl 1.32's own binary, not of the field table.

use serde_json::{Value, json};

use super::tests::{Bytes, message, named, read, unhex};
use super::*;

/// `captured/pod.pb` is what kubectl 1.32.5 posted in `kubectl debug full --copy-to=copy --same-node --keep-labels
/// --keep-annotations --keep-liveness --keep-readiness --keep-startup --keep-init-containers --image=debug:1
/// --container=extra --profile=general`, to a server that answered `captured/pod.json` for the pod `full`. That one sets
/// every field of the specification but `ephemeralContainers`, which a copy loses, and rare kinds of volumes.
#[test]
fn a_whole_pod_of_kubectl_reads_as_the_pod_it_copied() {
    let mut expected: Value = serde_json::from_str(include_str!("captured/pod.json")).unwrap();
    // What a copy is not: it has another name and no owner, and the container that was asked for.
    expected["metadata"]["name"] = json!("copy");
    for field in ["ownerReferences", "finalizers"] {
        expected["metadata"].as_object_mut().unwrap().remove(field).unwrap();
    }
    let extra = json!({"name": "extra", "image": "debug:1", "resources": {}, "terminationMessagePolicy": "File",
        "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}});
    expected["spec"]["containers"].as_array_mut().unwrap().push(extra);
    expected["status"] = json!({});
    let (value, warnings) = decode(include_bytes!("captured/pod.pb")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(value["metadata"], expected["metadata"]);
    for (field, expected) in expected["spec"].as_object().unwrap() {
        assert_eq!(value["spec"][field], *expected, "{field}");
    }
    assert_eq!(value, expected);
}

#[test]
fn service_accounts() {
    // kubectl create serviceaccount bot
    let body =
        "6b3873000a140a027631120e536572766963654163636f756e7412150a130a03626f7412001a0022002a003200380042001a002200";
    let value = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    assert_eq!(decode(&unhex(body)).unwrap(), (value, Vec::new()));
    let secret = message().text(1, "").text(2, "").text(3, "bot-token").text(4, "").text(5, "").text(6, "").text(7, "");
    let object = message().message(1, named("bot")).message(2, secret).message(3, message().text(1, "pull")).int(4, 0);
    assert_eq!(
        read("v1", "ServiceAccount", object).unwrap(),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot", "namespace": "d"},
            "secrets": [{"name": "bot-token"}], "imagePullSecrets": [{"name": "pull"}],
            "automountServiceAccountToken": false})
    );
}

/// An entry of a map from resources to amounts.
fn amount(resource: &str, quantity: &str) -> Bytes {
    message().text(1, resource).message(2, message().text(1, quantity))
}

fn seconds(seconds: i64) -> Bytes {
    message().int(1, seconds).int(2, 0)
}

#[test]
fn a_node_as_a_typed_client_writes_it() {
    let taint = message().text(1, "k").text(2, "").text(3, "NoSchedule").message(4, seconds(1_784_880_000));
    let spec = message()
        .text(1, "10.1.0.0/24")
        .text(2, "old")
        .text(3, "cloud://1")
        .int(4, 1)
        .message(5, taint)
        .text(7, "10.1.0.0/24")
        .text(7, "fd00::/64");
    let condition = message()
        .text(1, "Ready")
        .text(2, "True")
        .message(3, seconds(1_784_880_000))
        .message(4, seconds(1_784_880_001))
        .text(5, "AgentReady")
        .text(6, "");
    let names = ["machine", "system", "boot", "6.1", "Debian", "docker://28", "v1.37.0", "", "linux", "amd64"];
    let info = (1..).zip(names).fold(message(), |info, (number, text)| info.text(number, text));
    let handler = message().text(1, "runc").message(2, message().int(1, 1).int(2, 0));
    let status = message()
        .message(1, amount("cpu", "4"))
        .message(1, amount("memory", "8Gi"))
        .message(2, amount("cpu", "3900m"))
        .text(3, "")
        .message(4, condition)
        .message(5, message().text(1, "InternalIP").text(2, "192.0.2.1"))
        .message(6, message().message(1, message().int(1, 10_250)))
        .message(7, info)
        .message(8, message().text(1, "web:1").text(1, "web@sha256:0").int(2, 5_000_000_000))
        .text(9, "kubernetes.io/csi/d^v")
        .message(10, message().text(1, "kubernetes.io/csi/d^v").text(2, "/dev/sdb"))
        .message(12, handler)
        .message(13, message().int(1, 1));
    let labels = message().text(1, "kubernetes.io/os").text(2, "linux");
    let object = message().message(1, message().text(1, "n1").message(11, labels)).message(2, spec).message(3, status);
    assert_eq!(
        read("v1", "Node", object).unwrap(),
        json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": "10.1.0.0/24", "externalID": "old", "providerID": "cloud://1", "unschedulable": true,
                "taints": [{"key": "k", "effect": "NoSchedule", "timeAdded": "2026-07-24T08:00:00Z"}],
                "podCIDRs": ["10.1.0.0/24", "fd00::/64"]},
            "status": {
                "capacity": {"cpu": "4", "memory": "8Gi"}, "allocatable": {"cpu": "3900m"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "AgentReady",
                    "lastHeartbeatTime": "2026-07-24T08:00:00Z", "lastTransitionTime": "2026-07-24T08:00:01Z"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10_250}},
                "nodeInfo": {"machineID": "machine", "systemUUID": "system", "bootID": "boot", "kernelVersion": "6.1",
                    "osImage": "Debian", "containerRuntimeVersion": "docker://28", "kubeletVersion": "v1.37.0",
                    "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"},
                "images": [{"names": ["web:1", "web@sha256:0"], "sizeBytes": 5_000_000_000_i64}],
                "volumesInUse": ["kubernetes.io/csi/d^v"],
                "volumesAttached": [{"name": "kubernetes.io/csi/d^v", "devicePath": "/dev/sdb"}],
                "runtimeHandlers": [{"name": "runc",
                    "features": {"recursiveReadOnlyMounts": true, "userNamespaces": false}}],
                "features": {"supplementalGroupsPolicy": true}}})
    );
}

#[test]
fn a_replica_set_as_a_typed_client_writes_it() {
    let requirement = message().text(1, "tier").text(2, "In").text(3, "web").text(3, "api");
    let selector = message().message(1, message().text(1, "app").text(2, "web")).message(2, requirement);
    let labels = message().text(1, "app").text(2, "web");
    let container = message().text(1, "c").text(2, "web:1").message(8, message());
    let template = message()
        .message(1, message().message(11, labels))
        .message(2, message().message(2, container).text(3, "Always"));
    let condition = message()
        .text(1, "ReplicaFailure")
        .text(2, "True")
        .message(3, seconds(1_784_880_000))
        .text(4, "FailedCreate")
        .text(5, "no room");
    let owner = message().text(1, "Deployment").text(3, "web").text(4, "u").text(5, "apps/v1").int(6, 1).int(7, 0);
    let object = message()
        .message(1, named("web-1").message(13, owner))
        .message(2, message().int(1, 0).message(2, selector).message(3, template).int(4, 5))
        .message(3, message().int(1, 3).int(2, 2).int(3, 9).int(4, 1).int(5, 0).message(6, condition));
    assert_eq!(
        read("apps/v1", "ReplicaSet", object).unwrap(),
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "web-1", "namespace": "d", "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "Deployment", "name": "web", "uid": "u", "controller": true, "blockOwnerDeletion": false}]},
            "spec": {"replicas": 0, "minReadySeconds": 5,
                "selector": {"matchLabels": {"app": "web"},
                    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}]},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Always",
                    "containers": [{"name": "c", "image": "web:1", "resources": {}}]}}},
            "status": {"replicas": 3, "fullyLabeledReplicas": 2, "observedGeneration": 9, "readyReplicas": 1,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                    "message": "no room", "lastTransitionTime": "2026-07-24T08:00:00Z"}]}})
    );
}
