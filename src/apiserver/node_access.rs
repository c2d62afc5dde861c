//! Whether an object belongs to a node: its pods, and what its pods name. Pure.

use objects::{Key, Resource};
use serde_json::Value;
use state::State;

/// Whether `node` may touch the object `key` according to `state`.
///
/// A pod is its own when it is bound to it; a pod that does not exist is nobody's secret, so that the answer is 404.
/// Secrets, config maps and service accounts are its own when a pod bound to it names them.
pub fn related(state: &State, node: &str, key: &Key) -> bool {
    if key.resource.as_str() == "pods" {
        return state.get(key).is_none_or(|pod| pod.face().field("spec.nodeName") == node);
    }
    state
        .list_in(&Resource::from("pods"), &key.namespace)
        .filter(|pod| pod.face().field("spec.nodeName") == node)
        .filter_map(|pod| pod.to_value().ok())
        .any(|pod| names(&pod["spec"], key.resource.as_str(), &key.name))
}

fn names(spec: &Value, resource: &str, name: &str) -> bool {
    match resource {
        "serviceaccounts" => spec["serviceAccountName"] == name,
        "secrets" => {
            list(&spec["imagePullSecrets"]).any(|secret| secret["name"] == name)
                || anywhere(spec, &["secretRef", "secretKeyRef"], "secret", name)
                || list(&spec["volumes"]).any(|volume| volume["secret"]["secretName"] == name)
        }
        "configmaps" => anywhere(spec, &["configMapRef", "configMapKeyRef", "configMap"], "configMap", name),
        _ => false,
    }
}

/// Whether a reference of one of these keys, with this name, is in the environments or volumes of a pod.
fn anywhere(spec: &Value, references: &[&str], projected: &str, name: &str) -> bool {
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    let in_environment = containers.iter().flat_map(|key| list(&spec[*key])).any(|container| {
        list(&container["envFrom"]).any(|source| references.iter().any(|key| source[*key]["name"] == name))
            || list(&container["env"])
                .any(|variable| references.iter().any(|key| variable["valueFrom"][*key]["name"] == name))
    });
    in_environment
        || list(&spec["volumes"]).any(|volume| {
            let in_source = volume
                .as_object()
                .into_iter()
                .flatten()
                .any(|(_, source)| references.iter().any(|key| source[*key]["name"] == name));
            in_source
                || references.iter().any(|key| volume[*key]["name"] == name)
                || list(&volume["projected"]["sources"]).any(|source| source[projected]["name"] == name)
        })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_wherever_a_pod_may_have_them() {
        let spec = json!({
            "serviceAccountName": "robot",
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "from-map"}}]}],
            "containers": [{"env": [
                {"valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                {"valueFrom": {"configMapKeyRef": {"name": "key-map", "key": "k"}}},
            ]}],
            "volumes": [
                {"secret": {"secretName": "mounted"}}, {"configMap": {"name": "mounted-map"}},
                {"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "projected-map"}}]}},
                {"csi": {"nodePublishSecretRef": {"name": "unrelated"}}},
            ],
        });
        for name in ["pull", "from", "key", "mounted", "projected"] {
            assert!(names(&spec, "secrets", name), "{name}");
            assert!(!names(&spec, "configmaps", name), "{name}");
        }
        for name in ["from-map", "key-map", "mounted-map", "projected-map"] {
            assert!(names(&spec, "configmaps", name), "{name}");
            assert!(!names(&spec, "secrets", name), "{name}");
        }
        assert!(names(&spec, "serviceaccounts", "robot"));
        assert!(!names(&spec, "secrets", "other"));
    }
}
