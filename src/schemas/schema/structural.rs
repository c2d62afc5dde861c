//! Whether a schema is structural: what may be said where.
//!
//! Follows upstream's `pkg/apiserver/schema/{validation,complete}.go`.

use objects::Cause;
use serde_json::Value;

use super::{Additional, Checks, Extensions, Schema, Type};
use crate::faults::Faults;
use crate::place::Place;

/// What keeps a schema from being structural, sorted; empty when it is.
pub(crate) fn check(schema: &Schema, place: &Place<'_>) -> Vec<Cause> {
    let mut faults = Faults::default();
    structure(schema, Level::Root, place, &mut faults);
    complete(schema, Some(schema), place, place, &mut faults);
    let mut causes = faults.into_causes();
    causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    causes
}

/// How the value that a schema describes is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

fn structure(schema: &Schema, level: Level, place: &Place<'_>, faults: &mut Faults) {
    let extensions = &schema.extensions;
    let items = place.field("items");
    match &schema.items {
        Some(child) => structure(child, Level::Item, &items, faults),
        None if schema.ty == Some(Type::Array) => faults.required(&items, "must be specified"),
        None => {}
    }
    let properties = place.field("properties");
    for (name, child) in &schema.properties {
        structure(child, Level::Field, &properties.key(name), faults);
    }
    let additional = place.field("additionalProperties");
    if schema.additional != Additional::Unsaid {
        if level == Level::Root {
            faults.forbidden(&additional, "must not be used at the root");
        }
        if extensions.embedded_resource {
            faults.forbidden(&additional, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }
    if let Additional::Schema(child) = &schema.additional {
        structure(child, Level::Field, &additional, faults);
    }
    exclusions(extensions, place, faults);
    if let Some(checks) = &schema.checks {
        let pattern = is_number_or_text(&checks.any_of);
        let first = checks.all_of.first().and_then(|first| first.checks.as_ref());
        let first_pattern = first.is_some_and(|first| is_number_or_text(&first.any_of));
        values(checks, pattern, first_pattern, place, faults);
    }
    types(schema, level, place, faults);
    if level == Level::Root || extensions.embedded_resource {
        for name in ["kind", "apiVersion"] {
            if let Some(child) = schema.properties.get(name).filter(|child| child.ty != Some(Type::String)) {
                faults.invalid(&properties.key(name).field("type"), &type_name(child), "must be string");
            }
        }
    }
    if let Some(child) = schema.properties.get("metadata") {
        let place = properties.key("metadata");
        if (level == Level::Root || extensions.embedded_resource) && child.ty != Some(Type::Object) {
            faults.invalid(&place.field("type"), &type_name(child), "must be object");
        }
        if level == Level::Root && !names_only(child) {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            faults.forbidden(&place, detail);
        }
    }
    if extensions.embedded_resource && !extensions.preserve_unknown_fields && schema.properties.is_empty() {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        faults.required(&properties, detail);
    }
}

fn types(schema: &Schema, level: Level, place: &Place<'_>, faults: &mut Faults) {
    let extensions = &schema.extensions;
    let place = place.field("type");
    if extensions.embedded_resource && schema.ty != Some(Type::Object) {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match schema.ty {
            None => faults.required(&place, detail),
            Some(ty) => faults.invalid_text(&place, ty.name(), detail),
        }
    } else if schema.ty.is_none() && !extensions.int_or_string && !extensions.preserve_unknown_fields {
        let of = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        faults.required(&place, format!("must not be empty {of}"));
    }
    if let (Level::Root, Some(ty)) = (level, schema.ty.filter(|ty| *ty != Type::Object)) {
        faults.invalid_text(&place, ty.name(), "must be object at the root");
    }
}

fn type_name(schema: &Schema) -> Value {
    Value::String(schema.ty.map_or("", Type::name).to_owned())
}

/// Whether a schema of the root's metadata says at most something about `name` and `generateName`. Its default is judged
/// with the keywords.
fn names_only(metadata: &Schema) -> bool {
    let named = metadata.properties.keys().all(|name| name == "name" || name == "generateName");
    let rest = Schema { ty: None, default: None, properties: Default::default(), ..metadata.clone() };
    let rest = Schema { external_docs: false, ..rest };
    named && rest == Schema::default()
}

fn exclusions(extensions: &Extensions, place: &Place<'_>, faults: &mut Faults) {
    if !extensions.int_or_string {
        return;
    }
    for (set, key) in [
        (extensions.preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields"),
        (extensions.embedded_resource, "x-kubernetes-embedded-resource"),
    ] {
        if set {
            faults.invalid(
                &place.field(key),
                &Value::Bool(true),
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
    }
}

/// Whether alternatives are exactly "an integer or a string", which int-or-string may be spelled with.
fn is_number_or_text(any_of: &[Schema]) -> bool {
    let only = |ty: Type| Schema { ty: Some(ty), ..Schema::default() };
    matches!(any_of, [first, second] if *first == only(Type::Integer) && *second == only(Type::String))
}

fn values(checks: &Checks, skip_any_of: bool, skip_first: bool, place: &Place<'_>, faults: &mut Faults) {
    if !skip_any_of {
        list(&checks.any_of, &place.field("anyOf"), faults);
    }
    let all_of = place.field("allOf");
    for (at, schema) in checks.all_of.iter().enumerate() {
        nested(schema, skip_first && at == 0, &all_of.index(at), faults);
    }
    list(&checks.one_of, &place.field("oneOf"), faults);
    if let Some(not) = &checks.not {
        nested(not, false, &place.field("not"), faults);
    }
}

fn list(schemas: &[Schema], place: &Place<'_>, faults: &mut Faults) {
    for (at, schema) in schemas.iter().enumerate() {
        nested(schema, false, &place.index(at), faults);
    }
}

/// A schema inside of a logical junctor: it may check values and say nothing else.
fn nested(schema: &Schema, skip_any_of: bool, place: &Place<'_>, faults: &mut Faults) {
    if let Some(checks) = &schema.checks {
        values(checks, skip_any_of, false, place, faults);
    }
    if let Some(child) = &schema.items {
        nested(child, false, &place.field("items"), faults);
    }
    let properties = place.field("properties");
    for (name, child) in &schema.properties {
        nested(child, false, &properties.key(name), faults);
    }
    let extensions = &schema.extensions;
    for (said, key, should) in [
        (schema.ty.is_some(), "type", "empty"),
        (schema.additional != Additional::Unsaid, "additionalProperties", "undefined"),
        (schema.default.is_some(), "default", "undefined"),
        (!schema.title.is_empty(), "title", "empty"),
        (!schema.description.is_empty(), "description", "empty"),
        (schema.nullable, "nullable", "false"),
        (schema.external_docs, "externalDocs", "undefined"),
        (extensions.preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields", "false"),
        (extensions.embedded_resource, "x-kubernetes-embedded-resource", "false"),
        (extensions.int_or_string, "x-kubernetes-int-or-string", "false"),
        (!extensions.list_map_keys.is_empty(), "x-kubernetes-list-map-keys", "empty"),
        (extensions.list_type.is_some(), "x-kubernetes-list-type", "undefined"),
        (extensions.map_type.is_some(), "x-kubernetes-map-type", "undefined"),
        (!extensions.rules.is_empty(), "x-kubernetes-validations", "empty"),
    ] {
        if said {
            faults.forbidden(&place.field(key), format!("must be {should} to be structural"));
        }
    }
    if schema.properties.contains_key("metadata") {
        faults.forbidden(&properties.key("metadata"), "must not be specified in a nested context");
    }
}

/// Whether everything that value validations speak of is there in the structure. `said` is a schema with validations, at
/// `by`; `structure` is the schema of the same value, at `place`.
fn complete(said: &Schema, structure: Option<&Schema>, place: &Place<'_>, by: &Place<'_>, faults: &mut Faults) {
    let Some(checks) = &said.checks else { return };
    let junctors = [("allOf", &checks.all_of), ("anyOf", &checks.any_of), ("oneOf", &checks.one_of)];
    for (key, schemas) in junctors {
        let by = by.field(key);
        for (at, schema) in schemas.iter().enumerate() {
            complete_nested(schema, structure, place, &by.index(at), faults);
        }
    }
    if let Some(not) = &checks.not {
        complete_nested(not, structure, place, &by.field("not"), faults);
    }
}

fn complete_nested(said: &Schema, structure: Option<&Schema>, place: &Place<'_>, by: &Place<'_>, faults: &mut Faults) {
    let Some(structure) = structure else {
        return faults.required(place, format!("because it is defined in {by}"));
    };
    complete(said, Some(structure), place, by, faults);
    if let Some(child) = &said.items {
        complete_nested(child, structure.items.as_deref(), &place.field("items"), &by.field("items"), faults);
    }
    let (properties, by_properties) = (place.field("properties"), by.field("properties"));
    for (name, child) in &said.properties {
        let below = structure.properties.get(name);
        complete_nested(child, below, &properties.key(name), &by_properties.key(name), faults);
    }
}
