//! HorizontalPodAutoscalers: version 2, which is stored, and version 1, which knows CPU alone.
//!
//! Follows `pkg/apis/autoscaling/v2/defaults.go`, `pkg/apis/autoscaling/validation/validation.go`,
//! `pkg/apis/autoscaling/v1/conversion.go` and `pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go`.

use serde_json::{Map, Value, json};

use super::{Conversion, Declaration};
use crate::columns::{self, AGE, Column, NAME};
use crate::defaulting::Default::Number;
use crate::defaulting::{object, or_set, structure};
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static V2: Declaration = Declaration { rules: Some(rules), fill: Some(fill), ..both("v2") };

pub(super) static V1: Declaration = Declaration {
    stored: Some(("autoscaling", "horizontalpodautoscalers")),
    convert: Some(Conversion {
        of: ("autoscaling/v2", "HorizontalPodAutoscaler"),
        to_stored: to_v2,
        from_stored: to_v1,
    }),
    ..both("v1")
};

const fn both(version: &'static str) -> Declaration {
    Declaration {
        stored_only: true,
        short_names: &["hpa"],
        categories: &["all"],
        status: true,
        generation: true,
        defaults: &[("spec.minReplicas", Number(1))],
        columns: COLUMNS,
        begin: Some(|value| value["status"] = json!({"currentReplicas": 0, "desiredReplicas": 0})),
        ..Declaration::plain("autoscaling", version, "HorizontalPodAutoscaler", "horizontalpodautoscalers")
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Reference", "What is scaled.").made(|object, _| {
        let target = &object["spec"]["scaleTargetRef"];
        json!(format!("{}/{}", columns::text(&target["kind"]), columns::text(&target["name"])))
    }),
    Column::text("Targets", "What is measured, and what it should be.").made(|object, _| json!(targets(object))),
    Column::text("MinPods", "Fewest pods.").made(|object, _| {
        let least = &object["spec"]["minReplicas"];
        json!(if least.is_null() { "<unset>".into() } else { least.to_string() })
    }),
    Column::text("MaxPods", "Most pods.").number("spec.maxReplicas"),
    Column::text("Replicas", "How many pods there are.").number("status.currentReplicas"),
    AGE,
];

/// Where metrics and conditions go in version 1, which has no fields for them.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

const CPU_PERCENT: i64 = 80;

fn cpu(percent: &Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    if is_empty(spec.get("metrics").unwrap_or(&Value::Null)) {
        spec.insert("metrics".into(), json!([cpu(&json!(CPU_PERCENT))]));
    }
    let Some(behavior) = object(spec.get_mut("behavior")) else { return };
    let policy = |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    for (side, policies) in [
        ("scaleUp", json!([policy("Pods", 4), policy("Percent", 100)])),
        ("scaleDown", json!([policy("Percent", 100)])),
    ] {
        if let Some(rules) = structure(behavior, side) {
            or_set(rules, "selectPolicy", "Max");
            if rules.get("policies").is_none_or(Value::is_null) {
                rules.insert("policies".into(), policies);
            }
            if side == "scaleUp" {
                or_set(rules, "stabilizationWindowSeconds", 0);
            }
        }
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let (least, most) = (&spec["minReplicas"], &spec["maxReplicas"]);
    if least.as_i64().is_some_and(|least| least < 1) {
        faults.invalid("spec.minReplicas", least, "must be greater than or equal to 1");
    }
    if most.as_i64().unwrap_or(0) < 1 {
        faults.invalid("spec.maxReplicas", most, "must be greater than 0");
    }
    if let (Some(least), Some(number)) = (least.as_i64(), most.as_i64())
        && number < least
    {
        faults.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`");
    }
    reference(faults, "spec.scaleTargetRef", &spec["scaleTargetRef"]);
    for (path, metric) in list("spec.metrics", &spec["metrics"]) {
        self::metric(faults, &path, metric);
    }
    for side in ["scaleUp", "scaleDown"] {
        scaling(faults, &format!("spec.behavior.{side}"), &spec["behavior"][side]);
    }
}

fn reference(faults: &mut Faults, path: &str, reference: &Value) {
    for key in ["kind", "name"] {
        faults.needs_name(&format!("{path}.{key}"), &reference[key], names::path_segment);
    }
}

fn metric(faults: &mut Faults, path: &str, metric: &Value) {
    let kinds = [
        ("ContainerResource", "containerResource"),
        ("External", "external"),
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
    ];
    let known: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    faults.supported(&format!("{path}.type"), &metric["type"], &known);
    let Some((kind, key)) = kinds.into_iter().find(|(kind, _)| *kind == text(metric, "type")) else { return };
    for (_, other) in kinds.iter().filter(|(_, other)| *other != key && !metric[*other].is_null()) {
        let detail = "must populate the given metric source only";
        faults.forbidden(&format!("{path}.{other}"), detail);
    }
    let source = &metric[key];
    let at = |field: &str| format!("{path}.{key}.{field}");
    if source.is_null() {
        faults.required(&format!("{path}.{key}"), "must populate information for the given metric source");
        return;
    }
    match kind {
        "Resource" => drop(faults.needs(&at("name"), &source["name"])),
        "ContainerResource" => {
            faults.needs(&at("name"), &source["name"]);
            faults.needs(&at("container"), &source["container"]);
        }
        _ => {
            faults.needs_name(&at("metric.name"), &source["metric"]["name"], names::path_segment);
            if kind == "Object" {
                reference(faults, &at("describedObject"), &source["describedObject"]);
            }
        }
    }
    let target = &source["target"];
    faults.supported(&at("target.type"), &target["type"], &["AverageValue", "Utilization", "Value"]);
    if target["averageUtilization"].as_i64().is_some_and(|percent| percent < 1) {
        faults.invalid(&at("target.averageUtilization"), &target["averageUtilization"], "must be greater than 0");
    }
    let given = ["averageUtilization", "averageValue", "value"].iter().any(|one| !target[*one].is_null());
    if !given {
        let detail = "must set either a target raw value or a target utilization";
        faults.required(&at("target"), detail);
    }
}

fn scaling(faults: &mut Faults, path: &str, rules: &Value) {
    if rules.is_null() {
        return;
    }
    let window = &rules["stabilizationWindowSeconds"];
    faults.between(&format!("{path}.stabilizationWindowSeconds"), window, 0, 3600);
    faults.one_of(&format!("{path}.selectPolicy"), &rules["selectPolicy"], &["Disabled", "Max", "Min"]);
    if is_empty(&rules["policies"]) {
        faults.required(&format!("{path}.policies"), "must specify at least one Policy");
    }
    for (path, policy) in list(&format!("{path}.policies"), &rules["policies"]) {
        faults.supported(&format!("{path}.type"), &policy["type"], &["Percent", "Pods"]);
        faults.positive(&format!("{path}.value"), &policy["value"]);
        faults.between(&format!("{path}.periodSeconds"), &policy["periodSeconds"], 1, 1800);
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

/// Version 1 names a percentage of CPU; the rest travels in annotations, which go on the way to version 2.
fn to_v2(map: &mut Map<String, Value>) {
    let mut given = |key: &str| -> Value {
        let annotations = object(map.get_mut("metadata")).and_then(|metadata| object(metadata.get_mut("annotations")));
        let text = annotations.and_then(|annotations| annotations.remove(key));
        text.and_then(|text| serde_json::from_str(text.as_str()?).ok()).unwrap_or_default()
    };
    let (metrics, current, conditions, behavior) = (given(METRICS), given(CURRENT), given(CONDITIONS), given(BEHAVIOR));
    if let Some(spec) = structure(map, "spec") {
        let mut all: Vec<Value> =
            spec.remove("targetCPUUtilizationPercentage").filter(Value::is_number).iter().map(cpu).collect();
        all.extend(metrics.as_array().cloned().unwrap_or_default());
        if all.is_empty() {
            all.push(cpu(&json!(CPU_PERCENT)));
        }
        spec.insert("metrics".into(), Value::Array(all));
        if behavior.is_object() {
            spec.insert("behavior".into(), behavior);
        }
    }
    if let Some(status) = object(map.get_mut("status")) {
        let percent = status.remove("currentCPUUtilizationPercentage").filter(Value::is_number);
        if current.is_array() {
            status.insert("currentMetrics".into(), current);
        } else if let Some(percent) = percent {
            let resource = json!({"name": "cpu", "current": {"averageUtilization": percent}});
            status.insert("currentMetrics".into(), json!([{"type": "Resource", "resource": resource}]));
        }
        if conditions.is_array() {
            status.insert("conditions".into(), conditions);
        }
    }
}

fn to_v1(map: &mut Map<String, Value>) {
    let mut notes: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object(map.get_mut("spec")) {
        let metrics = spec.remove("metrics").unwrap_or_default();
        let percent = columns::list(&metrics).iter().find(|metric| is_cpu(metric));
        let percent = percent.map(|metric| metric["resource"]["target"]["averageUtilization"].clone());
        if let Some(percent) = percent.filter(Value::is_number) {
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        let plain =
            |metric: &&Value| !(is_cpu(metric) && metric["resource"]["target"]["averageUtilization"].is_number());
        let others: Vec<&Value> = columns::list(&metrics).iter().filter(plain).collect();
        if !others.is_empty() {
            notes.push((METRICS, json!(others)));
        }
        if let Some(behavior) = spec.remove("behavior") {
            notes.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = object(map.get_mut("status")) {
        let current = status.remove("currentMetrics").unwrap_or_default();
        let percent = columns::list(&current).iter().find(|metric| is_cpu(metric));
        let percent = percent.map(|metric| metric["resource"]["current"]["averageUtilization"].clone());
        if let Some(percent) = percent.filter(Value::is_number) {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
        if !is_empty(&current) {
            notes.push((CURRENT, current));
        }
        if let Some(conditions) = status.remove("conditions") {
            notes.push((CONDITIONS, conditions));
        }
    }
    if let Some(annotations) = Some(notes)
        .filter(|notes| !notes.is_empty())
        .and_then(|notes| Some((notes, structure(structure(map, "metadata")?, "annotations")?)))
    {
        let (notes, annotations) = annotations;
        annotations.extend(notes.into_iter().map(|(key, value)| (key.to_owned(), json!(value.to_string()))));
    }
}

fn targets(object: &Value) -> String {
    let current = columns::list(&object["status"]["currentMetrics"]);
    let all: Vec<String> = columns::list(&object["spec"]["metrics"])
        .iter()
        .enumerate()
        .map(|(at, metric)| target(metric, current.get(at).unwrap_or(&Value::Null)))
        .collect();
    match all.as_slice() {
        [] => "<none>".into(),
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} + {} more...", rest.len()),
        all => all.join(", "),
    }
}

fn target(metric: &Value, current: &Value) -> String {
    let (key, prefix) = match text(metric, "type") {
        "Resource" => ("resource", format!("{}: ", text(&metric["resource"], "name"))),
        "ContainerResource" => ("containerResource", format!("{}: ", text(&metric["containerResource"], "name"))),
        "Pods" => ("pods", String::new()),
        "Object" => ("object", String::new()),
        "External" => ("external", String::new()),
        _ => return "<unknown type>".into(),
    };
    let (wanted, found) = (&metric[key]["target"], &current[key]["current"]);
    let or_unknown = |value: &Value| if value.is_null() { "<unknown>".to_owned() } else { columns::plain(value) };
    if !wanted["averageValue"].is_null() {
        let average = if matches!(key, "external" | "object") { " (avg)" } else { "" };
        return format!(
            "{prefix}{}/{}{average}",
            or_unknown(&found["averageValue"]),
            columns::plain(&wanted["averageValue"])
        );
    }
    if key == "resource" || key == "containerResource" {
        let percent = |value: &Value, none: &str| value.as_i64().map_or(none.to_owned(), |number| format!("{number}%"));
        let (found, wanted) = (&found["averageUtilization"], &wanted["averageUtilization"]);
        return format!("{prefix}{}/{}", percent(found, "<unknown>"), percent(wanted, "<auto>"));
    }
    format!("{}/{}", or_unknown(&found["value"]), columns::plain(&wanted["value"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_convert_without_loss() {
        let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}});
        let stored = json!({
            "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "metrics": [cpu(&json!(50)), pods], "behavior": {"scaleUp": {"selectPolicy": "Min"}}},
            "status": {"desiredReplicas": 1, "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]},
        });
        let mut value = stored.clone();
        to_v1(value.as_object_mut().unwrap());
        assert_eq!(value["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        assert_eq!(value["status"], json!({"desiredReplicas": 1, "currentCPUUtilizationPercentage": 7}));
        assert_eq!(value["metadata"]["annotations"].as_object().unwrap().len(), 4);
        to_v2(value.as_object_mut().unwrap());
        value["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(value, stored);
        let mut bare = json!({"spec": {"maxReplicas": 1}});
        to_v2(bare.as_object_mut().unwrap());
        assert_eq!(bare["spec"]["metrics"], json!([cpu(&json!(80))]));
    }
}
