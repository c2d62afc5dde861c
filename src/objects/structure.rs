//! How the fields of a kind are owned and merged that the table of fields does not have: a tree, made once from its schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::fields_v1::{Step, key_step, value_step};

/// How one value is owned and merged.
#[derive(Debug, Clone, PartialEq)]
pub enum Structure {
    /// Owned as a whole, whatever is inside: scalars, atomic lists and maps.
    Leaf,
    /// Named fields, each owned on its own.
    Struct {
        /// Which fields there are.
        fields: BTreeMap<String, Structure>,
        /// Whether `apiVersion`, `kind` and `metadata` are among them: it is an object of the API.
        meta: bool,
        /// Whether there may be other fields, free JSON each.
        open: bool,
    },
    /// Free keys with values of one structure, each owned on its own.
    Map(Box<Structure>),
    /// Elements that are owned on their own.
    List {
        /// The fields that name an element, each with what it is where it is left out; none for a set of scalars.
        keys: Vec<(String, Option<Value>)>,
        /// Each element.
        element: Box<Structure>,
    },
    /// Free JSON: objects are owned key by key, all else as a whole.
    Free,
}

impl Structure {
    /// The step to an element of a list.
    ///
    /// # Errors
    /// A text for people when an element has none of the keys and no default stands in.
    pub(crate) fn step_of(keys: &[(String, Option<Value>)], item: &Value) -> Result<Step, String> {
        if keys.is_empty() {
            return Ok(value_step(item));
        }
        let mut found = Map::new();
        for (key, default) in keys {
            let value = match item.get(key) {
                Some(Value::Null) | None => default.clone(),
                Some(value) => Some(value.clone()),
            };
            if let Some(value) = value {
                found.insert(key.clone(), value);
            }
        }
        if found.is_empty() {
            let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields {names:?} (and doesn't have default \
                 values for any key fields)"
            ));
        }
        Ok(key_step(&found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_named_by_their_keys_and_defaults() {
        let keys = [("port".to_owned(), None), ("protocol".to_owned(), Some(json!("TCP")))];
        let step = |item: Value| Structure::step_of(&keys, &item);
        assert_eq!(step(json!({"port": 80})), Ok("k:{\"port\":80,\"protocol\":\"TCP\"}".to_owned()));
        assert_eq!(step(json!({"port": 80, "protocol": null})), step(json!({"port": 80})));
        assert_eq!(Structure::step_of(&[], &json!("a")), Ok("v:\"a\"".to_owned()));
        let error = Structure::step_of(&keys[..1], &json!({"name": "x"})).unwrap_err();
        assert!(error.contains("omits all key fields [\"port\"]"), "{error}");
    }
}
