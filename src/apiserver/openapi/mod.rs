//! OpenAPI v3 for everything that is served: what `kubectl explain`, `kubectl apply` and client-side tools read.
//!
//! Types and descriptions come from `k8s-openapi`, lists' and maps' merge rules from the field table in `objects`, paths
//! from the registry of kinds. Made at the first request, the same bytes on every master of a release. Documents with custom
//! resources are made anew when definitions have changed and somebody asks; they are the same on every master too.

mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use objects::{Kind, kind};
use serde_json::{Value, json};

use crate::custom_kinds::Table;
use crate::discovery::{self, REVIEWS};
use crate::document::Document;

const JSON: &str = "application/json";

/// What `/openapi/v3` and the documents below it answer; `None` for any other path.
pub fn answer(path: &str, custom: &Table) -> Option<Document> {
    let below = path.strip_prefix("/openapi/v3")?;
    let customs = custom.documents.get_or_init(|| documents_of(custom.all()));
    match below.trim_matches('/') {
        "" => Some(index(customs)),
        name => customs.get(name).or_else(|| DOCUMENTS.get(name)).cloned(),
    }
}

/// The documents of all group-versions that have custom resources.
fn documents_of(custom: &[Arc<Kind>]) -> BTreeMap<String, Document> {
    let paths: BTreeMap<String, &Kind> =
        custom.iter().map(|kind| (path_of(&kind.group, &kind.version), &**kind)).collect();
    let document = |kind: &Kind| Document::json(JSON, &document(&kind.group, &kind.version, custom));
    paths.into_iter().map(|(path, kind)| (path, document(kind))).collect()
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Group-versions in the form of paths: `api/v1`, `apis/apps/v1`.
fn group_versions() -> Vec<(&'static str, &'static str, String)> {
    let stored = kind::all().iter().map(|kind| (kind.group.as_str(), kind.version.as_str()));
    let reviewed = REVIEWS.iter().map(|(group, ..)| (*group, "v1"));
    let mut all: Vec<(&str, &str, String)> = Vec::new();
    for (group, version) in stored.chain(reviewed) {
        let path = path_of(group, version);
        if !all.iter().any(|(_, _, known)| *known == path) {
            all.push((group, version, path));
        }
    }
    all
}

static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    group_versions()
        .into_iter()
        .map(|(group, version, path)| (path, Document::json(JSON, &document(group, version, &[]))))
        .collect()
});

fn index(customs: &BTreeMap<String, Document>) -> Document {
    let built_in = DOCUMENTS.iter().filter(|(path, _)| !customs.contains_key(*path));
    let paths: serde_json::Map<String, Value> = built_in
        .chain(customs)
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.etag);
            (path.clone(), json!({ "serverRelativeURL": url }))
        })
        .collect();
    Document::json(JSON, &json!({ "paths": paths }))
}

fn document(group: &str, version: &str, custom: &[Arc<Kind>]) -> Value {
    let all = kind::all().iter().chain(custom);
    let kinds: Vec<_> = all.filter(|kind| kind.group == group && kind.version == version).collect();
    let mut described = serde_json::Map::new();
    let mut others = Vec::new();
    for kind in &kinds {
        described.extend(paths::of(kind));
        let sent = discovery::extras_of(kind).filter(|extra| matches!(extra.name, "binding" | "eviction" | "token"));
        others.extend(sent.map(|extra| (extra.group, extra.version, extra.kind)));
    }
    for (_, plural, kind) in REVIEWS.iter().filter(|(of, ..)| *of == group && version == "v1") {
        described.extend([paths::review(group, plural, kind)]);
        others.push((group, version, kind));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": crate::version::GIT_VERSION},
        "paths": described,
        "components": {"schemas": schemas::of(&kinds, &others)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str) -> Value {
        let document = answer(path, &Table::default()).unwrap_or_else(|| panic!("{path} is served"));
        serde_json::from_slice(&document.body).expect("JSON")
    }

    #[test]
    fn the_index_names_each_document_with_its_hash() {
        let index = body("/openapi/v3");
        for (path, entry) in index["paths"].as_object().expect("paths") {
            let url = entry["serverRelativeURL"].as_str().expect("url");
            let (address, hash) = url.split_once("?hash=").expect("hash");
            assert_eq!(address, format!("/openapi/v3/{path}"));
            assert_eq!(answer(address, &Table::default()).expect("served").etag, hash);
        }
        assert!(answer("/openapi/v3/apis/nope/v1", &Table::default()).is_none());
        assert!(answer("/openapi/v2", &Table::default()).is_none());
    }

    #[test]
    fn each_kind_has_its_gvk_and_a_patch_that_names_field_validation() {
        for kind in kind::all() {
            let path = if kind.group.is_empty() { "api/v1".into() } else { format!("apis/{}", kind.api_version()) };
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
    fn what_is_no_kind_of_its_own_has_a_path_too() {
        let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
        for (document, path, methods, kind, content) in [
            ("api/v1", format!("{pod}/binding"), &["post"][..], "Binding", "application/json"),
            ("api/v1", format!("{pod}/eviction"), &["post"], "Eviction", "application/json"),
            ("api/v1", format!("{pod}/log"), &["get"], "Pod", "text/plain"),
            ("api/v1", format!("{pod}/exec"), &["get", "post"], "PodExecOptions", "*/*"),
            ("api/v1", format!("{pod}/attach"), &["get", "post"], "PodAttachOptions", "*/*"),
            ("api/v1", format!("{pod}/portforward"), &["get", "post"], "PodPortForwardOptions", "*/*"),
            ("api/v1", format!("{pod}/proxy"), &["delete", "get", "patch", "post", "put"], "PodProxyOptions", "*/*"),
            ("api/v1", format!("{pod}/status"), &["get", "patch", "put"], "Pod", "application/json"),
            ("api/v1", "/api/v1/namespaces/{name}/finalize".into(), &["put"], "Namespace", "application/json"),
            (
                "apis/apps/v1",
                "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale".into(),
                &["get", "patch", "put"],
                "Scale",
                "application/json",
            ),
            (
                "apis/authentication.k8s.io/v1",
                "/apis/authentication.k8s.io/v1/selfsubjectreviews".into(),
                &["post"],
                "SelfSubjectReview",
                "application/json",
            ),
            (
                "apis/authorization.k8s.io/v1",
                "/apis/authorization.k8s.io/v1/subjectaccessreviews".into(),
                &["post"],
                "SubjectAccessReview",
                "application/json",
            ),
        ] {
            let document = body(&format!("/openapi/v3/{document}"));
            let operations = document["paths"][&path].as_object().unwrap_or_else(|| panic!("{path}"));
            let found: Vec<&str> =
                operations.keys().map(String::as_str).filter(|method| *method != "parameters").collect();
            assert_eq!(found, methods, "{path}");
            for method in methods {
                let operation = &operations[*method];
                assert_eq!(operation["x-kubernetes-group-version-kind"]["kind"], kind, "{path}");
                let answer = if *method == "post" && content == "application/json" { "201" } else { "200" };
                assert!(operation["responses"][answer]["content"][content].is_object(), "{path}: {operation}");
            }
        }
    }

    #[test]
    fn everything_that_discovery_names_has_a_path() {
        let mut resources = 0;
        for (group, version, path) in group_versions() {
            let list =
                discovery::answer(&format!("/{path}"), None, &[]).unwrap_or_else(|| panic!("{path} is discovered"));
            let list: Value = serde_json::from_slice(&list.body).expect("JSON");
            let document = body(&format!("/openapi/v3/{path}"));
            for resource in list["resources"].as_array().expect("resources") {
                let (plural, below) = match resource["name"].as_str().expect("name").split_once('/') {
                    Some((plural, below)) => (plural, format!("/{{name}}/{below}")),
                    None => (resource["name"].as_str().expect("name"), String::new()),
                };
                let place = if resource["namespaced"] == true { "/namespaces/{namespace}" } else { "" };
                let wanted = format!("/{path}{place}/{plural}{below}");
                assert!(document["paths"][&wanted].is_object(), "{group}/{version} lacks {wanted}");
                resources += 1;
            }
        }
        assert!(resources > 25, "only {resources} resources");
    }

    #[test]
    fn operations_have_ids_of_their_own_and_their_paths_parameters() {
        for (_, _, path) in group_versions() {
            let document = body(&format!("/openapi/v3/{path}"));
            let mut ids = Vec::new();
            for (path, operations) in document["paths"].as_object().expect("paths") {
                let named = operations["parameters"].as_array().map_or(0, Vec::len);
                assert_eq!(named, path.matches('{').count(), "{path}");
                let operations = operations.as_object().expect("operations").values();
                ids.extend(operations.filter_map(|one| one["operationId"].as_str().map(str::to_owned)));
            }
            let count = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "{path}: {ids:?}");
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
