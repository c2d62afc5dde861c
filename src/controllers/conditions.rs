//! Lists of conditions in a status: found, set and removed by type.

use jiff::Timestamp;
use objects::time;
use serde_json::{Value, json};

/// The condition of a type.
pub(crate) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// A field of a condition, empty when there is none.
pub(crate) fn text<'a>(condition: Option<&'a Value>, field: &str) -> &'a str {
    condition.and_then(|condition| condition[field].as_str()).unwrap_or("")
}

/// Sets a condition. The transition time moves only when the status does.
pub(crate) fn set(status: &mut Value, mut condition: Value, now: Timestamp) {
    let kind = condition["type"].clone();
    let at = time::format(now);
    let Some(conditions) = list(status) else { return };
    match conditions.iter_mut().find(|known| known["type"] == kind) {
        Some(known) => {
            let moved = known["status"] != condition["status"];
            condition["lastTransitionTime"] = if moved { json!(at) } else { known["lastTransitionTime"].clone() };
            *known = condition;
        }
        None => {
            condition["lastTransitionTime"] = json!(at);
            conditions.push(condition);
        }
    }
}

/// Removes a condition.
pub(crate) fn remove(status: &mut Value, kind: &str) {
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != kind);
    }
}

/// The list of conditions, made if absent.
fn list(status: &mut Value) -> Option<&mut Vec<Value>> {
    if !status.is_object() {
        *status = json!({});
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    status["conditions"].as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let (mut status, early) = (json!({}), Timestamp::from_second(1_000_000_000).unwrap());
        let later = Timestamp::from_second(1_000_000_100).unwrap();
        set(&mut status, json!({"type": "A", "status": "True", "reason": "X"}), early);
        set(&mut status, json!({"type": "A", "status": "True", "reason": "Y"}), later);
        let known = find(&status, "A").unwrap();
        assert_eq!(
            (text(Some(known), "reason"), text(Some(known), "lastTransitionTime")),
            ("Y", "2001-09-09T01:46:40Z")
        );
        set(&mut status, json!({"type": "A", "status": "False"}), later);
        assert_eq!(text(find(&status, "A"), "lastTransitionTime"), "2001-09-09T01:48:20Z");
        remove(&mut status, "A");
        assert_eq!(find(&status, "A"), None);
    }
}
