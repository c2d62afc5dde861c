//! Defaults of kinds, one field a row; values are upstream's.

use serde_json::{Value, json};

use super::{created, of};
use crate::{canonical, defaulting, kind};

#[test]
fn absent_fields_get_upstreams_values() {
    let rows: Vec<(&str, Value, &str, Value)> = vec![
        ("Service", json!({}), "/spec/sessionAffinity", json!("None")),
        ("Service", json!({"spec": {"type": null}}), "/spec/type", json!("ClusterIP")),
        (
            "Service",
            json!({}),
            "/spec/ports/0",
            json!({"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}),
        ),
        ("Service", json!({}), "/spec/internalTrafficPolicy", json!("Cluster")),
        ("Service", json!({}), "/spec/externalTrafficPolicy", json!("Cluster")),
        ("Service", json!({"spec": {"type": "ClusterIP"}}), "/spec/externalTrafficPolicy", json!(null)),
        (
            "Service",
            json!({"spec": {"type": "ClusterIP", "externalIPs": ["1.2.3.4"]}}),
            "/spec/externalTrafficPolicy",
            json!("Cluster"),
        ),
        ("Service", json!({"spec": {"type": "LoadBalancer"}}), "/spec/allocateLoadBalancerNodePorts", json!(true)),
        ("Service", json!({"spec": {"type": "ExternalName"}}), "/spec/internalTrafficPolicy", json!(null)),
        (
            "Service",
            json!({"spec": {"sessionAffinity": "ClientIP"}}),
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        ),
        ("Service", json!({"spec": {"clusterIP": "None"}}), "/spec/clusterIPs", json!(["None"])),
        ("Service", json!({}), "/status", json!({"loadBalancer": {}})),
        ("Endpoints", json!({}), "/subsets/0/ports/0/protocol", json!("TCP")),
        (
            "EndpointSlice",
            json!({"ports": [{"port": 1}]}),
            "/ports/0",
            json!({"name": "", "port": 1, "protocol": "TCP"}),
        ),
        ("PersistentVolume", json!({}), "/spec/persistentVolumeReclaimPolicy", json!("Retain")),
        ("PersistentVolume", json!({}), "/spec/volumeMode", json!("Filesystem")),
        ("PersistentVolume", json!({}), "/spec/hostPath/type", json!("")),
        ("PersistentVolume", json!({}), "/status/phase", json!("Pending")),
        ("PersistentVolumeClaim", json!({}), "/spec/volumeMode", json!("Filesystem")),
        ("PersistentVolumeClaim", json!({}), "/status", json!({"phase": "Pending"})),
        ("LimitRange", json!({}), "/spec/limits/0/defaultRequest", json!({"cpu": "1"})),
        ("LimitRange", json!({}), "/spec/limits/0/default", json!({"cpu": "1"})),
        ("ReplicationController", json!({}), "/spec/replicas", json!(1)),
        ("ReplicationController", json!({}), "/spec/selector", json!({"app": "a"})),
        ("ReplicationController", json!({"metadata": {"labels": null}}), "/metadata/labels", json!({"app": "a"})),
        ("ReplicationController", json!({}), "/spec/template/spec/dnsPolicy", json!("ClusterFirst")),
        ("PodTemplate", json!({}), "/template/spec/restartPolicy", json!("Always")),
        ("StatefulSet", json!({}), "/spec/replicas", json!(1)),
        ("StatefulSet", json!({}), "/spec/podManagementPolicy", json!("OrderedReady")),
        ("StatefulSet", json!({}), "/spec/revisionHistoryLimit", json!(10)),
        (
            "StatefulSet",
            json!({}),
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        ),
        (
            "StatefulSet",
            json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
            "/spec/updateStrategy",
            json!({"type": "OnDelete"}),
        ),
        (
            "StatefulSet",
            json!({}),
            "/spec/persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        ),
        (
            "StatefulSet",
            json!({}),
            "/spec/volumeClaimTemplates/0",
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
        ),
        ("StatefulSet", json!({}), "/status", json!({"replicas": 0, "availableReplicas": 0})),
        (
            "DaemonSet",
            json!({}),
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        ),
        ("DaemonSet", json!({}), "/spec/revisionHistoryLimit", json!(10)),
        (
            "DaemonSet",
            json!({}),
            "/status",
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}),
        ),
        ("Job", json!({}), "/spec/completions", json!(1)),
        ("Job", json!({}), "/spec/parallelism", json!(1)),
        ("Job", json!({"spec": {"parallelism": 2}}), "/spec/completions", json!(null)),
        ("Job", json!({}), "/spec/backoffLimit", json!(6)),
        ("Job", json!({"spec": {"backoffLimitPerIndex": 1}}), "/spec/backoffLimit", json!(i32::MAX)),
        ("Job", json!({}), "/spec/completionMode", json!("NonIndexed")),
        ("Job", json!({}), "/spec/suspend", json!(false)),
        ("Job", json!({}), "/spec/podReplacementPolicy", json!("TerminatingOrFailed")),
        ("Job", json!({}), "/spec/selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})),
        ("Job", json!({}), "/spec/template/metadata/labels/job-name", json!("a")),
        ("Job", json!({"spec": {"manualSelector": true}}), "/spec/selector", json!(null)),
        ("CronJob", json!({}), "/spec/concurrencyPolicy", json!("Allow")),
        ("CronJob", json!({}), "/spec/suspend", json!(false)),
        ("CronJob", json!({}), "/spec/successfulJobsHistoryLimit", json!(3)),
        ("CronJob", json!({}), "/spec/failedJobsHistoryLimit", json!(1)),
        ("CronJob", json!({}), "/spec/jobTemplate/spec/backoffLimit", json!(null)),
        ("CronJob", json!({}), "/spec/jobTemplate/spec/template/spec/schedulerName", json!("default-scheduler")),
        ("HorizontalPodAutoscaler", json!({}), "/spec/minReplicas", json!(1)),
        (
            "HorizontalPodAutoscaler",
            json!({"spec": {"metrics": null}}),
            "/spec/metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        ),
        (
            "HorizontalPodAutoscaler",
            json!({}),
            "/spec/behavior/scaleDown",
            json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}),
        ),
        ("HorizontalPodAutoscaler", json!({}), "/spec/behavior/scaleUp/stabilizationWindowSeconds", json!(5)),
        (
            "PodDisruptionBudget",
            json!({}),
            "/status",
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
        ),
        ("RoleBinding", json!({}), "/roleRef/apiGroup", json!("rbac.authorization.k8s.io")),
        ("RoleBinding", json!({}), "/subjects/0/apiGroup", json!("rbac.authorization.k8s.io")),
        ("RoleBinding", json!({}), "/subjects/1/apiGroup", json!(null)),
        ("IngressClass", json!({}), "/spec/parameters/scope", json!("Cluster")),
        ("NetworkPolicy", json!({}), "/spec/policyTypes", json!(["Ingress", "Egress"])),
        ("NetworkPolicy", json!({"spec": {"egress": null}}), "/spec/policyTypes", json!(["Ingress"])),
        ("NetworkPolicy", json!({}), "/spec/egress/0/ports/0/protocol", json!("TCP")),
        ("StorageClass", json!({}), "/reclaimPolicy", json!("Delete")),
        ("StorageClass", json!({}), "/volumeBindingMode", json!("Immediate")),
        ("CSIDriver", json!({}), "/spec/attachRequired", json!(true)),
        ("CSIDriver", json!({}), "/spec/podInfoOnMount", json!(false)),
        ("CSIDriver", json!({}), "/spec/fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("CSIDriver", json!({}), "/spec/volumeLifecycleModes", json!(["Persistent"])),
        ("PriorityClass", json!({}), "/preemptionPolicy", json!("PreemptLowerPriority")),
        ("PriorityClass", json!({"value": 0}), "/value", json!(0)),
        ("MutatingWebhookConfiguration", json!({}), "/webhooks/0/reinvocationPolicy", json!("Never")),
        ("MutatingWebhookConfiguration", json!({}), "/webhooks/0/timeoutSeconds", json!(10)),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/reinvocationPolicy", json!(null)),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/failurePolicy", json!("Fail")),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/matchPolicy", json!("Equivalent")),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/namespaceSelector", json!({})),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/rules/0/scope", json!("*")),
        ("ValidatingWebhookConfiguration", json!({}), "/webhooks/0/clientConfig/service/port", json!(443)),
        ("ValidatingAdmissionPolicy", json!({}), "/spec/failurePolicy", json!("Fail")),
        ("ValidatingAdmissionPolicy", json!({}), "/spec/matchConstraints/matchPolicy", json!("Equivalent")),
        ("ValidatingAdmissionPolicyBinding", json!({}), "/spec/matchResources/objectSelector", json!({})),
        ("FlowSchema", json!({}), "/spec/matchingPrecedence", json!(1000)),
        (
            "PriorityLevelConfiguration",
            json!({}),
            "/spec/limited",
            json!({"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}}),
        ),
        ("ResourceClaim", json!({}), "/spec/devices/requests/0/exactly/count", json!(1)),
        ("ResourceClaim", json!({}), "/spec/devices/requests/0/exactly/allocationMode", json!("ExactCount")),
        ("ResourceClaim", json!({}), "/spec/devices/requests/0/exactly/tolerations/0/operator", json!("Equal")),
        ("ResourceClaimTemplate", json!({}), "/spec/spec/devices/requests/0/exactly/count", json!(1)),
        ("APIService", json!({}), "/spec/service/port", json!(443)),
        ("PodCertificateRequest", json!({}), "/spec/maxExpirationSeconds", json!(86400)),
    ];
    let wrong: Vec<String> = rows
        .into_iter()
        .filter_map(|(kind, patch, path, expected)| {
            let found = created(kind, patch.clone());
            let at = found.pointer(path).unwrap_or(&Value::Null);
            (*at != expected).then(|| format!("{kind} {path} {patch}: {at} instead of {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn filling_twice_changes_nothing() {
    for sample in super::samples::samples() {
        let name = sample["kind"].as_str().unwrap();
        let once = created(name, json!({}));
        let mut twice = once.clone();
        defaulting::apply(of(name), &mut twice);
        canonical::canonicalize(of(name), &mut twice).unwrap();
        assert_eq!(twice, once, "{name}");
    }
}

#[test]
fn no_kind_panics_on_values_of_the_wrong_shape() {
    let odd = [json!(null), json!([]), json!(7), json!("x"), json!([7, {"ports": 1}]), json!({"x": 1})];
    for kind in kind::all() {
        let keys = ["spec", "status", "metadata", "webhooks", "subjects", "roleRef", "template", "ports", "data"];
        for key in keys {
            for value in &odd {
                let mut object = json!({ key: value });
                defaulting::apply(kind, &mut object);
                kind.to_stored(&mut object);
                kind.from_stored(&mut object);
            }
        }
    }
}
