//! What kinds say about their objects, in rows.

mod defaults;
mod rules;
pub(crate) mod samples;
mod strategy;
mod tables;

use serde_json::Value;

use crate::{Kind, canonical, defaulting, kind, lifecycle, validation};

const NOW: &str = "2026-07-24T08:00:00Z";

/// The kind by its name, in its stored form.
fn of(name: &str) -> &'static Kind {
    kind::stored().find(|kind| kind.kind == name).unwrap_or_else(|| panic!("{name} is not served"))
}

/// The sample of a kind, changed by a merge patch.
fn sample(name: &str, patch: Value) -> Value {
    let mut samples = samples::samples().into_iter();
    let mut value = samples.find(|sample| sample["kind"] == name).unwrap_or_else(|| panic!("no sample of {name}"));
    json_patch::merge(&mut value, &patch);
    value
}

/// The object as it is stored when a client creates it.
fn created(name: &str, patch: Value) -> Value {
    let kind = of(name);
    let (mut value, warnings) = canonical::decode_value(kind, sample(name, patch)).unwrap();
    assert_eq!(warnings, [], "{name}");
    defaulting::apply(kind, &mut value);
    lifecycle::prepare_create(kind, &mut value, "u", NOW, "abcde").unwrap();
    canonical::canonicalize(kind, &mut value).unwrap();
    value
}

/// The object as an update through a door would store it.
fn updated(name: &str, old: &Value, patch: Value, door: Option<&str>) -> Value {
    let kind = of(name);
    let mut new = old.clone();
    json_patch::merge(&mut new, &patch);
    defaulting::apply(kind, &mut new);
    canonical::canonicalize(kind, &mut new).unwrap();
    lifecycle::prepare_update(kind, old, &mut new, door).unwrap();
    new
}

/// Faults of a creation, each as `path: message`.
fn refusals(name: &str, patch: Value) -> Vec<String> {
    shown(&validation::create(of(name), &created(name, patch)))
}

/// Faults of an update of what [`created`] stored.
fn update_refusals(name: &str, before: Value, patch: Value) -> Vec<String> {
    let old = created(name, before);
    shown(&validation::update(of(name), &old, &updated(name, &old, patch, None)))
}

fn shown(causes: &[crate::Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}
