//! ServiceCIDRs and IPAddresses: from which ranges services get addresses, and who holds which.
//!
//! Follows `pkg/apis/networking/validation/validation.go` and `pkg/registry/networking/{servicecidr,ipaddress}/strategy.go`.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME};
use crate::validation::{Faults, cidr, is_empty, list, text};

pub(super) static SERVICE_CIDR: Declaration = Declaration {
    status: true,
    rules: Some(ranges),
    changed: Some(|faults, old, new| {
        ranges(faults, new);
        faults.immutable("spec.cidrs", &old["spec"]["cidrs"], &new["spec"]["cidrs"]);
    }),
    columns: &[
        NAME,
        Column::text("CIDRs", "The ranges.").made(|object, _| {
            let all: Vec<&str> = columns::list(&object["spec"]["cidrs"]).iter().map(columns::text).collect();
            json!(all.join(","))
        }),
        AGE,
    ],
    ..Declaration::cluster("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs")
};

pub(super) static IP_ADDRESS: Declaration = Declaration {
    short_names: &["ip"],
    named: canonical,
    rules: Some(parent),
    immutable: &["spec.parentRef"],
    columns: &[NAME, Column::text("ParentRef", "Who holds the address.").made(|object, _| json!(holder(object)))],
    ..Declaration::cluster("networking.k8s.io", "v1", "IPAddress", "ipaddresses")
};

/// An address is the name of its object, so it has one spelling.
fn canonical(name: &str) -> Vec<String> {
    match name.parse::<IpAddr>() {
        Ok(address) if address.to_string() == name => Vec::new(),
        Ok(_) => vec!["must be in canonical form".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

fn ranges(faults: &mut Faults, value: &Value) {
    let all = columns::list(&value["spec"]["cidrs"]);
    match all.len() {
        0 => faults.required("spec.cidrs", "at least one CIDR required"),
        1 | 2 => {}
        _ => faults.invalid("spec.cidrs", &value["spec"]["cidrs"], "may only hold up to 2 values"),
    }
    let mut families = Vec::new();
    for (path, range) in list("spec.cidrs", &value["spec"]["cidrs"]) {
        faults.cidr(&path, range);
        families.extend(range.as_str().and_then(cidr).map(|(address, _)| address.is_ipv4()));
    }
    if families.len() == 2 && families[0] == families[1] {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        faults.invalid("spec.cidrs", &value["spec"]["cidrs"], detail);
    }
}

fn parent(faults: &mut Faults, value: &Value) {
    let parent = &value["spec"]["parentRef"];
    if is_empty(parent) {
        faults.required("spec.parentRef", "");
        return;
    }
    for key in ["resource", "name"] {
        faults.needs(&format!("spec.parentRef.{key}"), &parent[key]);
    }
}

fn holder(object: &Value) -> String {
    let parent = &object["spec"]["parentRef"];
    let group = text(parent, "group");
    let dot = if group.is_empty() { "" } else { "." };
    let mut steps = vec![format!("{}{dot}{group}", text(parent, "resource"))];
    steps.extend(Some(text(parent, "namespace")).filter(|namespace| !namespace.is_empty()).map(str::to_owned));
    steps.push(text(parent, "name").to_owned());
    steps.join("/")
}
