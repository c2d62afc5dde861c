//! The table of events, in both of their shapes (core and `events.k8s.io`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration::since;
use super::{Column, NAME, number, text, text_or};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "Time since the event was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why the event was sent, in one word."),
    Column::text("Object", "What the event is about."),
    Column::wide("Subobject", "Which part of the object the event is about."),
    Column::wide("Source", "Who reported the event."),
    Column::text("Message", "What happened, for people."),
    Column::wide("First Seen", "Time since the event was first seen."),
    Column::wide("Count", "How often the event was seen."),
    Column { priority: 1, ..NAME },
];

pub(super) fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    // The newer shape keeps the older fields under other names.
    let either = |old: &str, new: &str| if event[old].is_null() { &event[new] } else { &event[old] };
    let object = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");

    let ago = |at: &Value| (!text(at).is_empty()).then(|| since(at, now));
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
    let mut target = text(&object["kind"]).to_lowercase();
    let name = text(&object["name"]);
    if !name.is_empty() {
        target = format!("{target}/{name}");
    }
    let component = text_or(&source["component"], text(either("reportingComponent", "reportingController")));
    let instance = text_or(&source["host"], text(&event["reportingInstance"]));
    let reporter = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        json!(last),
        json!(text(&event["type"])),
        json!(text(&event["reason"])),
        json!(target),
        json!(text(&object["fieldPath"])),
        json!(reporter),
        json!(text(either("message", "note")).trim()),
        json!(first),
        json!(count),
        json!(text(&event["metadata"]["name"])),
    ]
}
