//! What is given, taken back and refused, in rows. The dice always show the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const V4: &str = "10.96.0.0/16";
const V6: &str = "fd00::/108";

/// Records by name: `a` is the Service of the tests, which is called so in the namespace `n`.
type Records<'a> = &'a [(&'a str, &'a str)];

fn service(spec: Value) -> Value {
    let mut value = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"type": "ClusterIP"}});
    json_patch::merge(&mut value, &json!({ "spec": spec }));
    value
}

fn ranges(texts: &[&str]) -> Vec<AddressRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn planned(cluster: &[&str], old: Option<&Value>, new: &mut Value, records: Records<'_>) -> Result<Plan, Status> {
    let records: BTreeMap<&str, &str> = records.iter().copied().collect();
    let holder = |key: &Key| {
        let name = *records.get(&*key.name)?;
        Some((!name.is_empty()).then(|| Holder { namespace: "n".into(), name: name.into() }))
    };
    let ranges = ranges(cluster);
    let mut pool = Pool { ranges: &ranges, ports: NODE_PORT_RANGE, holder: &holder, draw: &mut || 7 };
    plan(old, new, &mut pool)
}

fn words(result: Result<Plan, Status>) -> String {
    result.map_or_else(|status| format!("{} {}", status.code, status.message), |plan| format!("{plan:?}"))
}

#[test]
fn what_cannot_be_given_is_refused() {
    let taken: Records<'_> = &[("10.96.0.9", "b"), ("10.96.0.8", ""), ("30080", "b"), ("30081", "")];
    let rows: Vec<(Value, &str)> = vec![
        (
            json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}),
            "422 Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.9\"]: failed to allocate IP 10.96.0.9: \
             provided IP is already allocated",
        ),
        // An address that somebody keeps for another purpose is no Service's either.
        (json!({"clusterIPs": ["10.96.0.8"]}), "provided IP is already allocated"),
        (
            json!({"clusterIPs": ["10.97.0.1"]}),
            "the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
        ),
        (json!({"clusterIPs": ["10.96.0.0"]}), "is not in the valid range"),
        (json!({"clusterIPs": ["10.96.255.255"]}), "is not in the valid range"),
        (
            json!({"clusterIPs": ["fd00::5"]}),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::5\"]: IPv6 is not configured",
        ),
        (
            json!({"clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv6"]}),
            "expected an IPv6 value as indicated by `ipFamilies[0]`",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"]}),
            "must be RequireDualStack or PreferDualStack when multiple ipFamilies are specified",
        ),
        (
            json!({"clusterIPs": ["10.96.0.5", "10.96.0.6"], "ipFamilyPolicy": "PreferDualStack"}),
            "may specify no more than one IP for each IP family",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "nodePort": 30080}]}),
            "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated",
        ),
        (json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30081}]}), "provided port is already allocated"),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is \
             30000-32767",
        ),
        (
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32768,
                "ports": [{"port": 80}]}),
            "spec.healthCheckNodePort: Invalid value: 32768: provided port is not in the valid range",
        ),
        (
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
                "ports": [{"port": 80, "nodePort": 31000}]}),
            "spec.healthCheckNodePort: Invalid value: 31000: provided port is already allocated",
        ),
    ];
    for (spec, expected) in rows {
        let mut new = service(spec.clone());
        let found = words(planned(&[V4], None, &mut new, taken));
        assert!(found.contains(expected), "{spec}: {found}");
    }
}

#[test]
fn a_full_range_says_so() {
    let records: Vec<(String, &str)> = (1..7).map(|last| (format!("10.0.0.{last}"), "b")).collect();
    let full: Vec<(&str, &str)> = records.iter().map(|(name, holder)| (name.as_str(), *holder)).collect();
    let found = words(planned(&["10.0.0.0/29"], None, &mut service(json!({})), &full));
    assert_eq!(found, "500 Internal error occurred: failed to allocate a serviceIP: range is full");
    // With one address left it is that one, wherever the dice send the search.
    for left in 0..full.len() {
        let mut but_one = full.clone();
        let (name, _) = but_one.remove(left);
        let mut new = service(json!({}));
        planned(&["10.0.0.0/29"], None, &mut new, &but_one).unwrap();
        assert_eq!(new["spec"]["clusterIP"], name);
    }
    let ports: Vec<(String, &str)> = NODE_PORT_RANGE.map(|port| (port.to_string(), "b")).collect();
    let full: Vec<(&str, &str)> = ports.iter().map(|(name, holder)| (name.as_str(), *holder)).collect();
    let found = words(planned(&[V4], None, &mut service(json!({"type": "NodePort", "ports": [{"port": 1}]})), &full));
    assert_eq!(found, "500 Internal error occurred: failed to allocate a nodePort: range is full");
    let mut new = service(json!({"type": "NodePort", "ports": [{"port": 1}]}));
    planned(&[V4], None, &mut new, &full[1..]).unwrap();
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30_000);
    // A cluster without any range has nothing to give.
    assert!(words(planned(&[], None, &mut service(json!({})), &[])).contains("range is full"));
}

#[test]
fn a_new_service_gets_what_its_type_needs() {
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let without = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]});
    let dns = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]);
    let rows: Vec<(&[&str], Value, &str)> = vec![
        (&[V4], json!({}), "10.96.1.8|IPv4|SingleStack|"),
        (&[V4], json!({"type": "NodePort", "ports": dns}), "10.96.1.8|IPv4|SingleStack|30093 30093 30094"),
        (&[V4], local, "10.96.1.8|IPv4|SingleStack|30093 health 30094"),
        (&[V4], without, "10.96.1.8|IPv4|SingleStack|"),
        (&[V4], json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}), "None|IPv4|SingleStack|"),
        (
            &[V4],
            json!({"clusterIPs": ["None"], "clusterIP": "None", "ipFamilyPolicy": "RequireDualStack"}),
            "None|IPv4,IPv6|RequireDualStack|",
        ),
        (&[V4], json!({"type": "ExternalName", "externalName": "a.b"}), "|||"),
        (&[V4], json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]}), "10.96.0.5|IPv4|SingleStack|"),
        (&[V4], json!({"ipFamilyPolicy": "PreferDualStack"}), "10.96.1.8|IPv4|PreferDualStack|"),
        (&[V4, V6], json!({"ipFamilyPolicy": "PreferDualStack"}), "10.96.1.8,fd00::108|IPv4,IPv6|PreferDualStack|"),
        (&[V6, V4], json!({}), "fd00::108|IPv6|SingleStack|"),
        (
            &[V4, V6],
            json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
            "fd00::108,10.96.1.8|IPv6,IPv4|RequireDualStack|",
        ),
        // What a Service of this name left behind is no obstacle.
        (&[V4], json!({"clusterIPs": ["10.96.0.7"]}), "10.96.0.7|IPv4|SingleStack|"),
    ];
    for (cluster, spec, expected) in rows {
        let mut new = service(spec.clone());
        let plan = planned(cluster, None, &mut new, &[("10.96.0.7", "a")]).unwrap();
        assert_eq!(shown(&new), expected, "{spec}");
        assert_eq!(plan.taken.into_iter().collect::<BTreeSet<Good>>(), held(&new), "{spec}");
        assert_eq!(plan.freed, [], "{spec}");
    }
}

/// Addresses, families, policy, ports.
fn shown(service: &Value) -> String {
    let spec = &service["spec"];
    let join = |value: &Value| list(value).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let mut ports: Vec<String> =
        list(&spec["ports"]).iter().filter_map(|one| port(&one["nodePort"])).map(|port| port.to_string()).collect();
    ports.extend(port(&spec["healthCheckNodePort"]).map(|port| format!("health {port}")));
    format!(
        "{}|{}|{}|{}",
        join(&spec["clusterIPs"]),
        join(&spec["ipFamilies"]),
        text(spec, "ipFamilyPolicy"),
        ports.join(" ")
    )
}

#[test]
fn a_change_takes_and_frees_what_it_changes() {
    let held = |more: Value| {
        let mut spec = json!({"type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "nodePort": 30005}]});
        json_patch::merge(&mut spec, &more);
        service(spec)
    };
    let records: Records<'_> = &[("10.96.0.5", "a"), ("30005", "a")];
    let address = |text: &str| Good::Address(text.parse().unwrap());
    let name = json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": null, "clusterIPs": null, "ipFamilies": null,
        "ipFamilyPolicy": null, "ports": null});
    let both = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["10.96.0.5", "fd00::9"], "ipFamilies": ["IPv4", "IPv6"]});
    let rows: Vec<(Value, Value, Vec<Good>, Vec<Good>)> = vec![
        (json!({}), json!({}), vec![], vec![]),
        (json!({}), json!({"type": "ClusterIP", "ports": [{"port": 80}]}), vec![], vec![Good::Port(30005)]),
        (json!({}), json!({"type": "LoadBalancer"}), vec![], vec![]),
        (json!({}), name.clone(), vec![], vec![address("10.96.0.5"), Good::Port(30005)]),
        (name, json!({}), vec![address("10.96.0.5"), Good::Port(30005)], vec![]),
        (json!({}), json!({"ports": [{"port": 80, "nodePort": 30005}, {"port": 81}]}), vec![Good::Port(30093)], vec![]),
        (
            json!({}),
            json!({"ports": [{"port": 80, "nodePort": 30006}]}),
            vec![Good::Port(30006)],
            vec![Good::Port(30005)],
        ),
        (json!({}), json!({"ipFamilyPolicy": "PreferDualStack"}), vec![address("fd00::108")], vec![]),
        (
            both.clone(),
            json!({"ipFamilyPolicy": "SingleStack", "clusterIPs": both["clusterIPs"], "ipFamilies": both["ipFamilies"]}),
            vec![],
            vec![address("fd00::9")],
        ),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), json!({"ipFamilyPolicy": "PreferDualStack"}), vec![], vec![]),
    ];
    for (before, after, taken, freed) in rows {
        let (old, mut new) = (held(before.clone()), held(after.clone()));
        let found = planned(&[V4, V6], Some(&old), &mut new, records).unwrap();
        assert_eq!(found, Plan { taken, freed }, "{before} becomes {after}");
    }
}

#[test]
fn ranges_know_their_addresses() {
    for bad in
        ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "x/8", "fd00::/129", "10.0.0.0/08", "10.0.0.0/+8"]
    {
        assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
    }
    for (text, shown, size, first) in [
        ("10.96.7.9/16", "10.96.0.0/16", 65_534, "10.96.0.1"),
        ("10.0.0.4/30", "10.0.0.4/30", 2, "10.0.0.5"),
        ("10.0.0.4/31", "10.0.0.4/31", 0, "10.0.0.5"),
        ("10.0.0.4/32", "10.0.0.4/32", 0, "10.0.0.5"),
        ("0.0.0.0/0", "0.0.0.0/0", 4_294_967_294, "0.0.0.1"),
        ("fd00::/112", "fd00::/112", 65_535, "fd00::1"),
        ("::/0", "::/0", u128::MAX - 1, "::1"),
    ] {
        let range: AddressRange = text.parse().unwrap();
        assert_eq!(
            (range.to_string().as_str(), range.size(), range.at(0).to_string().as_str()),
            (shown, size, first),
            "{text}"
        );
    }
    let range: AddressRange = "10.0.0.0/24".parse().unwrap();
    let mut all: Vec<IpAddr> = range.candidates(1_000_003).collect();
    assert!(all.iter().all(|address| range.contains(*address)));
    // The lower part comes last.
    assert_eq!(all[all.len() - 16..].iter().map(IpAddr::to_string).next().unwrap(), "10.0.0.1");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 254);
    assert!(!range.contains("10.0.0.0".parse().unwrap()) && !range.contains("10.0.0.255".parse().unwrap()));
    assert!(!range.contains("::a00:1".parse().unwrap()));
}

#[test]
fn records_name_their_holder() {
    let me = Holder { namespace: "n".into(), name: "a".into() };
    for good in
        [Good::Address("10.96.0.5".parse().unwrap()), Good::Address("fd00::5".parse().unwrap()), Good::Port(30_005)]
    {
        let record = good.record(&me, "u", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let value: Value = serde_json::from_slice(record.bytes()).unwrap();
        assert_eq!((Good::of(&good.key()), Holder::named_by(&value)), (Some(good), Some(me.clone())));
        assert_eq!(value["metadata"]["name"], *good.key().name);
        assert!(is_ours(&good.key(), &record.face), "{value}");
        if let Some(kind) = crate::kind::by_resource(&good.key().resource) {
            assert_eq!(crate::validation::create(kind, &value), []);
        }
    }
    let foreign =
        json!({"spec": {"parentRef": {"group": "gateway.networking.k8s.io", "resource": "gateways", "name": "a"}}});
    assert_eq!(Holder::named_by(&foreign), None);
    assert_eq!(Good::of(&Key::new("pods", "n", "10.0.0.1")), None);
}
