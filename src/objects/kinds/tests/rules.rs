//! Rules of kinds: what a manifest gets wrong, and the start of what it is told.

use serde_json::{Value, json};

use super::{refusals, update_refusals};

/// What differs from what was expected, in words; nothing when nothing does.
fn differs(found: &[String], expected: &[&str], row: &str) -> Option<String> {
    let alike = found.len() == expected.len() && found.iter().zip(expected).all(|(one, start)| one.starts_with(start));
    (!alike).then(|| format!("{row}\n  found {found:#?}\n  instead of {expected:#?}"))
}

#[test]
fn samples_are_accepted() {
    for sample in super::samples::samples() {
        let name = sample["kind"].as_str().unwrap();
        assert_eq!(refusals(name, json!({})), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn bad_objects_are_refused() {
    let rows: Vec<(&str, Value, &[&str])> = vec![
        ("Service", json!({"metadata": {"name": "1a"}}), &["metadata.name: Invalid value: \"1a\": a DNS-1035 label"]),
        ("Service", json!({"spec": {"ports": null}}), &["spec.ports: Required value"]),
        ("Service", json!({"spec": {"type": "Other"}}), &["spec.type: Unsupported value: \"Other\""]),
        (
            "Service",
            json!({"spec": {"ports": [{"port": 80}, {"name": "a", "port": 80}]}}),
            &["spec.ports[0].name: Required value", "spec.ports[1]: Duplicate value"],
        ),
        (
            "Service",
            json!({"spec": {"ports": [{"port": 0}]}}),
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535", "spec.ports[0].targetPort"],
        ),
        (
            "Service",
            json!({"spec": {"type": "ClusterIP"}}),
            &["spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        ("Service", json!({"spec": {"type": "ExternalName", "ports": null}}), &["spec.externalName: Required value"]),
        (
            "Service",
            json!({"spec": {"clusterIP": "None"}}),
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            "Service",
            json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 99999}}),
            &["spec.healthCheckNodePort: Invalid value: 99999: must be between 1 and 65535, inclusive"],
        ),
        ("Service", json!({"spec": {"externalIPs": ["127.0.0.1"]}}), &["spec.externalIPs[0]: Invalid value"]),
        (
            "Service",
            json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}),
            &["spec.loadBalancerSourceRanges: Forbidden: may only be used"],
        ),
        ("Endpoints", json!({"subsets": [{}]}), &["subsets[0]: Required value: must specify `addresses`"]),
        (
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "x"}]}]}),
            &["subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address"],
        ),
        (
            "EndpointSlice",
            json!({"addressType": "IPv6"}),
            &["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
        ),
        (
            "EndpointSlice",
            json!({"endpoints": [{"addresses": []}]}),
            &["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"hostPath": null}}),
            &["spec: Required value: must specify a volume type"],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"nfs": {"server": "s", "path": "/"}}}),
            &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
        ("PersistentVolume", json!({"spec": {"accessModes": null}}), &["spec.accessModes: Required value"]),
        (
            "PersistentVolume",
            json!({"spec": {"capacity": {"storage": "0"}}}),
            &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}}),
            &["spec.accessModes: Forbidden: may not use ReadWriteOncePod"],
        ),
        ("PersistentVolumeClaim", json!({"spec": {"resources": null}}), &["spec.resources[storage]: Required value"]),
        (
            "ResourceQuota",
            json!({"spec": {"scopes": ["Terminating", "NotTerminating"]}}),
            &["spec.scopes: Invalid value"],
        ),
        (
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}}),
            &[
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default request value 1",
                "spec.limits[0].min[cpu]",
                "spec.limits[0].min[cpu]",
            ],
        ),
        (
            "ReplicationController",
            json!({"spec": {"selector": {"app": "b"}}}),
            &["spec.template.metadata.labels: Invalid value"],
        ),
        ("StatefulSet", json!({"spec": {"updateStrategy": {"type": "Fast"}}}), &["spec.updateStrategy: Invalid value"]),
        (
            "StatefulSet",
            json!({"spec": {"podManagementPolicy": "Any"}}),
            &["spec.podManagementPolicy: Unsupported value"],
        ),
        (
            "StatefulSet",
            json!({"spec": {"selector": {"matchLabels": null}}}),
            &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
        ),
        (
            "DaemonSet",
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}}}),
            &[
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ],
        ),
        (
            "Job",
            json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}),
            &[
                "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "Job",
            json!({"spec": {"completionMode": "Indexed", "parallelism": 2}}),
            &["spec.completions: Required value: when completion mode is Indexed"],
        ),
        ("Job", json!({"spec": {"manualSelector": true}}), &["spec.selector: Required value"]),
        (
            "Job",
            json!({"spec": {"parallelism": -1}}),
            &["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "CronJob",
            json!({"spec": {"schedule": "* * *"}}),
            &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields"],
        ),
        ("CronJob", json!({"spec": {"schedule": "TZ=UTC * * * * *"}}), &["spec.schedule: Invalid value"]),
        ("CronJob", json!({"metadata": {"name": "a".repeat(53)}}), &["metadata.name: Invalid value"]),
        (
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 4}}),
            &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": {"name": ""}}}),
            &["spec.scaleTargetRef.name: Required value"],
        ),
        ("PodDisruptionBudget", json!({"spec": {"maxUnavailable": 1}}), &["spec: Invalid value"]),
        (
            "Role",
            json!({"rules": [{"verbs": []}]}),
            &["rules[0].verbs: Required value", "rules[0].apiGroups: Required", "rules[0].resources: Required"],
        ),
        ("RoleBinding", json!({"roleRef": {"kind": "Pod"}}), &["roleRef.kind: Unsupported value: \"Pod\""]),
        (
            "ClusterRoleBinding",
            json!({"subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
            &["subjects[0].namespace: Required value"],
        ),
        (
            "Ingress",
            json!({"spec": {"rules": null}}),
            &["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            "Ingress",
            json!({"spec": {"rules": [{"host": "1.2.3.4"}]}}),
            &["spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"],
        ),
        (
            "Ingress",
            json!({"spec": {"rules": [{"http": {"paths": [{"path": "x", "pathType": "Exact", "backend": {}}]}}]}}),
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
                "spec.rules[0].http.paths[0].backend: Invalid value",
            ],
        ),
        ("IngressClass", json!({"spec": {"controller": "x"}}), &["spec.controller: Invalid value"]),
        (
            "NetworkPolicy",
            json!({"spec": {"egress": [{"to": [{}]}]}}),
            &["spec.egress[0].to[0]: Required value: must specify a peer"],
        ),
        (
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"ports": [{"port": 80, "endPort": 70}]}]}}),
            &["spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`"],
        ),
        (
            "ServiceCIDR",
            json!({"spec": {"cidrs": ["10.0.0.0"]}}),
            &["spec.cidrs[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value"],
        ),
        (
            "IPAddress",
            json!({"metadata": {"name": "::0"}}),
            &["metadata.name: Invalid value: \"::0\": must be in canonical form"],
        ),
        ("StorageClass", json!({"provisioner": ""}), &["provisioner: Required value"]),
        ("VolumeAttributesClass", json!({"parameters": null}), &["parameters: Required value"]),
        (
            "VolumeAttachment",
            json!({"spec": {"source": {"persistentVolumeName": null}}}),
            &["spec.source: Required value"],
        ),
        (
            "CSIDriver",
            json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 1}]}}),
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            ],
        ),
        (
            "CSINode",
            json!({"spec": {"drivers": [{"name": "a", "nodeID": ""}]}}),
            &["spec.drivers[0].nodeID: Required value"],
        ),
        (
            "PriorityClass",
            json!({"value": 2_000_000_000}),
            &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            "PriorityClass",
            json!({"metadata": {"name": "system-x"}}),
            &["metadata.name: Forbidden: priority class names with 'system-' prefix"],
        ),
        ("RuntimeClass", json!({"handler": ""}), &["handler: Required value"]),
        (
            "CertificateSigningRequest",
            json!({"spec": {"signerName": "x", "usages": ["fly"]}}),
            &["spec.usages[0]: Unsupported value: \"fly\"", "spec.signerName: Invalid value: \"x\""],
        ),
        (
            "ClusterTrustBundle",
            json!({"spec": {"signerName": "example.com/s"}}),
            &["metadata.name: Invalid value: \"a\": ClusterTrustBundle for signerName"],
        ),
        (
            "MutatingWebhookConfiguration",
            json!({"webhooks": [{"name": "a", "sideEffects": "Some", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "http://a"}}]}),
            &[
                "webhooks[0].name: Invalid value: \"a\": should be a domain",
                "webhooks[0].sideEffects: Unsupported value",
                "webhooks[0].clientConfig.url: Invalid value",
            ],
        ),
        (
            "ValidatingAdmissionPolicy",
            json!({"spec": {"validations": null}}),
            &["spec.validations: Required value: validations or auditAnnotations"],
        ),
        (
            "ValidatingAdmissionPolicyBinding",
            json!({"spec": {"validationActions": ["Deny", "Warn"]}}),
            &["spec.validationActions: Invalid value"],
        ),
        (
            "FlowSchema",
            json!({"spec": {"matchingPrecedence": 1}}),
            &["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt'"],
        ),
        ("PriorityLevelConfiguration", json!({"spec": {"limited": null}}), &["spec.limited: Required value"]),
        (
            "ResourceClaim",
            json!({"spec": {"devices": {"requests": [{"name": "r"}]}}}),
            &["spec.devices.requests[0]: Required value: exactly one of"],
        ),
        ("ResourceSlice", json!({"spec": {"nodeName": null}}), &["spec: Required value: exactly one of `nodeName`"]),
        ("APIService", json!({"metadata": {"name": "x"}}), &["metadata.name: Invalid value: \"x\": must be"]),
    ];
    let wrong: Vec<String> = rows
        .into_iter()
        .filter_map(|(kind, patch, expected)| {
            differs(&refusals(kind, patch.clone()), expected, &format!("{kind} {patch}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_settled_stays() {
    let ip = json!({"spec": {"clusterIP": "10.0.0.5"}});
    let bound = json!({"spec": {"volumeName": "v"}});
    let rows: Vec<(&str, Value, Value, &[&str])> = vec![
        (
            "Service",
            ip,
            json!({"spec": {"clusterIP": "10.0.0.6", "clusterIPs": ["10.0.0.6"]}}),
            &["spec.clusterIPs[0]: Invalid value"],
        ),
        (
            "Service",
            json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}}),
            json!({"spec": {"healthCheckNodePort": 30002}}),
            &["spec.healthCheckNodePort: Invalid value: 30002: field is immutable"],
        ),
        (
            "Service",
            json!({"spec": {"clusterIP": "10.0.0.5", "clusterIPs": ["10.0.0.5", "fd00::5"]}}),
            json!({"spec": {"clusterIPs": ["10.0.0.5", "fd00::6"]}}),
            &["spec.clusterIPs[1]: Invalid value: [\"10.0.0.5\",\"fd00::6\"]: may not change once set"],
        ),
        (
            "EndpointSlice",
            json!({}),
            json!({"addressType": "FQDN"}),
            &["addressType: Invalid value: \"FQDN\": field is immutable"],
        ),
        (
            "PersistentVolume",
            json!({}),
            json!({"spec": {"hostPath": {"path": "/other"}}}),
            &["spec.persistentvolumesource: Forbidden"],
        ),
        (
            "PersistentVolumeClaim",
            bound.clone(),
            json!({"spec": {"storageClassName": "slow"}}),
            &["spec: Forbidden: spec is immutable after creation"],
        ),
        ("PersistentVolumeClaim", json!({}), bound, &[]),
        ("StatefulSet", json!({}), json!({"spec": {"replicas": 3}}), &[]),
        (
            "StatefulSet",
            json!({}),
            json!({"spec": {"serviceName": "b"}}),
            &["spec: Forbidden: updates to statefulset spec"],
        ),
        (
            "DaemonSet",
            json!({}),
            json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}}),
            &["spec.template.metadata.labels", "spec.selector: Invalid value"],
        ),
        ("ControllerRevision", json!({}), json!({"data": {"x": 1}}), &["data: Invalid value"]),
        ("Job", json!({}), json!({"spec": {"parallelism": 3}}), &[]),
        (
            "Job",
            json!({}),
            json!({"spec": {"completions": 3}}),
            &["spec.completions: Invalid value: 3: field is immutable"],
        ),
        (
            "Job",
            json!({}),
            json!({"spec": {"template": {"spec": {"nodeSelector": {"z": "1"}}}}}),
            &["spec.template: Invalid value"],
        ),
        (
            "Job",
            json!({"spec": {"suspend": true}}),
            json!({"spec": {"template": {"spec": {"nodeSelector": {"z": "1"}}}}}),
            &[],
        ),
        ("RoleBinding", json!({}), json!({"roleRef": {"name": "b"}}), &["roleRef: Invalid value"]),
        (
            "IngressClass",
            json!({}),
            json!({"spec": {"controller": "example.com/d"}}),
            &["spec.controller: Invalid value"],
        ),
        ("StorageClass", json!({}), json!({"provisioner": "example.com/q"}), &["provisioner: Forbidden"]),
        ("CSIDriver", json!({}), json!({"spec": {"attachRequired": false}}), &["spec.attachRequired: Invalid value"]),
        ("VolumeAttachment", json!({}), json!({"spec": {"nodeName": "n2"}}), &["spec: Invalid value"]),
        ("PriorityClass", json!({}), json!({"value": 11}), &["Value: Forbidden: may not be changed in an update."]),
        ("RuntimeClass", json!({}), json!({"handler": "other"}), &["handler: Invalid value"]),
        ("CertificateSigningRequest", json!({}), json!({"spec": {"usages": ["any"]}}), &["spec: Invalid value"]),
        ("ResourceClaim", json!({}), json!({"spec": {"devices": {"constraints": null}}}), &["spec: Invalid value"]),
    ];
    let wrong: Vec<String> = rows
        .into_iter()
        .filter_map(|(kind, before, patch, expected)| {
            differs(&update_refusals(kind, before, patch.clone()), expected, &format!("{kind} {patch}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
