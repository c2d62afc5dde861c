//! Whether an object may be stored: upstream's rules, paths and texts.
//!
//! What is alike for all kinds stands here and in [`metadata`]; the rest is each kind's own (`kinds`).
//!
//! Runs on decoded values with defaults filled in. Each rule adds a [`Cause`]; an empty list is consent. Whether the
//! namespace exists, a name is taken or a quota is used up is for the store and admission to say.

pub(crate) mod metadata;
pub mod names;

use serde_json::Value;

use crate::columns::at;
use crate::kinds::pod::rules;
use crate::{Cause, Kind};

/// How many faults are reported: enough to mend a manifest, not enough to make an error page of a megabyte.
const CAUSES_MAX: usize = 100;

/// What is wrong with a new object; empty when nothing is.
pub fn create(kind: &Kind, value: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    metadata::create(&mut faults, kind, &value["metadata"]);
    if let Some(rules) = kind.declared.rules {
        rules(&mut faults, value);
    }
    faults.causes
}

/// What is wrong with replacing `old` by `new`; empty when nothing is. For writes of the main resource and of `/status`
/// alike, once `lifecycle::prepare_update` has kept what the door does not let through; not for `/binding`, and not for
/// `/ephemeralcontainers`, which has [`ephemeral_containers`].
pub fn update(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    metadata::update(&mut faults, kind, &old["metadata"], &new["metadata"]);
    match (kind.declared.changed, kind.declared.rules) {
        (Some(changed), _) => changed(&mut faults, old, new),
        (None, Some(rules)) => rules(&mut faults, new),
        (None, None) => {}
    }
    for path in kind.declared.immutable {
        faults.immutable(path, at(old, path), at(new, path));
    }
    faults.causes
}

/// What is wrong with a pod's debug containers after a write to `/ephemeralcontainers`: they are only ever added.
pub fn ephemeral_containers(old: &Value, new: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    rules::ephemeral_containers(&mut faults, old, new);
    faults.causes
}

/// A value that has to be there and is not.
pub fn required(field: &str, detail: impl std::fmt::Display) -> Cause {
    cause("FieldValueRequired", field, "Required value", detail)
}

/// A value that would be allowed elsewhere.
pub fn forbidden(field: &str, detail: impl std::fmt::Display) -> Cause {
    cause("FieldValueForbidden", field, "Forbidden", detail)
}

/// A value that breaks a rule.
pub fn invalid(field: &str, value: &Value, detail: impl std::fmt::Display) -> Cause {
    cause("FieldValueInvalid", field, &format!("Invalid value: {}", shown(value)), detail)
}

fn cause(reason: &str, field: &str, head: &str, detail: impl std::fmt::Display) -> Cause {
    let detail = detail.to_string();
    let message = if detail.is_empty() { head.to_owned() } else { format!("{head}: {detail}") };
    Cause { reason: reason.into(), message, field: field.into() }
}

/// A value as upstream prints it: text quoted, the rest plain; long ones cut.
fn shown(value: &Value) -> String {
    const SHOWN_MAX: usize = 512;
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The faults found so far.
#[derive(Default)]
pub(crate) struct Faults {
    causes: Vec<Cause>,
}

impl Faults {
    pub(crate) fn push(&mut self, cause: Cause) {
        if self.causes.len() < CAUSES_MAX {
            self.causes.push(cause);
        }
    }

    pub(crate) fn required(&mut self, field: &str, detail: &str) {
        self.push(required(field, detail));
    }

    pub(crate) fn forbidden(&mut self, field: &str, detail: impl std::fmt::Display) {
        self.push(forbidden(field, detail));
    }

    pub(crate) fn invalid(&mut self, field: &str, value: &Value, detail: impl std::fmt::Display) {
        self.push(invalid(field, value, detail));
    }

    pub(crate) fn duplicate(&mut self, field: &str, value: &Value) {
        self.push(cause("FieldValueDuplicate", field, &format!("Duplicate value: {}", shown(value)), ""));
    }

    pub(crate) fn not_found(&mut self, field: &str, value: &Value) {
        self.push(cause("FieldValueNotFound", field, &format!("Not found: {}", shown(value)), ""));
    }

    pub(crate) fn too_long(&mut self, field: &str, most: usize) {
        self.push(cause("FieldValueTooLong", field, "Too long", format!("may not be more than {most} bytes")));
    }

    /// One fault for each thing that a name rule says.
    pub(crate) fn named(&mut self, field: &str, name: &str, faults: Vec<String>) {
        for fault in faults {
            self.invalid(field, &Value::String(name.to_owned()), fault);
        }
    }

    /// The value must be one of a few; an absent one passes.
    pub(crate) fn one_of(&mut self, field: &str, value: &Value, supported: &[&str]) {
        let Some(text) = value.as_str() else { return };
        if !supported.contains(&text) {
            let list: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
            self.push(cause(
                "FieldValueNotSupported",
                field,
                &format!("Unsupported value: {text:?}"),
                format!("supported values: {}", list.join(", ")),
            ));
        }
    }

    pub(crate) fn not_negative(&mut self, field: &str, value: &Value) {
        if value.as_i64().is_some_and(|number| number < 0) {
            self.invalid(field, value, "must be greater than or equal to 0");
        }
    }

    pub(crate) fn positive(&mut self, field: &str, value: &Value) {
        if value.as_i64().is_some_and(|number| number <= 0) {
            self.invalid(field, value, "must be greater than 0");
        }
    }

    pub(crate) fn between(&mut self, field: &str, value: &Value, least: i64, most: i64) {
        if value.as_i64().is_some_and(|number| number < least || number > most) {
            self.invalid(field, value, format!("must be between {least} and {most}, inclusive"));
        }
    }

    pub(crate) fn immutable(&mut self, field: &str, old: &Value, new: &Value) {
        if old != new {
            self.invalid(field, new, "field is immutable");
        }
    }

    pub(crate) fn labels(&mut self, field: &str, labels: &Value) {
        for (key, value) in labels.as_object().into_iter().flatten() {
            self.named(field, key, names::label_key(key));
            let value = value.as_str().unwrap_or("");
            self.named(field, value, names::label_value(value));
        }
    }
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// The elements of a list with their paths.
pub(crate) fn list<'a>(path: &str, value: &'a Value) -> impl Iterator<Item = (String, &'a Value)> {
    let path = path.to_owned();
    value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(move |(index, element)| (format!("{path}[{index}]"), element))
}

#[cfg(test)]
mod tests;
