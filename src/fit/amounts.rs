//! Amounts of resources: what a pod asks for, what a node has, and whether that is enough.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

type List = BTreeMap<String, Quantity>;

/// Amounts of the resources that pods share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU time in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// Local disk in bytes.
    pub ephemeral_storage: i64,
    /// Number of pods.
    pub pods: i64,
    /// Extended resources (huge pages, devices) by name, in units.
    pub other: BTreeMap<String, i64>,
}

/// A resource of which not enough is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Its name: `cpu`, `memory`, `ephemeral-storage`, `pods` or that of an extended resource.
    pub resource: String,
    /// What was asked for: cores in thousandths, bytes, or units.
    pub requested: i64,
    /// What is taken.
    pub used: i64,
    /// What there is altogether.
    pub capacity: i64,
}

impl Amounts {
    /// Reads a resource list; what does not parse counts as none.
    pub fn of(list: Option<&List>) -> Self {
        Self::read(list.into_iter().flatten())
    }

    /// Reads amounts by name; of those that have one name the last counts.
    fn read<'a>(list: impl Iterator<Item = (&'a String, &'a Quantity)>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            let quantity = quantity.0.parse().unwrap_or(objects::quantity::Quantity::ZERO);
            match name.as_str() {
                "cpu" => amounts.cpu_milli = quantity.to_milli(),
                "memory" => amounts.memory = quantity.to_bytes(),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity.to_bytes(),
                "pods" => amounts.pods = quantity.to_bytes(),
                other => {
                    amounts.other.insert(other.to_owned(), quantity.to_bytes());
                }
            }
        }
        amounts
    }

    /// What a pod asks for: its containers together, or its largest init container where that is more; init containers
    /// that keep running add up; then the overhead. Follows `component-helpers/resource/helpers.go`.
    pub fn requested_by(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self { pods: 1, ..Self::default() };
        };
        let mut total = Self::default();
        for container in &spec.containers {
            total.add(&of_container(container));
        }
        let (mut beside, mut peak) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let wanted = of_container(container);
            if container.restart_policy.as_deref() == Some("Always") {
                total.add(&wanted);
                beside.add(&wanted);
                peak.raise_to(&beside);
            } else {
                let mut together = wanted;
                together.add(&beside);
                peak.raise_to(&together);
            }
        }
        total.raise_to(&peak);
        // Requests of the pod as a whole replace the sum of its containers'.
        if let Some(whole) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
            let amounts = Self::of(Some(whole));
            if whole.contains_key("cpu") {
                total.cpu_milli = amounts.cpu_milli;
            }
            if whole.contains_key("memory") {
                total.memory = amounts.memory;
            }
        }
        total.add(&Self::of(spec.overhead.as_ref()));
        total.pods = 1;
        total
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory = self.memory.saturating_add(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.saturating_add(other.ephemeral_storage);
        self.pods = self.pods.saturating_add(other.pods);
        for (name, amount) in &other.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// What of these amounts cannot be had where `used` is taken of `offered` (`framework/plugins/noderesources/fit.go`).
    pub fn lacking(&self, used: &Self, offered: &Self) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let mut ask = |resource: &str, requested: i64, used: i64, capacity: i64| {
            if requested > 0 && requested > capacity.saturating_sub(used) {
                lacks.push(Lack { resource: resource.to_owned(), requested, used, capacity });
            }
        };
        ask("pods", self.pods, used.pods, offered.pods);
        ask("cpu", self.cpu_milli, used.cpu_milli, offered.cpu_milli);
        ask("memory", self.memory, used.memory, offered.memory);
        ask("ephemeral-storage", self.ephemeral_storage, used.ephemeral_storage, offered.ephemeral_storage);
        for (name, amount) in &self.other {
            let of = |amounts: &Self| amounts.other.get(name).copied().unwrap_or(0);
            ask(name, *amount, of(used), of(offered));
        }
        lacks
    }

    /// Raises each amount to that of `other` where that is larger.
    fn raise_to(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.other {
            let known = self.other.entry(name.clone()).or_default();
            *known = (*known).max(*amount);
        }
    }
}

fn of_container(container: &Container) -> Amounts {
    let Some(resources) = &container.resources else {
        return Amounts::default();
    };
    // The API takes limits for requests that are missing; a pod that came past its defaults is read the same way.
    Amounts::read(resources.limits.iter().chain(&resources.requests).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, cpu_milli: i64, memory: i64) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let amounts = Amounts::requested_by(&pod);
        assert_eq!((amounts.cpu_milli, amounts.memory, amounts.pods), (cpu_milli, memory, 1), "{spec}");
    }

    #[test]
    fn a_pods_request_is_its_containers_or_its_largest_init_container() {
        let container =
            |cpu: &str, memory: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let mut sidecar = container("100m", "5");
        sidecar["restartPolicy"] = json!("Always");
        check(json!({"containers": [{"name": "c"}]}), 0, 0);
        check(json!({"containers": [container("100m", "1Ki"), container("1", "1Ki")]}), 1100, 2048);
        check(json!({"containers": [container("100m", "10")], "initContainers": [container("2", "5")]}), 2000, 10);
        check(
            json!({"containers": [container("100m", "10")], "initContainers": [sidecar.clone(), container("1", "1")]}),
            1100,
            15,
        );
        check(
            json!({"containers": [container("100m", "10")], "initContainers": [container("1", "1"), sidecar]}),
            1000,
            15,
        );
        check(json!({"containers": [container("100m", "10")], "overhead": {"cpu": "50m"}}), 150, 10);
        check(json!({"containers": [container("100m", "10")], "resources": {"requests": {"cpu": "2"}}}), 2000, 10);
        let limits = json!({"limits": {"cpu": "1", "memory": "7"}, "requests": {"cpu": "200m"}});
        check(json!({"containers": [{"name": "c", "resources": limits}]}), 200, 7);
    }

    #[test]
    fn what_is_lacking_is_named_with_its_numbers() {
        let amounts = |cpu_milli, memory, pods, gpus| Amounts {
            cpu_milli,
            memory,
            pods,
            other: BTreeMap::from([("example.com/gpu".to_owned(), gpus)]),
            ..Amounts::default()
        };
        let (used, offered) = (amounts(500, 500, 1, 1), amounts(1000, 1000, 2, 1));
        for (wanted, expected) in [
            (amounts(500, 500, 1, 0), &[] as &[&str]),
            (amounts(501, 1, 1, 0), &["cpu"]),
            (amounts(1, 501, 1, 0), &["memory"]),
            (amounts(501, 501, 2, 1), &["pods", "cpu", "memory", "example.com/gpu"]),
        ] {
            let found: Vec<String> = wanted.lacking(&used, &offered).into_iter().map(|lack| lack.resource).collect();
            assert_eq!(found, expected, "{wanted:?}");
        }
        // What is not asked for is not missed, however much is taken.
        assert!(Amounts::default().lacking(&offered, &used).is_empty());
        let lack = amounts(600, 0, 0, 0).lacking(&used, &offered).pop().expect("cpu");
        assert_eq!((lack.requested, lack.used, lack.capacity), (600, 500, 1000));
    }
}
