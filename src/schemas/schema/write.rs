//! From a [`Schema`] back to JSON.

use serde_json::{Map, Number, Value, json};

use super::{Additional, Bound, Checks, Extensions, ListType, MapType, Schema};

pub(super) fn write(schema: &Schema) -> Value {
    let mut out = Map::new();
    if let Some(ty) = schema.ty {
        put(&mut out, "type", ty.name());
    }
    for (key, text) in [("title", &schema.title), ("description", &schema.description)] {
        if !text.is_empty() {
            put(&mut out, key, &**text);
        }
    }
    flag(&mut out, "nullable", schema.nullable);
    if let Some(default) = &schema.default {
        out.insert("default".into(), default.clone());
    }
    if !schema.properties.is_empty() {
        let properties = schema.properties.iter().map(|(name, schema)| (name.clone(), write(schema))).collect();
        out.insert("properties".into(), Value::Object(properties));
    }
    match &schema.additional {
        Additional::Unsaid => {}
        Additional::Allowed(allowed) => put(&mut out, "additionalProperties", *allowed),
        Additional::Schema(schema) => put(&mut out, "additionalProperties", write(schema)),
    }
    if let Some(items) = &schema.items {
        put(&mut out, "items", write(items));
    }
    extensions(&mut out, &schema.extensions);
    if let Some(checks) = &schema.checks {
        write_checks(&mut out, checks);
    }
    Value::Object(out)
}

fn extensions(out: &mut Map<String, Value>, extensions: &Extensions) {
    flag(out, "x-kubernetes-preserve-unknown-fields", extensions.preserve_unknown_fields);
    flag(out, "x-kubernetes-embedded-resource", extensions.embedded_resource);
    flag(out, "x-kubernetes-int-or-string", extensions.int_or_string);
    let list_type = extensions.list_type.map(|ty| match ty {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    });
    let map_type = extensions.map_type.map(|ty| match ty {
        MapType::Atomic => "atomic",
        MapType::Granular => "granular",
    });
    for (key, name) in [("x-kubernetes-list-type", list_type), ("x-kubernetes-map-type", map_type)] {
        if let Some(name) = name {
            put(out, key, name);
        }
    }
    if !extensions.list_map_keys.is_empty() {
        put(out, "x-kubernetes-list-map-keys", json!(extensions.list_map_keys));
    }
    if !extensions.rules.is_empty() {
        let rules = extensions.rules.iter().map(crate::rules::Rule::to_value).collect();
        put(out, "x-kubernetes-validations", Value::Array(rules));
    }
}

fn write_checks(out: &mut Map<String, Value>, checks: &Checks) {
    if let Some(format) = &checks.format {
        put(out, "format", format.text());
    }
    if let Some(pattern) = &checks.pattern {
        put(out, "pattern", pattern.text());
    }
    bound(out, "maximum", "exclusiveMaximum", checks.maximum);
    bound(out, "minimum", "exclusiveMinimum", checks.minimum);
    if let Some(factor) = checks.multiple_of {
        put(out, "multipleOf", number(factor));
    }
    for (key, count) in [
        ("maxLength", checks.max_length),
        ("minLength", checks.min_length),
        ("maxItems", checks.max_items),
        ("minItems", checks.min_items),
        ("maxProperties", checks.max_properties),
        ("minProperties", checks.min_properties),
    ] {
        if let Some(count) = count {
            put(out, key, count);
        }
    }
    flag(out, "uniqueItems", checks.unique_items);
    if !checks.required.is_empty() {
        put(out, "required", json!(checks.required));
    }
    if !checks.one_of_values.is_empty() {
        put(out, "enum", Value::Array(checks.one_of_values.clone()));
    }
    for (key, list) in [("allOf", &checks.all_of), ("anyOf", &checks.any_of), ("oneOf", &checks.one_of)] {
        if !list.is_empty() {
            put(out, key, Value::Array(list.iter().map(write).collect()));
        }
    }
    if let Some(not) = &checks.not {
        put(out, "not", write(not));
    }
}

fn bound(out: &mut Map<String, Value>, limit: &str, exclusive: &str, bound: Option<Bound>) {
    if let Some(bound) = bound {
        put(out, limit, number(bound.limit));
        flag(out, exclusive, bound.exclusive);
    }
}

/// A number without a fraction is written without one, as it was given.
fn number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn flag(out: &mut Map<String, Value>, key: &str, set: bool) {
    if set {
        put(out, key, true);
    }
}

fn put(out: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    out.insert(key.to_owned(), value.into());
}
