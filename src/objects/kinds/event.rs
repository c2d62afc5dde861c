//! Events, in both of their forms: core, which is stored, and `events.k8s.io`.
//!
//! Follows `pkg/apis/core/validation/events.go` and `pkg/registry/core/event/strategy.go`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Conversion, Declaration};
use crate::columns::{self, Column, NAME, number, since, text_or};
use crate::validation::{Faults, text};

pub(super) static EVENT: Declaration = Declaration {
    short_names: &["ev"],
    selects: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    rules: Some(rules),
    changed: Some(changed),
    columns: COLUMNS,
    cells: Some(cells),
    ..Declaration::plain("", "v1", "Event", "events")
};

/// The newer form of the same objects: other names of the same fields.
pub(super) static EVENTS_V1: Declaration = Declaration {
    short_names: &["ev"],
    stored: Some(("", "events")),
    convert: Some(Conversion { of: ("v1", "Event"), to_stored: to_core, from_stored: from_core }),
    selects_as: &[
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
        ("reason", "reason"),
        ("type", "type"),
    ],
    columns: COLUMNS,
    cells: Some(cells),
    ..Declaration::plain("events.k8s.io", "v1", "Event", "events")
};

/// Fields by their names in core and in `events.k8s.io`.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn to_core(map: &mut Map<String, Value>) {
    for (core, newer) in RENAMED {
        rename(map, newer, core);
    }
}

fn from_core(map: &mut Map<String, Value>) {
    for (core, newer) in RENAMED {
        rename(map, core, newer);
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.into(), value);
    }
}

/// An event lies in the namespace of what it is about; events about cluster-scoped objects in `default`.
fn rules(faults: &mut Faults, value: &Value) {
    let own = text(&value["metadata"], "namespace");
    let about = &value["involvedObject"];
    match text(about, "namespace") {
        "" if !matches!(own, "" | "default" | "kube-system") => {
            faults.invalid("involvedObject.namespace", &json!(""), "does not match event.namespace");
        }
        "" => {}
        namespace if namespace != own => {
            faults.invalid("involvedObject.namespace", &about["namespace"], "does not match event.namespace");
        }
        _ => {}
    }
    if !value["eventTime"].is_null() {
        // Events of the newer kind say who reported what.
        for (field, most) in [("reportingComponent", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)] {
            match text(value, field) {
                "" => faults.required(field, ""),
                text if most > 0 && text.len() > most => {
                    faults.invalid(field, &value[field], format!("can have at most {most} characters"));
                }
                _ => {}
            }
        }
        if text(value, "message").len() > 1024 {
            faults.invalid("message", &json!(""), "can have at most 1024 characters");
        }
    }
    let kind = text(value, "type");
    if !value["eventTime"].is_null() || !kind.is_empty() {
        faults.one_of("type", &json!(kind), &["Normal", "Warning"]);
    }
}

fn changed(faults: &mut Faults, old: &Value, new: &Value) {
    rules(faults, new);
    if !old["eventTime"].is_null() {
        for field in [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "type",
            "eventTime",
            "action",
            "related",
        ] {
            faults.immutable(field, &old[field], &new[field]);
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "Time since the event was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why the event was sent, in one word."),
    Column::text("Object", "What the event is about."),
    Column::wide("Subobject", "Which part of the object the event is about."),
    Column::wide("Source", "Who reported the event."),
    Column::text("Message", "What happened, for people."),
    Column::wide("First Seen", "Time since the event was first seen."),
    Column::wide("Count", "How often the event was seen."),
    NAME.widened(),
];

fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    // The newer shape keeps the older fields under other names.
    let either = |old: &str, new: &str| if event[old].is_null() { &event[new] } else { &event[old] };
    let object = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");

    let ago = |at: &Value| (!columns::text(at).is_empty()).then(|| since(at, now));
    let first =
        ago(either("firstTimestamp", "deprecatedFirstTimestamp")).unwrap_or_else(|| since(&event["eventTime"], now));
    let mut last = ago(either("lastTimestamp", "deprecatedLastTimestamp")).unwrap_or_else(|| first.clone());
    let mut count = number(either("count", "deprecatedCount")).max(0);
    if event["series"].is_object() {
        last = since(&event["series"]["lastObservedTime"], now);
        count = number(&event["series"]["count"]);
    } else if count == 0 {
        count = 1;
    }
    let mut target = columns::text(&object["kind"]).to_lowercase();
    let name = columns::text(&object["name"]);
    if !name.is_empty() {
        target = format!("{target}/{name}");
    }
    let component = text_or(&source["component"], columns::text(either("reportingComponent", "reportingController")));
    let instance = text_or(&source["host"], columns::text(&event["reportingInstance"]));
    let reporter = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        json!(last),
        json!(columns::text(&event["type"])),
        json!(columns::text(&event["reason"])),
        json!(target),
        json!(columns::text(&object["fieldPath"])),
        json!(reporter),
        json!(columns::text(either("message", "note")).trim()),
        json!(first),
        json!(count),
        json!(columns::text(&event["metadata"]["name"])),
    ]
}
