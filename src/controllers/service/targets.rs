//! What a Service wants of pods, and what each pod is to it: pure.
//!
//! Follows upstream's `endpointslice/utils.go` and `controller/endpoint/endpoints_controller.go`.

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use objects::Face;
use objects::selector::Labels;
use serde_json::{Value, json};

/// What of a Service decides about its endpoints.
#[derive(Debug)]
pub(super) struct Wants {
    name: String,
    ports: Vec<ServicePort>,
    /// Whether pods count that are not ready.
    unready: bool,
    /// Whether the Service has no address of its own.
    pub headless: bool,
    /// The types of addresses that it has, the first being the one of its old form.
    pub families: Vec<&'static str>,
}

impl Wants {
    /// Reads a Service with its pods' selector; `None` when somebody else says where its traffic goes.
    pub fn of(name: &str, service: &Service) -> Option<(Self, Labels)> {
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
        let selector = Labels::from_value(&json!({ "matchLabels": selector })).ok()?;
        let named = spec.ip_families.iter().flatten();
        let mut families: Vec<&str> = named.map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
        if families.is_empty() {
            // One that an older release stored.
            families.push("IPv4");
        }
        let wants = Self {
            name: name.to_owned(),
            ports: spec.ports.clone().unwrap_or_default(),
            unready: spec.publish_not_ready_addresses == Some(true),
            headless: spec.cluster_ip.as_deref() == Some("None"),
            families,
        };
        Some((wants, selector))
    }

    /// The pod's ports behind the Service's; `None` when the pod has none of them, so that nothing can be sent to it.
    pub fn ports(&self, pod: &Pod) -> Option<Value> {
        let mut found = Vec::new();
        for port in &self.ports {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let number = match &port.target_port {
                None => Some(port.port),
                Some(IntOrString::Int(number)) => Some(*number),
                Some(IntOrString::String(name)) => named(pod, name, protocol),
            };
            let Some(number) = number else { continue };
            let mut shown = json!({"name": port.name.as_deref().unwrap_or(""), "port": number, "protocol": protocol});
            if let Some(application) = &port.app_protocol {
                shown["appProtocol"] = json!(application);
            }
            found.push(shown);
        }
        let none = found.is_empty() && !(self.headless && self.ports.is_empty());
        (!none).then_some(Value::Array(found))
    }

    /// The pod as an endpoint of a slice; `None` when it is none. `zone` is that of its node; `None` when there is no such node.
    pub fn endpoint(&self, uid: &str, pod: &Pod, family: &str, zone: Option<&str>) -> Option<Value> {
        let address = address(pod, family)?;
        if over(pod) || zone.is_none() && !self.unready {
            return None;
        }
        let (serving, terminating) = (is_ready(pod), is_terminating(pod));
        let mut endpoint = json!({
            "addresses": [address],
            "conditions": {
                "ready": self.unready || serving && !terminating,
                "serving": serving,
                "terminating": terminating,
            },
            "targetRef": target(pod, uid),
        });
        if let Some(node) = node(pod) {
            endpoint["nodeName"] = json!(node);
        }
        if let Some(zone) = zone.filter(|zone| !zone.is_empty()) {
            endpoint["zone"] = json!(zone);
        }
        if let Some(hostname) = self.hostname(pod) {
            endpoint["hostname"] = json!(hostname);
        }
        Some(endpoint)
    }

    /// The pod as an address of an old Endpoints object, and whether it counts as ready; `None` when it is none.
    pub fn address(&self, uid: &str, pod: &Pod) -> Option<(Value, bool)> {
        let ip = address(pod, self.families.first()?)?;
        if over(pod) || is_terminating(pod) && !self.unready {
            return None;
        }
        let mut shown = json!({"ip": ip, "targetRef": target(pod, uid)});
        if let Some(node) = node(pod) {
            shown["nodeName"] = json!(node);
        }
        if let Some(hostname) = self.hostname(pod) {
            shown["hostname"] = json!(hostname);
        }
        Some((shown, self.unready || is_ready(pod)))
    }

    /// The name by which DNS knows the pod below the Service's own.
    fn hostname<'a>(&self, pod: &'a Pod) -> Option<&'a str> {
        let spec = pod.spec.as_ref()?;
        let below = spec.subdomain.as_deref() == Some(&self.name);
        spec.hostname.as_deref().filter(|hostname| below && !hostname.is_empty())
    }
}

/// Whether a Service's selector finds an object: quick, for every change of every pod.
pub(super) fn selects(service: &Service, face: &Face) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| face.label(key) == Some(value))
    })
}

/// A port that a container calls by name.
fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
    let is = |protocol: Option<&str>, wanted: &str| protocol.unwrap_or("TCP") == wanted;
    let mut ports = ports.filter(|port| port.name.as_deref() == Some(name) && is(port.protocol.as_deref(), protocol));
    ports.next().map(|port| port.container_port)
}

fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    let mut all = all.chain(status.pod_ip.as_deref()).filter(|ip| !ip.is_empty());
    all.find(|ip| ip.contains(':') == (family == "IPv6"))
}

fn over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The pod's node, if it has one.
pub(super) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn target(pod: &Pod, uid: &str) -> Value {
    json!({
        "kind": "Pod", "namespace": pod.metadata.namespace.as_deref().unwrap_or(""),
        "name": pod.metadata.name.as_deref().unwrap_or(""), "uid": uid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(spec: Value) -> Wants {
        let mut service =
            json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ipFamilies": ["IPv4"]}});
        for (key, value) in spec.as_object().unwrap() {
            service["spec"][key] = value.clone();
        }
        Wants::of("s", &serde_json::from_value(service).unwrap()).expect("selects pods").0
    }

    /// A ready pod with two named ports, changed at pointers.
    fn pod(changes: &[(&str, Value)]) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
                {"name": "web", "containerPort": 8080}, {"name": "web", "containerPort": 5353, "protocol": "UDP"}]}]},
            "status": {"phase": "Running", "podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}],
                "conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (pointer, value) in changes {
            let (outer, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(outer).unwrap()[key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn some_pods_are_no_endpoints() {
        let plain = json!({"ports": [{"port": 80}]});
        let unready = json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true});
        let leaving = [("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))];
        let waiting = [("/status/conditions", json!([]))];
        let homeless = [("/status/podIP", json!("")), ("/status/podIPs", json!([]))];
        // What the pod is in a slice (ready, serving, terminating), and what among the old addresses.
        for (spec, changes, zone, slice, old) in [
            (&plain, &[][..], Some(""), "ready serving", "ready"),
            (&plain, &waiting, Some(""), "", "unready"),
            (&plain, &leaving, Some(""), "serving terminating", "none"),
            (&plain, &homeless, Some(""), "none", "none"),
            (&plain, &[("/status/phase", json!("Failed"))], Some(""), "none", "none"),
            (&plain, &[("/status/phase", json!("Succeeded"))], Some(""), "none", "none"),
            (&plain, &[], None, "none", "ready"),
            (&unready, &[], None, "ready serving", "ready"),
            (&unready, &waiting, Some(""), "ready", "ready"),
            (&unready, &leaving, Some(""), "ready serving terminating", "ready"),
        ] {
            let (wants, pod) = (wants(spec.clone()), pod(changes));
            let found = wants.endpoint("u", &pod, "IPv4", zone).map(|endpoint| {
                let is = |name: &&str| endpoint["conditions"][*name] == true;
                ["ready", "serving", "terminating"].into_iter().filter(is).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref().unwrap_or("none"), slice, "{spec} {changes:?}");
            let found = wants.address("u", &pod).map_or("none", |(_, ready)| if ready { "ready" } else { "unready" });
            assert_eq!(found, old, "{spec} {changes:?}");
        }
    }

    #[test]
    fn ports_are_found_by_number_and_by_name() {
        let sidecar = json!([
            {"name": "once", "ports": [{"name": "side", "containerPort": 1}]},
            {"name": "side", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9000}]}]);
        let pod = pod(&[("/spec/initContainers", sidecar)]);
        for (ports, expected) in [
            (json!([{"port": 80}]), json!([80])),
            (json!([{"port": 80, "targetPort": 8081}]), json!([8081])),
            (json!([{"port": 80, "targetPort": "web"}]), json!([8080])),
            (json!([{"port": 80, "targetPort": "web", "protocol": "UDP"}]), json!([5353])),
            (json!([{"port": 80, "targetPort": "side"}]), json!([9000])),
            (json!([{"port": 80, "targetPort": "none"}, {"port": 81, "targetPort": "web"}]), json!([8080])),
            (json!([{"port": 80, "targetPort": "none"}]), json!(null)),
            (json!([{"port": 80, "targetPort": "web", "protocol": "SCTP"}]), json!(null)),
            (json!([]), json!(null)),
        ] {
            let found = wants(json!({ "ports": ports })).ports(&pod);
            let numbers = found
                .map(|found| found.as_array().unwrap().iter().map(|port| port["port"].clone()).collect::<Vec<_>>());
            assert_eq!(json!(numbers), expected, "{ports}");
        }
        assert_eq!(wants(json!({"clusterIP": "None"})).ports(&pod), Some(json!([])));
        let shown =
            wants(json!({"ports": [{"name": "h", "port": 80, "appProtocol": "kubernetes.io/h2c"}]})).ports(&pod);
        assert_eq!(
            shown,
            Some(json!([{"name": "h", "port": 80, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}]))
        );
    }

    #[test]
    fn an_endpoint_says_where_and_who() {
        let wants = wants(json!({"ports": [{"port": 80}], "ipFamilies": ["IPv6", "IPv4"]}));
        let pod = pod(&[("/spec/hostname", json!("h")), ("/spec/subdomain", json!("s"))]);
        assert_eq!(
            wants.endpoint("u", &pod, "IPv6", Some("z1")),
            Some(json!({"addresses": ["fd00::5"], "nodeName": "n1", "zone": "z1", "hostname": "h",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "n", "name": "p", "uid": "u"}}))
        );
        assert_eq!(wants.address("u", &pod).unwrap().0["ip"], "fd00::5");
        // Below another service's name it has none.
        let other = self::pod(&[("/spec/hostname", json!("h")), ("/spec/subdomain", json!("other"))]);
        assert_eq!(wants.endpoint("u", &other, "IPv4", Some("")).unwrap().get("hostname"), None);
    }

    #[test]
    fn some_services_select_nothing() {
        for spec in [
            json!({"type": "ExternalName", "externalName": "a.b", "selector": {"a": "b"}}),
            json!({"ports": [{"port": 80}]}),
            json!({"ports": [{"port": 80}], "selector": {}}),
        ] {
            let service: Service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
            assert!(Wants::of("s", &service).is_none(), "{spec}");
        }
    }
}
