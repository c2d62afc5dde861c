//! OpenAPI v3 for every served kind: what `kubectl explain`, `kubectl apply` and client-side tools read.
//!
//! Types and descriptions come from `k8s-openapi`, lists' and maps' merge rules from the field table in `objects`, paths
//! from the registry of kinds. Made at the first request, the same bytes on every master of a release.

mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use objects::kind;
use serde_json::{Value, json};

use crate::document::Document;

const JSON: &str = "application/json";

/// What `/openapi/v3` and the documents below it answer; `None` for any other path.
pub fn answer(path: &str) -> Option<Document> {
    let below = path.strip_prefix("/openapi/v3")?;
    match below.trim_matches('/') {
        "" => Some(INDEX.clone()),
        name => DOCUMENTS.get(name).cloned(),
    }
}

/// Group-versions in the form of paths: `api/v1`, `apis/apps/v1`.
fn group_versions() -> Vec<(&'static str, &'static str, String)> {
    let mut all: Vec<(&str, &str, String)> = Vec::new();
    for kind in kind::all() {
        let path = if kind.group.is_empty() {
            format!("api/{}", kind.version)
        } else {
            format!("apis/{}/{}", kind.group, kind.version)
        };
        if !all.iter().any(|(_, _, known)| *known == path) {
            all.push((&kind.group, &kind.version, path));
        }
    }
    all
}

static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    group_versions()
        .into_iter()
        .map(|(group, version, path)| (path, Document::json(JSON, &document(group, version))))
        .collect()
});

static INDEX: LazyLock<Document> = LazyLock::new(|| {
    let paths: serde_json::Map<String, Value> = DOCUMENTS
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.etag);
            (path.clone(), json!({ "serverRelativeURL": url }))
        })
        .collect();
    Document::json(JSON, &json!({ "paths": paths }))
});

fn document(group: &str, version: &str) -> Value {
    let kinds: Vec<_> = kind::all().iter().filter(|kind| kind.group == group && kind.version == version).collect();
    let mut described = serde_json::Map::new();
    for kind in &kinds {
        described.extend(paths::of(kind));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": crate::version::GIT_VERSION},
        "paths": described,
        "components": {"schemas": schemas::of(&kinds)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str) -> Value {
        let document = answer(path).unwrap_or_else(|| panic!("{path} is served"));
        serde_json::from_slice(&document.body).expect("JSON")
    }

    #[test]
    fn the_index_names_each_document_with_its_hash() {
        let index = body("/openapi/v3");
        for (path, entry) in index["paths"].as_object().expect("paths") {
            let url = entry["serverRelativeURL"].as_str().expect("url");
            let (address, hash) = url.split_once("?hash=").expect("hash");
            assert_eq!(address, format!("/openapi/v3/{path}"));
            assert_eq!(answer(address).expect("served").etag, hash);
        }
        assert!(answer("/openapi/v3/apis/nope/v1").is_none());
        assert!(answer("/openapi/v2").is_none());
    }

    #[test]
    fn each_kind_has_its_gvk_and_a_patch_that_names_field_validation() {
        for kind in kind::all() {
            let path = if kind.group.is_empty() { "api/v1".into() } else { format!("apis/{}/v1", kind.group) };
            let document = body(&format!("/openapi/v3/{path}"));
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            let gvk = json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
            let (_, schema) = schemas
                .iter()
                .find(|(_, schema)| schema["x-kubernetes-group-version-kind"] == gvk)
                .unwrap_or_else(|| panic!("{} has no schema", kind.kind));
            assert!(schema["description"].is_string());
            let patch = document["paths"]
                .as_object()
                .expect("paths")
                .values()
                .map(|path| &path["patch"])
                .find(|patch| patch["x-kubernetes-group-version-kind"] == gvk[0])
                .unwrap_or_else(|| panic!("{} has no patch", kind.kind));
            let names: Vec<&Value> =
                patch["parameters"].as_array().expect("parameters").iter().map(|one| &one["name"]).collect();
            assert!(names.contains(&&json!("fieldValidation")), "{names:?}");
            assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
        }
    }

    #[test]
    fn merge_keys_are_those_of_the_table() {
        let document = body("/openapi/v3/apis/apps/v1");
        let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        let ports = &document["components"]["schemas"]["io.k8s.api.core.v1.Container"]["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        found.push(target.clone());
                    }
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        for (_, _, path) in group_versions() {
            let document = body(&format!("/openapi/v3/{path}"));
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for target in found {
                let name = target.strip_prefix("#/components/schemas/").expect("local");
                assert!(document["components"]["schemas"][name].is_object(), "{path}: {target}");
            }
        }
    }
}
