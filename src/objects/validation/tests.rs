//! Rows of objects and the faults that upstream finds in them.

use serde_json::{Value, json};

use super::*;
use crate::{defaulting, kind};

fn of(name: &str) -> &'static Kind {
    kind::all().iter().find(|kind| kind.kind == name).unwrap()
}

/// Merges objects deeply; everything else replaces, and null removes.
fn with(mut base: Value, patch: Value) -> Value {
    json_patch::merge(&mut base, &patch);
    base
}

fn pod(spec: Value) -> Value {
    let base = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    with(base, json!({"spec": spec}))
}

fn container(part: Value) -> Value {
    pod(json!({"containers": [with(json!({"name": "c", "image": "i:1"}), part)]}))
}

fn deployment(spec: Value) -> Value {
    let base = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        },
    });
    with(base, json!({"spec": spec}))
}

fn shown(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn check_create(kind: &str, mut value: Value, expected: &[&str]) {
    defaulting::apply(of(kind), &mut value);
    let found = shown(&create(of(kind), &value));
    assert_eq!(found.len(), expected.len(), "{value}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  does not start with\n{expected}\n{value}");
    }
}

fn check_update(kind: &str, mut old: Value, mut new: Value, expected: &[&str]) {
    defaulting::apply(of(kind), &mut old);
    defaulting::apply(of(kind), &mut new);
    let found = shown(&update(of(kind), &old, &new));
    assert_eq!(found.len(), expected.len(), "{old}\n{new}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  does not start with\n{expected}");
    }
}

#[test]
fn bad_metadata_is_refused() {
    let meta =
        |metadata: Value| with(json!({"metadata": {"name": "a", "namespace": "n"}}), json!({"metadata": metadata}));
    let owner = |patch: Value| {
        meta(
            json!({"ownerReferences": [with(json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}), patch)]}),
        )
    };
    let long = "x".repeat(300 * 1024);
    for (value, expected) in [
        (meta(json!({})), vec![]),
        (meta(json!({"name": ""})), vec!["metadata.name: Required value: name or generateName is required"]),
        (
            meta(json!({"name": "A"})),
            vec!["metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of"],
        ),
        (meta(json!({"name": "a".repeat(254)})), vec!["metadata.name: Invalid value: \"aaa"]),
        (
            meta(json!({"generateName": "A-"})),
            vec!["metadata.generateName: Invalid value: \"A-\": a lowercase RFC 1123"],
        ),
        (meta(json!({"generateName": "a-"})), vec![]),
        (meta(json!({"namespace": ""})), vec!["metadata.namespace: Required value"]),
        (
            meta(json!({"namespace": "a.b"})),
            vec!["metadata.namespace: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist of"],
        ),
        (
            meta(json!({"labels": {"a b": "c"}})),
            vec!["metadata.labels: Invalid value: \"a b\": name part must consist of"],
        ),
        (meta(json!({"labels": {"a": "c d"}})), vec!["metadata.labels: Invalid value: \"c d\": a valid label must be"]),
        (meta(json!({"annotations": {"A/b": "anything goes"}})), vec![]),
        (meta(json!({"annotations": {"a b": ""}})), vec!["metadata.annotations: Invalid value: \"a b\": name part"]),
        (
            meta(json!({"annotations": {"a": long}})),
            vec!["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (meta(json!({"finalizers": ["a b"]})), vec!["metadata.finalizers: Invalid value: \"a b\": name part"]),
        (
            meta(json!({"finalizers": ["orphan", "foregroundDeletion"]})),
            vec!["metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and"],
        ),
        (owner(json!({})), vec![]),
        (
            owner(json!({"apiVersion": ""})),
            vec!["metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty"],
        ),
        (
            owner(json!({"kind": "", "name": "", "uid": ""})),
            vec![
                "metadata.ownerReferences.kind: ",
                "metadata.ownerReferences.name: ",
                "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            ],
        ),
        (owner(json!({"kind": "Event"})), vec!["metadata.ownerReferences: Invalid value: "]),
        (
            meta(
                json!({"ownerReferences": [{"apiVersion": "v1", "kind": "P", "name": "p", "uid": "u", "controller": true}, {"apiVersion": "v1", "kind": "Q", "name": "q", "uid": "v", "controller": true}]}),
            ),
            vec!["metadata.ownerReferences: Invalid value: "],
        ),
    ] {
        check_create("ConfigMap", value, &expected);
    }
    check_create(
        "Namespace",
        json!({"metadata": {"name": "a.b"}}),
        &["metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label"],
    );
    check_create(
        "Node",
        json!({"metadata": {"name": "a", "namespace": "n"}}),
        &["metadata.namespace: Forbidden: not allowed on this type"],
    );
    let old = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}});
    check_update(
        "ConfigMap",
        old.clone(),
        meta(json!({"uid": "v"})),
        &["metadata.uid: Invalid value: \"v\": field is immutable"],
    );
    check_update(
        "ConfigMap",
        old,
        meta(json!({"name": "b"})),
        &["metadata.name: Invalid value: \"b\": field is immutable"],
    );
}

#[test]
fn bad_pods_are_refused() {
    for (value, expected) in [
        (pod(json!({})), vec![]),
        (pod(json!({"containers": []})), vec!["spec.containers: Required value"]),
        (pod(json!({"containers": null})), vec!["spec.containers: Required value"]),
        (pod(json!({"containers": [{"image": "i"}]})), vec!["spec.containers[0].name: Required value"]),
        (pod(json!({"containers": [{"name": "c"}]})), vec!["spec.containers[0].image: Required value"]),
        (
            pod(json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]})),
            vec!["spec.containers[1].name: Duplicate value: \"c\""],
        ),
        (
            pod(json!({"initContainers": [{"name": "c", "image": "i"}]})),
            vec!["spec.initContainers[0].name: Duplicate value: \"c\""],
        ),
        (
            container(json!({"name": "C_"})),
            vec!["spec.containers[0].name: Invalid value: \"C_\": a lowercase RFC 1123 label"],
        ),
        (
            container(json!({"image": " i"})),
            vec!["spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"],
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            vec![
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            pod(json!({"restartPolicy": "Maybe"})),
            vec![
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            ],
        ),
        (pod(json!({"dnsPolicy": "x"})), vec!["spec.dnsPolicy: Unsupported value: \"x\""]),
        (pod(json!({"dnsPolicy": "None"})), vec!["spec.dnsConfig.nameservers: Required value"]),
        (pod(json!({"nodeSelector": {"a b": "c"}})), vec!["spec.nodeSelector: Invalid value: \"a b\""]),
        (pod(json!({"nodeName": "A"})), vec!["spec.nodeName: Invalid value: \"A\""]),
        (pod(json!({"hostname": "a.b"})), vec!["spec.hostname: Invalid value: \"a.b\": a lowercase RFC 1123 label"]),
        (
            pod(json!({"activeDeadlineSeconds": 0})),
            vec!["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            pod(json!({"terminationGracePeriodSeconds": -1})),
            vec!["spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            pod(json!({"ephemeralContainers": [{"name": "e", "image": "i"}]})),
            vec!["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            pod(json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]})),
            vec!["spec.schedulingGates[1]: Duplicate value: \"a\""],
        ),
        (
            pod(json!({"schedulingGates": [{"name": "a"}], "nodeName": "n"})),
            vec!["spec.nodeName: Forbidden: cannot be set until"],
        ),
        (
            pod(json!({"hostAliases": [{"ip": "x"}]})),
            vec!["spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address"],
        ),
        (
            pod(json!({"securityContext": {"runAsUser": -1}})),
            vec!["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647"],
        ),
        (
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
            vec!["spec.containers[0].securityContext: Invalid value: "],
        ),
        (
            pod(
                json!({"initContainers": [{"name": "i", "image": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
            ),
            vec!["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers"],
        ),
        (
            pod(json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Never"}]})),
            vec!["spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
        ),
    ] {
        check_create("Pod", value, &expected);
    }
}

#[test]
fn bad_parts_of_containers_are_refused() {
    let at = "spec.containers[0]";
    for (part, expected) in [
        (json!({"ports": [{"containerPort": 0}]}), vec!["ports[0].containerPort: Required value"]),
        (
            json!({"ports": [{"containerPort": 70000}]}),
            vec!["ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": -1}]}),
            vec!["ports[0].hostPort: Invalid value: -1: must be between"],
        ),
        (
            json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]}),
            vec!["ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "A"}]}),
            vec![
                "ports[0].name: Invalid value: \"A\"",
                "ports[0].name: Invalid value: \"A\": must contain at least one letter",
            ],
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            vec!["ports[1].name: Duplicate value: \"a\""],
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8}]}),
            vec!["ports[1].hostPort: Duplicate value: \"TCP//8\""],
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8, "protocol": "UDP"}]}),
            vec![],
        ),
        (json!({"env": [{"name": ""}]}), vec!["env[0].name: Required value"]),
        (
            json!({"env": [{"name": "a=b"}]}),
            vec!["env[0].name: Invalid value: \"a=b\": a valid environment variable name"],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {}}]}),
            vec!["env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`"],
        ),
        (
            json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            vec!["env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}]}),
            vec!["env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.nope\""],
        ),
        (json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}), vec![]),
        (
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "", "key": ""}}}]}),
            vec![
                "env[0].valueFrom.configMapKeyRef.name: Required value",
                "env[0].valueFrom.configMapKeyRef.key: Required value",
            ],
        ),
        (json!({"envFrom": [{}]}), vec!["envFrom[0]: Invalid value: \"\": must specify one of"]),
        (json!({"envFrom": [{"secretRef": {"name": ""}}]}), vec!["envFrom[0].secretRef.name: Required value"]),
        (json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}]}), vec!["volumeMounts[0].name: Not found: \"v\""]),
        (
            json!({"volumeMounts": [{"name": "", "mountPath": ""}]}),
            vec!["volumeMounts[0].name: Required value", "volumeMounts[0].mountPath: Required value"],
        ),
        (
            json!({"resources": {"limits": {"cpu": "-1"}}}),
            vec![
                "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "resources.requests[cpu]: ",
            ],
        ),
        (
            json!({"resources": {"limits": {"gpu": "1"}}}),
            vec![
                "resources.limits: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "resources.limits: Invalid value: \"gpu\": must be a standard resource for containers",
                "resources.requests: ",
                "resources.requests: ",
            ],
        ),
        (
            json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
            vec!["resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"],
        ),
        (
            json!({"resources": {"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}}}),
            vec!["resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2"],
        ),
        (
            json!({"resources": {"requests": {"example.com/gpu": "1"}}}),
            vec!["resources.requests: Required value: Limit must be set for non overcommitable resources"],
        ),
        (json!({"livenessProbe": {}}), vec!["livenessProbe: Required value: must specify a handler type"]),
        (
            json!({"livenessProbe": {"exec": {}, "tcpSocket": {"port": 1}}}),
            vec![
                "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "livenessProbe.exec.command: Required value",
            ],
        ),
        (
            json!({"livenessProbe": {"httpGet": {"port": 0}}}),
            vec!["livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            json!({"livenessProbe": {"httpGet": {"port": "A b", "scheme": "FTP"}}}),
            vec![
                "livenessProbe.httpGet.port: Invalid value: \"A b\"",
                "livenessProbe.httpGet.scheme: Unsupported value: \"FTP\"",
            ],
        ),
        (
            json!({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}),
            vec!["livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            json!({"readinessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2, "periodSeconds": -1}}),
            vec!["readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (json!({"lifecycle": {"preStop": {}}}), vec!["lifecycle.preStop: Required value: must specify a handler type"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("{at}.{text}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_create("Pod", container(part), &expected);
    }
    let host = pod(
        json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 2}]}]}),
    );
    check_create(
        "Pod",
        host,
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true",
        ],
    );
}

#[test]
fn bad_volumes_are_refused() {
    for (volume, expected) in [
        (json!({"emptyDir": {}}), vec![]),
        (json!({"name": "", "emptyDir": {}}), vec!["spec.volumes[0].name: Required value"]),
        (json!({"name": "A", "emptyDir": {}}), vec!["spec.volumes[0].name: Invalid value: \"A\""]),
        (
            json!({"emptyDir": {}, "hostPath": {"path": "/"}}),
            vec!["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (json!({"emptyDir": {"sizeLimit": "-1"}}), vec!["spec.volumes[0].emptyDir.sizeLimit: Forbidden"]),
        (json!({"hostPath": {"path": ""}}), vec!["spec.volumes[0].hostPath.path: Required value"]),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            vec!["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        (
            json!({"hostPath": {"path": "/a", "type": "Door"}}),
            vec!["spec.volumes[0].hostPath.type: Unsupported value: \"Door\""],
        ),
        (json!({"secret": {}}), vec!["spec.volumes[0].secret.secretName: Required value"]),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "k", "path": "/p"}]}}),
            vec!["spec.volumes[0].configMap.items[0].path: Invalid value: \"/p\": must be a relative path"],
        ),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "", "path": "../p"}]}}),
            vec![
                "spec.volumes[0].configMap.items[0].key: Required value",
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"../p\": must not contain '..'",
            ],
        ),
        (
            json!({"configMap": {"name": "m", "defaultMode": 4096}}),
            vec!["spec.volumes[0].configMap.defaultMode: Invalid value: 4096: must be a number between 0 and 0777"],
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "p"}]}}),
            vec!["spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef"],
        ),
        (
            json!({"projected": {"sources": [{}]}}),
            vec!["spec.volumes[0].projected.sources[0]: Required value: must specify a volume type"],
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}}),
            vec![
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            ],
        ),
        (
            json!({"nfs": {"server": "s", "path": "p"}}),
            vec!["spec.volumes[0].nfs.path: Invalid value: \"p\": must be an absolute path"],
        ),
    ] {
        check_create("Pod", pod(json!({"volumes": [with(json!({"name": "v"}), volume)]})), &expected);
    }
    let mounted = pod(json!({
        "volumes": [{"name": "v"}, {"name": "v"}],
        "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "/b"}, {"name": "v", "mountPath": "/a"}]}],
    }));
    check_create(
        "Pod",
        mounted,
        &[
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"/b\": must be a relative path",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
        ],
    );
}

#[test]
fn bad_placements_are_refused() {
    let needed = |term: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": term}}}});
    let node = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    for (spec, expected) in [
        (needed(json!([])), vec![format!("{node}: Required value: must have at least one node selector term")]),
        (needed(json!([{"matchExpressions": [{"key": "a", "operator": "Like"}]}])), vec![format!("{node}[0].matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator")]),
        (needed(json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}])), vec![format!("{node}[0].matchExpressions[0].values: Required value: must be specified when")]),
        (needed(json!([{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]}])), vec![format!("{node}[0].matchExpressions[0].values: Required value: must be specified single value")]),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}}),
            vec!["spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty".into()],
        ),
        (
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": "a"}}]}}}),
            vec!["spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100".into()],
        ),
        (json!({"tolerations": [{"key": "", "operator": "Equal"}]}), vec!["spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty".into()]),
        (json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}), vec!["spec.tolerations[0].operator: Invalid value: ".into()]),
        (json!({"tolerations": [{"key": "a", "operator": "Near"}]}), vec!["spec.tolerations[0].operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"".into()]),
        (json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "Bad"}]}), vec!["spec.tolerations[0].effect: Unsupported value: \"Bad\"".into()]),
        (json!({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1}]}), vec!["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute'".into()]),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]}),
            vec![
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0".into(),
                "spec.topologySpreadConstraints[0].topologyKey: Required value".into(),
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\"".into(),
            ],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_create("Pod", pod(spec), &expected);
    }
}

#[test]
fn a_running_pod_changes_only_where_it_may() {
    let old =
        pod(json!({"tolerations": [{"key": "a", "operator": "Exists"}], "activeDeadlineSeconds": 10, "nodeName": "n"}));
    let new = |spec: Value| with(old.clone(), json!({"spec": spec}));
    for (new, expected) in [
        (old.clone(), vec![]),
        (new(json!({"containers": [{"name": "c", "image": "j:2", "imagePullPolicy": "IfNotPresent"}]})), vec![]),
        (new(json!({"containers": [{"name": "c", "image": ""}]})), vec!["spec.containers[0].image: Required value"]),
        (
            new(json!({"containers": [{"name": "c", "image": "i:1", "command": ["x"]}]})),
            vec![
                "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`",
            ],
        ),
        (
            new(json!({"containers": []})),
            vec!["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
        (new(json!({"nodeName": "m"})), vec!["spec: Forbidden: pod updates may not change"]),
        (new(json!({"hostNetwork": true})), vec!["spec: Forbidden: pod updates may not change"]),
        (new(json!({"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]})), vec![]),
        (
            new(json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}]})),
            vec!["spec.tolerations: Forbidden: existing toleration can not be modified"],
        ),
        (
            new(json!({"tolerations": null})),
            vec!["spec.tolerations: Forbidden: existing toleration can not be modified"],
        ),
        (new(json!({"activeDeadlineSeconds": 5})), vec![]),
        (
            new(json!({"activeDeadlineSeconds": 11})),
            vec!["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"],
        ),
        (
            new(json!({"activeDeadlineSeconds": null})),
            vec![
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
            ],
        ),
        (new(json!({"terminationGracePeriodSeconds": 1})), vec!["spec: Forbidden: pod updates may not change"]),
        (
            new(json!({"schedulingGates": [{"name": "g"}]})),
            vec!["spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"],
        ),
    ] {
        check_update("Pod", old.clone(), new, &expected);
    }
    let debug = |list: Value| {
        let mut value = new(json!({"ephemeralContainers": list}));
        defaulting::apply(of("Pod"), &mut value);
        value
    };
    let one = debug(json!([{"name": "e", "image": "i:1"}]));
    check_update("Pod", old.clone(), one.clone(), &["spec: Forbidden: pod updates may not change"]);
    for (list, expected) in [
        (json!([{"name": "e", "image": "i:1"}, {"name": "f", "image": "i:1"}]), vec![]),
        (
            json!([]),
            vec!["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed"],
        ),
        (
            json!([{"name": "e", "image": "i:2"}]),
            vec!["spec.ephemeralContainers[0]: Forbidden: existing ephemeral containers \"e\" may not be changed"],
        ),
        (
            json!([{"name": "e", "image": "i:1"}, {"name": "c", "image": "i:1"}]),
            vec!["spec.ephemeralContainers[1].name: Duplicate value: \"c\""],
        ),
        (
            json!([{"name": "e", "image": "i:1"}, {"name": "f", "image": "i:1", "lifecycle": {}}]),
            vec!["spec.ephemeralContainers[1].lifecycle: Forbidden: cannot be set for Ephemeral Containers"],
        ),
    ] {
        let found = shown(&ephemeral_containers(&one, &debug(list)));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(&expected).all(|(found, expected)| found.starts_with(expected)), "{found:?}");
    }
    let gated = pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}));
    check_update("Pod", gated.clone(), with(gated.clone(), json!({"spec": {"schedulingGates": null}})), &[]);
    check_update("Pod", gated.clone(), with(gated.clone(), json!({"spec": {"nodeSelector": {"c": "d"}}})), &[]);
    check_update(
        "Pod",
        gated.clone(),
        with(gated, json!({"spec": {"nodeSelector": {"a": "x"}}})),
        &["spec: Forbidden"],
    );
}

mod other_kinds;
