//! How server-side apply sees a custom resource: what is owned as a whole, what field by field, what element by element.
//!
//! The same view of a [`Schema`] that `objects::patch` has of its field table. Follows upstream's
//! `kube-openapi/pkg/schemaconv` and `structured-merge-diff/schema`.

use objects::structure::Structure;
use serde_json::Value;

use crate::schema::{Additional, ListType, MapType, Schema, Type};

/// Of a whole object.
pub fn of_object(schema: &Schema) -> Structure {
    fields(schema, true)
}

fn fields(schema: &Schema, meta: bool) -> Structure {
    Structure::Struct {
        fields: schema.properties.iter().map(|(name, child)| (name.clone(), of(child))).collect(),
        meta,
        open: schema.extensions.preserve_unknown_fields,
    }
}

/// Of the value that a schema describes.
fn of(schema: &Schema) -> Structure {
    let extensions = &schema.extensions;
    match schema.ty {
        _ if extensions.int_or_string => Structure::Leaf,
        Some(Type::Array) => match extensions.list_type {
            Some(ListType::Set | ListType::Map) => list(schema),
            _ => Structure::Leaf,
        },
        Some(Type::Object) => {
            if extensions.map_type == Some(MapType::Atomic) {
                return Structure::Leaf;
            }
            let bare = schema.properties.is_empty();
            match &schema.additional {
                Additional::Schema(child) if bare => Structure::Map(Box::new(of(child))),
                Additional::Allowed(true) if bare => Structure::Free,
                _ if bare && extensions.preserve_unknown_fields && !extensions.embedded_resource => Structure::Free,
                _ => fields(schema, extensions.embedded_resource),
            }
        }
        None if extensions.preserve_unknown_fields => Structure::Free,
        _ => Structure::Leaf,
    }
}

fn list(schema: &Schema) -> Structure {
    let items = schema.items.as_deref();
    let default = |key: &str| -> Option<Value> { items?.properties.get(key)?.default.clone() };
    let keys = match schema.extensions.list_type {
        Some(ListType::Map) => schema.extensions.list_map_keys.iter().map(|key| (key.clone(), default(key))).collect(),
        _ => Vec::new(),
    };
    Structure::List { keys, element: Box::new(items.map_or(Structure::Leaf, of)) }
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
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }))
        .expect("a schema");
        let Structure::Struct { fields: root, meta: true, open: false } = of_object(&schema) else {
            panic!("no object")
        };
        let Structure::Struct { fields: spec, meta: false, open: false } = &root["spec"] else { panic!("no spec") };
        for key in ["n", "plain", "ref", "either"] {
            assert_eq!(spec[key], Structure::Leaf, "{key}");
        }
        assert_eq!(spec["free"], Structure::Free);
        assert_eq!(spec["labels"], Structure::Map(Box::new(Structure::Leaf)));
        assert_eq!(spec["set"], Structure::List { keys: vec![], element: Box::new(Structure::Leaf) });
        let Structure::List { keys, element } = &spec["ports"] else { panic!("no list") };
        assert_eq!(*keys, [("port".to_owned(), None), ("protocol".to_owned(), Some(json!("TCP")))]);
        assert!(matches!(**element, Structure::Struct { .. }));
        assert!(matches!(spec["template"], Structure::Struct { meta: true, open: true, .. }));
    }
}
