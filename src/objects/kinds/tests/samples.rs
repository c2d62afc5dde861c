//! One object of each kind that is stored, as clients send them.

use serde_json::{Value, json};

/// An object of a namespaced kind.
fn of(version: &str, kind: &str, rest: Value) -> Value {
    let mut value = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "finalizers": ["x/y"]}});
    json_patch::merge(&mut value, &rest);
    value
}

/// An object of a cluster-scoped kind.
fn cluster(version: &str, kind: &str, rest: Value) -> Value {
    let mut value = of(version, kind, rest);
    value["metadata"].as_object_mut().unwrap().remove("namespace");
    value
}

/// Objects that all kinds of their defaults, rules and columns have something to say about.
pub(crate) fn samples() -> Vec<Value> {
    let mut all = old_kinds();
    all.extend(core());
    all.extend(workloads());
    all.extend(access_and_network());
    all.extend(storage());
    all.extend(machinery());
    all.extend(devices());
    all
}

fn pod_spec() -> Value {
    json!({
        "containers": [{
            "name": "c", "image": "i:1", "command": ["a"], "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "readinessProbe": {"httpGet": {"port": "http"}}, "lifecycle": {"preStop": {"exec": {"command": ["b"]}}},
        }],
        "volumes": [{"name": "v", "configMap": {"name": "m"}}], "nodeSelector": {"a": "b"}, "nodeName": "n1",
        "tolerations": [{"key": "k", "operator": "Exists"}], "terminationGracePeriodSeconds": 5,
    })
}

/// A template, whose pods are on no node yet.
fn template(rest: Value) -> Value {
    let mut spec = pod_spec();
    spec.as_object_mut().unwrap().remove("nodeName");
    json_patch::merge(&mut spec, &rest);
    json!({"metadata": {"labels": {"app": "a"}}, "spec": spec})
}

fn set() -> Value {
    json!({"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({}))})
}

fn old_kinds() -> Vec<Value> {
    let mut replicated = set();
    replicated["replicas"] = json!(2);
    vec![
        of("v1", "Pod", json!({"spec": pod_spec()})),
        of("apps/v1", "Deployment", json!({"spec": replicated, "status": {"replicas": 2}})),
        of("apps/v1", "ReplicaSet", json!({"spec": replicated})),
        of("v1", "ConfigMap", json!({"data": {"a": "b"}, "binaryData": {"c": "AA=="}})),
        of("v1", "Secret", json!({"stringData": {"a": "b"}, "data": {"c": "AA=="}})),
        of("v1", "ServiceAccount", json!({"secrets": [{"name": "s"}]})),
        cluster("v1", "Namespace", json!({})),
        cluster(
            "v1",
            "Node",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}, "status": {"capacity": {"cpu": "4"}}}),
        ),
        of(
            "v1",
            "Event",
            json!({"involvedObject": {"kind": "Pod", "namespace": "n"}, "reason": "r", "type": "Normal"}),
        ),
        of(
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"holderIdentity": "a", "renewTime": "2026-07-24T08:00:00Z"}}),
        ),
    ]
}

fn core() -> Vec<Value> {
    vec![
        of(
            "v1",
            "Service",
            json!({"spec": {"selector": {"app": "a"}, "type": "NodePort", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns", "nodePort": 30053}]}}),
        ),
        of(
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}], "ports": [{"port": 80}]}]}),
        ),
        cluster(
            "v1",
            "PersistentVolume",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}, "claimRef": {"namespace": "n", "name": "a"}}}),
        ),
        of(
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}}),
        ),
        of(
            "v1",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "4", "limits.cpu": "2"}, "scopes": ["NotTerminating"]}}),
        ),
        of(
            "v1",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m"}, "default": {"cpu": "1"}}]}}),
        ),
        of("v1", "ReplicationController", json!({"spec": {"template": template(json!({}))}})),
        of("v1", "PodTemplate", json!({"template": template(json!({}))})),
    ]
}

fn workloads() -> Vec<Value> {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mut stateful = set();
    stateful["serviceName"] = json!("a");
    stateful["volumeClaimTemplates"] = json!([claim]);
    let job = json!({"template": template(json!({"restartPolicy": "Never"}))});
    let metric = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    vec![
        of("apps/v1", "StatefulSet", json!({"spec": stateful})),
        of("apps/v1", "DaemonSet", json!({"spec": set()})),
        of("apps/v1", "ControllerRevision", json!({"data": {"spec": {"x": 1}}, "revision": 3})),
        of("batch/v1", "Job", json!({"spec": job})),
        of("batch/v1", "CronJob", json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job}}})),
        of(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "maxReplicas": 3, "metrics": [metric], "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}}),
        ),
        of(
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "a"}}}}),
        ),
    ]
}

fn access_and_network() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let net = "networking.k8s.io/v1";
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let subjects = json!([{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]);
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    vec![
        of(rbac, "Role", json!({"rules": [rule]})),
        cluster(rbac, "ClusterRole", json!({"rules": [rule, {"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]})),
        of(rbac, "RoleBinding", json!({"subjects": subjects, "roleRef": {"kind": "Role", "name": "a"}})),
        cluster(
            rbac,
            "ClusterRoleBinding",
            json!({"subjects": subjects, "roleRef": {"kind": "ClusterRole", "name": "a"}}),
        ),
        of(
            net,
            "Ingress",
            json!({"spec": {"ingressClassName": "x", "tls": [{"hosts": ["a.example.com"], "secretName": "s"}], "rules": [{"host": "*.example.com", "http": {"paths": [path]}}]}}),
        ),
        cluster(
            net,
            "IngressClass",
            json!({"spec": {"controller": "example.com/c", "parameters": {"kind": "P", "name": "p"}}}),
        ),
        of(
            net,
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}]}}),
        ),
        cluster(net, "ServiceCIDR", json!({"spec": {"cidrs": ["10.0.0.0/24", "fd00::/64"]}})),
        cluster(
            net,
            "IPAddress",
            json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "a"}}}),
        ),
        of(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]}),
        ),
    ]
}

fn storage() -> Vec<Value> {
    let group = "storage.k8s.io/v1";
    vec![
        cluster(group, "StorageClass", json!({"provisioner": "example.com/p", "parameters": {"a": "b"}})),
        cluster(group, "VolumeAttributesClass", json!({"driverName": "example.com", "parameters": {"iops": "1"}})),
        cluster(
            group,
            "VolumeAttachment",
            json!({"spec": {"attacher": "example.com", "nodeName": "n1", "source": {"persistentVolumeName": "a"}}}),
        ),
        cluster(group, "CSIDriver", json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 3600}]}})),
        cluster(
            group,
            "CSINode",
            json!({"spec": {"drivers": [{"name": "example.com", "nodeID": "i", "topologyKeys": ["example.com/zone"], "allocatable": {"count": 3}}]}}),
        ),
        of(
            group,
            "CSIStorageCapacity",
            json!({"storageClassName": "fast", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"zone": "a"}}}),
        ),
    ]
}

fn machinery() -> Vec<Value> {
    let admission = "admissionregistration.k8s.io/v1";
    let flow = "flowcontrol.apiserver.k8s.io/v1";
    let rule =
        json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let hook = json!({
        "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
        "clientConfig": {"service": {"namespace": "n", "name": "a", "path": "/x"}},
    });
    let matched = json!({"resourceRules": [rule]});
    let authority = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    vec![
        cluster("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 10, "description": "d"})),
        cluster("node.k8s.io/v1", "RuntimeClass", json!({"handler": "kata", "overhead": {"podFixed": {"cpu": "10m"}}})),
        cluster(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            json!({"spec": {"request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUE9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K", "signerName": "example.com/s", "usages": ["client auth"], "extra": {"k": ["v"]}}}),
        ),
        cluster("certificates.k8s.io/v1", "ClusterTrustBundle", json!({"spec": {"trustBundle": authority}})),
        of(
            "certificates.k8s.io/v1",
            "PodCertificateRequest",
            json!({"spec": {"signerName": "example.com/s", "podName": "p", "podUID": "1", "serviceAccountName": "s", "serviceAccountUID": "2", "nodeName": "n1", "nodeUID": "3", "stubPKCS10Request": "AA=="}}),
        ),
        cluster(admission, "MutatingWebhookConfiguration", json!({"webhooks": [hook]})),
        cluster(admission, "ValidatingWebhookConfiguration", json!({"webhooks": [hook]})),
        cluster(
            admission,
            "ValidatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": matched, "validations": [{"expression": "true"}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
        ),
        cluster(
            admission,
            "ValidatingAdmissionPolicyBinding",
            json!({"spec": {"policyName": "a", "validationActions": ["Deny"], "matchResources": matched, "paramRef": {"name": "p", "namespace": "n"}}}),
        ),
        cluster(
            admission,
            "MutatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": matched, "reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}}),
        ),
        cluster(admission, "MutatingAdmissionPolicyBinding", json!({"spec": {"policyName": "a"}})),
        cluster(
            flow,
            "FlowSchema",
            json!({"spec": {"priorityLevelConfiguration": {"name": "a"}, "rules": [{"subjects": [{"kind": "Group", "group": {"name": "g"}}], "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}}),
        ),
        cluster(
            flow,
            "PriorityLevelConfiguration",
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}}),
        ),
        cluster(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "additionalProperties": {"type": "string"}}}}}}]}}),
        ),
        cluster(
            "apiregistration.k8s.io/v1",
            "APIService",
            json!({"metadata": {"name": "v1.example.com"}, "spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10, "service": {"namespace": "n", "name": "a"}}}),
        ),
    ]
}

fn devices() -> Vec<Value> {
    let group = "resource.k8s.io/v1";
    let selectors = json!([{"cel": {"expression": "true"}}]);
    let requests = json!([{"name": "r", "exactly": {"deviceClassName": "gpu", "selectors": selectors, "tolerations": [{"key": "a"}]}}]);
    let spec = json!({"devices": {"requests": requests, "constraints": [{"requests": ["r"], "matchAttribute": "example.com/a"}]}});
    let device =
        json!({"name": "d", "attributes": {"model": {"string": "x"}}, "capacity": {"memory": {"value": "1Gi"}}});
    vec![
        of(group, "ResourceClaim", json!({"spec": spec})),
        of(group, "ResourceClaimTemplate", json!({"spec": {"spec": spec}})),
        cluster(group, "DeviceClass", json!({"spec": {"selectors": selectors}})),
        cluster(
            group,
            "ResourceSlice",
            json!({"spec": {"driver": "example.com", "nodeName": "n1", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": [device]}}),
        ),
        cluster(
            group,
            "DeviceTaintRule",
            json!({"spec": {"deviceSelector": {"driver": "example.com"}, "taint": {"key": "a", "effect": "NoSchedule", "timeAdded": "2026-07-24T08:00:00Z"}}}),
        ),
    ]
}
