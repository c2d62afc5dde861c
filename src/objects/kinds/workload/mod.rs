//! The kinds that make pods of a template, and what they share: rules of selectors and templates, defaults of templates,
//! and the cells of their tables.
//!
//! Follows `pkg/apis/apps/validation/validation.go` and `pkg/apis/core/validation/validation.go`.

pub(super) mod controller_revision;
pub(super) mod cron_job;
pub(super) mod daemon_set;
pub(super) mod deployment;
pub(super) mod job;
pub(super) mod pod_template;
pub(super) mod replica_set;
pub(super) mod replication_controller;
pub(super) mod stateful_set;

use serde_json::{Map, Value, json};

use super::pod;
use crate::columns::{self, CONTAINERS, Column, IMAGES};
use crate::defaulting::object;
use crate::selector::Labels;
use crate::validation::{Faults, is_empty, list, metadata, names, text};

/// The three columns that tell a workload's template and selector.
pub(super) const TEMPLATE_COLUMNS: [Column; 3] = [
    CONTAINERS.made(|object, _| json!(containers(&object["spec"]["template"], "name"))),
    IMAGES.made(|object, _| json!(containers(&object["spec"]["template"], "image"))),
    Column::wide("Selector", "Labels by which the pods are found.")
        .made(|object, _| json!(selector(&object["spec"]["selector"]))),
];

/// The defaults of the pod template under a key.
pub(super) fn fill_template(spec: &mut Map<String, Value>, key: &str) {
    if let Some(spec) = object(spec.get_mut(key)).and_then(|template| object(template.get_mut("spec"))) {
        pod::defaults::spec(spec);
    }
}

pub(super) fn counters(faults: &mut Faults, status: &Value, fields: &[&str]) {
    for field in fields {
        faults.not_negative(&format!("status.{field}"), &status[*field]);
    }
}

/// Rules of the number of replicas, the selector and the template of the kinds whose pods are never done.
pub(super) fn replicas_and_template(faults: &mut Faults, spec: &Value, kind: &str) {
    faults.not_negative("spec.replicas", &spec["replicas"]);
    let selector = &spec["selector"];
    needed_selector(faults, selector, &kind.to_lowercase());
    let template = &spec["template"];
    if template.is_null() {
        faults.required("spec.template", "");
        return;
    }
    if let Ok(labels) = Labels::from_value(selector)
        && !selector.is_null()
        && !labels.matches_value(&template["metadata"]["labels"])
    {
        mismatch(faults, template);
    }
    lasting_template(faults, template, kind);
}

/// A selector that is there and selects something.
pub(super) fn needed_selector(faults: &mut Faults, selector: &Value, which: &str) {
    if selector.is_null() {
        faults.required("spec.selector", "");
        return;
    }
    label_selector(faults, "spec.selector", selector);
    if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
        faults.invalid("spec.selector", selector, format!("empty selector is invalid for {which}"));
    }
}

/// The fault of a template whose pods the selector would not find.
pub(super) fn mismatch(faults: &mut Faults, template: &Value) {
    let labels = &template["metadata"]["labels"];
    let shown = if labels.is_null() { json!({}) } else { labels.clone() };
    faults.invalid("spec.template.metadata.labels", &shown, "`selector` does not match template `labels`");
}

/// Rules of a template of pods that are started again whenever they end.
pub(super) fn lasting_template(faults: &mut Faults, template: &Value, kind: &str) {
    pod_template(faults, "spec.template", template);
    faults.one_of("spec.template.spec.restartPolicy", &template["spec"]["restartPolicy"], &["Always"]);
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        faults.forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
    no_ephemeral(faults, "spec.template", template);
}

/// Rules of any pod template.
pub(super) fn pod_template(faults: &mut Faults, path: &str, template: &Value) {
    metadata::template(faults, &format!("{path}.metadata"), &template["metadata"]);
    pod::rules::spec(faults, &format!("{path}.spec"), &template["spec"]);
}

pub(super) fn no_ephemeral(faults: &mut Faults, path: &str, template: &Value) {
    if !is_empty(&template["spec"]["ephemeralContainers"]) {
        let path = format!("{path}.spec.ephemeralContainers");
        faults.forbidden(&path, "ephemeral containers not allowed in pod template");
    }
}

/// A percentage as a number of hundredths, where the value is one.
pub(super) fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

pub(super) fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

pub(super) fn number_or_percent(faults: &mut Faults, path: &str, value: &Value, at_most_all: bool) {
    match (value.as_i64(), percent(value)) {
        (Some(_), _) => faults.not_negative(path, value),
        (None, Some(percent)) if at_most_all && percent > 100 => faults.invalid(path, value, "must not be greater than 100%"),
        (None, None) if value.is_string() => faults.invalid(
            path,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
             validation is '[0-9]+%')",
        ),
        _ => {}
    }
}

/// The operators that ask whether a key has one of some values, and how many values each takes.
pub(super) fn set_operator(faults: &mut Faults, path: &str, expression: &Value) {
    let values = expression["values"].as_array().map_or(0, Vec::len);
    match text(expression, "operator") {
        "In" | "NotIn" if values == 0 => {
            faults.required(&format!("{path}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            faults.forbidden(
                &format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => faults.invalid(&format!("{path}.operator"), &expression["operator"], "not a valid selector operator"),
    }
}

/// Keys, operators and values of a `LabelSelector`.
pub(super) fn label_selector(faults: &mut Faults, path: &str, selector: &Value) {
    faults.labels(&format!("{path}.matchLabels"), &selector["matchLabels"]);
    for (path, expression) in list(&format!("{path}.matchExpressions"), &selector["matchExpressions"]) {
        set_operator(faults, &path, expression);
        let key = text(expression, "key");
        faults.named(&format!("{path}.key"), key, names::label_key(key));
        for (path, value) in list(&format!("{path}.values"), &expression["values"]) {
            let value = value.as_str().unwrap_or("");
            faults.named(&path, value, names::label_value(value));
        }
    }
}

/// Names or images of a template's containers.
pub(super) fn containers(template: &Value, key: &str) -> String {
    let containers = columns::list(&template["spec"]["containers"]);
    containers.iter().map(|container| columns::text(&container[key])).collect::<Vec<_>>().join(",")
}

/// A label selector as tables of most kinds show it.
pub(super) fn selector_or_none(object: &Value) -> String {
    Some(selector(&object["spec"]["selector"])).filter(|text| !text.is_empty()).unwrap_or_else(|| "<none>".into())
}

/// A label selector as one line, sorted by key: `app=web,tier in (a,b),!old`.
pub(super) fn selector(selector: &Value) -> String {
    let mut terms: Vec<(&str, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        terms.push((key, format!("{key}={}", columns::text(value))));
    }
    for expression in columns::list(&selector["matchExpressions"]) {
        let key = columns::text(&expression["key"]);
        let mut values: Vec<&str> = columns::list(&expression["values"]).iter().map(columns::text).collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push((
            key,
            match columns::text(&expression["operator"]) {
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
