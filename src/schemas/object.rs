//! What a write and a read of a custom resource do with a schema, in order.
//!
//! A write: [`decode`], then (for creations) [`prepare_create`], [`Schema::fill`], then [`create`] or [`update`]. A
//! read, and what a write replaces: [`read`]. Follows upstream's `pkg/apiserver/customresource_handler.go`
//! (`schemaCoercingDecoder`, `unstructuredDefaulter`) and `pkg/registry/customresource/{strategy,validator}.go`.

use objects::canonical::Warning;
use objects::{Cause, Kind, Status};
use serde_json::{Value, json};

use crate::definition::Version;
use crate::faults::{Faults, NOWHERE};
use crate::schema::Meta;
use crate::{Schema, rules};

/// How deep an object may nest; as `objects::canonical`.
const DEPTH_MAX: usize = objects::canonical::DEPTH_MAX;

/// Reasons that keep rules from being evaluated: upstream holds an object of such a form against no rule.
const BLOCKING: [&str; 4] = ["FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];

/// Reads a body as an object of a kind: its type and metadata in form, unknown fields removed and named.
///
/// `apiVersion` and `kind` are filled in where the body leaves them out. Neither defaults nor judges.
///
/// # Errors
/// 400 for what is no object, nests too deeply, is of another kind or version, or has metadata of the wrong types.
pub fn decode(kind: &Kind, schema: &Schema, mut value: Value) -> Result<(Value, Vec<Warning>), Status> {
    if !fits(&value, DEPTH_MAX) {
        return Err(Status::bad_request(format!("the object nests deeper than {DEPTH_MAX} levels")));
    }
    let api_version = kind.api_version();
    let Some(map) = value.as_object_mut() else {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: not a JSON \
             object",
            kind.kind
        )));
    };
    for (key, wanted) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
        let given = map.entry(key).or_insert(Value::Null);
        if given.is_null() || given == "" {
            *given = json!(wanted);
        }
    }
    if map["kind"] != kind.kind.as_str() {
        let given = map["kind"].as_str().unwrap_or("?");
        let version = map["apiVersion"].as_str().unwrap_or("?");
        let version = version.rsplit('/').next().unwrap_or(version);
        return Err(Status::bad_request(format!(
            "{given} in version \"{version}\" cannot be handled as a {}: the kind in the data ({given}) does not match the \
             expected kind ({})",
            kind.kind, kind.kind
        )));
    }
    if map["apiVersion"] != api_version.as_str() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({api_version})",
            map["apiVersion"].as_str().unwrap_or("?"),
        )));
    }
    let refused = |cause: Cause| {
        Status::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {}: {}",
            kind.kind, kind.version, kind.kind, cause.field, cause.message
        ))
    };
    let mut unknown = crate::schema::coerce(schema, &mut value, Meta::Own, false).map_err(refused)?;
    unknown.extend(schema.prune(&mut value));
    Ok((value, unknown.into_iter().map(Warning::Unknown).collect()))
}

fn fits(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
        Value::Object(map) => left > 0 && map.values().all(|item| fits(item, left - 1)),
        _ => true,
    }
}

/// Makes a stored object what the schema of today says: metadata of the wrong form and unknown fields go, defaults come.
/// The object is of the schema's version already ([`crate::conversion`]).
pub fn read(schema: &Schema, object: &mut Value) {
    // With what is wrong dropped, nothing is left to refuse.
    drop(crate::schema::coerce(schema, object, Meta::Own, true));
    drop(schema.prune(object));
    schema.fill(object);
}

/// Drops what only the server writes: the status of a new object, where status is a resource of its own.
pub fn prepare_create(version: &Version, object: &mut Value) {
    if let (true, Some(map)) = (version.has_status, object.as_object_mut()) {
        map.remove("status");
    }
}

/// What is wrong with a new object, defaults filled in; empty when nothing is.
pub fn create(kind: &Kind, version: &Version, object: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    if !types(kind, object, &mut faults) {
        return faults.into_causes();
    }
    faults.extend(objects::validation::create(kind, object));
    faults.extend(version.schema.check(object, None));
    faults.extend(version.scale.iter().flat_map(|scale| scale.check(object, false)));
    faults.extend(version.schema.check_embedded(object));
    faults.extend(version.schema.check_lists(object));
    with_rules(&version.schema, object, None, faults)
}

/// What is wrong with replacing an object, through the main resource or through `status`; empty when nothing is. `old` is
/// what [`read`] made of the stored object.
pub fn update(kind: &Kind, version: &Version, old: &Value, new: &Value, subresource: Option<&str>) -> Vec<Cause> {
    let mut faults = Faults::default();
    if !types(kind, new, &mut faults) {
        return faults.into_causes();
    }
    faults.extend(objects::validation::update(kind, old, new));
    faults.extend(version.schema.check(new, Some(old)));
    let status_only = subresource == Some("status");
    faults.extend(version.scale.iter().flat_map(|scale| scale.check(new, status_only)));
    faults.extend(version.schema.check_embedded(new));
    let lists = version.schema.check_lists(new);
    // An object that was stored with repeated elements can still be changed.
    if !lists.is_empty() && version.schema.check_lists(old).is_empty() {
        faults.extend(lists);
    }
    with_rules(&version.schema, new, Some(old), faults)
}

fn types(kind: &Kind, object: &Value, faults: &mut Faults) -> bool {
    for (key, wanted) in [("kind", &kind.kind), ("apiVersion", &kind.api_version())] {
        if object[key] != wanted.as_str() {
            faults.invalid(&crate::place::Place::at(key), &object[key], format!("must be {wanted}"));
        }
    }
    faults.is_empty()
}

fn with_rules(schema: &Schema, object: &Value, old: Option<&Value>, faults: Faults) -> Vec<Cause> {
    let mut causes = faults.into_causes();
    if !schema.has_rules() {
        return causes;
    }
    if causes.iter().any(|cause| BLOCKING.contains(&cause.reason.as_str())) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                      complete validation";
        causes.push(objects::validation::invalid(NOWHERE, &Value::Null, detail));
    } else {
        causes.extend(rules::evaluate(schema, object, old));
    }
    causes
}

#[cfg(test)]
#[path = "object_tests.rs"]
pub(crate) mod tests;
