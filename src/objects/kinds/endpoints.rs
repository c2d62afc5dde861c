//! Endpoints and EndpointSlices: where a service's traffic goes.
//!
//! Follows `pkg/apis/core/validation/validation.go`, `pkg/apis/discovery/{v1/defaults,validation/validation}.go` and
//! `pkg/registry/discovery/endpointslice/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Text;
use crate::defaulting::{objects, or_set};
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static ENDPOINTS: Declaration = Declaration {
    short_names: &["ep"],
    defaults: &[("subsets[].ports[].protocol", Text("TCP"))],
    rules: Some(endpoints),
    columns: &[
        NAME,
        Column::text("Endpoints", "Addresses and ports that are ready.")
            .made(|object, _| json!(columns::first(&ready(object), 3))),
        AGE,
    ],
    ..Declaration::plain("", "v1", "Endpoints", "endpoints")
};

pub(super) static ENDPOINT_SLICE: Declaration = Declaration {
    generation: true,
    fill: Some(fill),
    rules: Some(slice),
    immutable: &["addressType"],
    columns: &[
        NAME,
        Column::text("AddressType", "Kind of the addresses.").showing("addressType"),
        Column::text("Ports", "Ports of all endpoints.").made(|object, _| json!(slice_ports(object))),
        Column::text("Endpoints", "Addresses of the endpoints.").made(|object, _| json!(slice_addresses(object))),
        AGE,
    ],
    ..Declaration::plain("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;

fn endpoints(faults: &mut Faults, value: &Value) {
    for (path, subset) in list("subsets", &value["subsets"]) {
        if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
            faults.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in ["addresses", "notReadyAddresses"] {
            for (path, address) in list(&format!("{path}.{key}"), &subset[key]) {
                faults.address(&format!("{path}.ip"), &address["ip"]);
                faults.may_be_named(&format!("{path}.hostname"), &address["hostname"], names::dns_label);
                faults.may_be_named(&format!("{path}.nodeName"), &address["nodeName"], names::dns_subdomain);
            }
        }
        let several = columns::list(&subset["ports"]).len() > 1;
        for (path, port) in list(&format!("{path}.ports"), &subset["ports"]) {
            if several {
                faults.needs(&format!("{path}.name"), &port["name"]);
            }
            faults.may_be_named(&format!("{path}.name"), &port["name"], names::dns_label);
            faults.port(&format!("{path}.port"), &port["port"]);
            faults.supported(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
            faults.may_be_named(&format!("{path}.appProtocol"), &port["appProtocol"], names::label_key);
        }
    }
}

fn fill(map: &mut Map<String, Value>) {
    for port in objects(map.get_mut("ports")) {
        // An empty name is a name, so only an absent one is filled.
        if port.get("name").is_none_or(Value::is_null) {
            port.insert("name".into(), json!(""));
        }
        or_set(port, "protocol", "TCP");
    }
}

fn slice(faults: &mut Faults, value: &Value) {
    let kind = text(value, "addressType");
    faults.supported("addressType", &value["addressType"], &["FQDN", "IPv4", "IPv6"]);
    if columns::list(&value["endpoints"]).len() > ENDPOINTS_MAX {
        faults.too_long("endpoints", ENDPOINTS_MAX);
    }
    for (path, endpoint) in list("endpoints", &value["endpoints"]) {
        let at = |field: &str| format!("{path}.{field}");
        match columns::list(&endpoint["addresses"]).len() {
            0 => faults.required(&at("addresses"), "must contain at least 1 address"),
            count if count > ADDRESSES_MAX => faults.too_long(&at("addresses"), ADDRESSES_MAX),
            _ => {}
        }
        for (path, address) in list(&at("addresses"), &endpoint["addresses"]) {
            if kind == "FQDN" {
                faults.needs_name(&path, address, names::dns_subdomain);
                continue;
            }
            faults.address(&path, address);
            let parsed = address.as_str().and_then(|text| text.parse::<std::net::IpAddr>().ok());
            if parsed.is_some_and(|ip| ip.is_ipv4() != (kind == "IPv4")) {
                faults.invalid(&path, address, format!("must be an {kind} address"));
            }
        }
        faults.may_be_named(&at("hostname"), &endpoint["hostname"], names::dns_label);
        faults.may_be_named(&at("nodeName"), &endpoint["nodeName"], names::dns_subdomain);
        let topology = &endpoint["deprecatedTopology"];
        faults.labels(&at("deprecatedTopology"), topology);
        if topology.get("kubernetes.io/hostname").is_some() {
            let detail = "may not be set directly, use nodeName and zone fields instead";
            faults.invalid(&at("deprecatedTopology"), topology, detail);
        }
        for (path, hint) in list(&at("hints.forZones"), &endpoint["hints"]["forZones"]) {
            faults.needs_name(&format!("{path}.name"), &hint["name"], names::label_key);
        }
    }
    if columns::list(&value["ports"]).len() > PORTS_MAX {
        faults.too_long("ports", PORTS_MAX);
    }
    let mut seen = Vec::new();
    for (path, port) in list("ports", &value["ports"]) {
        faults.may_be_named(&format!("{path}.name"), &port["name"], names::dns_label);
        if seen.contains(&text(port, "name")) {
            faults.duplicate(&format!("{path}.name"), &port["name"]);
        }
        seen.push(text(port, "name"));
        faults.supported(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        if !port["port"].is_null() {
            faults.port(&format!("{path}.port"), &port["port"]);
        }
        faults.may_be_named(&format!("{path}.appProtocol"), &port["appProtocol"], names::label_key);
    }
}

fn ready(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for subset in columns::list(&object["subsets"]) {
        let addresses = || columns::list(&subset["addresses"]).iter().map(|address| text(address, "ip"));
        if is_empty(&subset["ports"]) {
            all.extend(addresses().map(str::to_owned));
        }
        for port in columns::list(&subset["ports"]) {
            all.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", port["port"]),
                false => format!("{ip}:{}", port["port"]),
            }));
        }
    }
    all
}

fn slice_ports(object: &Value) -> String {
    let ports: Vec<String> = columns::list(&object["ports"])
        .iter()
        .map(|port| match (port["port"].as_i64(), columns::text(&port["name"])) {
            (Some(number), _) => number.to_string(),
            (None, "") => "*".into(),
            (None, name) => name.into(),
        })
        .collect();
    if ports.is_empty() { "<unset>".into() } else { columns::first(&ports, 3) }
}

fn slice_addresses(object: &Value) -> String {
    let all: Vec<String> = columns::list(&object["endpoints"])
        .iter()
        .flat_map(|endpoint| columns::list(&endpoint["addresses"]))
        .map(columns::plain)
        .collect();
    if all.is_empty() { "<unset>".into() } else { columns::first(&all, 3) }
}
