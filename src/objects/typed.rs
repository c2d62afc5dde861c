//! Typed views: a stored object as a `k8s-openapi` type.
//!
//! Decoding costs a parse, so callers keep the view beside the object's revision and decode once.

use serde::de::DeserializeOwned;

use crate::{Error, Object};

/// The stored bytes as `T`, without a resource version.
///
/// # Errors
/// [`Error::Untyped`] when the bytes do not decode as `T`. Of secrets it says only where, because the decoder's words
/// may quote a value.
pub fn typed<T: DeserializeOwned>(object: &Object) -> Result<T, Error> {
    serde_json::from_slice(object.bytes()).map_err(|error| {
        let head = serde_json::from_slice::<serde_json::Value>(object.bytes()).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
        let (namespace, name) = (text(&head["metadata"]["namespace"]), text(&head["metadata"]["name"]));
        Error::Untyped {
            resource: text(&head["kind"]),
            name: if namespace.is_empty() { name } else { format!("{namespace}/{name}") },
            view: std::any::type_name::<T>(),
            reason: if head["kind"] == "Secret" {
                format!("at line {} column {}", error.line(), error.column())
            } else {
                error.to_string()
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::kind;

    #[test]
    fn a_view_that_does_not_fit_says_which_object() {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b", "uid": "u"}, "spec": 7});
        let error = typed::<Pod>(&Object::new(pod, &value).unwrap()).unwrap_err();
        assert!(error.to_string().contains("Pod b/a does not decode as"), "{error}");
    }

    #[test]
    fn a_secret_is_not_quoted() {
        let secret = kind::by_kind("v1", "Secret").unwrap();
        let value =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "uid": "u"}, "data": "hunter2"});
        let error = typed::<k8s_openapi::api::core::v1::Secret>(&Object::new(secret, &value).unwrap()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_view_holds_what_was_stored() {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        let value = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
        });
        let view: Pod = typed(&Object::new(pod, &value).unwrap()).unwrap();
        assert_eq!(view.spec.unwrap().containers[0].name, "c");
    }
}
