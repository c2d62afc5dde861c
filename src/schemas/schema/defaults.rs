//! Whether the defaults of a schema are good: valid themselves, and without fields that pruning would remove.
//!
//! Follows upstream's `pkg/apiserver/schema/defaulting/validation.go`.

use objects::Cause;
use serde_json::{Map, Value, json};

use super::{Meta, Schema, check::check as check_value, metadata, prune};
use crate::faults::Faults;
use crate::place::Place;

/// What is wrong with the defaults of the schema of a whole object.
pub(crate) fn check(schema: &Schema, place: &Place<'_>) -> Vec<Cause> {
    let mut faults = Faults::default();
    let around = Around { resource: schema, steps: Vec::new(), in_meta: false };
    walk(schema, &around, true, place, &mut faults);
    faults.into_causes()
}

/// The object that a default would stand in.
#[derive(Clone)]
struct Around<'a> {
    /// Schema of the innermost object with metadata.
    resource: &'a Schema,
    /// The way from there; `None` is the element of a list.
    steps: Vec<Option<&'a str>>,
    /// Whether the way goes through `apiVersion`, `kind` or `metadata`.
    in_meta: bool,
}

fn walk<'a>(schema: &'a Schema, around: &Around<'a>, root: bool, place: &Place<'_>, faults: &mut Faults) {
    let resource = root || schema.extensions.embedded_resource;
    let own;
    let around = if resource {
        own = Around { resource: schema, steps: Vec::new(), in_meta: false };
        &own
    } else {
        around
    };
    if let Some(default) = &schema.default {
        one(schema, default, around, resource, &place.field("default"), faults);
    }
    let below = |step: Option<&'a str>| {
        let mut below = around.clone();
        below.steps.push(step);
        below.in_meta |= resource && step.is_some_and(prune::is_meta);
        below
    };
    // Not below additionalProperties: the keywords forbid defaults there where they would matter.
    if let Some(child) = &schema.items {
        walk(child, &below(None), false, &place.field("items"), faults);
    }
    let properties = place.field("properties");
    for (name, child) in &schema.properties {
        walk(child, &below(Some(name)), false, &properties.key(name), faults);
    }
}

fn one(schema: &Schema, default: &Value, around: &Around<'_>, resource: bool, place: &Place<'_>, faults: &mut Faults) {
    if around.in_meta {
        let mut object = around.steps.iter().rev().fold(default.clone(), |below, step| match step {
            Some(name) => Value::Object(Map::from_iter([((*name).to_owned(), below)])),
            None => Value::Array(vec![below]),
        });
        if let Some(map) = object.as_object_mut() {
            for (key, name) in [("apiVersion", "validation/v1"), ("kind", "Validation")] {
                map.entry(key).or_insert_with(|| json!(name));
            }
        }
        let fault = match metadata::coerce(around.resource, &mut object, Meta::Own, false) {
            Err(cause) => Some(cause),
            Ok(_) => metadata::check(around.resource, &object, Meta::Own, &Place::ROOT).into_iter().next(),
        };
        if let Some(cause) = fault {
            let detail = format!("must result in valid metadata: {}: {}", cause.field, cause.message);
            return faults.invalid(place, default, detail);
        }
    } else {
        let mut pruned = default.clone();
        if !prune::prune(schema, &mut pruned, resource).is_empty() {
            faults.invalid(place, default, "must not have unknown fields");
        }
        let whose = if resource { Meta::Own } else { Meta::Embedded };
        if let Err(mut cause) = metadata::coerce(schema, &mut pruned, whose, false) {
            cause.field = format!("{place}.{}", cause.field);
            return faults.push(cause);
        }
        let causes = metadata::check(schema, default, whose, place);
        if !causes.is_empty() {
            return faults.extend(causes);
        }
    }
    faults.extend(check_value(schema, default, None, place));
}
