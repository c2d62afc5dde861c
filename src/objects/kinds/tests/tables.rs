//! Tables of kinds: headings as upstream's, `*` before those of wide output, and the cells of one object.

use serde_json::{Value, json};

use super::{NOW, created, of};
use crate::{columns, time};

/// Headings and cells, each on one line.
fn table(name: &str, patch: Value) -> (String, String) {
    let kind = of(name);
    let object = created(name, patch);
    let now = time::parse(NOW).unwrap();
    let headings: Vec<String> = columns::columns(kind)
        .iter()
        .map(|column| format!("{}{}", if column.priority > 0 { "*" } else { "" }, column.name))
        .collect();
    let cells: Vec<String> = columns::cells(kind, &object, now).iter().map(columns::plain).collect();
    (headings.join("|"), cells.join("|"))
}

#[test]
fn tables_are_upstreams() {
    let lb = json!({"spec": {"type": "LoadBalancer"}});
    let rows: Vec<(&str, Value, &str, &str)> = vec![
        (
            "Service",
            json!({}),
            "Name|Type|Cluster-IP|External-IP|Port(s)|Age|*Selector",
            "a|NodePort|<none>|<none>|80/TCP,53:30053/UDP|0s|app=a",
        ),
        (
            "Service",
            lb,
            "Name|Type|Cluster-IP|External-IP|Port(s)|Age|*Selector",
            "a|LoadBalancer|<none>|<pending>|80/TCP,53:30053/UDP|0s|app=a",
        ),
        ("Endpoints", json!({}), "Name|Endpoints|Age", "a|10.0.0.1:80|0s"),
        ("EndpointSlice", json!({}), "Name|AddressType|Ports|Endpoints|Age", "a|IPv4|80|10.0.0.1|0s"),
        (
            "PersistentVolume",
            json!({}),
            "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|*VolumeMode",
            "a|1Gi|RWO|Retain|Pending|n/a||<unset>||0s|Filesystem",
        ),
        (
            "PersistentVolumeClaim",
            json!({}),
            "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|*VolumeMode",
            "a|Pending||||fast|<unset>|0s|Filesystem",
        ),
        ("ResourceQuota", json!({}), "Name|Request|Limit|Age", "a|||0s"),
        ("LimitRange", json!({}), "Name|Created At", "a|2026-07-24T08:00:00Z"),
        (
            "ReplicationController",
            json!({}),
            "Name|Desired|Current|Ready|Age|*Containers|*Images|*Selector",
            "a|1|0|0|0s|c|i:1|app=a",
        ),
        ("PodTemplate", json!({}), "Name|Containers|Images|Pod Labels", "a|c|i:1|app=a"),
        ("StatefulSet", json!({}), "Name|Ready|Age|*Containers|*Images", "a|0/1|0s|c|i:1"),
        (
            "DaemonSet",
            json!({}),
            "Name|Desired|Current|Ready|Up-to-date|Available|Node Selector|Age|*Containers|*Images|*Selector",
            "a|0|0|0|0|0|a=b|0s|c|i:1|app=a",
        ),
        ("ControllerRevision", json!({}), "Name|Controller|Revision|Age", "a|<none>|3|0s"),
        (
            "Job",
            json!({}),
            "Name|Status|Completions|Duration|Age|*Containers|*Images|*Selector",
            "a|Running|0/1||0s|c|i:1|batch.kubernetes.io/controller-uid=u",
        ),
        (
            "CronJob",
            json!({}),
            "Name|Schedule|Timezone|Suspend|Active|Last Schedule|Age|*Containers|*Images|*Selector",
            "a|*/5 * * * *|<none>|false|0|<none>|0s|c|i:1|<none>",
        ),
        (
            "HorizontalPodAutoscaler",
            json!({}),
            "Name|Reference|Targets|MinPods|MaxPods|Replicas|Age",
            "a|Deployment/a|memory: <unknown>/1Gi|1|3|0|0s",
        ),
        (
            "PodDisruptionBudget",
            json!({}),
            "Name|Min Available|Max Unavailable|Allowed Disruptions|Age",
            "a|50%|N/A|0|0s",
        ),
        ("Role", json!({}), "Name|Created At", "a|2026-07-24T08:00:00Z"),
        ("ClusterRole", json!({}), "Name|Created At", "a|2026-07-24T08:00:00Z"),
        ("RoleBinding", json!({}), "Name|Role|Age|*Users|*Groups|*ServiceAccounts", "a|Role/a|0s|u||n/s"),
        ("ClusterRoleBinding", json!({}), "Name|Role|Age|*Users|*Groups|*ServiceAccounts", "a|ClusterRole/a|0s|u||n/s"),
        ("Ingress", json!({}), "Name|Class|Hosts|Address|Ports|Age", "a|x|*.example.com||80, 443|0s"),
        ("IngressClass", json!({}), "Name|Controller|Parameters|Age", "a|example.com/c|P/p|0s"),
        ("NetworkPolicy", json!({}), "Name|Pod-Selector|Age", "a|<none>|0s"),
        ("ServiceCIDR", json!({}), "Name|CIDRs|Age", "a|10.0.0.0/24,fd00::/64|0s"),
        ("IPAddress", json!({}), "Name|ParentRef", "10.0.0.1|services/n/a"),
        (
            "StorageClass",
            json!({}),
            "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
            "a|example.com/p|Delete|Immediate|false|0s",
        ),
        ("VolumeAttributesClass", json!({}), "Name|DriverName|Age", "a|example.com|0s"),
        ("VolumeAttachment", json!({}), "Name|Attacher|PV|Node|Attached|Age", "a|example.com|a|n1|false|0s"),
        (
            "CSIDriver",
            json!({}),
            "Name|AttachRequired|PodInfoOnMount|StorageCapacity|TokenRequests|RequiresRepublish|Modes|Age",
            "a|true|false|false|a|false|Persistent|0s",
        ),
        ("CSIStorageCapacity", json!({}), "Name|StorageClassName|Capacity", "a|fast|1Gi"),
        ("ClusterTrustBundle", json!({}), "Name|SignerName", "a|<none>"),
        ("CSINode", json!({}), "Name|Drivers|Age", "a|1|0s"),
        (
            "PriorityClass",
            json!({}),
            "Name|Value|Global-Default|Age|PreemptionPolicy",
            "a|10|false|0s|PreemptLowerPriority",
        ),
        ("RuntimeClass", json!({}), "Name|Handler|Age", "a|kata|0s"),
        (
            "CertificateSigningRequest",
            json!({}),
            "Name|Age|SignerName|Requestor|RequestedDuration|Condition",
            "a|0s|example.com/s||<none>|Pending",
        ),
        ("MutatingWebhookConfiguration", json!({}), "Name|Webhooks|Age", "a|1|0s"),
        ("ValidatingWebhookConfiguration", json!({}), "Name|Webhooks|Age", "a|1|0s"),
        ("ValidatingAdmissionPolicy", json!({}), "Name|Validations|ParamKind|Age", "a|1|v1/ConfigMap|0s"),
        ("ValidatingAdmissionPolicyBinding", json!({}), "Name|PolicyName|ParamRef|Age", "a|a|n/p|0s"),
        ("MutatingAdmissionPolicy", json!({}), "Name|Mutations|ParamKind|Age", "a|1|<unset>|0s"),
        ("MutatingAdmissionPolicyBinding", json!({}), "Name|PolicyName|ParamRef|Age", "a|a|<unset>|0s"),
        (
            "FlowSchema",
            json!({}),
            "Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL",
            "a|a|1000|<none>|0s|?",
        ),
        (
            "PriorityLevelConfiguration",
            json!({}),
            "Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age",
            "a|Limited|30|64|8|50|0s",
        ),
        ("ResourceClaim", json!({}), "Name|State|Age", "a|pending|0s"),
        ("ResourceClaimTemplate", json!({}), "Name|Age", "a|0s"),
        ("DeviceClass", json!({}), "Name|Age", "a|0s"),
        ("ResourceSlice", json!({}), "Name|Node|Driver|Pool|Age", "a|n1|example.com|p|0s"),
        ("CustomResourceDefinition", json!({}), "Name|Created At", "widgets.example.com|2026-07-24T08:00:00Z"),
        ("APIService", json!({}), "Name|Service|Available|Age", "v1.example.com|n/a|Unknown|0s"),
    ];
    for (name, patch, headings, cells) in rows {
        assert_eq!(table(name, patch), (headings.to_owned(), cells.to_owned()), "{name}");
    }
}
