//! Whether a pod fits on this node beside those that are there: what upstream's kubelet checks before it runs a pod.

use super::memory::Failure;
use super::view;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;

/// What a node has for pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Pods.
    pub pods: i64,
}

/// What a pod asks for: its containers and sidecars together, or its largest init container where that is more.
pub(crate) fn requested(pod: &Pod) -> Room {
    let (mut cpu, mut memory, mut beside) = (0_i64, 0_i64, (0_i64, 0_i64));
    let mut peak = (0_i64, 0_i64);
    for container in &view::spec(pod).containers {
        let wanted = of(container);
        cpu = cpu.saturating_add(wanted.0);
        memory = memory.saturating_add(wanted.1);
    }
    for container in view::init_containers(pod) {
        let wanted = of(container);
        let together = (beside.0 + wanted.0, beside.1 + wanted.1);
        peak = (peak.0.max(together.0), peak.1.max(together.1));
        if view::is_sidecar(container) {
            beside = together;
        }
    }
    cpu = cpu.saturating_add(beside.0).max(peak.0);
    memory = memory.saturating_add(beside.1).max(peak.1);
    let overhead = amounts(view::spec(pod).overhead.as_ref());
    Room { cpu_milli: cpu.saturating_add(overhead.0), memory: memory.saturating_add(overhead.1), pods: 1 }
}

/// Decides whether `pod` may run beside `others`, which were admitted before.
pub(crate) fn admit<'a>(pod: &Pod, others: impl IntoIterator<Item = &'a Pod>, room: Room) -> Result<(), Failure> {
    let wanted = requested(pod);
    let mut used = Room { cpu_milli: 0, memory: 0, pods: 0 };
    let ports = host_ports(pod);
    for other in others {
        if view::is_terminal(other) || other.metadata.uid == pod.metadata.uid {
            continue;
        }
        let its = requested(other);
        used.cpu_milli = used.cpu_milli.saturating_add(its.cpu_milli);
        used.memory = used.memory.saturating_add(its.memory);
        used.pods += 1;
        if let Some(port) = host_ports(other).iter().find(|port| ports.iter().any(|own| collide(own, port))) {
            return Err(Failure {
                reason: "NodePorts".to_owned(),
                message: format!("Pod was rejected: Predicate NodePorts failed: host port {} is taken", port.1),
            });
        }
    }
    let out_of = |what: &str, wanted: i64, used: i64, capacity: i64| Failure {
        reason: format!("OutOf{what}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {what}, requested: {wanted}, used: {used}, capacity: {capacity}"
        ),
    };
    for (what, wanted, used, capacity) in [
        ("pods", wanted.pods, used.pods, room.pods),
        ("cpu", wanted.cpu_milli, used.cpu_milli, room.cpu_milli),
        ("memory", wanted.memory, used.memory, room.memory),
    ] {
        if wanted > 0 && used.saturating_add(wanted) > capacity {
            return Err(out_of(what, wanted, used, capacity));
        }
    }
    Ok(())
}

fn of(container: &Container) -> (i64, i64) {
    let resources = container.resources.as_ref();
    let mut wanted = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    // Upstream's defaulting takes limits for requests; a pod that bypassed it is read the same way.
    let limits = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    let has = |name: &str| resources.and_then(|it| it.requests.as_ref()).is_some_and(|list| list.contains_key(name));
    if !has("cpu") {
        wanted.0 = limits.0;
    }
    if !has("memory") {
        wanted.1 = limits.1;
    }
    wanted
}

fn amounts(list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>) -> (i64, i64) {
    let read = |name: &str| -> objects::quantity::Quantity {
        list.and_then(|list| list.get(name))
            .and_then(|quantity| quantity.0.parse().ok())
            .unwrap_or(objects::quantity::Quantity::ZERO)
    };
    (read("cpu").to_milli(), read("memory").to_bytes())
}

type HostPort = (String, i32, String);

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let ports =
        view::spec(pod).containers.iter().chain(view::init_containers(pod)).flat_map(|it| it.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.clone().unwrap_or_default();
            Some((address, number, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())))
        })
        .collect()
}

fn collide(one: &HostPort, other: &HostPort) -> bool {
    let all = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
    one.1 == other.1 && one.2 == other.2 && (all(&one.0) || all(&other.0) || one.0 == other.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(uid: &str, container: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [container]}}))
            .unwrap()
    }

    #[test]
    fn what_does_not_fit_is_refused_with_upstreams_words() {
        let asks =
            |cpu: &str, memory: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let port = |address: &str, number: i32| json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": number, "hostIP": address}]});
        let room = Room { cpu_milli: 1000, memory: 1000, pods: 2 };
        let cases = [
            (asks("500m", "500"), vec![asks("500m", "500")], ""),
            (asks("501m", "1"), vec![asks("500m", "500")], "OutOfcpu"),
            (asks("1m", "501"), vec![asks("500m", "500")], "OutOfmemory"),
            (json!({"name": "c"}), vec![json!({"name": "c"}), json!({"name": "c"})], "OutOfpods"),
            (json!({"name": "c"}), vec![asks("5", "5000")], ""),
            (port("", 80), vec![port("10.0.0.1", 80)], "NodePorts"),
            (port("10.0.0.2", 80), vec![port("10.0.0.1", 80)], ""),
            (port("", 80), vec![port("", 81)], ""),
        ];
        for (index, (wanted, there, reason)) in cases.into_iter().enumerate() {
            let others: Vec<Pod> = there.into_iter().enumerate().map(|(n, c)| pod(&format!("o{n}"), c)).collect();
            let outcome = admit(&pod("new", wanted), &others, room);
            assert_eq!(outcome.err().map(|failure| failure.reason).unwrap_or_default(), reason, "case {index}");
        }
    }

    #[test]
    fn ended_pods_and_the_pod_itself_take_no_room() {
        let room = Room { cpu_milli: 1000, memory: 1000, pods: 1 };
        let wanted = json!({"name": "c", "resources": {"limits": {"cpu": "1"}}});
        let mut ended = pod("ended", wanted.clone());
        ended.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
        assert!(admit(&pod("a", wanted.clone()), [&ended, &pod("a", wanted)], room).is_ok());
    }
}
