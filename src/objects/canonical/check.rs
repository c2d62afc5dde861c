//! Holds a value against the field table: which fields are unknown, which values have the wrong type.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{WARNINGS_MAX, Warning, carries_type, is_type_key};
use crate::fields::{self, Field, Instead, Label, Message, SCHEMA, Type};
use crate::quantity::Quantity;
use crate::time;

/// Unknown fields of a value that is meant to be `message`; the fault is upstream's text for the first wrong type.
pub(super) fn check(message: &str, value: &Value) -> Result<Vec<Warning>, String> {
    let message = fields::message(message).ok_or_else(|| format!("no field table for {message}"))?;
    let mut warnings = Vec::new();
    let place = Place { path: "", go: "", message };
    let map = value.as_object().ok_or_else(|| wrong(&place, value, "", message.name))?;
    object(&place, map, true, &mut warnings)?;
    Ok(warnings)
}

/// Where a value stands: its path for people, and Go's path, which has no indices.
struct Place<'a> {
    path: &'a str,
    go: &'a str,
    message: &'static Message,
}

fn object(place: &Place<'_>, map: &Map<String, Value>, typed: bool, warnings: &mut Vec<Warning>) -> Result<(), String> {
    for (key, value) in map {
        let path = join(place.path, key);
        let Some(field) = place.message.field(key) else {
            if typed && is_type_key(key) {
                if !value.is_string() && !value.is_null() {
                    return Err(wrong(place, value, key, "string"));
                }
            } else if warnings.len() < WARNINGS_MAX {
                warnings.push(Warning::Unknown(path));
            }
            continue;
        };
        if value.is_null() {
            continue;
        }
        let inner = carries_type(place.message, field);
        match (field.label, value) {
            (Label::Single, value) => one(place, field, key, &path, value, inner, warnings)?,
            (Label::Repeated, Value::Array(list)) => {
                for (index, element) in list.iter().enumerate() {
                    one(place, field, key, &format!("{path}[{index}]"), element, inner, warnings)?;
                }
            }
            (Label::Map, Value::Object(map)) => {
                for (name, element) in map {
                    one(place, field, key, &join(&path, name), element, inner, warnings)?;
                }
            }
            (Label::Repeated, value) => return Err(wrong(place, value, key, &format!("[]{}", go_type(field.ty)))),
            (Label::Map, value) => return Err(wrong(place, value, key, &format!("map[string]{}", go_type(field.ty)))),
        }
    }
    Ok(())
}

fn one(
    place: &Place<'_>,
    field: &Field,
    key: &str,
    path: &str,
    value: &Value,
    typed: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), String> {
    let wrong_type = || wrong(place, value, key, go_type(field.ty));
    let fits = match (field.ty, value) {
        (_, Value::Null) => true,
        (Type::Message(name), Value::Object(map)) => {
            let message = fields::message(name).ok_or_else(|| format!("no field table for {name}"))?;
            let go = join(place.go, key);
            return object(&Place { path, go: &go, message }, map, typed, warnings);
        }
        (Type::SchemaOr(_), Value::Object(_)) => {
            let schema = Field { ty: Type::Message(SCHEMA), ..field.clone() };
            return one(place, &schema, key, path, value, typed, warnings);
        }
        (Type::SchemaOr(Instead::Schemas), Value::Array(list)) => {
            return list.iter().enumerate().try_for_each(|(index, element)| {
                one(place, field, key, &format!("{path}[{index}]"), element, typed, warnings)
            });
        }
        (Type::SchemaOr(Instead::Flag), Value::Bool(_)) => true,
        (Type::SchemaOr(Instead::Names), Value::Array(list)) => list.iter().all(Value::is_string),
        (Type::String | Type::Duration, Value::String(_)) | (Type::Bool, Value::Bool(_)) => true,
        (Type::Int32 | Type::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Type::Int64, Value::Number(number)) => number.is_i64(),
        (Type::Uint32, Value::Number(number)) => number.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
        (Type::Uint64, Value::Number(number)) => number.is_u64(),
        (Type::Double, Value::Number(_)) | (Type::IntOrString, Value::String(_)) => true,
        (Type::Bytes, Value::String(text)) => {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| format!("error decoding from json: illegal base64 data in field {path}: {error}"))?;
            true
        }
        (Type::Quantity, Value::String(_) | Value::Number(_)) => {
            Quantity::from_value(value).map_err(|error| format!("field {path}: {error}"))?;
            true
        }
        (Type::Time | Type::MicroTime, Value::String(text)) => {
            time::parse(text).map_err(|error| format!("field {path}: {error}"))?;
            true
        }
        (Type::FieldsV1, Value::Object(_)) | (Type::RawExtension, _) => true,
        (Type::Strings, Value::Array(list)) => list.iter().all(Value::is_string),
        _ => false,
    };
    if fits { Ok(()) } else { Err(wrong_type()) }
}

/// `json: cannot unmarshal string into Go struct field Container.spec.containers.ports of type int32`.
fn wrong(place: &Place<'_>, value: &Value, key: &str, expected: &str) -> String {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number)
            if matches!(expected, "string" | "bool") || !number.is_f64() && number.as_i64().is_none() =>
        {
            "number".to_owned()
        }
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    let structure = short(place.message.name);
    format!(
        "json: cannot unmarshal {found} into Go struct field {structure}.{} of type {expected}",
        join(place.go, key)
    )
}

fn go_type(ty: Type) -> &'static str {
    match ty {
        Type::String => "string",
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Uint32 => "uint32",
        Type::Uint64 => "uint64",
        Type::Double => "float64",
        Type::Bytes => "[]uint8",
        Type::Message(name) => qualified(name),
        Type::Quantity => "resource.Quantity",
        Type::IntOrString => "intstr.IntOrString",
        Type::Time => "v1.Time",
        Type::MicroTime => "v1.MicroTime",
        Type::FieldsV1 => "v1.FieldsV1",
        Type::RawExtension => "runtime.RawExtension",
        Type::SchemaOr(_) => "v1.JSONSchemaProps",
        Type::Duration => "v1.Duration",
        Type::Strings => "[]string",
    }
}

/// `v1.Pod` of `k8s.io.api.core.v1.Pod`.
fn qualified(name: &'static str) -> &'static str {
    let mut dots = name.rmatch_indices('.');
    dots.next();
    dots.next().map_or(name, |(at, _)| &name[at + 1..])
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
