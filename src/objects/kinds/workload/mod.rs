//! The kinds that make pods of a template, and what they share: rules of selectors and templates, defaults of templates,
//! and the cells of their tables.
//!
//! Follows `pkg/apis/apps/validation/validation.go` and `pkg/apis/core/validation/validation.go`.

pub(super) mod deployment;
pub(super) mod replica_set;

use serde_json::{Map, Value, json};

use super::pod;
use crate::columns::{self, CONTAINERS, Column, IMAGES};
use crate::defaulting::object;
use crate::selector::Labels;
use crate::validation::{Faults, list, metadata, names, text};

/// The three columns that tell a workload's template and selector.
pub(super) const TEMPLATE_COLUMNS: [Column; 3] = [
    CONTAINERS.made(|object, _| json!(container_names(object))),
    IMAGES.made(|object, _| json!(container_images(object))),
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

pub(super) fn replicas_and_template(faults: &mut Faults, spec: &Value, kind: &str) {
    faults.not_negative("spec.replicas", &spec["replicas"]);
    let selector = &spec["selector"];
    let empty = |key: &str| selector[key].as_object().is_none_or(serde_json::Map::is_empty);
    if selector.is_null() {
        faults.required("spec.selector", "");
    } else {
        label_selector(faults, "spec.selector", selector);
        if empty("matchLabels") && selector["matchExpressions"].as_array().is_none_or(Vec::is_empty) {
            let which = kind.to_lowercase();
            faults.invalid("spec.selector", selector, format!("empty selector is invalid for {which}"));
        }
    }
    let template = &spec["template"];
    if template.is_null() {
        faults.required("spec.template", "");
        return;
    }
    if let Ok(labels) = Labels::from_value(selector)
        && !selector.is_null()
        && !labels.matches_value(&template["metadata"]["labels"])
    {
        let shown =
            if template["metadata"]["labels"].is_null() { json!({}) } else { template["metadata"]["labels"].clone() };
        faults.invalid("spec.template.metadata.labels", &shown, "`selector` does not match template `labels`");
    }
    metadata::template(faults, "spec.template.metadata", &template["metadata"]);
    pod::rules::spec(faults, "spec.template.spec", &template["spec"]);
    faults.one_of("spec.template.spec.restartPolicy", &template["spec"]["restartPolicy"], &["Always"]);
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        faults.forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
    if template["spec"]["ephemeralContainers"].as_array().is_some_and(|list| !list.is_empty()) {
        faults.forbidden("spec.template.spec.ephemeralContainers", "ephemeral containers not allowed in pod template");
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

/// Keys, operators and values of a `LabelSelector`.
pub(super) fn label_selector(faults: &mut Faults, path: &str, selector: &Value) {
    faults.labels(&format!("{path}.matchLabels"), &selector["matchLabels"]);
    for (path, expression) in list(&format!("{path}.matchExpressions"), &selector["matchExpressions"]) {
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
        let key = text(expression, "key");
        faults.named(&format!("{path}.key"), key, names::label_key(key));
        for (path, value) in list(&format!("{path}.values"), &expression["values"]) {
            let value = value.as_str().unwrap_or("");
            faults.named(&path, value, names::label_value(value));
        }
    }
}

/// Names of the template's containers.
fn container_names(object: &Value) -> String {
    containers(object, "name")
}

/// Images of the template's containers.
fn container_images(object: &Value) -> String {
    containers(object, "image")
}

fn containers(object: &Value, key: &str) -> String {
    let containers = columns::list(&object["spec"]["template"]["spec"]["containers"]);
    containers.iter().map(|container| columns::text(&container[key])).collect::<Vec<_>>().join(",")
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
