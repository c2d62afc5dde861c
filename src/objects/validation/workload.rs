//! Rules of Deployments and ReplicaSets, and of label selectors.
//!
//! Follows `pkg/apis/apps/validation/validation.go`.

use serde_json::{Value, json};

use super::{Faults, list, metadata, names, pod, text};
use crate::selector::Labels;

pub(super) fn deployment(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    replicas_and_template(faults, spec, "Deployment");
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    faults.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    strategy(faults, &spec["strategy"]);
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64() {
        faults.not_negative("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"]);
        if deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            let detail = "must be greater than minReadySeconds";
            faults.invalid("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"], detail);
        }
    }
    counters(
        faults,
        &value["status"],
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ],
    );
}

pub(super) fn replica_set(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    replicas_and_template(faults, spec, "ReplicaSet");
    faults.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    let status = &value["status"];
    counters(
        faults,
        status,
        &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
    );
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if count(field) > count("replicas") {
            faults.invalid(&format!("status.{field}"), &status[field], "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        faults.invalid(
            "status.availableReplicas",
            &status["availableReplicas"],
            "cannot be greater than readyReplicas",
        );
    }
}

fn counters(faults: &mut Faults, status: &Value, fields: &[&str]) {
    for field in fields {
        faults.not_negative(&format!("status.{field}"), &status[*field]);
    }
}

fn replicas_and_template(faults: &mut Faults, spec: &Value, kind: &str) {
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
    pod::spec(faults, "spec.template.spec", &template["spec"]);
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

fn strategy(faults: &mut Faults, strategy: &Value) {
    match text(strategy, "type") {
        "Recreate" => {
            if !strategy["rollingUpdate"].is_null() {
                faults.forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            if rolling.is_null() {
                faults.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil");
                return;
            }
            let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
            for field in ["maxUnavailable", "maxSurge"] {
                number_or_percent(faults, &path(field), &rolling[field], field == "maxUnavailable");
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let detail = "may not be 0 when `maxSurge` is 0";
                faults.invalid(&path("maxUnavailable"), &rolling["maxUnavailable"], detail);
            }
        }
        _ => faults.one_of("spec.strategy.type", &json!(text(strategy, "type")), &["Recreate", "RollingUpdate"]),
    }
}

/// A percentage as a number of hundredths, where the value is one.
fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

fn number_or_percent(faults: &mut Faults, path: &str, value: &Value, at_most_all: bool) {
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
