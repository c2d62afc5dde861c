//! ResourceQuotas and LimitRanges: how much a namespace, and each object in it, may ask for.
//!
//! Follows `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` and
//! `pkg/registry/core/{resourcequota,limitrange}/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::columns::{self, AGE, CREATED_AT, Column, NAME};
use crate::defaulting::{object, objects, structure};
use crate::quantity::Quantity;
use crate::validation::{Faults, is_empty, list, text};

pub(super) static RESOURCE_QUOTA: Declaration = Declaration {
    short_names: &["quota"],
    status: true,
    rules: Some(quota),
    immutable: &["spec.scopes"],
    columns: &[
        NAME,
        Column::text("Request", "What is used and allowed of requests.").made(|object, _| json!(used(object, false))),
        Column::text("Limit", "What is used and allowed of limits.").made(|object, _| json!(used(object, true))),
        AGE,
    ],
    ..Declaration::plain("", "v1", "ResourceQuota", "resourcequotas")
};

pub(super) static LIMIT_RANGE: Declaration = Declaration {
    short_names: &["limits"],
    fill: Some(fill),
    rules: Some(limit_range),
    columns: &[NAME, CREATED_AT],
    ..Declaration::plain("", "v1", "LimitRange", "limitranges")
};

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

fn quota(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    faults.amounts("spec.hard", &spec["hard"]);
    let mut scopes = Vec::new();
    for (path, scope) in list("spec.scopes", &spec["scopes"]) {
        faults.one_of(&path, scope, &SCOPES);
        scopes.push(columns::text(scope));
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            faults.invalid("spec.scopes", &spec["scopes"], "conflicting scopes");
        }
    }
    let path = "spec.scopeSelector.matchExpressions";
    for (path, term) in list(path, &spec["scopeSelector"]["matchExpressions"]) {
        faults.supported(&format!("{path}.scopeName"), &term["scopeName"], &SCOPES);
        let many = !is_empty(&term["values"]);
        match text(term, "operator") {
            "In" | "NotIn" if !many => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                faults.required(&format!("{path}.values"), detail);
            }
            "Exists" | "DoesNotExist" if many => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                faults.invalid(&format!("{path}.values"), &term["values"], detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => faults.invalid(&format!("{path}.operator"), &term["operator"], "not a valid selector operator"),
        }
    }
    for key in ["hard", "used"] {
        faults.amounts(&format!("status.{key}"), &value["status"][key]);
    }
}

/// A container's defaults follow from its bounds where they are not given.
fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    for item in objects(spec.get_mut("limits")).filter(|item| item.get("type").is_some_and(|kind| kind == "Container"))
    {
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let given = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
            if !given.is_empty()
                && let Some(target) = structure(item, to)
            {
                for (name, amount) in given {
                    target.entry(name).or_insert(amount);
                }
            }
        }
    }
}

fn limit_range(faults: &mut Faults, value: &Value) {
    let mut seen = Vec::new();
    for (path, item) in list("spec.limits", &value["spec"]["limits"]) {
        let kind = text(item, "type");
        if faults.needs(&format!("{path}.type"), &item["type"]) && seen.contains(&kind) {
            faults.duplicate(&format!("{path}.type"), &item["type"]);
        }
        seen.push(kind);
        let lists = ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"];
        for key in lists {
            faults.amounts(&format!("{path}.{key}"), &item[key]);
        }
        if kind == "Pod" {
            for key in ["default", "defaultRequest"] {
                if !is_empty(&item[key]) {
                    faults.forbidden(&format!("{path}.{key}"), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        if kind == "PersistentVolumeClaim" && item["min"]["storage"].is_null() && item["max"]["storage"].is_null() {
            faults.required(
                &format!("{path}.limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
        bounds(faults, &path, item);
    }
}

/// The least is at most the default request, that at most the default, and that at most the most.
fn bounds(faults: &mut Faults, path: &str, item: &Value) {
    let amount = |key: &str, name: &str| Quantity::from_value(&item[key][name]).ok();
    let order = ["min", "defaultRequest", "default", "max"];
    let words = [("min", "min"), ("defaultRequest", "default request"), ("default", "default"), ("max", "max")];
    let word = |key: &str| words.iter().find(|(name, _)| *name == key).map_or("", |(_, word)| *word);
    let mut resources: Vec<&String> = Vec::new();
    for key in order {
        resources.extend(item[key].as_object().into_iter().flat_map(Map::keys));
    }
    resources.sort();
    resources.dedup();
    for name in resources {
        for (at, small) in order.iter().enumerate() {
            for large in &order[at + 1..] {
                if let (Some(less), Some(more)) = (amount(small, name), amount(large, name))
                    && less > more
                {
                    let detail =
                        format!("{} value {} is greater than {} value {}", word(small), less, word(large), more);
                    faults.invalid(&format!("{path}.{small}[{name}]"), &item[*small][name.as_str()], detail);
                }
            }
        }
        if let Some(ratio) = item["maxLimitRequestRatio"].get(name.as_str())
            && Quantity::from_value(ratio).is_ok_and(|ratio| ratio < Quantity::from_value(&json!("1")).unwrap_or(ratio))
        {
            let detail = format!("ratio {} is less than 1", columns::plain(ratio));
            faults.invalid(&format!("{path}.maxLimitRequestRatio[{name}]"), ratio, detail);
        }
    }
}

fn used(object: &Value, limits: bool) -> String {
    let status = &object["status"];
    let hard = status["hard"].as_object().into_iter().flatten();
    hard.filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, most)| {
            let used = status["used"].get(name).map_or_else(|| "0".to_owned(), columns::plain);
            format!("{name}: {used}/{}", columns::plain(most))
        })
        .collect::<Vec<_>>()
        .join(", ")
}
