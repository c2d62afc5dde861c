//! How server-side apply sees the field table: what is owned as a whole, what field by field, what element by element.
//!
//! Upstream keeps this as a schema derived from its OpenAPI document; here it is a view of [`fields`], and of the
//! [`Structure`] of kinds that the table does not have.

use serde_json::{Map, Value};

use crate::Kind;
use crate::canonical::OBJECT_META;
use crate::fields::{self, Field, Label, ListType, Message, Type};
use crate::fields_v1::{Step, key_step, value_step};
use crate::structure::Structure;

/// Messages that upstream marks `+structType=atomic` on the type itself, where the field table has no column for it.
const ATOMIC_MESSAGES: &[&str] = &[
    "k8s.io.api.autoscaling.v1.CrossVersionObjectReference",
    "k8s.io.api.core.v1.ConfigMapKeySelector",
    "k8s.io.api.core.v1.EndpointAddress",
    "k8s.io.api.core.v1.EndpointPort",
    "k8s.io.api.core.v1.FileKeySelector",
    "k8s.io.api.core.v1.LocalObjectReference",
    "k8s.io.api.core.v1.NodeSelector",
    "k8s.io.api.core.v1.NodeSelectorTerm",
    "k8s.io.api.core.v1.ObjectFieldSelector",
    "k8s.io.api.core.v1.ObjectReference",
    "k8s.io.api.core.v1.ResourceFieldSelector",
    "k8s.io.api.core.v1.ScopeSelector",
    "k8s.io.api.core.v1.ScopedResourceSelectorRequirement",
    "k8s.io.api.core.v1.SecretKeySelector",
    "k8s.io.api.core.v1.SecretReference",
    "k8s.io.api.core.v1.TopologySelectorTerm",
    "k8s.io.api.core.v1.TypedLocalObjectReference",
    "k8s.io.api.discovery.v1.EndpointPort",
    "k8s.io.api.networking.v1.ServiceBackendPort",
    "k8s.io.api.rbac.v1.RoleRef",
    "k8s.io.api.rbac.v1.Subject",
    "k8s.io.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "k8s.io.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// How one value is owned and merged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// Owned as a whole, whatever is inside: scalars, atomic lists, maps and structs, free JSON.
    Leaf,
    /// Named fields, each owned on its own.
    Struct(&'static Message),
    /// Free keys with values of one type, each owned on its own.
    Map(Type),
    /// Elements that are owned on their own: a set of scalars, or objects named by their keys.
    List(&'static Field),
    /// What a kind that the table does not have says itself.
    Own(&'a Structure),
}

impl<'a> Shape<'a> {
    /// Of a kind's objects; `None` for a kind that is not described anywhere.
    pub(crate) fn of_kind(kind: &'a Kind) -> Option<Self> {
        match &kind.custom {
            Some(custom) => Some(Self::Own(custom.structure())),
            None => fields::message(&kind.message).map(Self::Struct),
        }
    }

    /// Of the value of a field.
    pub(crate) fn of_field(field: &'static Field) -> Self {
        match field.label {
            _ if field.atomic => Self::Leaf,
            Label::Map => Self::Map(field.ty),
            Label::Repeated if field.list == ListType::Atomic => Self::Leaf,
            Label::Repeated => Self::List(field),
            Label::Single => Self::of_type(field.ty),
        }
    }

    /// Of one value of a type.
    pub(crate) fn of_type(ty: Type) -> Self {
        match ty {
            Type::Message(name) if !ATOMIC_MESSAGES.contains(&name) => {
                fields::message(name).map_or(Self::Leaf, Self::Struct)
            }
            _ => Self::Leaf,
        }
    }

    /// Of the value under a key, and whether the key is a named field; `None` for fields that do not exist.
    pub(crate) fn child(self, key: &str) -> Option<(Self, bool)> {
        match self {
            Self::Struct(message) => match message.field(key) {
                Some(field) => Some((Self::of_field(field), true)),
                // Objects (also those inside of objects, as claim templates) say what they are; the table leaves it out.
                None => (matches!(key, "apiVersion" | "kind") && message.field("metadata").is_some())
                    .then_some((Self::Leaf, true)),
            },
            Self::Map(ty) => Some((Self::of_type(ty), false)),
            Self::Own(Structure::Struct { meta: true, .. }) if matches!(key, "apiVersion" | "kind") => {
                Some((Self::Leaf, true))
            }
            Self::Own(Structure::Struct { meta: true, .. }) if key == "metadata" => {
                fields::message(OBJECT_META).map(|message| (Self::Struct(message), true))
            }
            Self::Own(Structure::Struct { fields, open, .. }) => match fields.get(key) {
                Some(field) => Some((Self::Own(field), true)),
                None => open.then_some((Self::Own(&Structure::Free), false)),
            },
            Self::Own(Structure::Map(value)) => Some((Self::Own(value), false)),
            Self::Own(Structure::Free) => Some((self, false)),
            Self::Leaf | Self::List(_) | Self::Own(Structure::Leaf | Structure::List { .. }) => None,
        }
    }

    /// Of the elements of a list that is owned element by element; of anything else a leaf.
    pub(crate) fn element(self) -> Self {
        match self {
            Self::List(field) => Self::of_type(field.ty),
            Self::Own(Structure::List { element, .. }) => Self::Own(element),
            _ => Self::Leaf,
        }
    }

    /// The step to an element of such a list.
    ///
    /// # Errors
    /// As [`step_of`].
    pub(crate) fn step_of(self, item: &Value) -> Result<Step, String> {
        match self {
            Self::List(field) => step_of(field, item),
            Self::Own(Structure::List { keys, .. }) => Structure::step_of(keys, item),
            _ => Ok(value_step(item)),
        }
    }

    /// Whether the value is owned key by key: then it should be an object.
    pub(crate) fn is_map(self) -> bool {
        matches!(
            self,
            Self::Struct(_) | Self::Map(_) | Self::Own(Structure::Struct { .. } | Structure::Map(_) | Structure::Free)
        )
    }

    /// Whether the value is owned element by element: then it should be a list.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::Own(Structure::List { .. }))
    }

    /// Whether this very value is owned as a whole.
    pub(crate) fn is_leaf(self, value: &Value) -> bool {
        match self {
            Self::Leaf | Self::Own(Structure::Leaf) => true,
            Self::Own(Structure::Free) => !value.is_object(),
            _ => false,
        }
    }

    /// Whether the keys are named fields.
    pub(crate) fn is_struct(self) -> bool {
        matches!(self, Self::Struct(_) | Self::Own(Structure::Struct { .. }))
    }
}

/// The step to a list element.
///
/// # Errors
/// A text for people when an element has none of the keys and no default stands in.
pub(crate) fn step_of(list: &Field, item: &Value) -> Result<Step, String> {
    if list.list != ListType::Map {
        return Ok(value_step(item));
    }
    let element = match list.ty {
        Type::Message(name) => fields::message(name),
        _ => None,
    };
    let mut keys = Map::new();
    for &key in &list.map_keys {
        let value = match item.get(key) {
            Some(Value::Null) | None => element
                .and_then(|message| message.field(key))
                .and_then(|field| field.default)
                .and_then(|text| serde_json::from_str(text).ok()),
            Some(value) => Some(value.clone()),
        };
        if let Some(value) = value {
            keys.insert(key.to_owned(), value);
        }
    }
    if keys.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {:?} (and doesn't have default values for \
             any key fields)",
            list.map_keys
        ));
    }
    Ok(key_step(&keys))
}

/// Endings of the names of messages that upstream's Go types embed by value: such a field is there from the start, so that
/// creating an object adds what is in it, but not the field itself.
const VALUE_MESSAGES: &[&str] =
    &["Spec", "Status", "Strategy", ".ObjectMeta", ".EventSource", ".NodeSystemInfo", ".NodeDaemonEndpoints"];

/// What upstream's empty Go object of a kind looks like where `value` has something: the old side of a creation. Objects that
/// no Go type holds have nothing.
pub(crate) fn skeleton_of(shape: Shape<'_>, value: &Value) -> Value {
    match shape {
        Shape::Struct(message) => skeleton(message, value),
        _ => Value::Object(Map::new()),
    }
}

/// What upstream's empty Go object of a message looks like where `value` has something: the old side of a creation.
fn skeleton(message: &'static Message, value: &Value) -> Value {
    let mut empty = Map::new();
    for (key, below) in value.as_object().into_iter().flatten() {
        let Some(field) = message.field(key) else { continue };
        match (field.label, field.ty) {
            (Label::Single, Type::Message(name)) if VALUE_MESSAGES.iter().any(|end| name.ends_with(end)) => {
                if let Some(message) = fields::message(name) {
                    empty.insert(key.clone(), skeleton(message, below));
                }
            }
            (Label::Repeated, _) if field.required => {
                empty.insert(key.clone(), Value::Array(Vec::new()));
            }
            (Label::Map, _) if field.required => {
                empty.insert(key.clone(), Value::Object(Map::new()));
            }
            _ => {}
        }
    }
    Value::Object(empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(name: &str) -> &'static Message {
        fields::message(name).expect("in the table")
    }

    #[test]
    fn elements_are_named_by_their_keys_and_defaults() {
        let ports = message("k8s.io.api.core.v1.Container").field("ports").expect("ports");
        for (item, step) in [
            (json!({"containerPort": 80}), Ok("k:{\"containerPort\":80,\"protocol\":\"TCP\"}")),
            (json!({"containerPort": 80, "protocol": null}), Ok("k:{\"containerPort\":80,\"protocol\":\"TCP\"}")),
            (json!({"containerPort": 53, "protocol": "UDP"}), Ok("k:{\"containerPort\":53,\"protocol\":\"UDP\"}")),
        ] {
            assert_eq!(step_of(ports, &item), step.map(str::to_owned).map_err(|()| String::new()));
        }
        let env = message("k8s.io.api.core.v1.Container").field("env").expect("env");
        assert!(step_of(env, &json!({"value": "x"})).unwrap_err().contains("omits all key fields [\"name\"]"));
        let finalizers =
            message("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta").field("finalizers").expect("finalizers");
        assert_eq!(step_of(finalizers, &json!("a")), Ok("v:\"a\"".to_owned()));
    }

    #[test]
    fn atomic_messages_are_leaves() {
        let deployment = Shape::Struct(message("k8s.io.api.apps.v1.DeploymentSpec"));
        assert!(matches!(deployment.child("selector"), Some((Shape::Leaf, true))));
        assert!(matches!(deployment.child("template"), Some((Shape::Struct(_), true))));
        let pod = Shape::Struct(message("k8s.io.api.core.v1.PodSpec"));
        assert!(matches!(pod.child("nodeSelector"), Some((Shape::Leaf, true))));
        assert!(matches!(pod.child("tolerations"), Some((Shape::Leaf, true))));
        assert!(matches!(pod.child("containers"), Some((Shape::List(_), true))));
        assert!(pod.child("kind").is_none());
        assert!(Shape::Struct(message("k8s.io.api.core.v1.Pod")).child("kind").is_some());
        for name in ATOMIC_MESSAGES.iter().filter(|name| name.contains("core.v1") && name.contains("Selector")) {
            let known = fields::message(name).is_some();
            assert!(known || name.contains("Scope") || name.contains("Topology"), "{name}");
        }
    }
}
