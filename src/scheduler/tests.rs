//! Plans by rows, the changes they come to, and how long a thousand pods take.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::fixtures::{asking, labelled, node, pod, snapshot};
use crate::{NodeFacts, PodFacts, plan};

fn three() -> Vec<NodeFacts> {
    ["n1", "n2", "n3"].map(|name| node(name, json!({"zone": if name == "n3" { "b" } else { "a" }}), json!({}))).into()
}

/// Where each pod goes (empty: nowhere), in the order given.
fn places(nodes: Vec<NodeFacts>, pods: &[Arc<PodFacts>]) -> Vec<String> {
    let plan = plan(snapshot(nodes), pods);
    let place = |pod: &Arc<PodFacts>| {
        plan.placements
            .iter()
            .find(|placement| placement.pod.uid == pod.uid)
            .map(|one| one.node.clone())
            .unwrap_or_default()
    };
    pods.iter().map(place).collect()
}

fn refusal(nodes: Vec<NodeFacts>, pod: Arc<PodFacts>) -> String {
    plan(snapshot(nodes), &[pod]).refusals.first().map(|refused| refused.message.clone()).unwrap_or_default()
}

#[test]
fn a_refusal_counts_its_reasons_in_upstreams_words() {
    let nodes = vec![
        node("n1", json!({}), json!({})),
        node("n2", json!({}), json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})),
        node("n3", json!({}), json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})),
    ];
    assert_eq!(
        refusal(nodes, asking("p", "5", "9Gi")),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 2 node(s) had untolerated taint {k: v}."
    );
    assert_eq!(refusal(vec![], pod("p", json!({}))), "no nodes available to schedule pods");
}

#[test]
fn pods_of_one_owner_spread_over_the_nodes() {
    let pods: Vec<_> = (0..9).map(|number| labelled(&format!("p{number}"), json!({"app": "web"}), json!({}))).collect();
    let mut places = places(three(), &pods);
    places.sort();
    assert_eq!(places, ["n1", "n1", "n1", "n2", "n2", "n2", "n3", "n3", "n3"]);
}

#[test]
fn each_placement_counts_for_the_next() {
    let pods: Vec<_> = (0..4).map(|number| asking(&format!("p{number}"), "3", "1Gi")).collect();
    let mut places = places(three(), &pods);
    places.sort();
    assert_eq!(places, ["", "n1", "n2", "n3"]);
}

#[test]
fn the_higher_priority_goes_first() {
    let pods = [asking("low", "3", "1"), {
        let resources = json!({"requests": {"cpu": "3"}});
        pod("high", json!({"priority": 9, "containers": [{"name": "c", "resources": resources}]}))
    }];
    assert_eq!(places(vec![node("n1", json!({}), json!({}))], &pods), ["", "n1"]);
}

#[test]
fn preferences_decide_between_possible_nodes() {
    let prefer = |weight: i32, zone: &str| {
        let expression = json!({"key": "zone", "operator": "In", "values": [zone]});
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": weight, "preference": {"matchExpressions": [expression]}}]}}})
    };
    assert_eq!(places(three(), &[pod("p", prefer(10, "b"))]), ["n3"]);
    let mut nodes = three();
    nodes[0] = node("n1", json!({}), json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}));
    nodes[1].add(asking("busy", "3", "6Gi"));
    assert_eq!(places(nodes, &[pod("p", json!({}))]), ["n3"]);
}

fn rule(kind: &str, topology: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": topology});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

#[test]
fn anti_affinity_keeps_pods_apart_both_ways() {
    let loner = |name: &str| labelled(name, json!({"app": "web"}), rule("podAntiAffinity", "kubernetes.io/hostname"));
    let pods: Vec<_> = ["a", "b", "c", "d"].map(loner).into();
    let mut found = places(three(), &pods);
    found.sort();
    assert_eq!(found, ["", "n1", "n2", "n3"]);
    let mut nodes = three();
    nodes[0].add(loner("old"));
    let plain = labelled("plain", json!({"app": "web"}), json!({"nodeSelector": {"kubernetes.io/hostname": "n1"}}));
    assert_eq!(
        refusal(nodes.clone(), plain),
        "0/3 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules, \
         2 node(s) didn't match Pod's node affinity/selector."
    );
    nodes.truncate(1);
    assert_eq!(
        refusal(nodes, loner("new")),
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    );
}

#[test]
fn affinity_draws_pods_together_and_lets_the_first_in() {
    let social = |name: &str| labelled(name, json!({"app": "web"}), rule("podAffinity", "zone"));
    let pods: Vec<_> = ["a", "b", "c"].map(social).into();
    let found = places(three(), &pods);
    let zones: Vec<bool> = found.iter().map(|node| node == "n3").collect();
    assert!(zones.iter().all(|zone| *zone == zones[0]) && !found.contains(&String::new()), "{found:?}");
    let stranger = labelled("s", json!({"app": "other"}), rule("podAffinity", "zone"));
    assert_eq!(refusal(three(), stranger), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
}

#[test]
fn spread_constraints_hold_the_skew() {
    let constraint = json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let even = |name: &str| labelled(name, json!({"app": "web"}), json!({"topologySpreadConstraints": constraint}));
    let pods: Vec<_> = ["a", "b", "c", "d"].map(even).into();
    let found = places(three(), &pods);
    assert_eq!(found.iter().filter(|node| *node == "n3").count(), 2, "{found:?}");
    let mut nodes = three();
    nodes[2] = node("n3", json!({"zone": "b"}), json!({"unschedulable": true}));
    let mut found = places(nodes, &pods);
    found.sort();
    assert_eq!(found[..3], ["", "", ""]);
}

#[test]
fn a_thousand_pods_are_planned_at_once() {
    let nodes: Vec<_> = (0..100).map(|number| node(&format!("n{number:03}"), json!({}), json!({}))).collect();
    let pods: Vec<_> =
        (0..1000).map(|number| labelled(&format!("p{number}"), json!({"app": "web"}), json!({}))).collect();
    let plan = plan(snapshot(nodes), &pods);
    assert_eq!((plan.placements.len(), plan.refusals.len()), (1000, 0));
}
