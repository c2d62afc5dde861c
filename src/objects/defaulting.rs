//! Defaults: what the server writes into the fields that a client left out.
//!
//! Which there are says each kind's declaration (`kinds`), after upstream's `pkg/apis/*/v1/defaults.go`, and the field
//! table. [`apply`] runs on every write, [`admission_defaults`] only on creation. Filling twice changes nothing.

use serde_json::{Map, Value, json};

pub use crate::kinds::pod::account::{ACCOUNT_DEFAULT, account_of, bring_account, no_account};
pub use crate::kinds::pod::admission::TOLERATION_SECONDS;
pub use crate::kinds::pod::defaults::qos_class;

use crate::Kind;
use crate::fields::{self, Label, Message, Type};

/// A default that is a constant: what an absent field becomes where the object around it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Default {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
    /// A number of which zero means absence: no pointer upstream.
    NotZero(i64),
    /// True or false.
    Flag(bool),
    /// An empty object: structs that are no pointers upstream are always there.
    Struct,
}

impl Default {
    fn value(self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number) | Self::NotZero(number) => json!(number),
            Self::Flag(flag) => json!(flag),
            Self::Struct => json!({}),
        }
    }
}

/// Fills the defaults of `kind` into a decoded value.
///
/// For secrets this also folds `stringData`, which is write-only, into `data`. Values of the wrong shape are left alone:
/// decoding refuses them.
pub fn apply(kind: &Kind, value: &mut Value) {
    if let Some(custom) = &kind.custom {
        return custom.default(value);
    }
    let Some(map) = value.as_object_mut() else { return };
    for (path, default) in kind.declared.defaults {
        constant(map, path, *default);
    }
    if let Some(fill) = kind.declared.fill {
        fill(map);
    }
    if let Some(message) = fields::message(&kind.message) {
        declared(message, map);
    }
}

/// Fills what admission writes into a new object of `kind`, in upstream by plug-ins that need nothing but the object.
pub fn admission_defaults(kind: &Kind, value: &mut Value) {
    if let (Some(admit), Some(map)) = (kind.declared.admit, value.as_object_mut()) {
        admit(map);
    }
}

/// Sets the field at a path (`spec.ports[].protocol`), where what is around it is there.
fn constant(map: &mut Map<String, Value>, path: &str, default: Default) {
    let Some((step, rest)) = path.split_once('.') else {
        if matches!(default, Default::NotZero(_)) && map.get(path).and_then(Value::as_i64) == Some(0) {
            map.remove(path);
        }
        return or_set(map, path, default.value());
    };
    match step.strip_suffix("[]") {
        Some(step) => objects(map.get_mut(step)).for_each(|map| constant(map, rest, default)),
        None => {
            if let Some(map) = object(map.get_mut(step)) {
                constant(map, rest, default);
            }
        }
    }
}

/// Fills the defaults that the field table declares, in a message and all messages below it.
fn declared(message: &Message, map: &mut Map<String, Value>) {
    for field in message.fields() {
        match (field.inline, field.ty) {
            (true, Type::Message(name)) => {
                if let Some(inner) = fields::message(name) {
                    declared(inner, map);
                }
                continue;
            }
            (_, Type::Message(name)) => {
                if let (Some(inner), Some(value)) = (fields::message(name), map.get_mut(field.json)) {
                    below(inner, field.label, value);
                }
            }
            _ => {}
        }
        let Some(text) = field.default else { continue };
        let default: Value = match text {
            "ref(AzureDataDiskCachingReadWrite)" => json!("ReadWrite"),
            "ref(AzureSharedBlobDisk)" => json!("Shared"),
            other => serde_json::from_str(other).unwrap_or_default(),
        };
        // The zero value of a plain field is the same as its absence.
        let zero = default == json!("") || default == json!(0) || default == json!(false);
        if !default.is_null() && (field.pointer || !zero) {
            or_set(map, field.json, default);
        }
    }
}

fn below(message: &Message, label: Label, value: &mut Value) {
    match (label, value) {
        (Label::Single, Value::Object(map)) => declared(message, map),
        (Label::Repeated, Value::Array(list)) => {
            list.iter_mut().filter_map(Value::as_object_mut).for_each(|map| declared(message, map));
        }
        (Label::Map, Value::Object(map)) => {
            map.values_mut().filter_map(Value::as_object_mut).for_each(|map| declared(message, map));
        }
        _ => {}
    }
}

/// Sets a field that is absent, null or the empty string.
pub(crate) fn or_set(map: &mut Map<String, Value>, key: &str, default: impl Into<Value>) {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() || value == "" {
        *value = default.into();
    }
}

pub(crate) fn object(value: Option<&mut Value>) -> Option<&mut Map<String, Value>> {
    value.and_then(Value::as_object_mut)
}

pub(crate) fn objects(value: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    value.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// A struct that is always there upstream: made where it is absent.
pub(crate) fn structure<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests;
