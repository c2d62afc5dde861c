//! Strategic merge patch: a merge patch that knows which lists merge, and by which key.
//!
//! The directives are upstream's (`apimachinery/pkg/util/strategicpatch`): `$patch: replace|delete|merge`,
//! `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`; null deletes. Keys and strategies come from
//! the field table, and are not those of apply: container ports merge by `containerPort` alone.
//!
//! Two things differ from upstream on purpose. A directive below a field that the object lacks is carried out, where
//! upstream stores it. And a field whose name starts with `$` but is no directive is refused, where upstream drops it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::check_depth;
use crate::fields::{self, Field, Label, Message, Type};
use crate::{Kind, Status};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch` into `original`, an object of `kind`.
///
/// # Errors
/// 400 when the patch is no object, nests too deep, holds an unknown or malformed directive, lacks the merge key in an
/// element of a merging list, or lists elements in another order than its `$setElementOrder`.
pub fn strategic(kind: &Kind, original: &Value, patch: &Value) -> Result<Value, Status> {
    strategic_message(&kind.message, original, patch)
}

/// Like [`strategic`], for a value of any message of the field table, as `k8s.io.api.autoscaling.v1.Scale`.
///
/// # Errors
/// 400 as for [`strategic`].
pub fn strategic_message(message: &str, original: &Value, patch: &Value) -> Result<Value, Status> {
    check_depth(patch)?;
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    let shape = fields::message(message).map_or(Shape::Free, Shape::Message);
    merge_map(original.clone(), patch.clone(), shape).map(Value::Object).map_err(Status::bad_request)
}

/// What is known about the fields of an object.
#[derive(Clone, Copy)]
enum Shape {
    /// The fields of a message.
    Message(&'static Message),
    /// Free keys, all of one type.
    MapOf(Type),
    /// Nothing is known: objects merge, lists replace.
    Free,
}

impl Shape {
    fn of(ty: Type) -> Self {
        match ty {
            Type::Message(name) => fields::message(name).map_or(Self::Free, Self::Message),
            _ => Self::Free,
        }
    }

    /// How the value under a key merges.
    fn below(self, key: &str) -> Below {
        let replaced = Below { shape: Self::Free, merge: false, replace: false, key: None };
        match self {
            Self::Message(message) => message.field(key).map_or(replaced, Below::of),
            Self::MapOf(ty) => Below { shape: Self::of(ty), ..replaced },
            Self::Free => replaced,
        }
    }

    /// Free keys may start with `$`; field names do not.
    fn has_free_keys(self) -> bool {
        !matches!(self, Self::Message(_))
    }
}

/// How one field merges.
struct Below {
    /// Of the value, or of one element.
    shape: Shape,
    merge: bool,
    replace: bool,
    key: Option<&'static str>,
}

impl Below {
    fn of(field: &Field) -> Self {
        let strategy = field.patch_strategy.unwrap_or_default();
        let shape = if field.label == Label::Map { Shape::MapOf(field.ty) } else { Shape::of(field.ty) };
        Self { shape, merge: strategy.merge, replace: strategy.replace, key: field.patch_merge_key }
    }
}

fn merge_map(mut original: Object, mut patch: Object, shape: Shape) -> Result<Object, String> {
    match patch.remove(PATCH) {
        None => {}
        Some(Value::String(directive)) if directive == "merge" => {}
        Some(Value::String(directive)) if directive == "replace" => {
            return Ok(plain(patch));
        }
        Some(Value::String(directive)) if directive == "delete" => return Ok(Object::new()),
        Some(other) => return Err(unknown_directive(&other, &patch)),
    }
    retain_keys(&mut original, &mut patch)?;
    order_elements(&mut original, &mut patch, shape)?;
    delete_from_primitive_lists(&mut original, &mut patch)?;
    for (key, change) in patch {
        if key.starts_with('$') && !shape.has_free_keys() {
            return Err(format!("unknown patch directive {key}"));
        }
        merge_field(&mut original, key, change, shape)?;
    }
    Ok(original)
}

fn merge_field(original: &mut Object, key: String, change: Value, shape: Shape) -> Result<(), String> {
    let below = shape.below(&key);
    let old = original.remove(&key);
    let merged = match (old, change) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(old)), Value::Object(change)) if !below.replace => {
            Value::Object(merge_map(old, change, below.shape)?)
        }
        (Some(Value::Array(old)), Value::Array(change)) if below.merge => {
            Value::Array(merge_list(old, change, below.shape, below.key)?)
        }
        // Nothing to merge with: the patch's value, with its directives carried out and its nulls dropped.
        (_, Value::Object(change)) => {
            if change.get(PATCH).is_some_and(|directive| directive == "delete") {
                return Ok(());
            }
            Value::Object(merge_map(Object::new(), change, below.shape)?)
        }
        (_, Value::Array(change)) if below.merge => {
            Value::Array(merge_list(Vec::new(), change, below.shape, below.key)?)
        }
        (_, change) => change,
    };
    original.insert(key, merged);
    Ok(())
}

/// A replacing value, without directives of its own level.
fn plain(patch: Object) -> Object {
    patch.into_iter().filter(|(key, value)| !value.is_null() && !is_directive(key)).collect()
}

fn is_directive(key: &str) -> bool {
    key == PATCH
        || key == RETAIN_KEYS
        || key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

fn unknown_directive(directive: &Value, patch: &Object) -> String {
    let shown = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    format!("unknown patch type {shown} in map: {}", Value::Object(patch.clone()))
}

/// `$retainKeys`: fields that it does not list go.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), String> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || "invalid patch format of retainKeys".to_owned();
    let Value::Array(keys) = directive else { return Err(malformed()) };
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let unlisted =
        patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !keys.contains(key.as_str()));
    if unlisted {
        return Err(malformed());
    }
    original.retain(|key, _| keys.contains(key.as_str()));
    Ok(())
}

/// `$deleteFromPrimitiveList/LIST`: these values go from a list of scalars.
fn delete_from_primitive_lists(original: &mut Object, patch: &mut Object) -> Result<(), String> {
    for (list, values) in take_directives(patch, DELETE_FROM_PRIMITIVE_LIST) {
        let Value::Array(values) = values else {
            return Err("invalid patch format of primitive list".into());
        };
        let gone: HashSet<String> = values.iter().map(Value::to_string).collect();
        if let Some(Value::Array(old)) = original.get_mut(&list) {
            old.retain(|value| !gone.contains(&value.to_string()));
        }
    }
    Ok(())
}

/// Takes all directives with a prefix out of a patch, named by the list they are about.
fn take_directives(patch: &mut Object, prefix: &str) -> Vec<(String, Value)> {
    let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
    keys.into_iter()
        .filter_map(|key| {
            let value = patch.remove(&key)?;
            Some((key[prefix.len()..].to_owned(), value))
        })
        .collect()
}

/// `$setElementOrder/LIST`: merges the list with its patch and brings it into the order asked for.
fn order_elements(original: &mut Object, patch: &mut Object, shape: Shape) -> Result<(), String> {
    for (list, order) in take_directives(patch, SET_ELEMENT_ORDER) {
        let Value::Array(order) = order else {
            return Err("invalid patch format of setElementOrder list".into());
        };
        let below = shape.below(&list);
        let old = match original.get(&list) {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => Some(items.clone()),
            Some(other) => return Err(format!("expected a list, but received {other} as {list}")),
        };
        let change = match patch.remove(&list) {
            None => None,
            // A list that is deleted needs no order.
            Some(Value::Null) => {
                original.remove(&list);
                continue;
            }
            Some(Value::Array(items)) => Some(items),
            Some(other) => return Err(format!("expected a list, but received {other} as {list}")),
        };
        check_order(change.as_deref().unwrap_or_default(), &order, below.key)?;
        let server_order = old.clone().unwrap_or_default();
        let merged = match (old, change) {
            (None, None) => continue,
            (Some(old), None) => old,
            (old, Some(change)) if below.merge => merge_list(old.unwrap_or_default(), change, below.shape, below.key)?,
            (_, Some(change)) => change,
        };
        original.insert(list, Value::Array(arrange(merged, &order, &server_order, below.key)?));
    }
    Ok(())
}

/// Elements of the patch have to stand in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), String> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let order_keys = order.iter().map(|item| identity(item, key)).collect::<Result<Vec<_>, _>>()?;
    let mut places = order_keys.iter();
    for item in patch {
        if item.get(PATCH).is_some() {
            continue;
        }
        let wanted = identity(item, key)?;
        if !places.any(|place| *place == wanted) {
            return Err(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::Array(patch.to_vec()),
                Value::Array(order.to_vec())
            ));
        }
    }
    Ok(())
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, shape: Shape, key: Option<&str>) -> Result<Vec<Value>, String> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    check_elements(&original, &patch)?;
    if !original.iter().chain(&patch).any(Value::is_object) {
        let server_order = original.clone();
        let mut seen = HashSet::new();
        let merged: Vec<Value> =
            original.into_iter().chain(patch.iter().cloned()).filter(|item| seen.insert(item.to_string())).collect();
        return arrange(merged, &patch, &server_order, None);
    }
    let Some(key) = key else {
        return Err("cannot merge lists without merge key for type struct".into());
    };
    let (original, patch) = carry_out_elements(original, patch, key)?;
    let server_order = original.clone();
    let mut merged = original;
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, item) in merged.iter().enumerate() {
        if let Ok(name) = identity(item, Some(key)) {
            places.entry(name).or_insert(at);
        }
    }
    for item in &patch {
        let name = identity(item, Some(key))?;
        let Value::Object(change) = item.clone() else { continue };
        match places.get(&name) {
            Some(&at) => {
                let old = match merged[at].take() {
                    Value::Object(old) => old,
                    _ => Object::new(),
                };
                merged[at] = Value::Object(merge_map(old, change, shape)?);
            }
            None => {
                places.insert(name, merged.len());
                merged.push(Value::Object(merge_map(Object::new(), change, shape)?));
            }
        }
    }
    arrange(merged, &patch, &server_order, Some(key))
}

/// All elements of a merging list are scalars, or all are objects.
fn check_elements(original: &[Value], patch: &[Value]) -> Result<(), String> {
    let mut objects = 0;
    let mut others = 0;
    for item in original.iter().chain(patch) {
        match item {
            Value::Array(_) => return Err("lists of lists are not supported".into()),
            Value::Object(_) => objects += 1,
            _ => others += 1,
        }
    }
    if objects > 0 && others > 0 {
        return Err("list element types are not identical".into());
    }
    Ok(())
}

/// Carries out the elements with a `$patch` directive; gives what is left of either list.
fn carry_out_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), String> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replace = false;
    for item in patch {
        match item.get(PATCH) {
            None => rest.push(item),
            Some(Value::String(directive)) if directive == "delete" => {
                gone.insert(identity(&item, Some(key))?);
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return Err("merging lists cannot yet be specified in the patch".into());
            }
            Some(directive) => {
                let map = item.as_object().cloned().unwrap_or_default();
                return Err(unknown_directive(directive, &map));
            }
        }
    }
    if replace {
        return Ok((Vec::new(), rest));
    }
    if !gone.is_empty() {
        original.retain(|item| identity(item, Some(key)).map_or(true, |name| !gone.contains(&name)));
    }
    Ok((original, rest))
}

/// What pairs elements: the merge key's value, or the scalar itself.
fn identity(item: &Value, key: Option<&str>) -> Result<String, String> {
    match key {
        None => Ok(item.to_string()),
        Some(key) => match item.get(key) {
            Some(value) => Ok(value.to_string()),
            None => Err(format!("map: {item} does not contain declared merge key: {key}")),
        },
    }
}

/// Brings a merged list into order: elements named by `wanted` in its order, the others in the server's, woven together by
/// the server's order as far as it says anything.
fn arrange(merged: Vec<Value>, wanted: &[Value], server: &[Value], key: Option<&str>) -> Result<Vec<Value>, String> {
    let index = |list: &[Value]| -> HashMap<String, usize> {
        let mut places = HashMap::new();
        for (at, item) in list.iter().enumerate() {
            if let Ok(name) = identity(item, key) {
                places.entry(name).or_insert(at);
            }
        }
        places
    };
    let (wanted, server) = (index(wanted), index(server));
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let name = identity(&item, key)?;
        let place = server.get(&name).copied();
        match wanted.get(&name) {
            Some(&at) => named.push((at, place, item)),
            None => others.push((place.unwrap_or(usize::MAX), place, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(at, ..)| *at);
    let mut woven = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return Ok(woven),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, Some(other), _)), Some((_, Some(name), _))) => other < name,
            _ => false,
        };
        let next = if other_first { others.next() } else { named.next() };
        woven.extend(next.map(|(_, _, item)| item));
    }
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
