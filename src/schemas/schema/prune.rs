//! Pruning: fields that the schema does not know are not stored.
//!
//! Follows upstream's `pkg/apiserver/schema/pruning/algorithm.go`.

use serde_json::Value;

use super::{Additional, Schema};

/// The fields of every object, which schemas need not name.
pub(super) fn is_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

/// Prunes a value; `root` says that it is a whole object, whatever the schema says.
pub(super) fn prune(schema: &Schema, value: &mut Value, root: bool) -> Vec<String> {
    let mut walk = Walk { path: String::new(), removed: Vec::new() };
    walk.prune(Some(schema), value, root);
    walk.removed.sort();
    walk.removed
}

struct Walk {
    path: String,
    removed: Vec<String>,
}

impl Walk {
    fn prune(&mut self, schema: Option<&Schema>, value: &mut Value, root: bool) {
        let keeps = schema.is_some_and(|schema| schema.extensions.preserve_unknown_fields);
        match value {
            Value::Object(map) => {
                let meta = root || schema.is_some_and(|schema| schema.extensions.embedded_resource);
                map.retain(|key, below| {
                    if meta && schema.is_some() && is_meta(key) {
                        return true;
                    }
                    let property = schema.and_then(|schema| schema.properties.get(key));
                    let child = match (property, schema.map(|schema| &schema.additional)) {
                        (Some(property), _) => Some(property),
                        (None, Some(Additional::Schema(schema))) => Some(&**schema),
                        // `additionalProperties: true` says nothing about what is below: of objects nothing is left.
                        (None, Some(Additional::Allowed(_))) => None,
                        (None, Some(Additional::Unsaid)) if keeps => return true,
                        _ => {
                            self.remove(key);
                            return false;
                        }
                    };
                    self.below(key, |walk| walk.prune(child, below, false));
                    true
                });
            }
            Value::Array(items) => {
                let child = schema.and_then(|schema| schema.items.as_deref());
                for (at, item) in items.iter_mut().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{at}]"));
                    if keeps {
                        self.skip(child, item);
                    } else {
                        self.prune(child, item, false);
                    }
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Elements of a list that is kept as it is: what they name is pruned, what they do not name stays.
    fn skip(&mut self, schema: Option<&Schema>, value: &mut Value) {
        let Some(schema) = schema else { return };
        match value {
            Value::Object(map) => {
                for (key, below) in map.iter_mut() {
                    if schema.extensions.embedded_resource && is_meta(key) {
                        continue;
                    }
                    match (schema.properties.get(key), &schema.additional) {
                        (Some(property), _) => self.below(key, |walk| walk.prune(Some(property), below, false)),
                        (None, Additional::Schema(schema)) => {
                            self.below(key, |walk| walk.prune(Some(schema), below, false));
                        }
                        (None, Additional::Allowed(_)) => self.below(key, |walk| walk.prune(None, below, false)),
                        (None, Additional::Unsaid) => {}
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.skip(schema.items.as_deref(), item)),
            _ => {}
        }
    }

    fn below(&mut self, key: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        visit(self);
        self.path.truncate(length);
    }

    fn remove(&mut self, key: &str) {
        if self.removed.len() < crate::faults::CAUSES_MAX {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.removed.push(format!("{}{dot}{key}", self.path));
        }
    }
}
