//! The Node object that an agent writes. Pure.

use crate::Options;
use fit::Amounts;
use jiff::Timestamp;
use objects::quantity::Quantity;
use objects::time;
use runtime::Info;
use serde_json::{Map, Value, json};

/// The version that nodes report: the API level, and after the plus sign our own.
const VERSION: &str = concat!("v1.37.0+barque.", env!("CARGO_PKG_VERSION"));

/// The conditions that this agent owns.
const OWN: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// What a Node is made from.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub options: Options,
    pub info: Info,
    pub room: Amounts,
    /// The port under which masters reach this agent.
    pub port: u16,
    /// Ids of the machine and of its boot, where it has them.
    pub machine: (String, String),
}

impl Facts {
    /// The node's part of the machine.
    pub fn room(options: &Options, info: &Info) -> Amounts {
        let part = |whole: u64| i64::try_from(whole / u64::from(options.share.max(1))).unwrap_or(i64::MAX);
        Amounts {
            cpu_milli: part(info.cpu_millis),
            memory: part(info.memory_bytes),
            pods: i64::from(options.pods_max),
            ..Amounts::default()
        }
    }

    /// The labels of the node.
    pub fn labels(&self) -> Map<String, Value> {
        let mut labels = Map::new();
        for (key, value) in &self.options.labels {
            labels.insert(key.clone(), json!(value));
        }
        for (key, value) in [
            ("kubernetes.io/hostname", self.options.node.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", &self.info.architecture),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", &self.info.architecture),
        ] {
            labels.insert(key.to_owned(), json!(value));
        }
        labels
    }

    /// The Node to create.
    pub fn node(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.options.node, "labels": self.labels()},
            "spec": {},
        })
    }

    /// The Node's status; `known` is the status as it stands, `trouble` why no pod can run.
    pub fn status(&self, known: &Value, trouble: Option<&str>, now: Timestamp) -> Value {
        let capacity = json!({
            "cpu": Quantity::from_milli(self.room.cpu_milli).to_string(),
            "memory": Quantity::from_bytes(self.room.memory / 1024 * 1024).to_string(),
            "pods": self.room.pods.to_string(),
        });
        json!({
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": self.options.address.to_string()},
                {"type": "Hostname", "address": self.options.node},
            ],
            "conditions": conditions(known, trouble, now),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": {
                "machineID": self.machine.0,
                "systemUUID": self.machine.0,
                "bootID": self.machine.1,
                "kernelVersion": self.info.kernel,
                "osImage": self.info.os_image,
                "containerRuntimeVersion": format!("{}://{}", self.info.engine, self.info.version),
                "kubeletVersion": VERSION,
                "kubeProxyVersion": VERSION,
                "operatingSystem": "linux",
                "architecture": self.info.architecture,
            },
        })
    }
}

fn conditions(known: &Value, trouble: Option<&str>, now: Timestamp) -> Value {
    let now = time::format(now);
    let before = known["conditions"].as_array().cloned().unwrap_or_default();
    let ready = match trouble {
        None => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(trouble) => ("False", "KubeletNotReady", format!("container runtime is down: {trouble}")),
    };
    let fine = |reason: &'static str, what: &str| ("False", reason, format!("kubelet has {what}"));
    let own = [
        ("MemoryPressure", fine("KubeletHasSufficientMemory", "sufficient memory available")),
        ("DiskPressure", fine("KubeletHasNoDiskPressure", "no disk pressure")),
        ("PIDPressure", fine("KubeletHasSufficientPID", "sufficient PID available")),
        ("Ready", ready),
    ];
    let mut list: Vec<Value> = before.iter().filter(|it| !OWN.iter().any(|own| it["type"] == *own)).cloned().collect();
    list.extend(own.into_iter().map(|(name, (status, reason, message))| {
        let same = before.iter().find(|it| it["type"] == name && it["status"] == status);
        let since = same.and_then(|it| it["lastTransitionTime"].as_str()).unwrap_or(&now);
        json!({
            "type": name, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": since,
        })
    }));
    Value::Array(list)
}

/// Whether the cluster takes this node for unreachable although it is here: then its status is due at once.
pub(crate) fn is_given_up(node: &Value) -> bool {
    let unknown = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "Unknown";
    let lost = |taint: &Value| {
        matches!(taint["key"].as_str(), Some("node.kubernetes.io/unreachable" | "node.kubernetes.io/not-ready"))
    };
    node["status"]["conditions"].as_array().into_iter().flatten().any(unknown)
        || node["spec"]["taints"].as_array().into_iter().flatten().any(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut options = Options::new("n1", "c", "/d", ([127, 0, 0, 1], 1).into(), [10, 0, 0, 7].into());
        options.share = 2;
        options.labels.insert("zone".into(), "a".into());
        let info = Info {
            engine: "docker".into(),
            version: "20.10".into(),
            api_version: "1.41".into(),
            cpu_millis: 5000,
            memory_bytes: 8 << 30,
            kernel: "6".into(),
            os_image: "Debian".into(),
            architecture: "amd64".into(),
            cgroup_version: 1,
            address_range: None,
        };
        let room = Facts::room(&options, &info);
        Facts { options, info, room, port: 10250, machine: ("m".into(), "b".into()) }
    }

    #[test]
    fn a_node_has_its_part_of_the_machine() {
        let status = facts().status(&Value::Null, None, Timestamp::UNIX_EPOCH);
        assert_eq!(status["capacity"], json!({"cpu": "2500m", "memory": "4Gi", "pods": "110"}));
        assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
        assert_eq!(status["nodeInfo"]["kubeletVersion"], "v1.37.0+barque.0.1.0");
        assert_eq!(status["nodeInfo"]["containerRuntimeVersion"], "docker://20.10");
        let labels = &facts().node()["metadata"]["labels"];
        assert_eq!((&labels["kubernetes.io/hostname"], &labels["zone"]), (&json!("n1"), &json!("a")));
        let node = json!({"metadata": {"name": "n1"}, "status": status});
        assert!(serde_json::from_value::<k8s_openapi::api::core::v1::Node>(node).is_ok());
    }

    #[test]
    fn conditions_keep_their_times_and_those_of_others() {
        let known = json!({"conditions": [
            {"type": "NetworkUnavailable", "status": "False"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "then"},
            {"type": "DiskPressure", "status": "Unknown", "lastTransitionTime": "then"},
        ]});
        let status = facts().status(&known, None, Timestamp::UNIX_EPOCH);
        let find =
            |name: &str| status["conditions"].as_array().unwrap().iter().find(|it| it["type"] == name).unwrap().clone();
        assert_eq!(find("NetworkUnavailable")["status"], "False");
        assert_eq!(find("Ready")["lastTransitionTime"], "then");
        assert_eq!(find("DiskPressure")["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let down = facts().status(&known, Some("no engine"), Timestamp::UNIX_EPOCH);
        assert!(down["conditions"].to_string().contains("container runtime is down: no engine"));
    }

    #[test]
    fn a_node_that_was_given_up_is_noticed() {
        let ready = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        assert!(is_given_up(&ready("Unknown")) && !is_given_up(&ready("True")));
        assert!(is_given_up(&json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable"}]}})));
        assert!(!is_given_up(&json!({"spec": {"taints": [{"key": "mine"}]}})));
    }
}
