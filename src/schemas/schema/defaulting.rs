//! Defaults, and nulls that stand for nothing.
//!
//! Follows upstream's `pkg/apiserver/schema/defaulting/{algorithm,prunenulls}.go`.

use serde_json::Value;

use super::{Additional, Schema};

/// Removes nulls that the schema neither allows nor has a default for.
pub(super) fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|key, below| {
            let Some(child) = schema.child(key) else { return true };
            if below.is_null() {
                return child.nullable || child.default.is_some();
            }
            drop_nulls(child, below);
            true
        }),
        Value::Array(items) => {
            if let Some(child) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(child, item));
            }
        }
        _ => {}
    }
}

/// Fills in defaults, also below what a default brought.
pub(super) fn default(schema: &Schema, value: &mut Value) {
    let stands_for_nothing = |value: &Value, schema: &Schema| value.is_null() && !schema.nullable;
    match value {
        Value::Object(map) => {
            for (key, child) in &schema.properties {
                let Some(default) = &child.default else { continue };
                match map.get_mut(key) {
                    None => drop(map.insert(key.clone(), default.clone())),
                    Some(value) if stands_for_nothing(value, child) => *value = default.clone(),
                    Some(_) => {}
                }
            }
            for (key, below) in map.iter_mut() {
                match (schema.properties.get(key), &schema.additional) {
                    (Some(child), _) => self::default(child, below),
                    (None, Additional::Schema(child)) => {
                        if let (true, Some(default)) = (stands_for_nothing(below, child), &child.default) {
                            *below = default.clone();
                        }
                        self::default(child, below);
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(child) = schema.items.as_deref() else { return };
            for item in items {
                if let (true, Some(default)) = (stands_for_nothing(item, child), &child.default) {
                    *item = default.clone();
                }
                self::default(child, item);
            }
        }
        _ => {}
    }
}
