//! Pods and nodes as the decisions read them: parsed once, shared between passes.

use std::collections::HashMap;
use std::sync::Arc;

use fit::{Amounts, HostPort};
use k8s_openapi::api::core::v1::{Node, Pod};
use objects::selector::Labels;
use serde_json::Value;

use crate::terms::Terms;

/// Labels as faces keep them.
pub type LabelPairs = Vec<(Box<str>, Box<str>)>;

/// CPU and memory that a pod without requests is taken to use when nodes are compared (`scheduler/util/pod_resources.go`).
const UNSPOKEN: (i64, i64) = (100, 200 << 20);

/// What decisions need to know of a pod.
#[derive(Debug, Clone)]
pub struct PodFacts {
    /// The pod itself.
    pub pod: Arc<Pod>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: LabelPairs,
    /// Uid of the owner that manages it.
    pub owner: Option<String>,
    /// What it asks for.
    pub requests: Amounts,
    /// CPU (milli) and memory (bytes) that it is taken to use when nodes are compared.
    pub weight: (i64, i64),
    /// Ports it holds on its node.
    pub host_ports: Vec<HostPort>,
    /// Its rules about other pods.
    pub(crate) terms: Terms,
}

impl PodFacts {
    /// Reads a pod.
    pub fn of(pod: Arc<Pod>) -> Self {
        let metadata = &pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let requests = Amounts::requested_by(&pod);
        let spoken = |amount: i64, otherwise: i64| if amount > 0 { amount } else { otherwise };
        let weight = (spoken(requests.cpu_milli, UNSPOKEN.0), spoken(requests.memory, UNSPOKEN.1));
        let owners = metadata.owner_references.iter().flatten();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            labels: pairs(metadata.labels.as_ref()),
            owner: owners.clone().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()),
            requests,
            weight,
            host_ports: HostPort::of(&pod),
            terms: Terms::of(&pod),
            pod,
        }
    }

    /// Priority of the pod; the higher goes first.
    pub fn priority(&self) -> i32 {
        self.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
    }
}

/// What decisions need to know of a node, with the pods that are on it.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The node itself.
    pub node: Arc<Node>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: LabelPairs,
    /// What pods may use together.
    pub allocatable: Amounts,
    /// What the pods on it ask for.
    pub requested: Amounts,
    /// What the pods on it are taken to use when nodes are compared: CPU (milli) and memory (bytes).
    pub weight: (i64, i64),
    /// The pods on it.
    pub pods: Vec<Arc<PodFacts>>,
    /// Sizes in bytes of the images on it, by name.
    pub images: HashMap<String, i64>,
}

impl NodeFacts {
    /// Reads a node that has no pods yet.
    pub fn of(node: Arc<Node>) -> Self {
        let status = node.status.as_ref();
        // A node that says nothing of what is allocatable offers its capacity.
        let offered = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let mut images = HashMap::new();
        for image in status.and_then(|status| status.images.as_ref()).into_iter().flatten() {
            for name in image.names.iter().flatten() {
                images.insert(name.clone(), image.size_bytes.unwrap_or(0));
            }
        }
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            labels: pairs(node.metadata.labels.as_ref()),
            allocatable: Amounts::of(offered),
            requested: Amounts::default(),
            weight: (0, 0),
            pods: Vec::new(),
            images,
            node,
        }
    }

    /// Counts a pod as being on the node.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.requested.add(&pod.requests);
        self.weight = (self.weight.0.saturating_add(pod.weight.0), self.weight.1.saturating_add(pod.weight.1));
        self.pods.push(pod);
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// Status of a condition, as `True`; empty when the node does not speak of it.
    pub fn condition(&self, name: &str) -> &str {
        let conditions = self.node.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == name)
            .map_or("", |condition| &condition.status)
    }
}

/// All that a plan rests on.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every node, in order of name.
    pub nodes: Vec<NodeFacts>,
    /// Labels of the namespaces by name, for rules that select namespaces.
    pub namespaces: HashMap<String, LabelPairs>,
}

/// Whether a pod still takes room on its node: it does until its containers are known to have ended for good.
pub fn takes_room(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

pub(crate) fn find<'a>(labels: &'a LabelPairs, key: &str) -> Option<&'a str> {
    labels.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
}

fn pairs(labels: Option<&std::collections::BTreeMap<String, String>>) -> LabelPairs {
    labels.into_iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

/// Reads a `LabelSelector`; absent ones select nothing, and so does one that does not read.
pub(crate) fn read_selector<T: k8s_openapi::serde::Serialize>(selector: Option<&T>) -> Labels {
    let value = selector.and_then(|selector| serde_json::to_value(selector).ok()).unwrap_or(Value::Null);
    Labels::from_value(&value).unwrap_or_else(|_| Labels::nothing())
}
