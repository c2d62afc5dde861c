//! The tables of deployments and replica sets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration::since;
use super::{AGE, CONTAINERS, Column, IMAGES, NAME, list, number, text};

const SELECTOR: Column = Column::wide("Selector", "Labels by which the pods are found.");

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::text("Ready", "Number of the pod with ready state"),
    Column::text("Up-to-date", "How many pods follow the current template."),
    Column::text("Available", "How many pods have been ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICA_SET: &[Column] = &[
    NAME,
    Column::new("Desired", "integer", "How many pods there should be."),
    Column::new("Current", "integer", "How many pods there are."),
    Column::new("Ready", "integer", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(spec);
    vec![
        json!(text(&object["metadata"]["name"])),
        json!(format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]))),
        json!(number(&status["updatedReplicas"])),
        json!(number(&status["availableReplicas"])),
        json!(since(&object["metadata"]["creationTimestamp"], now)),
        json!(names),
        json!(images),
        json!(selector(&spec["selector"])),
    ]
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(spec);
    let selector = Some(selector(&spec["selector"])).filter(|text| !text.is_empty());
    vec![
        json!(text(&object["metadata"]["name"])),
        json!(number(&spec["replicas"])),
        json!(number(&status["replicas"])),
        json!(number(&status["readyReplicas"])),
        json!(since(&object["metadata"]["creationTimestamp"], now)),
        json!(names),
        json!(images),
        json!(selector.unwrap_or_else(|| "<none>".into())),
    ]
}

/// Names and images of the template's containers.
fn containers(spec: &Value) -> (String, String) {
    let containers = list(&spec["template"]["spec"]["containers"]);
    let join = |key: &str| containers.iter().map(|container| text(&container[key])).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}

/// A label selector as one line, sorted by key: `app=web,tier in (a,b),!old`.
fn selector(selector: &Value) -> String {
    let mut terms: Vec<(&str, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        terms.push((key, format!("{key}={}", text(value))));
    }
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push((
            key,
            match text(&expression["operator"]) {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.to_owned(),
            },
        ));
    }
    terms.sort_by(|a, b| a.0.cmp(b.0));
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}
