//! `apiVersion`, `kind` and `metadata` of objects inside of objects, as the field table and the rules of metadata know
//! them.
//!
//! Follows upstream's `pkg/apiserver/schema/objectmeta/{algorithm,coerce,validation}.go`.

use objects::canonical::{self, Warning};
use objects::{Cause, Kind};
use serde_json::{Map, Value, json};

use super::{Schema, prune::is_meta};
use crate::definition::dns_1035_label;
use crate::faults::Faults;
use crate::place::Place;

/// The message of metadata in the field table.
pub(crate) const OBJECT_META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Whose metadata is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    /// Of embedded resources, as the schema marks them.
    Embedded,
    /// Of the value itself as well.
    Own,
}

/// Drops from metadata what its type does not have, and names it; see [`Schema::coerce`].
pub(crate) fn coerce(
    schema: &Schema,
    value: &mut Value,
    whose: Meta,
    drop_invalid: bool,
) -> Result<Vec<String>, Cause> {
    let mut walk = Coercion { drop_invalid, unknown: Vec::new() };
    walk.value(schema, value, whose == Meta::Own, &Place::ROOT)?;
    walk.unknown.sort();
    Ok(walk.unknown)
}

struct Coercion {
    drop_invalid: bool,
    unknown: Vec<String>,
}

impl Coercion {
    fn value(&mut self, schema: &Schema, value: &mut Value, own: bool, place: &Place<'_>) -> Result<(), Cause> {
        match value {
            Value::Object(map) => {
                if own || schema.extensions.embedded_resource {
                    self.meta(map, place)?;
                }
                for (key, below) in map.iter_mut() {
                    if let Some(child) = schema.properties.get(key) {
                        self.value(child, below, false, &place.field(key))?;
                    } else if let Some(child) = schema.child(key) {
                        self.value(child, below, false, &place.key(key))?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(child) = schema.items.as_deref() {
                    for (at, item) in items.iter_mut().enumerate() {
                        self.value(child, item, false, &place.index(at))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn meta(&mut self, map: &mut Map<String, Value>, place: &Place<'_>) -> Result<(), Cause> {
        for key in ["apiVersion", "kind"] {
            if map.get(key).is_some_and(|value| !value.is_string()) {
                match map.remove(key) {
                    Some(value) if !self.drop_invalid => {
                        return Err(refused(&place.field(key), &value, "must be a string"));
                    }
                    _ => {}
                }
            }
        }
        let place = place.field("metadata");
        let Some(metadata) = map.get_mut("metadata") else { return Ok(()) };
        match canonical::check_message(OBJECT_META, metadata) {
            Ok(warnings) => {
                for warning in warnings {
                    if let (Warning::Unknown(path), true) = (warning, self.unknown.len() < crate::faults::CAUSES_MAX) {
                        self.unknown.push(format!("{place}.{path}"));
                    }
                }
            }
            Err(_) if self.drop_invalid => match metadata.as_object_mut() {
                Some(fields) => fields.retain(|key, value| {
                    canonical::check_message(
                        OBJECT_META,
                        &Value::Object(Map::from_iter([(key.clone(), value.clone())])),
                    )
                    .is_ok()
                }),
                None => {
                    map.remove("metadata");
                    return Ok(());
                }
            },
            Err(status) => return Err(refused(&place, metadata, &status.message)),
        }
        // Checked above; what the type leaves out when it is empty is left out.
        if canonical::canonicalize_message(OBJECT_META, metadata).is_ok()
            && let Some(fields) = metadata.as_object_mut()
        {
            fields.retain(|key, _| !is_meta(key));
        }
        Ok(())
    }
}

fn refused(place: &Place<'_>, value: &Value, detail: &str) -> Cause {
    objects::validation::invalid(&place.to_string(), value, detail)
}

/// What is wrong with the metadata of objects inside of an object.
pub(crate) fn check(schema: &Schema, value: &Value, whose: Meta, place: &Place<'_>) -> Vec<Cause> {
    let mut faults = Faults::default();
    walk(schema, value, whose == Meta::Own, place, &mut faults);
    faults.into_causes()
}

fn walk(schema: &Schema, value: &Value, own: bool, place: &Place<'_>, faults: &mut Faults) {
    match value {
        Value::Object(map) => {
            if own || schema.extensions.embedded_resource {
                resource(map, place, faults);
            }
            for (key, below) in map {
                if let Some(child) = schema.properties.get(key) {
                    walk(child, below, false, &place.field(key), faults);
                } else if let Some(child) = schema.child(key) {
                    walk(child, below, false, &place.key(key), faults);
                }
            }
        }
        Value::Array(items) => {
            if let Some(child) = schema.items.as_deref() {
                for (at, item) in items.iter().enumerate() {
                    walk(child, item, false, &place.index(at), faults);
                }
            }
        }
        _ => {}
    }
}

fn resource(map: &Map<String, Value>, place: &Place<'_>, faults: &mut Faults) {
    for key in ["apiVersion", "kind"] {
        let place = place.field(key);
        match map.get(key) {
            None => faults.required(&place, ""),
            Some(Value::String(text)) if text.is_empty() => faults.required(&place, ""),
            Some(Value::String(text)) if key == "kind" => {
                let wrong = dns_1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    faults.invalid_text(&place, text, detail);
                }
            }
            Some(Value::String(text)) => {
                if text.matches('/').count() > 1 {
                    faults.invalid_text(&place, text, format!("unexpected GroupVersion string: {text}"));
                }
            }
            Some(other) => faults.invalid(&place, other, "must be a string"),
        }
    }
    let Some(metadata) = map.get("metadata") else { return };
    if let Err(status) = canonical::check_message(OBJECT_META, metadata) {
        return faults.invalid(&place.field("metadata"), metadata, status.message);
    }
    object_meta(metadata, place, faults);
}

/// The rules of metadata, but that a name need not be given and is any segment of a path.
fn object_meta(metadata: &Value, place: &Place<'_>, faults: &mut Faults) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if !name.is_empty() {
        let place = place.field("metadata");
        let name_place = place.field("name");
        for detail in path_segment(name) {
            faults.invalid_text(&name_place, name, detail);
        }
    }
    let mut anonymous = metadata.clone();
    anonymous["name"] = json!("fakename");
    if let Some(fields) = anonymous.as_object_mut() {
        fields.remove("generateName");
    }
    let namespaced = metadata["namespace"].as_str().is_some_and(|namespace| !namespace.is_empty());
    let kind = Kind::undeclared("", "", "", "", namespaced);
    let above = place.to_string();
    faults.extend(objects::validation::create(&kind, &json!({ "metadata": anonymous })).into_iter().map(
        |mut cause| {
            if !above.is_empty() {
                cause.field = format!("{above}.{}", cause.field);
            }
            cause
        },
    ));
}

/// What keeps a name from being one segment of a URL's path (`apimachinery/pkg/api/validation/path/name.go`).
fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let held = ['/', '%'].into_iter().filter(|letter| name.contains(*letter));
    held.map(|letter| format!("may not contain '{letter}'")).collect()
}
