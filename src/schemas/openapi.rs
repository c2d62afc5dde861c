//! OpenAPI v3 components of custom resources: what `kubectl explain` and client-side tools read.
//!
//! Follows upstream's `pkg/controller/openapi/builder/builder.go` and `pkg/apiserver/schema/unfold.go`.

use objects::Kind;
use serde_json::{Map, Value, json};

use crate::Schema;
use crate::schema::{Additional, Type};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Name of a kind's component, as `com.example.stable.v1.CronTab`: the group's domain from behind.
pub fn component_name(kind: &Kind) -> String {
    let mut parts: Vec<&str> = kind.group.rsplit('.').collect();
    parts.extend([kind.version.as_str(), kind.kind.as_str()]);
    parts.join(".")
}

/// The component of a kind, with `x-kubernetes-group-version-kind`. It refers to `ObjectMeta`.
pub fn component(kind: &Kind, schema: &Schema) -> Value {
    let mut schema = schema.clone();
    unfold(&mut schema);
    let mut component = schema.to_value();
    complete(&schema, &mut component, true);
    component["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    component
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn reference(component: &str) -> String {
    format!("#/components/schemas/{component}")
}

/// Spells int-or-string in words that every reader of OpenAPI knows.
fn unfold(schema: &mut Schema) {
    if schema.extensions.int_or_string {
        let only = |ty: Type| Schema { ty: Some(ty), ..Schema::default() };
        let either = vec![only(Type::Integer), only(Type::String)];
        let checks = schema.checks.get_or_insert_default();
        let first = checks.all_of.first().and_then(|first| first.checks.as_ref());
        if checks.any_of.is_empty() {
            if first.is_none_or(|first| first.any_of != either) {
                checks.any_of = either;
            }
        } else if checks.any_of != either {
            let mut spelled = Schema::default();
            spelled.checks.get_or_insert_default().any_of = either;
            checks.all_of.insert(0, spelled);
        }
    }
    schema.properties.values_mut().for_each(unfold);
    schema.items.iter_mut().for_each(|items| unfold(items));
    if let Additional::Schema(child) = &mut schema.additional {
        unfold(child);
    }
}

/// Adds what every object has to the root and to embedded resources.
fn complete(schema: &Schema, component: &mut Value, root: bool) {
    if root || schema.extensions.embedded_resource {
        let Some(map) = component.as_object_mut() else { return };
        let properties = map.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        properties["apiVersion"] = json!({"type": "string", "description": "Version of this object's schema."});
        properties["kind"] = json!({"type": "string", "description": "Kind of this object."});
        properties["metadata"] = json!({
            "description": "What all objects have: name, namespace, labels, annotations, owners.",
            "$ref": reference(OBJECT_META),
        });
    }
    for (name, child) in &schema.properties {
        // What was put in place of the schema's own words is complete.
        let own = (root || schema.extensions.embedded_resource)
            && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        if !own {
            complete(child, &mut component["properties"][name], false);
        }
    }
    if let Some(items) = &schema.items {
        complete(items, &mut component["items"], false);
    }
    if let Additional::Schema(child) = &schema.additional {
        complete(child, &mut component["additionalProperties"], false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_say_what_an_object_is() {
        let schema = Schema::parse(&json!({
            "type": "object", "description": "A thing.",
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "properties": {
                    "port": {"x-kubernetes-int-or-string": true},
                    "cpu": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^a$"},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }))
        .expect("a schema");
        let kind = crate::object::tests::kind();
        let component = component(&kind, &schema);
        assert_eq!(component_name(&kind), "com.example.stable.v1.CronTab");
        let spec = &component["properties"]["spec"]["properties"];
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true, "anyOf": either}));
        assert_eq!(spec["cpu"]["anyOf"], either);
        assert!(spec["cpu"].get("allOf").is_none());
        assert_eq!(component["properties"]["metadata"]["$ref"], reference(OBJECT_META));
        assert_eq!(spec["template"]["properties"]["metadata"]["$ref"], reference(OBJECT_META));
        assert_eq!(component["description"], "A thing.");
        let gvk = json!([{"group": "stable.example.com", "version": "v1", "kind": "CronTab"}]);
        assert_eq!(component["x-kubernetes-group-version-kind"], gvk);
    }
}
