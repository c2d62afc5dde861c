//! Keywords of a schema as it was written: which are supported, what they demand of each other.
//!
//! Works on JSON, because a schema that cannot be read has to be told what is wrong with it. Follows upstream's
//! `pkg/apis/apiextensions/validation/validation.go` (`ValidateCustomResourceDefinitionOpenAPISchema`).

use serde_json::{Map, Value};

use super::Type;
use super::prune::is_meta;
use crate::faults::Faults;
use crate::pattern::Pattern;
use crate::place::Place;

/// What stands around a schema.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    /// Whether it describes a whole object.
    root: bool,
    /// Whether it is part of `apiVersion`, `kind` or `metadata`, of the object or of an embedded one.
    in_meta: bool,
    /// Where defaults are forbidden.
    no_defaults: Option<&'static str>,
}

impl Context {
    /// Of `openAPIV3Schema` itself.
    pub(crate) const ROOT: Self = Self { root: true, in_meta: false, no_defaults: None };
}

/// Keywords that are said not to be supported, with whether an empty value passes.
const UNSUPPORTED: [(&str, bool); 6] = [
    ("id", true),
    ("additionalItems", false),
    ("patternProperties", true),
    ("definitions", true),
    ("dependencies", false),
    ("$ref", false),
];

pub(crate) fn check(schema: &Value, context: Context, place: &Place<'_>, faults: &mut Faults) {
    let Some(map) = schema.as_object() else {
        if !schema.is_null() {
            faults.invalid(place, schema, "must be a schema object");
        }
        return;
    };
    let read = Read { map, place };
    own(&read, context, faults);
    if read.flag("uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        faults.forbidden(&place.field("uniqueItems"), detail);
    }
    below(&read, context, faults);
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let place = place.field("x-kubernetes-preserve-unknown-fields");
        faults.invalid(&place, &Value::Bool(false), "must be true or undefined");
    }
    map_type(&read, faults);
    list_type(&read, faults);
}

fn own(read: &Read<'_>, context: Context, faults: &mut Faults) {
    let place = read.place;
    let ty = read.text("type");
    if !ty.is_empty() && Type::of(ty).is_none() {
        faults.not_supported(&place.field("type"), &ty.into(), &Type::NAMES);
    }
    if let (Some(_), Some(reason)) = (read.get("default"), context.no_defaults) {
        faults.forbidden(&place.field("default"), format!("must not be set {reason}"));
    }
    for (keyword, may_be_empty) in UNSUPPORTED {
        let Some(value) = read.get(keyword) else { continue };
        let empty = match value {
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !(empty && may_be_empty) {
            faults.forbidden(&place.field(keyword), format!("{keyword} is not supported"));
        }
    }
    if ty == "null" {
        faults.forbidden(&place.field("type"), "type cannot be set to null, use nullable as an alternative");
    }
    if read.get("items").and_then(Value::as_array).is_some_and(|items| !items.is_empty()) {
        faults.forbidden(&place.field("items"), "items must be a schema object and not an array");
    }
    if context.in_meta && read.flag("x-kubernetes-embedded-resource") {
        faults.forbidden(&place.field("x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
    }
    let pattern = read.text("pattern");
    if let Err(reason) = Pattern::new(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {reason}");
        faults.invalid_text(&place.field("pattern"), pattern, detail);
    }
}

fn below(read: &Read<'_>, context: Context, faults: &mut Faults) {
    let place = read.place;
    let inner = Context { root: false, ..context };
    let properties = read.object("properties");
    if let Some(additional) = read.get("additionalProperties") {
        let place = place.field("additionalProperties");
        if properties.is_some_and(|map| !map.is_empty()) && additional != &Value::Bool(true) {
            faults.forbidden(&place, "additionalProperties and properties are mutual exclusive");
        }
        if !additional.is_boolean() {
            let mut inner = inner;
            if context.in_meta {
                inner.no_defaults = Some("inside additionalProperties applying to object metadata");
            }
            check(additional, inner, &place, faults);
        }
    }
    let resource = context.root || read.flag("x-kubernetes-embedded-resource");
    let below = place.field("properties");
    for (name, schema) in properties.into_iter().flatten() {
        let mut inner = inner;
        if resource && is_meta(name) {
            inner.in_meta = true;
            if context.root {
                inner.no_defaults = Some(match name.as_str() {
                    "apiVersion" => "in top-level apiVersion",
                    "kind" => "in top-level kind",
                    _ => "in top-level metadata",
                });
            }
        }
        check(schema, inner, &below.key(name), faults);
    }
    if let Some(not) = read.get("not") {
        check(not, inner, &place.field("not"), faults);
    }
    for keyword in ["allOf", "oneOf", "anyOf"] {
        let below = place.field(keyword);
        for (at, schema) in read.list(keyword).iter().enumerate() {
            check(schema, inner, &below.index(at), faults);
        }
    }
    if let Some(items) = read.get("items").filter(|items| !items.is_array()) {
        check(items, inner, &place.field("items"), faults);
    }
}

fn map_type(read: &Read<'_>, faults: &mut Faults) {
    let Some(map_type) = read.get("x-kubernetes-map-type") else { return };
    typed(read, "object", "x-kubernetes-map-type", faults);
    let name = map_type.as_str().unwrap_or_default();
    if !matches!(name, "atomic" | "granular") {
        faults.not_supported(&read.place.field("x-kubernetes-map-type"), map_type, &["atomic", "granular"]);
    }
}

/// A keyword that demands a type.
fn typed(read: &Read<'_>, wanted: &str, keyword: &str, faults: &mut Faults) -> bool {
    let place = read.place.field("type");
    let detail = format!("must be {wanted} if {keyword} is specified");
    match read.text("type") {
        ty if ty == wanted => return true,
        "" => faults.required(&place, detail),
        ty => faults.invalid_text(&place, ty, detail),
    }
    false
}

fn list_type(read: &Read<'_>, faults: &mut Faults) {
    let place = read.place;
    let key_place = place.field("x-kubernetes-list-map-keys");
    let type_place = place.field("x-kubernetes-list-type");
    let keys: Vec<&str> = read.list("x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
    let given = read.get("x-kubernetes-list-type");
    let list_type = given.and_then(Value::as_str).unwrap_or_default();
    let items_place = place.field("items");
    let items = read.object("items").map(|map| Read { map, place: &items_place });
    if let Some(given) = given {
        if typed(read, "array", "x-kubernetes-list-type", faults)
            && let ("set", Some(items)) = (list_type, &items)
        {
            let (keyword, fits) = match items.text("type") {
                "array" => ("x-kubernetes-list-type", matches!(items.text("x-kubernetes-list-type"), "" | "atomic")),
                "object" => ("x-kubernetes-map-type", items.text("x-kubernetes-map-type") == "atomic"),
                _ => ("", true),
            };
            if !fits {
                let value = items.get(keyword).cloned().unwrap_or_default();
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                faults.invalid(&items_place.field(keyword), &value, detail);
            }
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            faults.not_supported(&type_place, given, &["atomic", "set", "map"]);
        }
    }
    if !keys.is_empty() && list_type != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match given {
            None => faults.required(&type_place, detail),
            Some(given) => faults.invalid(&type_place, given, detail),
        }
    }
    if list_type == "map" {
        if keys.is_empty() {
            faults.required(&key_place, "must not be empty if x-kubernetes-list-type is map");
        }
        match &items {
            None => faults.required(&items_place, "must have a schema if x-kubernetes-list-type is map"),
            Some(items) => map_keys(items, &keys, &key_place, faults),
        }
    }
    if let (true, Some(items)) = (matches!(list_type, "set" | "map"), &items) {
        if items.flag("nullable") {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
            faults.forbidden(&items_place.field("nullable"), detail);
        }
        if list_type == "map" {
            named_always(items, &keys, faults);
        }
    }
}

/// Elements that are named by keys are objects that have them.
fn map_keys(items: &Read<'_>, keys: &[&str], key_place: &Place<'_>, faults: &mut Faults) {
    let ty = items.text("type");
    if ty != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        return faults.invalid_text(&items.place.field("type"), ty, detail);
    }
    let properties = items.place.field("properties");
    let all = Value::from(keys.to_vec());
    for (at, key) in keys.iter().enumerate() {
        match items.object("properties").and_then(|map| map.get(*key)).and_then(Value::as_object) {
            Some(schema) => {
                let ty = schema.get("type").and_then(Value::as_str).unwrap_or_default();
                if matches!(ty, "array" | "object") {
                    let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    faults.invalid_text(&properties.key(key).field("type"), ty, detail);
                }
            }
            None => faults.invalid(key_place, &all, "entries must all be names of item properties"),
        }
        if keys[..at].contains(key) {
            faults.invalid(key_place, &all, "must not contain duplicate entries");
        }
    }
}

/// Keys that name an element are there in every element, by demand or by default.
fn named_always(items: &Read<'_>, keys: &[&str], faults: &mut Faults) {
    let required = items.list("required");
    let properties = items.place.field("properties");
    for key in keys {
        let Some(schema) = items.object("properties").and_then(|map| map.get(*key)).and_then(Value::as_object) else {
            continue;
        };
        let place = properties.key(key);
        if !required.iter().any(|name| name == key) && schema.get("default").is_none_or(Value::is_null) {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            faults.required(&place.field("default"), detail);
        }
        if schema.get("nullable") == Some(&Value::Bool(true)) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            faults.forbidden(&place.field("nullable"), detail);
        }
    }
}

/// Reads keywords leniently: what has the wrong type is for [`super::Schema::parse`] to refuse.
struct Read<'a> {
    map: &'a Map<String, Value>,
    place: &'a Place<'a>,
}

impl<'a> Read<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> &'a str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    fn list(&self, key: &str) -> &'a [Value] {
        self.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn object(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.get(key).and_then(Value::as_object)
    }
}
