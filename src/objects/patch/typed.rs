//! The operations of structured merge over shapes: check, list fields, merge, compare, remove.
//!
//! The semantics are upstream's (`structured-merge-diff/typed`). Null stands for absent, save where [`merge`] says so.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::shape::{Shape, step_of};
use crate::fields::{self, Field, Label, ListType, Type};
use crate::fields_v1::{FieldSet, Step, field_step, show};

/// Everything about `value` that does not fit its message: `PATH: REASON` each, in upstream's words.
pub(crate) fn check(shape: Shape<'_>, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check_value(shape, value, &mut Vec::new(), &mut errors);
    errors
}

fn check_value(shape: Shape<'_>, value: &Value, path: &mut Vec<Step>, errors: &mut Vec<String>) {
    let message = match shape {
        Shape::Struct(message) => message,
        Shape::Own(_) => return check_own(shape, value, path, errors),
        _ => return,
    };
    let map = match value {
        Value::Null => return,
        Value::Object(map) => map,
        other => return errors.push(format!("{}: expected map, got {}", show(path), type_name(other))),
    };
    for (key, below) in map {
        path.push(field_step(key));
        match message.field(key) {
            Some(field) => check_field(field, below, path, errors),
            None => match shape.child(key) {
                Some(_) => check_type(Type::String, below, path, errors),
                None => errors.push(format!("{}: field not declared in schema", show(path))),
            },
        }
        path.pop();
    }
}

/// As [`check_value`], for what is described by a structure. Types of scalars are for the schema to judge.
fn check_own(shape: Shape<'_>, value: &Value, path: &mut Vec<Step>, errors: &mut Vec<String>) {
    match value {
        Value::Null => {}
        other if shape.is_leaf(other) => {}
        Value::Object(map) if shape.is_map() => {
            for (key, below) in map {
                path.push(field_step(key));
                match shape.child(key) {
                    Some((child @ (Shape::Struct(_) | Shape::Own(_)), _)) => check_value(child, below, path, errors),
                    Some(_) => check_type(Type::String, below, path, errors),
                    None => errors.push(format!("{}: field not declared in schema", show(path))),
                }
                path.pop();
            }
        }
        Value::Array(items) if shape.is_list() => {
            let mut seen = HashSet::new();
            for (at, item) in items.iter().enumerate() {
                let step = match shape.step_of(item) {
                    Ok(step) => step,
                    Err(error) => {
                        errors.push(format!("{}: element {at}: {error}", show(path)));
                        continue;
                    }
                };
                if !seen.insert(step.clone()) {
                    let twice = show(std::slice::from_ref(&step));
                    errors.push(format!("{}: duplicate entries for key {twice}", show(path)));
                }
                path.push(step);
                check_value(shape.element(), item, path, errors);
                path.pop();
            }
        }
        other => {
            let expected = if shape.is_list() { "list" } else { "map" };
            errors.push(format!("{}: expected {expected}, got {}", show(path), type_name(other)));
        }
    }
}

fn check_field(field: &Field, value: &Value, path: &mut Vec<Step>, errors: &mut Vec<String>) {
    match (field.label, value) {
        (_, Value::Null) => {}
        (Label::Single, value) => check_type(field.ty, value, path, errors),
        (Label::Map, Value::Object(map)) => {
            for (key, below) in map {
                path.push(field_step(key));
                check_type(field.ty, below, path, errors);
                path.pop();
            }
        }
        (Label::Map, other) => errors.push(format!("{}: expected map, got {}", show(path), type_name(other))),
        (Label::Repeated, Value::Array(items)) => check_items(field, items, path, errors),
        (Label::Repeated, other) => errors.push(format!("{}: expected list, got {}", show(path), type_name(other))),
    }
}

fn check_items(field: &Field, items: &[Value], path: &mut Vec<Step>, errors: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let step = if field.list == ListType::Atomic {
            format!("i:{at}")
        } else {
            match step_of(field, item) {
                Ok(step) => step,
                Err(error) => {
                    errors.push(format!("{}: element {at}: {error}", show(path)));
                    continue;
                }
            }
        };
        if !seen.insert(step.clone()) {
            errors.push(format!("{}: duplicate entries for key {}", show(path), show(std::slice::from_ref(&step))));
        }
        path.push(step);
        check_type(field.ty, item, path, errors);
        path.pop();
    }
}

fn check_type(ty: Type, value: &Value, path: &mut Vec<Step>, errors: &mut Vec<String>) {
    let (fits, expected) = match ty {
        Type::Message(name) => {
            if let Some(message) = fields::message(name) {
                check_value(Shape::Struct(message), value, path, errors);
            }
            return;
        }
        Type::Bool => (value.is_boolean(), "boolean"),
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Double => {
            (value.is_number(), "numeric (int or float)")
        }
        Type::Quantity | Type::IntOrString => (value.is_number() || value.is_string(), "string or number"),
        Type::Strings => (value.is_array(), "list"),
        Type::FieldsV1 | Type::RawExtension | Type::SchemaOr(_) => (true, ""),
        Type::String | Type::Bytes | Type::Time | Type::MicroTime | Type::Duration => (value.is_string(), "string"),
    };
    if !fits && !value.is_null() {
        errors.push(format!("{}: expected {expected}, got {}", show(path), type_name(value)));
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// The fields that a configuration speaks about.
pub(crate) fn field_set(shape: Shape<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(shape, value, &mut set);
    set
}

/// Collects what lies below a value; says whether the value itself is a field.
fn collect(shape: Shape<'_>, value: &Value, out: &mut FieldSet) -> bool {
    match value {
        _ if shape.is_leaf(value) => true,
        Value::Object(map) if shape.is_map() => {
            for (key, below) in map {
                let Some((child, named)) = shape.child(key) else { continue };
                let mut found = FieldSet::default();
                let leaf = collect(child, below, &mut found);
                let bare = below.is_null() || below.as_object().is_some_and(Map::is_empty);
                out.put(&field_step(key), leaf || bare || !named, found);
            }
            false
        }
        Value::Array(items) if shape.is_list() => {
            for item in items {
                let Ok(step) = shape.step_of(item) else { continue };
                let mut found = FieldSet::default();
                collect(shape.element(), item, &mut found);
                out.put(&step, true, found);
            }
            false
        }
        _ => false,
    }
}

/// The live value with a configuration laid over it. A null in the configuration clears leaves.
pub(crate) fn merge(shape: Shape<'_>, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if shape.is_map() => {
            let mut merged = live.clone();
            for (key, change) in applied {
                let value = match (shape.child(key), live.get(key)) {
                    (Some((child, _)), Some(old)) => merge(child, old, change),
                    _ => change.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(applied)) if shape.is_list() => {
            Value::Array(merge_list(shape, live, applied))
        }
        // Null over a container that is owned piece by piece takes nothing away: its pieces may belong to others.
        (live, Value::Null) if !shape.is_leaf(live) => live.clone(),
        _ => applied.clone(),
    }
}

/// Elements of the configuration come in its order; those that only the live list has keep their place among them.
fn merge_list(shape: Shape<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let element = shape.element();
    let steps = |items: &[Value]| -> Vec<Step> {
        items.iter().enumerate().map(|(at, item)| shape.step_of(item).unwrap_or(format!("i:{at}"))).collect()
    };
    let (live_steps, applied_steps) = (steps(live), steps(applied));
    let mut live_at: HashMap<&Step, usize> = HashMap::new();
    for (at, step) in live_steps.iter().enumerate() {
        live_at.entry(step).or_insert(at);
    }
    let wanted: HashSet<&Step> = applied_steps.iter().collect();
    let mut shared = applied_steps.iter().filter(|step| live_at.contains_key(step)).peekable();
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if let (Some(left), Some(right)) = (live_steps.get(l), applied_steps.get(r)) {
            if left == right {
                merged.push(merge(element, &live[l], &applied[r]));
                l += 1;
                r += 1;
                shared.next();
                continue;
            }
            // A shared element whose turn has not come: it will be taken from the configuration.
            if wanted.contains(left) && shared.peek().is_some_and(|next| *next != left) {
                l += 1;
                continue;
            }
        }
        match (live_steps.get(l), applied_steps.get(r)) {
            (Some(left), _) if !wanted.contains(left) => {
                merged.push(live[l].clone());
                l += 1;
            }
            (_, Some(right)) => {
                let old = live_at.get(right).map(|&at| &live[at]);
                merged.push(old.map_or_else(|| applied[r].clone(), |old| merge(element, old, &applied[r])));
                r += 1;
                if shared.peek().is_some_and(|next| *next == right) {
                    shared.next();
                }
            }
            // Shared and already merged.
            _ => l += 1,
        }
    }
    merged
}

/// What differs between two values.
#[derive(Debug, Default)]
pub(crate) struct Diff {
    pub(crate) added: FieldSet,
    pub(crate) removed: FieldSet,
    pub(crate) modified: FieldSet,
}

impl Diff {
    /// Fields that hold a value they did not hold before.
    pub(crate) fn changed(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Added,
    Removed,
    Modified,
}

/// What differs between `old` and `new`.
pub(crate) fn compare(shape: Shape<'_>, old: &Value, new: &Value) -> Diff {
    let mut diff = Diff::default();
    compare_values(shape, present(Some(old)), present(Some(new)), &mut diff);
    diff
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// Finds what differs below a value; gives what happened to the value itself.
fn compare_values(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>, diff: &mut Diff) -> Change {
    let empty = |value: Option<&Value>| match value {
        None => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let fits = |value: Option<&Value>| match value {
        None => true,
        Some(value) => (shape.is_map() && value.is_object()) || (shape.is_list() && value.is_array()),
    };
    // Two empty containers are a leaf, so that becoming empty and being absent differ.
    if !fits(old) || !fits(new) || (empty(old) && empty(new)) {
        return leaf_change(old, new);
    }
    if shape.is_list() {
        compare_lists(shape, items(old), items(new), diff);
    } else {
        compare_maps(shape, old.and_then(Value::as_object), new.and_then(Value::as_object), diff);
    }
    match (old, new) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        _ => Change::Same,
    }
}

fn leaf_change(old: Option<&Value>, new: Option<&Value>) -> Change {
    match (old, new) {
        (None, None) => Change::Same,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(old), Some(new)) if old == new => Change::Same,
        _ => Change::Modified,
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn compare_maps(shape: Shape<'_>, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, diff: &mut Diff) {
    let olds = old.into_iter().flatten().map(|(key, _)| key);
    let news =
        new.into_iter().flatten().map(|(key, _)| key).filter(|key| old.is_none_or(|old| !old.contains_key(*key)));
    for key in olds.chain(news) {
        let old = present(old.and_then(|map| map.get(key)));
        let new = present(new.and_then(|map| map.get(key)));
        // Most of an object is as it was: comparing is cheaper than walking.
        if old == new {
            continue;
        }
        let Some((child, _)) = shape.child(key) else { continue };
        let mut below = Diff::default();
        let change = compare_values(child, old, new, &mut below);
        record(diff, &field_step(key), change, below);
    }
}

fn compare_lists(shape: Shape<'_>, old: &[Value], new: &[Value], diff: &mut Diff) {
    if old == new {
        return;
    }
    let element = shape.element();
    let (olds, news) = (by_step(shape, old), by_step(shape, new));
    let fresh = news.keys().filter(|step| !olds.contains_key(*step));
    for step in olds.keys().chain(fresh) {
        let old = olds.get(step).map_or(&[][..], Vec::as_slice);
        let new = news.get(step).map_or(&[][..], Vec::as_slice);
        let mut below = Diff::default();
        let change = match (old, new) {
            ([], [one]) => compare_values(element, None, Some(one), &mut below),
            ([one], []) => compare_values(element, Some(one), None, &mut below),
            ([old], [new]) => compare_values(element, Some(old), Some(new), &mut below),
            // Elements that share their keys (old objects may have them) count as one value.
            ([], _) => Change::Added,
            (_, []) => Change::Removed,
            (old, new) if old == new => Change::Same,
            _ => Change::Modified,
        };
        record(diff, step, change, below);
    }
}

fn by_step<'a>(shape: Shape<'_>, items: &'a [Value]) -> HashMap<Step, Vec<&'a Value>> {
    let mut found: HashMap<Step, Vec<&Value>> = HashMap::new();
    for item in items {
        if let Ok(step) = shape.step_of(item) {
            found.entry(step).or_default().push(item);
        }
    }
    found
}

fn record(diff: &mut Diff, step: &str, change: Change, below: Diff) {
    diff.added.put(step, change == Change::Added, below.added);
    diff.removed.put(step, change == Change::Removed, below.removed);
    diff.modified.put(step, change == Change::Modified, below.modified);
}

/// The set with every named field that has members below it as a member itself.
pub(crate) fn with_parents(shape: Shape<'_>, set: &FieldSet) -> FieldSet {
    let mut all = FieldSet::default();
    for step in set.members() {
        all.put(step, true, FieldSet::default());
    }
    for (step, below) in set.children() {
        let (child, named) = match step.strip_prefix("f:") {
            Some(key) => shape.child(key).unwrap_or((Shape::Leaf, false)),
            None => (shape.element(), false),
        };
        all.put(step, named && shape.is_struct(), with_parents(child, below));
    }
    all
}

/// The value without the fields of a set; `None` when a container loses everything.
pub(crate) fn remove(shape: Shape<'_>, value: &Value, gone: &FieldSet) -> Option<Value> {
    match value {
        Value::Object(map) if shape.is_map() => {
            let mut left = Map::new();
            for (key, below) in map {
                let step = field_step(key);
                if gone.has_member(&step) {
                    continue;
                }
                let kept = match (shape.child(key), gone.below(&step)) {
                    (Some((child, _)), Some(gone)) => remove(child, below, gone),
                    _ => Some(below.clone()),
                };
                if let Some(kept) = kept {
                    left.insert(key.clone(), kept);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(items) if shape.is_list() => {
            let element = shape.element();
            let mut left = Vec::new();
            for item in items {
                let Ok(step) = shape.step_of(item) else {
                    left.push(item.clone());
                    continue;
                };
                if gone.has_member(&step) {
                    continue;
                }
                match gone.below(&step) {
                    Some(gone) => left.extend(remove(element, item, gone)),
                    None => left.push(item.clone()),
                }
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}
