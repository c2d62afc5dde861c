//! Whether an object may be stored: upstream's rules, paths and texts.
//!
//! What is alike for all kinds stands here and in `metadata`; the rest is each kind's own (`kinds`).
//!
//! Runs on decoded values with defaults filled in. Each rule adds a [`Cause`]; an empty list is consent. Whether the
//! namespace exists, a name is taken or a quota is used up is for the store and admission to say.

pub(crate) mod metadata;
pub mod names;

use std::net::IpAddr;

use serde_json::Value;

use crate::columns::at;
use crate::kinds::pod::rules;
use crate::quantity::Quantity;
use crate::{Cause, Kind};

/// How many faults are reported: enough to mend a manifest, not enough to make an error page of a megabyte.
const CAUSES_MAX: usize = 100;

/// What is wrong with a new object; empty when nothing is.
pub fn create(kind: &Kind, value: &Value) -> Vec<Cause> {
    if let Some(custom) = &kind.custom {
        return custom.create(value);
    }
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
    if let Some(custom) = &kind.custom {
        return custom.update(old, new);
    }
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

    /// The value must be there, and be one of a few.
    pub(crate) fn supported(&mut self, field: &str, value: &Value, supported: &[&str]) {
        if value.as_str().is_none_or(str::is_empty) {
            self.required(field, "");
        } else {
            self.one_of(field, value, supported);
        }
    }

    /// A text that must not be empty; says whether it is there.
    pub(crate) fn needs(&mut self, field: &str, value: &Value) -> bool {
        let there = value.as_str().is_some_and(|text| !text.is_empty());
        if !there {
            self.required(field, "");
        }
        there
    }

    /// A name that must be there and follow a grammar.
    pub(crate) fn needs_name(&mut self, field: &str, value: &Value, grammar: fn(&str) -> Vec<String>) {
        if self.needs(field, value) {
            self.may_be_named(field, value, grammar);
        }
    }

    /// A name that follows a grammar where it is there.
    pub(crate) fn may_be_named(&mut self, field: &str, value: &Value, grammar: fn(&str) -> Vec<String>) {
        if let Some(name) = value.as_str().filter(|name| !name.is_empty()) {
            self.named(field, name, grammar(name));
        }
    }

    /// Quantities of a list of resources, none of which is negative.
    pub(crate) fn amounts(&mut self, field: &str, amounts: &Value) {
        for (name, amount) in amounts.as_object().into_iter().flatten() {
            let path = format!("{field}[{name}]");
            self.named(&path, name, names::label_key(name));
            if Quantity::from_value(amount).is_ok_and(|quantity| quantity.sign() < 0) {
                self.invalid(&path, amount, "must be greater than or equal to 0");
            }
        }
    }

    /// Nothing below `field` may change but what `mutable` names.
    pub(crate) fn settled(&mut self, field: &str, old: &Value, new: &Value, mutable: &[&str], detail: &str) {
        let rest = |value: &Value| {
            let mut map = value.as_object().cloned().unwrap_or_default();
            mutable.iter().for_each(|key| drop(map.remove(*key)));
            map
        };
        if rest(old) != rest(new) {
            self.forbidden(field, detail);
        }
    }

    pub(crate) fn port(&mut self, field: &str, value: &Value) {
        if !(1..=65535).contains(&value.as_i64().unwrap_or(0)) {
            self.invalid(field, value, "must be between 1 and 65535, inclusive");
        }
    }

    /// A number of a port, or its name.
    pub(crate) fn port_or_name(&mut self, field: &str, value: &Value) {
        match value.as_str() {
            Some(name) => self.named(field, name, names::port_name(name)),
            None => self.port(field, value),
        }
    }

    pub(crate) fn address(&mut self, field: &str, value: &Value) {
        if value.as_str().is_none_or(|text| text.parse::<IpAddr>().is_err()) {
            self.invalid(field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
    }

    pub(crate) fn cidr(&mut self, field: &str, value: &Value) {
        if value.as_str().is_none_or(|text| cidr(text).is_none()) {
            self.invalid(field, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
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

/// A range of addresses: its first address and how many bits of it count.
pub(crate) fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    bits.parse().ok().filter(|bits| plain && *bits <= most).map(|bits| (address, bits))
}

/// The names of the fields of an object that are there.
pub(crate) fn present<'a>(value: &'a Value, but: &[&str]) -> Vec<&'a str> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter(|(key, value)| !value.is_null() && !but.contains(&key.as_str()))
        .map(|(key, _)| key.as_str())
        .collect()
}

pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
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
