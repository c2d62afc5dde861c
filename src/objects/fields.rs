//! The table of fields: for each message of the served API its fields, their wire numbers and how they merge.
//!
//! One table drives decoding, canonical form, patches, server-side apply, OpenAPI and the protobuf transcoding alike, so
//! that they cannot disagree. The facts stand in `fields.tsv` (upstream's type definitions at level 1.37; a header line,
//! then one field per line). This is not a schema language: it says what exists, `validation` says what is allowed.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One message: an API type with a JSON object (or a protobuf message) of its own.
#[derive(Debug)]
pub struct Message {
    /// Full name, as `k8s.io.api.core.v1.Pod`.
    pub name: &'static str,
    fields: Vec<Field>,
    by_json: HashMap<&'static str, usize>,
    by_number: HashMap<u32, usize>,
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Protobuf field number.
    pub number: u32,
    /// JSON name, as `restartPolicy`; empty for inline fields.
    pub json: &'static str,
    /// Whether the fields of this field's message lie in the parent's JSON object.
    pub inline: bool,
    /// How many values there are.
    pub label: Label,
    /// Type of the value; of one element for lists, of one value for maps.
    pub ty: Type,
    /// How server-side apply merges the list; meaningless unless `label` is repeated.
    pub list: ListType,
    /// JSON names of the keys of a [`ListType::Map`].
    pub map_keys: Vec<&'static str>,
    /// Whether server-side apply owns the struct or map as a whole.
    pub atomic: bool,
    /// How a strategic-merge patch treats the field; `None` replaces lists and merges structs and maps.
    pub patch_strategy: Option<PatchStrategy>,
    /// JSON name of the key by which a strategic-merge patch pairs list elements.
    pub patch_merge_key: Option<&'static str>,
    /// Default that upstream declares on the field, as JSON text or `ref(CONSTANT)`.
    pub default: Option<&'static str>,
    /// Whether the field is neither optional nor left out of JSON when empty.
    pub required: bool,
    /// Whether a scalar's zero value differs from its absence (a pointer upstream), so that it is kept.
    pub pointer: bool,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// At most one.
    Single,
    /// A JSON array.
    Repeated,
    /// A JSON object with free keys.
    Map,
}

/// How server-side apply merges a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Each scalar on its own.
    Set,
    /// Each object on its own, named by the map keys.
    Map,
}

/// How a strategic-merge patch treats a field. All false cannot occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists: pair elements by the merge key (or by value, for scalars).
    pub merge: bool,
    /// Replace as a whole.
    pub replace: bool,
    /// Drop the keys that the patch does not list in `$retainKeys`.
    pub retain_keys: bool,
}

/// Type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// `true` or `false`.
    Bool,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit unsigned integer.
    Uint32,
    /// 64-bit unsigned integer.
    Uint64,
    /// 64-bit floating point.
    Double,
    /// Bytes; base64 text in JSON.
    Bytes,
    /// Another message of the table.
    Message(&'static str),
    /// A quantity: text (or a number) in JSON, a message with the text as field 1 on the wire.
    Quantity,
    /// A number or text in JSON; type, number and text as fields 1 to 3 on the wire.
    IntOrString,
    /// RFC 3339 in JSON; seconds and nanos as fields 1 and 2 on the wire.
    Time,
    /// RFC 3339 with six digits in JSON; seconds and nanos as fields 1 and 2 on the wire.
    MicroTime,
    /// Any JSON object; its bytes as field 1 on the wire.
    FieldsV1,
    /// Any JSON value; its bytes as field 1 on the wire.
    RawExtension,
    /// Text as `1m30s` in JSON; nanoseconds as field 1 on the wire.
    Duration,
    /// A list of texts in JSON; the texts as repeated field 1 of a message on the wire (`ExtraValue`, `Verbs`).
    Strings,
    /// A schema of a custom resource ([`SCHEMA`]), or what may stand instead of one.
    SchemaOr(Instead),
}

/// What may stand instead of a schema; beside each, how the wire numbers the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// `true` or `false`, as field 1; the schema as field 2.
    Flag,
    /// A list of schemas, as field 2; the schema as field 1.
    Schemas,
    /// A list of texts, as field 2; the schema as field 1.
    Names,
}

/// The message of a schema.
pub const SCHEMA: &str = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

impl Message {
    /// The field with a JSON name, looking through inline fields; names are case-sensitive.
    pub fn field(&self, json: &str) -> Option<&Field> {
        if let Some(&at) = self.by_json.get(json) {
            return self.fields.get(at);
        }
        self.fields.iter().filter(|field| field.inline).find_map(|field| match field.ty {
            Type::Message(name) => message(name)?.field(json),
            _ => None,
        })
    }

    /// The field with a protobuf number; inline fields are found as themselves.
    pub fn by_number(&self, number: u32) -> Option<&Field> {
        self.by_number.get(&number).and_then(|&at| self.fields.get(at))
    }

    /// All fields in table order; inline ones are rows of their own.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// The message with a full name, as `k8s.io.api.core.v1.Pod`.
pub fn message(name: &str) -> Option<&'static Message> {
    TABLE.get(name)
}

/// All messages, in no particular order.
pub fn messages() -> impl Iterator<Item = &'static Message> {
    TABLE.values()
}

static TABLE: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Message> = HashMap::new();
    for line in include_str!("fields.tsv").lines().skip(1) {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let Some(&name) = columns.first() else { continue };
        let message = table.entry(name).or_insert_with(|| Message {
            name,
            fields: Vec::new(),
            by_json: HashMap::new(),
            by_number: HashMap::new(),
        });
        // A message alone on its line has no fields. Any other row that is cut short is a defect of the table, which the
        // tests below would show.
        let Some(field) = field(&columns) else { continue };
        let at = message.fields.len();
        message.by_number.insert(field.number, at);
        if !field.inline {
            message.by_json.insert(field.json, at);
        }
        message.fields.push(field);
    }
    table
});

/// Reads one row: message, number, JSON name, inline, label, type, list type, list map keys, map or struct type, patch
/// strategy, patch merge key, default, required, pointer.
fn field(columns: &[&'static str]) -> Option<Field> {
    let &[_, number, json, inline, label, ty, list, keys, structure, strategy, merge_key, default, required, pointer] =
        columns
    else {
        return None;
    };
    let some = |text: &'static str| (!text.is_empty()).then_some(text);
    let element = ty.strip_prefix("map<string,").and_then(|rest| rest.strip_suffix('>')).unwrap_or(ty);
    Some(Field {
        number: number.parse().ok()?,
        json,
        inline: inline == "inline",
        label: match label {
            "repeated" => Label::Repeated,
            "map" => Label::Map,
            _ => Label::Single,
        },
        ty: type_of(element),
        list: match list {
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Atomic,
        },
        map_keys: keys.split(',').filter(|key| !key.is_empty()).collect(),
        atomic: structure == "atomic",
        patch_strategy: some(strategy).map(|text| PatchStrategy {
            merge: text.split(',').any(|part| part == "merge"),
            replace: text.split(',').any(|part| part == "replace"),
            retain_keys: text.split(',').any(|part| part == "retainKeys"),
        }),
        patch_merge_key: some(merge_key),
        default: some(default),
        required: required == "required",
        pointer: pointer == "pointer",
    })
}

fn type_of(name: &'static str) -> Type {
    match name {
        "string" => Type::String,
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "uint32" => Type::Uint32,
        "uint64" => Type::Uint64,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "k8s.io.apimachinery.pkg.api.resource.Quantity" => Type::Quantity,
        "k8s.io.apimachinery.pkg.util.intstr.IntOrString" => Type::IntOrString,
        "k8s.io.apimachinery.pkg.apis.meta.v1.Time" => Type::Time,
        "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime" => Type::MicroTime,
        "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1" => Type::FieldsV1,
        "k8s.io.apimachinery.pkg.apis.meta.v1.Duration" => Type::Duration,
        "k8s.io.apimachinery.pkg.runtime.RawExtension"
        | "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON" => Type::RawExtension,
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray" => {
            Type::SchemaOr(Instead::Schemas)
        }
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool" => {
            Type::SchemaOr(Instead::Flag)
        }
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => {
            Type::SchemaOr(Instead::Names)
        }
        "k8s.io.apimachinery.pkg.apis.meta.v1.Verbs"
        | "k8s.io.api.authentication.v1.ExtraValue"
        | "k8s.io.api.authentication.v1.AttestationValue"
        | "k8s.io.api.authorization.v1.ExtraValue"
        | "k8s.io.api.certificates.v1.ExtraValue" => Type::Strings,
        other => Type::Message(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;

    #[test]
    fn every_row_reads_and_every_type_exists() {
        let rows: usize = messages().map(|message| message.fields().len()).sum();
        let fields = include_str!("fields.tsv").lines().skip(1).filter(|line| line.contains('\t'));
        assert_eq!(rows, fields.count());
        for message in messages() {
            for field in message.fields() {
                if let Type::Message(name) = field.ty {
                    assert!(super::message(name).is_some(), "{}.{} is a {name}", message.name, field.json);
                }
                assert_eq!(field.inline, field.json.is_empty(), "{} {}", message.name, field.number);
                assert_ne!(field.list == ListType::Map, field.map_keys.is_empty(), "{}.{}", message.name, field.json);
            }
        }
    }

    #[test]
    fn every_kind_has_its_message() {
        for kind in kind::all() {
            let message = message(&kind.message).unwrap_or_else(|| panic!("{}", kind.message));
            assert!(message.field("metadata").is_some());
        }
    }

    #[test]
    fn fields_are_found_through_inline_messages() {
        let volume = message("k8s.io.api.core.v1.Volume").unwrap();
        assert_eq!(volume.field("emptyDir").unwrap().ty, Type::Message("k8s.io.api.core.v1.EmptyDirVolumeSource"));
        assert!(volume.by_number(2).unwrap().inline);
        let container = message("k8s.io.api.core.v1.EphemeralContainer").unwrap();
        assert_eq!(container.field("image").unwrap().ty, Type::String);
        assert!(container.field("Image").is_none());
    }

    #[test]
    fn ports_merge_differently_by_patch_and_by_apply() {
        let ports = message("k8s.io.api.core.v1.Container").unwrap().field("ports").unwrap();
        assert_eq!((ports.label, ports.list), (Label::Repeated, ListType::Map));
        assert_eq!(ports.map_keys, ["containerPort", "protocol"]);
        assert_eq!(ports.patch_merge_key, Some("containerPort"));
        assert_eq!(ports.patch_strategy, Some(PatchStrategy { merge: true, ..PatchStrategy::default() }));
        let limits = message("k8s.io.api.core.v1.ResourceRequirements").unwrap().field("limits").unwrap();
        assert_eq!((limits.label, limits.ty), (Label::Map, Type::Quantity));
    }
}
