//! Kubernetes objects in protobuf, as typed Go clients send them, read into JSON values by the field table.
//!
//! A body is the four bytes `k8s\0` and an envelope (upstream's `runtime.Unknown`) that names the kind and holds the
//! object's message. Answers stay JSON: there is no encoder.
//!
//! **Zero values.** Upstream's encoder writes every field that is no pointer, zero or not, and leaves nil pointers out; its
//! JSON leaves the zero values of most plain fields out again. So a zero scalar on the wire is kept where JSON would show
//! it: the field is required, or it is a pointer in upstream's types (the field table says which are). Lists, maps and
//! messages are kept as they come; an empty message is `{}`, as upstream's JSON has it.

mod scalars;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::canonical::{WARNINGS_MAX, Warning};
use crate::fields::{self, Field, Instead, Label, Message, SCHEMA, Type};
use crate::{Status, kind, time};
use scalars::{go_duration, int_or_string, timestamp};
use wire::{Fault, Raw, Reader};

/// First bytes of a body.
pub const MAGIC: &[u8] = b"k8s\0";

/// Largest body; upstream refuses larger requests before decoding.
pub const BYTES_MAX: usize = 3 * 1024 * 1024;

/// How deep messages may nest; no served kind reaches half of it.
const DEPTH_MAX: usize = 64;

/// Most values in one object: an element costs two bytes on the wire, but a value here.
const VALUES_MAX: usize = 400_000;

/// Reads a body into its JSON value, which names its `apiVersion` and its `kind` as well, with what was odd about it:
/// fields whose numbers the kind does not have, as `spec.#99`. One that holds nothing is passed over: Go's encoder writes
/// zero values too, so a client of a later release sends its new fields whether they were set or not.
///
/// # Errors
/// 400 when the body is too large, is not in the envelope, is of a kind that this build does not know, or its bytes are
/// no such message: lengths beyond the end, wrong wire types, text that is not UTF-8, numbers out of range, too deep.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<Warning>), Status> {
    let mut decoder = Decoder::default();
    let value = decoder.envelope(bytes, 0).map_err(Status::bad_request)?;
    Ok((value, decoder.warnings))
}

#[derive(Default)]
struct Decoder {
    /// Values made so far, against [`VALUES_MAX`].
    values: usize,
    /// Where the message that is read lies: names of fields, and the index in a list.
    path: Vec<(&'static str, Option<usize>)>,
    /// Fields that the table does not have.
    warnings: Vec<Warning>,
}

impl Decoder {
    fn envelope(&mut self, bytes: &[u8], depth: usize) -> Result<Value, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("the protobuf message is larger than {BYTES_MAX} bytes"));
        }
        let Some(unknown) = bytes.strip_prefix(MAGIC) else {
            return Err("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".into());
        };
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
        let mut reader = Reader::new(unknown);
        while let Some((number, field)) = reader.next().map_err(fault)? {
            match (number, field) {
                (1, Raw::Bytes(meta)) => {
                    let mut meta = Reader::new(meta);
                    while let Some((number, field)) = meta.next().map_err(fault)? {
                        match (number, field) {
                            (1, Raw::Bytes(text)) => api_version = utf8(text)?.to_owned(),
                            (2, Raw::Bytes(text)) => kind = utf8(text)?.to_owned(),
                            _ => {}
                        }
                    }
                }
                (2, Raw::Bytes(object)) => raw = object,
                (3, Raw::Bytes(encoding)) if !encoding.is_empty() => {
                    return Err("the content encoding of the protobuf envelope is not supported".into());
                }
                _ => {}
            }
        }
        let Some(message) = message_of(&api_version, &kind) else {
            return Err(format!("no kind {kind:?} is registered for version {api_version:?}"));
        };
        let mut map = Map::new();
        self.message(message, raw, depth, &mut map)?;
        map.insert("apiVersion".into(), Value::String(api_version));
        map.insert("kind".into(), Value::String(kind));
        Ok(Value::Object(map))
    }

    fn count(&mut self) -> Result<(), String> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(format!("the protobuf message holds more than {VALUES_MAX} values"));
        }
        Ok(())
    }

    /// Reads a message into `map`; a second piece of the same message merges, as the format wants.
    fn message(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
        map: &mut Map<String, Value>,
    ) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the protobuf message nests deeper than {DEPTH_MAX} levels"));
        }
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next().map_err(fault)? {
            match message.by_number(number) {
                Some(field) => self.field(field, raw, depth, map).map_err(|error| at(message, field, &error))?,
                None => self.unknown(number, raw),
            }
        }
        Ok(())
    }

    /// Notes a number that the message does not have.
    fn unknown(&mut self, number: u32, raw: Raw<'_>) {
        let empty = matches!(raw, Raw::Varint(0) | Raw::Fixed32(0) | Raw::Fixed64(0) | Raw::Bytes([]));
        if !empty && self.warnings.len() < WARNINGS_MAX {
            let steps = self.path.iter().map(|(name, index)| match index {
                Some(index) => format!("{name}[{index}]."),
                None => format!("{name}."),
            });
            self.warnings.push(Warning::Unknown(steps.collect::<String>() + &format!("#{number}")));
        }
    }

    /// Reads a value of `field`, whose place in errors and warnings ends with it.
    fn within(
        &mut self,
        step: (&'static str, Option<usize>),
        ty: Type,
        raw: Raw<'_>,
        depth: usize,
        old: Option<Value>,
    ) -> Result<Option<Value>, String> {
        self.path.push(step);
        let value = self.value(ty, raw, depth, old);
        self.path.pop();
        value
    }

    fn field(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
        map: &mut Map<String, Value>,
    ) -> Result<(), String> {
        if field.inline {
            return match (field.ty, raw) {
                (Type::Message(name), Raw::Bytes(bytes)) => self.message(table(name)?, bytes, depth + 1, map),
                _ => Err("wrong wire type for an inline message".into()),
            };
        }
        match field.label {
            Label::Map => self.map_entry(field, raw, depth, map),
            Label::Repeated => {
                let entry = map.entry(field.json).or_insert_with(|| Value::Array(Vec::new()));
                // Only this branch fills the name, unless two fields share it, which the table does not have.
                let Value::Array(items) = entry else { return Err("two fields share a name".into()) };
                match (field.ty, raw) {
                    (Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool, Raw::Bytes(packed)) => {
                        let mut reader = Reader::new(packed);
                        while !reader.is_empty() {
                            let raw = Raw::Varint(reader.varint().map_err(fault)?);
                            items.extend(self.value(field.ty, raw, depth, None)?);
                        }
                    }
                    (ty, raw) => {
                        let step = (field.json, Some(items.len()));
                        items.push(self.within(step, ty, raw, depth, None)?.unwrap_or(Value::Null));
                    }
                }
                Ok(())
            }
            Label::Single => {
                let old = map.remove(field.json);
                let value = self.within((field.json, None), field.ty, raw, depth, old)?;
                if let Some(value) = value
                    && (!is_zero(&value) || field.required || field.pointer)
                {
                    map.insert(field.json.into(), value);
                }
                Ok(())
            }
        }
    }

    /// One entry of a map: a message of key and value, either of which may be left out.
    fn map_entry(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
        map: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let Raw::Bytes(bytes) = raw else { return Err("wrong wire type for a map".into()) };
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next().map_err(fault)? {
            match (number, raw) {
                (1, Raw::Bytes(text)) => key = utf8(text)?.to_owned(),
                (1, _) => return Err("wrong wire type for a key".into()),
                (2, raw) => value = self.within((field.json, None), field.ty, raw, depth, None)?,
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => match field.ty {
                Type::String | Type::Bytes => Value::String(String::new()),
                Type::Quantity => Value::String("0".into()),
                Type::Message(_) => Value::Object(Map::new()),
                Type::Strings => Value::Array(Vec::new()),
                _ => Value::Null,
            },
        };
        let entry = map.entry(field.json).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(entries) = entry {
            entries.insert(key, value);
        }
        Ok(())
    }

    /// One value; `None` for what JSON writes as null. `old` is what an earlier piece of the same message gave.
    fn value(&mut self, ty: Type, raw: Raw<'_>, depth: usize, old: Option<Value>) -> Result<Option<Value>, String> {
        self.count()?;
        let wrong = || "wrong wire type".to_owned();
        match (ty, raw) {
            (Type::Bool, Raw::Varint(value)) => Ok(Some(Value::Bool(value != 0))),
            // Negative 32-bit numbers come as 64 bits; encoders of old cut them. Both read as the low half.
            (Type::Int32, Raw::Varint(value)) => Ok(Some(Value::from(value as u32 as i32))),
            (Type::Int64, Raw::Varint(value)) => Ok(Some(Value::from(value as i64))),
            (Type::Uint32, Raw::Varint(value)) => Ok(Some(Value::from(value as u32))),
            (Type::Uint64, Raw::Varint(value)) => Ok(Some(Value::from(value))),
            (Type::Double, Raw::Fixed64(bits)) => serde_json::Number::from_f64(f64::from_bits(bits))
                .map(|number| Some(Value::Number(number)))
                .ok_or_else(|| "not a finite number".to_owned()),
            (Type::String, Raw::Bytes(bytes)) => Ok(Some(Value::String(utf8(bytes)?.to_owned()))),
            (Type::Bytes, Raw::Bytes(bytes)) => Ok(Some(Value::String(STANDARD.encode(bytes)))),
            (Type::Message(name), Raw::Bytes(bytes)) => {
                let mut map = match old {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.message(table(name)?, bytes, depth + 1, &mut map)?;
                Ok(Some(Value::Object(map)))
            }
            (Type::Quantity, Raw::Bytes(bytes)) => {
                let text = first_bytes(bytes, 1)?.map(utf8).transpose()?.unwrap_or_default();
                Ok(Some(Value::String(if text.is_empty() { "0".into() } else { text.into() })))
            }
            (Type::IntOrString, Raw::Bytes(bytes)) => int_or_string(bytes).map(Some),
            (Type::Time, Raw::Bytes(bytes)) => Ok(timestamp(bytes)?.map(|at| Value::String(time::format(at)))),
            (Type::MicroTime, Raw::Bytes(bytes)) => {
                Ok(timestamp(bytes)?.map(|at| Value::String(time::format_micro(at))))
            }
            (Type::Duration, Raw::Bytes(bytes)) => {
                let mut nanos = 0;
                let mut reader = Reader::new(bytes);
                while let Some((number, raw)) = reader.next().map_err(fault)? {
                    if let (1, Raw::Varint(value)) = (number, raw) {
                        nanos = value as i64;
                    }
                }
                Ok(Some(Value::String(go_duration(nanos))))
            }
            (Type::FieldsV1 | Type::RawExtension, Raw::Bytes(bytes)) => self.free(bytes, depth),
            (Type::SchemaOr(instead), Raw::Bytes(bytes)) => self.schema_or(instead, bytes, depth),
            (Type::Strings, Raw::Bytes(bytes)) => {
                let mut items = Vec::new();
                let mut reader = Reader::new(bytes);
                while let Some((number, raw)) = reader.next().map_err(fault)? {
                    if let (1, Raw::Bytes(text)) = (number, raw) {
                        self.count()?;
                        items.push(Value::String(utf8(text)?.to_owned()));
                    }
                }
                Ok(Some(Value::Array(items)))
            }
            _ => Err(wrong()),
        }
    }

    /// A schema, or what stands instead of one.
    fn schema_or(&mut self, instead: Instead, bytes: &[u8], depth: usize) -> Result<Option<Value>, String> {
        let (mut schema, mut flag, mut many) = (None, None, Vec::new());
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next().map_err(fault)? {
            match (instead, number) {
                (Instead::Flag, 1) => flag = self.value(Type::Bool, raw, depth, None)?,
                (Instead::Flag, 2) | (Instead::Schemas | Instead::Names, 1) => {
                    schema = self.value(Type::Message(SCHEMA), raw, depth, schema.take())?;
                }
                (Instead::Schemas, 2) => many.extend(self.value(Type::Message(SCHEMA), raw, depth, None)?),
                (Instead::Names, 2) => many.extend(self.value(Type::String, raw, depth, None)?),
                _ => {}
            }
        }
        Ok(Some(match instead {
            _ if schema.is_some() => schema.unwrap_or_default(),
            Instead::Flag => flag.unwrap_or(Value::Bool(false)),
            Instead::Schemas | Instead::Names => Value::Array(many),
        }))
    }

    /// Bytes in bytes: JSON, or an object in an envelope of its own.
    fn free(&mut self, bytes: &[u8], depth: usize) -> Result<Option<Value>, String> {
        let Some(bytes) = first_bytes(bytes, 1)?.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        if bytes.starts_with(MAGIC) {
            if depth >= DEPTH_MAX {
                return Err(format!("the protobuf message nests deeper than {DEPTH_MAX} levels"));
            }
            return self.envelope(bytes, depth + 1).map(Some);
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("invalid JSON: {error}"))?;
        Ok(Some(value).filter(|value| !value.is_null()))
    }
}

fn fault(fault: Fault) -> String {
    fault.to_string()
}

fn at(message: &Message, field: &Field, error: &str) -> String {
    if error.starts_with("unable to decode") {
        return error.to_owned();
    }
    let name = message.name.rsplit('.').next().unwrap_or_default();
    format!("unable to decode {name}.{}: {error}", if field.json.is_empty() { "(inline)" } else { field.json })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "text is not valid UTF-8".into())
}

fn table(name: &str) -> Result<&'static Message, String> {
    fields::message(name).ok_or_else(|| format!("{name} is not in the field table"))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The last field of bytes with a number.
fn first_bytes(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next().map_err(fault)? {
        if let Raw::Bytes(bytes) = raw
            && number == wanted
        {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// The message that an envelope names: a served kind, an options kind of any version, or another message of the table.
fn message_of(api_version: &str, name: &str) -> Option<&'static Message> {
    if let Some(kind) = kind::by_kind(api_version, name) {
        return fields::message(&kind.message);
    }
    const META: &[&str] = &[
        "APIGroup",
        "APIGroupList",
        "APIResourceList",
        "APIVersions",
        "CreateOptions",
        "DeleteOptions",
        "GetOptions",
        "List",
        "ListOptions",
        "PatchOptions",
        "Status",
        "UpdateOptions",
        "WatchEvent",
    ];
    // Clients put meta's own kinds under any group and version.
    if META.contains(&name) {
        return fields::message(&format!("k8s.io.apimachinery.pkg.apis.meta.v1.{name}"));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let package = match group {
        "" => "core",
        "meta.k8s.io" => return fields::message(&format!("k8s.io.apimachinery.pkg.apis.meta.{version}.{name}")),
        other => other.split('.').next().unwrap_or(other),
    };
    fields::message(&format!("k8s.io.api.{package}.{version}.{name}"))
}

#[cfg(test)]
mod captured_tests;
#[cfg(test)]
mod tests;
