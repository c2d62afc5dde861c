//! From what a client sent to the one form in which an object is stored.
//!
//! [`decode`] reads and checks, [`canonicalize`] drops what means nothing and spells the rest in one way. Neither fills
//! defaults (`defaulting`) nor judges meaning (`validation`).

mod check;
mod parse;

use std::fmt;

use serde_json::{Map, Value};

pub use parse::{DEPTH_MAX, parse};

use crate::fields::{self, Field, Label, Message, SCHEMA, Type};
use crate::quantity::Quantity;
use crate::{Kind, Status, time};

/// The message of metadata in the field table.
pub(crate) const OBJECT_META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// How many oddities of one body are kept; upstream stops at 100 as well.
pub(crate) const WARNINGS_MAX: usize = 100;

/// Something in a body that was ignored, and that strict field validation refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A field that the kind does not have, by its path.
    Unknown(String),
    /// A key that occurs twice in one object, by its path; the last one counts.
    Duplicate(String),
}

impl fmt::Display for Warning {
    /// Upstream's words, as `Warning` headers carry them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(out, "unknown field \"{path}\""),
            Self::Duplicate(path) => write!(out, "duplicate field \"{path}\""),
        }
    }
}

/// Reads a JSON body as `kind`: a value of the right types, and what was odd about it.
///
/// `apiVersion` and `kind` are filled in where the body leaves them out.
///
/// # Errors
/// 400 for text that is no JSON object or nests deeper than [`DEPTH_MAX`], for a body of another kind and for values of
/// the wrong type, in upstream's words.
pub fn decode(kind: &Kind, body: &[u8]) -> Result<(Value, Vec<Warning>), Status> {
    let (value, mut warnings) = parse(body).map_err(|reason| unrecognized(kind, body, &reason))?;
    let (value, more) = decode_value(kind, value)?;
    warnings.extend(more);
    warnings.truncate(WARNINGS_MAX);
    Ok((value, warnings))
}

/// Like [`decode`], for a body that was read already (from YAML or protobuf).
///
/// # Errors
/// 400 as for [`decode`].
pub fn decode_value(kind: &Kind, mut value: Value) -> Result<(Value, Vec<Warning>), Status> {
    if parse::depth_of(&value) > DEPTH_MAX {
        return Err(Status::bad_request(format!("the object nests deeper than {DEPTH_MAX} levels")));
    }
    let Some(map) = value.as_object_mut() else {
        let body = value.to_string();
        return Err(unrecognized(kind, body.as_bytes(), "json: cannot unmarshal into Go value of an object"));
    };
    let api_version = kind.api_version();
    for (key, wanted) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
        let given = map.entry(key).or_insert(Value::Null);
        if given.is_null() || given == "" {
            *given = Value::String(wanted.clone());
        }
    }
    if let Some(custom) = &kind.custom {
        return custom.decode(value);
    }
    let (given_version, given_kind) = (map["apiVersion"].clone(), map["kind"].clone());
    if given_kind != kind.kind.as_str() {
        let given = given_kind.as_str().unwrap_or("?");
        let version = given_version.as_str().unwrap_or("?");
        let version = version.rsplit('/').next().unwrap_or(version);
        return Err(Status::bad_request(format!(
            "{given} in version \"{version}\" cannot be handled as a {}: the kind in the data ({given}) does not match the \
             expected kind ({})",
            kind.kind, kind.kind
        )));
    }
    if given_version != api_version.as_str() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({api_version})",
            given_version.as_str().unwrap_or("?"),
        )));
    }
    let warnings = check::check(&kind.message, &value)
        .map_err(|fault| Status::bad_request(format!("{}{fault}", handled_as(kind))))?;
    Ok((value, warnings))
}

/// Checks a value against any message of the field table, as options and subresource bodies have them.
///
/// # Errors
/// 400 in upstream's words when a value has the wrong type.
pub fn check_message(message: &str, value: &Value) -> Result<Vec<Warning>, Status> {
    check::check(message, value).map_err(Status::bad_request)
}

/// The refusal that strict field validation turns warnings into; `None` when there are none.
pub fn strict(kind: &Kind, warnings: &[Warning]) -> Option<Status> {
    if warnings.is_empty() {
        return None;
    }
    let list: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    Some(Status::bad_request(format!("{}strict decoding error: {}", handled_as(kind), list.join(", "))))
}

/// Brings a value of `kind` into the form that is stored: equal objects have equal bytes.
///
/// Drops nulls, unknown fields and whatever Go's `omitempty` leaves out, fills required scalars with their zero values,
/// spells quantities and times canonically. Repeating it changes nothing.
///
/// # Errors
/// 400 when a quantity or a time does not parse (which [`decode`] would have refused).
pub fn canonicalize(kind: &Kind, value: &mut Value) -> Result<(), Status> {
    if kind.message.is_empty() {
        // Of a kind without a table only the metadata is known; what a schema says of the rest is done by who has it.
        return match value.get_mut("metadata") {
            Some(metadata) if metadata.is_object() => canonicalize_message(OBJECT_META, metadata),
            _ => Ok(()),
        };
    }
    canonicalize_message(&kind.message, value)
}

/// Like [`canonicalize`], for a value of any message of the field table; `apiVersion` and `kind` stay.
///
/// # Errors
/// 400 as for [`canonicalize`], and for a message that the table lacks.
pub fn canonicalize_message(message: &str, value: &mut Value) -> Result<(), Status> {
    let message = fields::message(message).ok_or_else(|| Status::internal(format!("no field table for {message}")))?;
    match value.as_object_mut() {
        Some(map) => object(message, map, true),
        None => Err(Status::bad_request("the object is not a JSON object")),
    }
}

fn object(message: &Message, map: &mut Map<String, Value>, typed: bool) -> Result<(), Status> {
    let mut fault = None;
    map.retain(|key, value| {
        if fault.is_some() {
            return true;
        }
        let Some(field) = message.field(key) else {
            return typed && is_type_key(key) && value.as_str().is_some_and(|text| !text.is_empty());
        };
        if value.is_null() {
            return false;
        }
        if let Err(status) = one(message, field, value) {
            fault = Some(status);
            return true;
        }
        !omitted(field, value)
    });
    fill_required(message, map);
    fault.map_or(Ok(()), Err)
}

fn one(message: &Message, field: &Field, value: &mut Value) -> Result<(), Status> {
    let typed = carries_type(message, field);
    match field.label {
        Label::Single => scalar(field, value, typed),
        Label::Repeated => value.as_array_mut().map_or(Ok(()), |list| {
            list.iter_mut().try_for_each(|element| {
                unnull(field, element);
                scalar(field, element, typed)
            })
        }),
        Label::Map => value.as_object_mut().map_or(Ok(()), |map| {
            map.values_mut().try_for_each(|element| {
                unnull(field, element);
                scalar(field, element, typed)
            })
        }),
    }
}

fn scalar(field: &Field, value: &mut Value, typed: bool) -> Result<(), Status> {
    match field.ty {
        Type::Message(name) => match (fields::message(name), value.as_object_mut()) {
            (Some(message), Some(map)) => object(message, map, typed),
            _ => Ok(()),
        },
        Type::Quantity => {
            let quantity = Quantity::from_value(value).map_err(|error| Status::bad_request(error.to_string()))?;
            *value = Value::String(quantity.to_string());
            Ok(())
        }
        Type::SchemaOr(_) => {
            let Some(schema) = fields::message(SCHEMA) else { return Ok(()) };
            let schemas = match value {
                Value::Array(list) => list.iter_mut().collect(),
                one => vec![one],
            };
            let mut maps = schemas.into_iter().filter_map(Value::as_object_mut);
            maps.try_for_each(|map| object(schema, map, false))
        }
        Type::Time => respell(value, time::format),
        Type::MicroTime => respell(value, time::format_micro),
        _ => Ok(()),
    }
}

fn respell(value: &mut Value, format: fn(jiff::Timestamp) -> String) -> Result<(), Status> {
    if let Some(text) = value.as_str() {
        let time = time::parse(text).map_err(|error| Status::bad_request(error.to_string()))?;
        *value = Value::String(format(time));
    }
    Ok(())
}

/// Go decodes a null inside a list or a map as the zero value.
fn unnull(field: &Field, value: &mut Value) {
    if value.is_null() {
        *value = zero(field.ty);
    }
}

fn zero(ty: Type) -> Value {
    match ty {
        Type::String | Type::Bytes | Type::Time | Type::MicroTime | Type::Duration => Value::String(String::new()),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Double | Type::IntOrString => Value::from(0),
        Type::Quantity => Value::String("0".into()),
        Type::Message(_) => Value::Object(Map::new()),
        Type::Strings => Value::Array(Vec::new()),
        Type::FieldsV1 | Type::RawExtension | Type::SchemaOr(_) => Value::Null,
    }
}

/// Whether Go's `omitempty` leaves the value out. Structs stay, even empty: `emptyDir: {}` means something.
fn omitted(field: &Field, value: &Value) -> bool {
    if field.required {
        return false;
    }
    match (field.label, value) {
        (Label::Single, Value::String(text)) => {
            text.is_empty() && !field.pointer && matches!(field.ty, Type::String | Type::Bytes)
        }
        (Label::Single, Value::Bool(false)) => !field.pointer && field.ty == Type::Bool,
        (Label::Single, Value::Number(number)) => {
            let counts = matches!(field.ty, Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Double);
            counts && !field.pointer && number.as_f64() == Some(0.0)
        }
        (Label::Repeated, Value::Array(list)) => list.is_empty(),
        (Label::Map, Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Upstream always writes required scalars, so clients may rely on `replicas: 0` being there.
fn fill_required(message: &Message, map: &mut Map<String, Value>) {
    for field in message.fields() {
        let scalar = matches!(field.ty, Type::String | Type::Bool | Type::Int32 | Type::Int64);
        if field.required && scalar && field.label == Label::Single && !map.contains_key(field.json) {
            map.insert(field.json.to_owned(), zero(field.ty));
        }
        if let (true, Type::Message(name)) = (field.inline, field.ty)
            && let Some(inner) = fields::message(name)
        {
            fill_required(inner, map);
        }
    }
}

fn is_type_key(key: &str) -> bool {
    key == "apiVersion" || key == "kind"
}

/// Whether the objects in a field carry `apiVersion` and `kind` of their own: items of lists, embedded options, and the
/// claims of a stateful set.
fn carries_type(message: &Message, field: &Field) -> bool {
    (field.json == "items" && message.name.ends_with("List"))
        || field.json == "volumeClaimTemplates"
        || matches!(field.ty, Type::Message(name) if name.ends_with(".DeleteOptions"))
}

fn handled_as(kind: &Kind) -> String {
    format!("{} in version \"{}\" cannot be handled as a {}: ", kind.kind, kind.version, kind.kind)
}

fn unrecognized(kind: &Kind, body: &[u8], reason: &str) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {reason} ({})",
        kind.kind,
        parse::summary(body),
    ))
}

#[cfg(test)]
mod tests;
