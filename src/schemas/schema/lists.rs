//! Lists whose elements are named: what may not stand twice, and which element was which before.
//!
//! Follows upstream's `pkg/apiserver/schema/listtype/validation.go`.

use std::collections::HashMap;

use objects::Cause;
use serde_json::{Map, Value};

use super::{ListType, Schema};
use crate::faults::{Faults, duplicate};
use crate::place::Place;

pub(super) fn check(schema: &Schema, object: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    value(schema, object, &Place::ROOT, &mut faults);
    faults.into_causes()
}

fn value(schema: &Schema, given: &Value, place: &Place<'_>, faults: &mut Faults) {
    match given {
        Value::Object(map) => {
            for (key, below) in map {
                if let Some(child) = schema.properties.get(key) {
                    value(child, below, &place.field(key), faults);
                } else if let Some(child) = schema.child(key) {
                    value(child, below, &place.key(key), faults);
                }
            }
        }
        Value::Array(items) => {
            match schema.extensions.list_type {
                Some(ListType::Set) => repeated(items.iter().cloned(), place, faults),
                Some(ListType::Map) => keyed(schema, items, place, faults),
                _ => {}
            }
            if let Some(child) = schema.items.as_deref() {
                for (at, item) in items.iter().enumerate() {
                    value(child, item, &place.index(at), faults);
                }
            }
        }
        _ => {}
    }
}

fn keyed(schema: &Schema, items: &[Value], place: &Place<'_>, faults: &mut Faults) {
    for (at, item) in items.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            return faults.invalid(&place.index(at), item, "must be an object for an array of list-type map");
        }
    }
    repeated(items.iter().map(|item| Value::Object(schema.keys_of(item))), place, faults);
}

/// Names each value once, where it stands for the second time.
fn repeated(values: impl Iterator<Item = Value>, place: &Place<'_>, faults: &mut Faults) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (at, value) in values.enumerate() {
        let times = seen.entry(spelled(&value)).or_insert(0);
        *times += 1;
        if *times == 2 {
            faults.push(duplicate(&place.index(at).to_string(), &value));
        }
    }
}

/// A text that equal values share: JSON with sorted keys.
fn spelled(value: &Value) -> String {
    value.to_string()
}

impl Schema {
    /// The keys that name an element of this list, as far as the element has them.
    pub(crate) fn keys_of(&self, item: &Value) -> Map<String, Value> {
        let keys = self.extensions.list_map_keys.iter();
        keys.filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect()
    }

    /// The elements that a list of this schema had before, to be found by their keys.
    pub(crate) fn elements<'a>(&'a self, old: Option<&'a Value>) -> Elements<'a> {
        let named = self.extensions.list_type == Some(ListType::Map);
        let items = old.filter(|_| named).and_then(Value::as_array).into_iter().flatten();
        let mut found = HashMap::new();
        for item in items {
            found.entry(spelled(&Value::Object(self.keys_of(item)))).or_insert(item);
        }
        Elements { schema: self, found }
    }
}

/// The elements of an old list by their keys; none unless the list is of type map.
pub(crate) struct Elements<'a> {
    schema: &'a Schema,
    found: HashMap<String, &'a Value>,
}

impl<'a> Elements<'a> {
    /// What an element was before.
    pub(crate) fn former(&self, item: &Value) -> Option<&'a Value> {
        if self.found.is_empty() {
            return None;
        }
        self.found.get(&spelled(&Value::Object(self.schema.keys_of(item)))).copied()
    }
}
