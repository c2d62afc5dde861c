//! Jobs.
//!
//! Follows `pkg/apis/batch/v1/defaults.go`, `pkg/apis/batch/validation/validation.go` and
//! `pkg/registry/batch/job/strategy.go`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    TEMPLATE_COLUMNS, counters, fill_template, label_selector, mismatch, no_ephemeral, pod_template, selector_or_none,
};
use crate::columns::{self, AGE, Column, NAME, human};
use crate::defaulting::Default::{Flag, Text};
use crate::defaulting::{object, objects, or_set, structure};
use crate::kinds::Declaration;
use crate::lifecycle::ensure_map;
use crate::selector::Labels;
use crate::time;
use crate::validation::{Faults, is_empty, list, names, text};

pub(in crate::kinds) static JOB: Declaration = Declaration {
    categories: &["all"],
    status: true,
    generation: true,
    selects: &["status.succeeded"],
    selects_as: &[("status.successful", "status.succeeded")],
    defaults: &[("spec.completionMode", Text("NonIndexed")), ("spec.suspend", Flag(false))],
    fill: Some(fill),
    rules: Some(rules),
    changed: Some(changed),
    begin: Some(begin),
    orphans: true,
    columns: &[
        NAME,
        Column::text("Status", "How the job is.").made(|object, _| json!(state(object))),
        Column::text("Completions", "How many pods have succeeded, of how many.")
            .made(|object, _| json!(completions(object))),
        Column::text("Duration", "How long the job has run.").made(|object, now| json!(duration(object, now))),
        AGE,
        TEMPLATE_COLUMNS[0],
        TEMPLATE_COLUMNS[1],
        TEMPLATE_COLUMNS[2].made(|object, _| json!(selector_or_none(object))),
    ],
    ..Declaration::plain("batch", "v1", "Job", "jobs")
};

/// Labels by which a job knows its pods: the newer names and the older ones, which clients still select by.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

fn fill(map: &mut Map<String, Value>) {
    let Some(spec) = object(map.get_mut("spec")) else { return };
    fill_spec(spec);
    let labels = spec.get("template").map(|template| template["metadata"]["labels"].clone()).unwrap_or_default();
    if !is_empty(&labels)
        && let Some(metadata) = structure(map, "metadata")
        && is_empty(metadata.get("labels").unwrap_or(&Value::Null))
    {
        metadata.insert("labels".into(), labels);
    }
}

fn fill_spec(spec: &mut Map<String, Value>) {
    let absent = |spec: &Map<String, Value>, key: &str| spec.get(key).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        or_set(spec, "completions", 1);
    }
    or_set(spec, "parallelism", 1);
    // With a limit for each index, none for all of them together.
    let limit = if absent(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
    or_set(spec, "backoffLimit", limit);
    let policy = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    or_set(spec, "podReplacementPolicy", policy);
    if let Some(policy) = object(spec.get_mut("podFailurePolicy")) {
        for rule in objects(policy.get_mut("rules")) {
            objects(rule.get_mut("onPodConditions")).for_each(|pattern| or_set(pattern, "status", "True"));
        }
    }
    fill_template(spec, "template");
}

/// A new job gets a selector that finds its own pods and no others, unless it brings one.
fn begin(job: &mut Value) {
    job["status"] = json!({});
    let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
    let spec = ensure_map(job, "spec");
    if spec.get("manualSelector") == Some(&json!(true)) {
        return;
    }
    if let Some(labels) = structure(spec, "template")
        .and_then(|template| structure(template, "metadata"))
        .and_then(|metadata| structure(metadata, "labels"))
    {
        for label in UID_LABELS {
            labels.insert(label.into(), uid.clone());
        }
        for label in NAME_LABELS {
            labels.insert(label.into(), name.clone());
        }
    }
    if let Some(labels) = structure(spec, "selector").and_then(|selector| structure(selector, "matchLabels")) {
        labels.insert(UID_LABELS[0].into(), uid);
    }
}

fn rules(faults: &mut Faults, job: &Value) {
    let spec = &job["spec"];
    spec_rules(faults, "spec", spec);
    let selector = &spec["selector"];
    if selector.is_null() {
        faults.required("spec.selector", "");
    } else {
        label_selector(faults, "spec.selector", selector);
        let labels = &spec["template"]["metadata"]["labels"];
        if Labels::from_value(selector).is_ok_and(|selector| !selector.matches_value(labels)) {
            mismatch(faults, &spec["template"]);
        }
    }
    counters(faults, &job["status"], &["active", "succeeded", "failed", "ready", "terminating"]);
}

/// Rules of a job's spec, also inside of a cron job.
pub(super) fn spec_rules(faults: &mut Faults, path: &str, spec: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        faults.not_negative(&at(field), &spec[field]);
    }
    let indexed = spec["completionMode"] == "Indexed";
    faults.one_of(&at("completionMode"), &spec["completionMode"], &["Indexed", "NonIndexed"]);
    if indexed && spec["completions"].is_null() {
        faults.required(&at("completions"), "when completion mode is Indexed");
    }
    if !indexed {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if !spec[field].is_null() {
                faults.invalid(&at(field), &spec[field], "requires indexed completion mode");
            }
        }
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        faults.required(&at("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    let replacement = ["Failed", "TerminatingOrFailed"];
    faults.one_of(&at("podReplacementPolicy"), &spec["podReplacementPolicy"], &replacement);
    if !spec["podFailurePolicy"].is_null() && spec["podReplacementPolicy"] == "TerminatingOrFailed" {
        faults.one_of(&at("podReplacementPolicy"), &spec["podReplacementPolicy"], &["Failed"]);
    }
    faults.may_be_named(&at("managedBy"), &spec["managedBy"], names::prefixed);
    let template = &spec["template"];
    pod_template(faults, &at("template"), template);
    no_ephemeral(faults, &at("template"), template);
    let policy = &template["spec"]["restartPolicy"];
    faults.one_of(&at("template.spec.restartPolicy"), policy, &["OnFailure", "Never"]);
    failure_policy(faults, &at("podFailurePolicy"), spec);
}

fn failure_policy(faults: &mut Faults, path: &str, spec: &Value) {
    let policy = &spec["podFailurePolicy"];
    if policy.is_null() {
        return;
    }
    if spec["template"]["spec"]["restartPolicy"] != "Never" {
        let given = &spec["template"]["spec"]["restartPolicy"];
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        faults.invalid("spec.template.spec.restartPolicy", given, detail);
    }
    for (path, rule) in list(&format!("{path}.rules"), &policy["rules"]) {
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        faults.supported(&format!("{path}.action"), &rule["action"], &actions);
        if rule["action"] == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            let detail = "requires the backoffLimitPerIndex to be set";
            faults.invalid(&format!("{path}.action"), &rule["action"], detail);
        }
        let codes = &rule["onExitCodes"];
        match (codes.is_null(), is_empty(&rule["onPodConditions"])) {
            (true, true) => {
                faults.invalid(&path, rule, "specifying one of OnExitCodes and OnPodConditions is required")
            }
            (false, false) => {
                faults.invalid(&path, rule, "specifying both OnExitCodes and OnPodConditions is not supported");
            }
            _ => {}
        }
        if !codes.is_null() {
            faults.supported(&format!("{path}.onExitCodes.operator"), &codes["operator"], &["In", "NotIn"]);
            if is_empty(&codes["values"]) {
                faults.invalid(
                    &format!("{path}.onExitCodes.values"),
                    &codes["values"],
                    "at least one value is required",
                );
            }
            if codes["operator"] == "In" && columns::list(&codes["values"]).iter().any(|code| *code == 0) {
                let detail = "must not be 0 for the In operator";
                faults.invalid(&format!("{path}.onExitCodes.values[0]"), &json!(0), detail);
            }
        }
        for (path, pattern) in list(&format!("{path}.onPodConditions"), &rule["onPodConditions"]) {
            faults.needs_name(&format!("{path}.type"), &pattern["type"], names::label_key);
            faults.supported(&format!("{path}.status"), &pattern["status"], &["False", "True", "Unknown"]);
        }
    }
}

fn changed(faults: &mut Faults, old: &Value, new: &Value) {
    rules(faults, new);
    let (before, after) = (&old["spec"], &new["spec"]);
    // An indexed job may grow and shrink, as long as it runs all its indexes at once.
    let elastic = after["completionMode"] == "Indexed"
        && after["completions"] == after["parallelism"]
        && !after["completions"].is_null();
    if !elastic {
        faults.immutable("spec.completions", &before["completions"], &after["completions"]);
    }
    for key in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        faults.immutable(&format!("spec.{key}"), &before[key], &after[key]);
    }
    let idle = before["suspend"] == true && old["status"]["startTime"].is_null();
    let mut template = after["template"].clone();
    if idle {
        // Where its pods may go can still be said before the first one is made.
        for key in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            carry(&mut template, &before["template"], &["spec", key]);
        }
        for key in ["labels", "annotations"] {
            carry(&mut template, &before["template"], &["metadata", key]);
        }
    }
    if before["template"] != template {
        faults.invalid("spec.template", &after["template"], "field is immutable");
    }
}

/// Puts back what stands at a path of two steps.
fn carry(into: &mut Value, from: &Value, path: &[&str; 2]) {
    let [outer, inner] = *path;
    if let Some(map) = into.get_mut(outer).and_then(Value::as_object_mut) {
        match from[outer].get(inner) {
            Some(value) => map.insert(inner.into(), value.clone()),
            None => map.remove(inner),
        };
    }
}

fn has_condition(job: &Value, kind: &str) -> bool {
    columns::list(&job["status"]["conditions"]).iter().any(|one| one["type"] == kind && one["status"] == "True")
}

fn state(job: &Value) -> &'static str {
    if has_condition(job, "Complete") {
        "Complete"
    } else if has_condition(job, "Failed") {
        "Failed"
    } else if job["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if has_condition(job, "Suspended") {
        "Suspended"
    } else if has_condition(job, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let succeeded = columns::number(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), job["spec"]["parallelism"].as_i64().unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, workers) if workers > 1 => format!("{succeeded}/1 of {workers}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let at = |value: &Value| value.as_str().and_then(|text| time::parse(text).ok());
    let Some(start) = at(&job["status"]["startTime"]) else { return String::new() };
    let end = at(&job["status"]["completionTime"]).or_else(|| {
        let conditions = columns::list(&job["status"]["conditions"]);
        let failed = conditions.iter().find(|one| text(one, "type") == "Failed" && one["status"] == "True")?;
        at(&failed["lastTransitionTime"])
    });
    human(end.unwrap_or(now).duration_since(start).as_secs())
}
