//! The components of a document: `k8s-openapi`'s schemas, completed with what the field table knows.

use std::sync::Arc;

use k8s_openapi::api::{apps, authentication, authorization, autoscaling, coordination, core, policy};
use k8s_openapi::apimachinery::pkg::apis::meta;
use objects::{Kind, fields};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// Where components live in a document.
const COMPONENTS: &str = "#/components/schemas/";

/// Schemas of `kinds`, their lists, of what else is sent to a group-version (`others`: group, version and kind), and all
/// that these refer to.
pub fn of(kinds: &[&Arc<Kind>], others: &[(&str, &str, &str)]) -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    for kind in kinds {
        register(&mut generator, &kind.message);
    }
    for (group, version, kind) in others {
        register(&mut generator, &component_of(group, version, kind).replacen("io.k8s.", "k8s.io.", 1));
    }
    generator.subschema_for::<meta::v1::DeleteOptions>();
    generator.subschema_for::<meta::v1::Status>();
    generator.subschema_for::<meta::v1::ListMeta>();
    if kinds.iter().any(|kind| kind.has_scale) {
        generator.subschema_for::<autoscaling::v1::Scale>();
    }
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, schema) in &mut schemas {
        complete(name, schema);
    }
    for kind in kinds {
        let name = component(kind);
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
        }
        schemas.insert(format!("{name}List"), list_of(kind, &name));
    }
    for (group, version, kind) in others {
        if let Some(schema) = schemas.get_mut(&component_of(group, version, kind)) {
            schema["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
        }
    }
    if let Some(scale) = schemas.get_mut("io.k8s.api.autoscaling.v1.Scale") {
        scale["x-kubernetes-group-version-kind"] = json!([{"group": "autoscaling", "version": "v1", "kind": "Scale"}]);
    }
    schemas
}

/// Name of a kind's component, as `io.k8s.api.core.v1.Pod`.
pub fn component(kind: &Kind) -> String {
    kind.message.replacen("k8s.io.", "io.k8s.", 1)
}

/// Name of the component of what is no kind of its own, as `io.k8s.api.policy.v1.Eviction`.
pub fn component_of(group: &str, version: &str, kind: &str) -> String {
    let package = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("io.k8s.api.{package}.{version}.{kind}")
}

/// A reference to a component.
pub fn reference(component: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{component}") })
}

/// The kind as extensions name it.
pub fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn register(generator: &mut SchemaGenerator, message: &str) {
    match message {
        "k8s.io.api.core.v1.Namespace" => generator.subschema_for::<core::v1::Namespace>(),
        "k8s.io.api.core.v1.Node" => generator.subschema_for::<core::v1::Node>(),
        "k8s.io.api.core.v1.Pod" => generator.subschema_for::<core::v1::Pod>(),
        "k8s.io.api.core.v1.ConfigMap" => generator.subschema_for::<core::v1::ConfigMap>(),
        "k8s.io.api.core.v1.Secret" => generator.subschema_for::<core::v1::Secret>(),
        "k8s.io.api.core.v1.ServiceAccount" => generator.subschema_for::<core::v1::ServiceAccount>(),
        "k8s.io.api.core.v1.Event" => generator.subschema_for::<core::v1::Event>(),
        "k8s.io.api.apps.v1.Deployment" => generator.subschema_for::<apps::v1::Deployment>(),
        "k8s.io.api.apps.v1.ReplicaSet" => generator.subschema_for::<apps::v1::ReplicaSet>(),
        "k8s.io.api.coordination.v1.Lease" => generator.subschema_for::<coordination::v1::Lease>(),
        "k8s.io.api.core.v1.Binding" => generator.subschema_for::<core::v1::Binding>(),
        "k8s.io.api.policy.v1.Eviction" => generator.subschema_for::<policy::v1::Eviction>(),
        "k8s.io.api.authentication.v1.SelfSubjectReview" => {
            generator.subschema_for::<authentication::v1::SelfSubjectReview>()
        }
        "k8s.io.api.authorization.v1.SelfSubjectAccessReview" => {
            generator.subschema_for::<authorization::v1::SelfSubjectAccessReview>()
        }
        "k8s.io.api.authorization.v1.SelfSubjectRulesReview" => {
            generator.subschema_for::<authorization::v1::SelfSubjectRulesReview>()
        }
        "k8s.io.api.authorization.v1.SubjectAccessReview" => {
            generator.subschema_for::<authorization::v1::SubjectAccessReview>()
        }
        // A kind without a typed schema is described by its metadata alone; a test holds that there is none.
        _ => generator.subschema_for::<meta::v1::ObjectMeta>(),
    };
}

/// Adds merge rules to a component's properties.
fn complete(name: &str, schema: &mut Value) {
    let Some(message) = fields::message(&name.replacen("io.k8s.", "k8s.io.", 1)) else { return };
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (json_name, property) in properties {
        let Some(field) = message.field(json_name) else { continue };
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(strategy) = &field.patch_strategy {
            let parts =
                [(strategy.merge, "merge"), (strategy.replace, "replace"), (strategy.retain_keys, "retainKeys")];
            let names: Vec<&str> = parts.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            property.insert("x-kubernetes-patch-strategy".into(), names.join(",").into());
        }
        if let Some(key) = field.patch_merge_key {
            property.insert("x-kubernetes-patch-merge-key".into(), key.into());
        }
        if field.label == fields::Label::Repeated {
            let list_type = match field.list {
                fields::ListType::Atomic => "atomic",
                fields::ListType::Set => "set",
                fields::ListType::Map => "map",
            };
            property.insert("x-kubernetes-list-type".into(), list_type.into());
            if !field.map_keys.is_empty() {
                property.insert("x-kubernetes-list-map-keys".into(), json!(field.map_keys));
            }
        } else if field.atomic {
            property.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
    }
}

fn list_of(kind: &Kind, component: &str) -> Value {
    json!({
        "description": format!("{0}List is a list of {0} objects.", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this list's schema."},
            "kind": {"type": "string", "description": "Kind of this list."},
            "metadata": reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
            "items": {"type": "array", "description": "The objects.", "items": reference(component)},
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)}],
    })
}
