//! How server-side apply sees a custom resource: what is owned as a whole, what field by field, what element by element.
//!
//! The same view of a [`Schema`] that `objects::patch` has of its field table. Follows upstream's
//! `kube-openapi/pkg/schemaconv` and `structured-merge-diff/schema`.

use objects::fields_v1::{Step, key_step, value_step};
use serde_json::{Map, Value};

use crate::schema::{Additional, ListType, MapType, Schema, Type};

/// How one value is owned and merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape<'a> {
    /// Owned as a whole, whatever is inside: scalars, atomic lists and maps.
    Leaf,
    /// Named fields, each owned on its own; `meta` says that `apiVersion`, `kind` and `metadata` are among them.
    Struct {
        /// Which fields there are.
        schema: &'a Schema,
        /// Whether it is an object of the API.
        meta: bool,
    },
    /// Free keys with values of one schema, each owned on its own.
    Map(&'a Schema),
    /// Elements that are owned on their own: a set of scalars, or objects named by their keys. The schema is the list's.
    List(&'a Schema),
    /// Free JSON: objects are owned key by key, all else as a whole.
    Free,
    /// Metadata, as the field table has it: message `k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta`.
    Metadata,
}

impl<'a> Shape<'a> {
    /// Of a whole object.
    pub fn of_object(schema: &'a Schema) -> Self {
        Self::Struct { schema, meta: true }
    }

    /// Of the value that a schema describes.
    pub fn of(schema: &'a Schema) -> Self {
        let extensions = &schema.extensions;
        match schema.ty {
            _ if extensions.int_or_string => Self::Leaf,
            Some(Type::Array) => match extensions.list_type {
                Some(ListType::Set | ListType::Map) => Self::List(schema),
                _ => Self::Leaf,
            },
            Some(Type::Object) => {
                if extensions.map_type == Some(MapType::Atomic) {
                    return Self::Leaf;
                }
                match &schema.additional {
                    Additional::Schema(child) if schema.properties.is_empty() => Self::Map(child),
                    Additional::Allowed(true) if schema.properties.is_empty() => Self::Free,
                    _ if schema.properties.is_empty()
                        && extensions.preserve_unknown_fields
                        && !extensions.embedded_resource =>
                    {
                        Self::Free
                    }
                    _ => Self::Struct { schema, meta: extensions.embedded_resource },
                }
            }
            None if extensions.preserve_unknown_fields => Self::Free,
            _ => Self::Leaf,
        }
    }

    /// Of the value under a key, and whether the key is a named field; `None` for fields that do not exist.
    pub fn child(self, key: &str) -> Option<(Self, bool)> {
        match self {
            Self::Struct { schema, meta } => match key {
                "apiVersion" | "kind" if meta => Some((Self::Leaf, true)),
                "metadata" if meta => Some((Self::Metadata, true)),
                _ => match schema.properties.get(key) {
                    Some(child) => Some((Self::of(child), true)),
                    None if schema.extensions.preserve_unknown_fields => Some((Self::Free, false)),
                    None => None,
                },
            },
            Self::Map(child) => Some((Self::of(child), false)),
            Self::Free => Some((Self::Free, false)),
            Self::Leaf | Self::List(_) | Self::Metadata => None,
        }
    }

    /// Of the elements of a list that is owned element by element.
    pub fn element(self) -> Option<Self> {
        match self {
            Self::List(schema) => Some(schema.items.as_deref().map_or(Self::Leaf, Self::of)),
            _ => None,
        }
    }

    /// The step to an element of such a list.
    ///
    /// # Errors
    /// A text for people when an element has none of the keys and no default stands in.
    pub fn step_of(self, item: &Value) -> Result<Step, String> {
        let Self::List(schema) = self else { return Ok(value_step(item)) };
        if schema.extensions.list_type != Some(ListType::Map) {
            return Ok(value_step(item));
        }
        let mut keys = Map::new();
        for key in &schema.extensions.list_map_keys {
            let value = match item.get(key) {
                Some(Value::Null) | None => schema
                    .items
                    .as_ref()
                    .and_then(|items| items.properties.get(key))
                    .and_then(|key| key.default.clone()),
                Some(value) => Some(value.clone()),
            };
            if let Some(value) = value {
                keys.insert(key.clone(), value);
            }
        }
        if keys.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {:?} (and doesn't have default values \
                 for any key fields)",
                schema.extensions.list_map_keys
            ));
        }
        Ok(key_step(&keys))
    }

    /// Why a value cannot have this shape, as `expected map, got number`; `None` when it can. Null fits everything.
    pub fn misfit(self, value: &Value) -> Option<String> {
        let found = match value {
            Value::Null => return None,
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Object(_) => "map",
        };
        let expected = match self {
            Self::Struct { .. } | Self::Map(_) | Self::Metadata if !value.is_object() => "map",
            Self::List(_) if !value.is_array() => "list",
            _ => return None,
        };
        Some(format!("expected {expected}, got {found}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_what_is_owned_how() {
        let schema = Schema::parse(&json!({
            "type": "object",
            "properties": {
                "spec": {"type": "object", "properties": {
                    "n": {"type": "integer"},
                    "plain": {"type": "array", "items": {"type": "string"}},
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "ports": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {"type": "object", "required": ["port"], "properties": {
                            "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
                        }},
                    },
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "ref": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"name": {"type": "string"}}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "either": {"x-kubernetes-int-or-string": true},
                }},
            },
        }))
        .expect("a schema");
        let root = Shape::of_object(&schema);
        assert_eq!(root.child("metadata"), Some((Shape::Metadata, true)));
        assert_eq!(root.child("kind"), Some((Shape::Leaf, true)));
        assert_eq!(root.child("nope"), None);
        let (spec, named) = root.child("spec").expect("spec");
        assert!(named);
        let of = |key: &str| spec.child(key).expect("a field").0;
        for key in ["n", "plain", "ref", "either"] {
            assert_eq!(of(key), Shape::Leaf, "{key}");
        }
        assert_eq!(of("free"), Shape::Free);
        assert_eq!(of("free").child("anything"), Some((Shape::Free, false)));
        assert_eq!(of("labels").child("a"), Some((Shape::Leaf, false)));
        assert_eq!(of("set").step_of(&json!("a")), Ok("v:\"a\"".to_owned()));
        assert_eq!(of("ports").step_of(&json!({"port": 80})), Ok("k:{\"port\":80,\"protocol\":\"TCP\"}".to_owned()));
        assert!(matches!(of("ports").element(), Some(Shape::Struct { .. })));
        assert_eq!(of("labels").misfit(&json!(1)), Some("expected map, got number".to_owned()));
        assert_eq!(of("labels").misfit(&json!(null)), None);
        let keyless = Schema::parse(&json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        }))
        .expect("a schema");
        assert!(Shape::of(&keyless).step_of(&json!({})).unwrap_err().contains("omits all key fields [\"name\"]"));
    }
}
