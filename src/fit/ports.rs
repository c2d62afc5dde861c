//! Ports of the node's own address: two pods of one node cannot hold the same (`framework/types.go`, `HostPortInfo`).

use k8s_openapi::api::core::v1::Pod;

/// A port on the node's own address that a pod holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Address, empty or `0.0.0.0` for all.
    pub address: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// The ports that a pod holds on its node for as long as it runs.
    pub fn of(pod: &Pod) -> Vec<Self> {
        let Some(spec) = &pod.spec else {
            return Vec::new();
        };
        let inits = spec.init_containers.iter().flatten();
        let lasting = inits.filter(|one| one.restart_policy.as_deref() == Some("Always"));
        let own_network = !spec.host_network.unwrap_or(false);
        spec.containers
            .iter()
            .chain(lasting)
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| {
                // On the node's network every container port is a port of the node.
                let number =
                    port.host_port.filter(|number| *number > 0).or((!own_network).then_some(port.container_port))?;
                Some(Self {
                    address: port.host_ip.clone().unwrap_or_default(),
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                    port: number,
                })
            })
            .collect()
    }

    fn collides(&self, other: &Self) -> bool {
        let all = |port: &Self| matches!(port.address.as_str(), "" | "0.0.0.0" | "::");
        let addresses = all(self) || all(other) || self.address == other.address;
        addresses && self.port == other.port && self.protocol == other.protocol
    }
}

/// The first of the `held` ports that collides with one of the `wanted`.
pub fn collision<'a>(wanted: &[HostPort], held: impl IntoIterator<Item = &'a HostPort>) -> Option<&'a HostPort> {
    held.into_iter().find(|held| wanted.iter().any(|wanted| wanted.collides(held)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ports(spec: Value) -> Vec<HostPort> {
        HostPort::of(&serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap())
    }

    fn one(address: &str, port: i32, protocol: &str) -> Vec<HostPort> {
        let port = json!({"containerPort": 1, "hostPort": port, "hostIP": address, "protocol": protocol});
        ports(json!({"containers": [{"name": "c", "ports": [port]}]}))
    }

    #[test]
    fn a_pod_holds_the_ports_of_what_keeps_running() {
        let numbers = |spec: Value| -> Vec<i32> { ports(spec).iter().map(|held| held.port).collect() };
        let container = |port: Value| json!({"name": "c", "ports": [port]});
        let mut sidecar = container(json!({"containerPort": 2, "hostPort": 82}));
        sidecar["restartPolicy"] = json!("Always");
        let init = container(json!({"containerPort": 3, "hostPort": 83}));
        let main = container(json!({"containerPort": 1, "hostPort": 81}));
        assert_eq!(numbers(json!({"containers": [main], "initContainers": [init, sidecar]})), [81, 82]);
        let plain = container(json!({"containerPort": 1}));
        assert_eq!(numbers(json!({"containers": [plain]})), [0; 0]);
        assert_eq!(numbers(json!({"containers": [plain], "hostNetwork": true})), [1]);
    }

    #[test]
    fn ports_collide_on_common_addresses_of_one_protocol() {
        for (wanted, held, expected) in [
            (one("", 80, "TCP"), one("10.0.0.1", 80, "TCP"), true),
            (one("10.0.0.1", 80, "TCP"), one("0.0.0.0", 80, "TCP"), true),
            (one("10.0.0.1", 80, "TCP"), one("10.0.0.1", 80, "TCP"), true),
            (one("10.0.0.2", 80, "TCP"), one("10.0.0.1", 80, "TCP"), false),
            (one("", 80, "UDP"), one("", 80, "TCP"), false),
            (one("", 80, "TCP"), one("", 81, "TCP"), false),
        ] {
            assert_eq!(collision(&wanted, &held).is_some(), expected, "{wanted:?} beside {held:?}");
        }
    }
}
