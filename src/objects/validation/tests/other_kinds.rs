//! Validation of everything that is no pod.

use serde_json::{Value, json};

use super::super::CAUSES_MAX;
use super::*;

#[test]
fn bad_workloads_are_refused() {
    let t = "spec.template";
    for (value, expected) in [
        (deployment(json!({})), vec![]),
        (
            deployment(json!({"replicas": -1})),
            vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0".to_owned()],
        ),
        (deployment(json!({"selector": null})), vec!["spec.selector: Required value".into()]),
        (
            deployment(json!({"selector": {"matchLabels": null}})),
            vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment".into()],
        ),
        (
            deployment(json!({"selector": {"matchLabels": {"app": "b"}}})),
            vec![format!(
                "{t}.metadata.labels: Invalid value: {{\"app\":\"a\"}}: `selector` does not match template `labels`"
            )],
        ),
        (
            deployment(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}})),
            vec![
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"
                    .into(),
            ],
        ),
        (deployment(json!({"template": null})), vec!["spec.template: Required value".into()]),
        (
            deployment(json!({"template": {"spec": {"containers": []}}})),
            vec![format!("{t}.spec.containers: Required value")],
        ),
        (
            deployment(json!({"template": {"spec": {"restartPolicy": "Never"}}})),
            vec![format!("{t}.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"")],
        ),
        (
            deployment(json!({"template": {"spec": {"activeDeadlineSeconds": 1}}})),
            vec![format!(
                "{t}.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in Deployment is not Supported"
            )],
        ),
        (
            deployment(json!({"template": {"metadata": {"labels": {"x y": "z"}}}})),
            vec![format!("{t}.metadata.labels: Invalid value: \"x y\"")],
        ),
        (
            deployment(json!({"strategy": {"type": "Fast"}})),
            vec![
                "spec.strategy.type: Unsupported value: \"Fast\": supported values: \"Recreate\", \"RollingUpdate\""
                    .into(),
            ],
        ),
        (
            deployment(json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}})),
            vec![
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
                    .into(),
            ],
        ),
        (
            deployment(json!({"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}})),
            vec![
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
                    .into(),
            ],
        ),
        (
            deployment(json!({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}})),
            vec![
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"
                    .into(),
            ],
        ),
        (deployment(json!({"strategy": {"rollingUpdate": {"maxSurge": "101%"}}})), vec![]),
        (
            deployment(json!({"strategy": {"rollingUpdate": {"maxSurge": "half"}}})),
            vec!["spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": a valid percent string".into()],
        ),
        (
            deployment(json!({"strategy": {"rollingUpdate": {"maxSurge": -1}}})),
            vec!["spec.strategy.rollingUpdate.maxSurge: Invalid value: -1".into()],
        ),
        (
            deployment(json!({"minReadySeconds": 600})),
            vec!["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds".into()],
        ),
        (deployment(json!({"revisionHistoryLimit": -1})), vec!["spec.revisionHistoryLimit: Invalid value: -1".into()]),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_create("Deployment", value, &expected);
    }
    let other = deployment(
        json!({"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}),
    );
    check_update(
        "Deployment",
        deployment(json!({})),
        other.clone(),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"],
    );
    check_update(
        "ReplicaSet",
        deployment(json!({})),
        other,
        &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"],
    );
    check_update("Deployment", deployment(json!({})), deployment(json!({"replicas": 7})), &[]);
    let odd =
        with(deployment(json!({})), json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 1}}));
    check_update(
        "ReplicaSet",
        deployment(json!({})),
        odd,
        &["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    );
}

#[test]
fn bad_configuration_is_refused() {
    let named = |rest: Value| with(json!({"metadata": {"name": "a", "namespace": "n"}}), rest);
    let megabyte = "x".repeat(1024 * 1024 + 1);
    for (kind, value, expected) in [
        (
            "ConfigMap",
            named(json!({"data": {"a/b": ""}})),
            vec!["data[a/b]: Invalid value: \"a/b\": a valid config key"],
        ),
        ("ConfigMap", named(json!({"data": {"": ""}})), vec!["data[]: Invalid value: \"\": a valid config key"]),
        (
            "ConfigMap",
            named(json!({"data": {"a": ""}, "binaryData": {"a": ""}})),
            vec!["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
        ),
        ("ConfigMap", named(json!({"data": {"a": megabyte}})), vec![": Too long: may not be more than 1048576 bytes"]),
        ("Secret", named(json!({"data": {"..": ""}})), vec!["data[..]: Invalid value: \"..\": must not be '..'"]),
        (
            "Secret",
            named(json!({"stringData": {"a": megabyte}})),
            vec!["data: Too long: may not be more than 1048576 bytes"],
        ),
        (
            "Secret",
            named(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})),
            vec!["data[tls.key]: Required value"],
        ),
        (
            "Secret",
            named(json!({"type": "kubernetes.io/basic-auth"})),
            vec!["data[username]: Required value", "data[password]: Required value"],
        ),
        ("ServiceAccount", named(json!({"secrets": [{"name": "A"}]})), vec!["secrets[0].name: Invalid value: \"A\""]),
        (
            "Lease",
            named(json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})),
            vec![
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1",
            ],
        ),
        (
            "Event",
            named(json!({"involvedObject": {"namespace": "m"}})),
            vec!["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"],
        ),
        (
            "Event",
            named(json!({"involvedObject": {}})),
            vec!["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"],
        ),
        (
            "Event",
            named(json!({"involvedObject": {"namespace": "n"}, "eventTime": "t", "type": "Odd"})),
            vec![
                "reportingComponent: Required value",
                "reportingInstance: Required value",
                "action: Required value",
                "reason: Required value",
                "type: Unsupported value: \"Odd\"",
            ],
        ),
        (
            "Node",
            json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "a", "effect": "Bad"}, {"key": "a", "effect": "Bad"}]}}),
            vec![
                "spec.taints[0].effect: Unsupported value: \"Bad\"",
                "spec.taints[1].effect: Unsupported",
                "spec.taints[1]: Duplicate value",
            ],
        ),
        (
            "Node",
            json!({"metadata": {"name": "a"}, "status": {"capacity": {"cpu": "-1"}}}),
            vec!["status.capacity[cpu]: Invalid value: \"-1\"", "status.allocatable[cpu]"],
        ),
        (
            "Namespace",
            json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["x"]}}),
            vec!["spec.finalizers[0]: Invalid value: \"x\": name is neither"],
        ),
    ] {
        check_create(kind, value, &expected);
    }
    let fixed = named(json!({"immutable": true, "data": {"a": "AA=="}}));
    for kind in ["ConfigMap", "Secret"] {
        check_update(kind, fixed.clone(), with(fixed.clone(), json!({"metadata": {"labels": {"a": "b"}}})), &[]);
        check_update(
            kind,
            fixed.clone(),
            with(fixed.clone(), json!({"data": {"b": ""}})),
            &["data: Forbidden: field is immutable when `immutable` is set"],
        );
        check_update(
            kind,
            fixed.clone(),
            with(fixed.clone(), json!({"immutable": null})),
            &["immutable: Forbidden: field is immutable when `immutable` is set"],
        );
    }
    check_update(
        "Secret",
        named(json!({"type": "a"})),
        named(json!({"type": "b"})),
        &["type: Invalid value: \"b\": field is immutable"],
    );
    let node = json!({"metadata": {"name": "a"}, "spec": {"providerID": "p"}});
    check_update(
        "Node",
        node.clone(),
        with(node, json!({"spec": {"providerID": "q"}})),
        &["spec.providerID: Forbidden"],
    );
}

#[test]
fn the_list_of_faults_is_bounded() {
    let ports: Vec<Value> = (0..1000).map(|_| json!({"containerPort": 0})).collect();
    let mut value = container(json!({"ports": ports}));
    defaulting::apply(of("Pod"), &mut value);
    assert_eq!(create(of("Pod"), &value).len(), CAUSES_MAX);
}
