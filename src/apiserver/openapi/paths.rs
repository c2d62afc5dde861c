//! The paths of a kind: which operations exist, what they take and what they answer.

use objects::Kind;
use serde_json::{Map, Value, json};

use super::schemas::{component, gvk, reference};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// All paths of one kind.
pub fn of(kind: &Kind) -> Map<String, Value> {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let place = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{place}/{}", kind.plural);
    let own = component(kind);
    let list = format!("{own}List");
    let mut paths = Map::new();
    paths.insert(
        collection.clone(),
        json!({
            "get": operation(kind, "list", &list, LISTING, None),
            "post": operation(kind, "post", &own, WRITING, Some(body("application/json", &own))),
            "delete": operation(kind, "deletecollection", STATUS, LISTING, Some(body("application/json", DELETE_OPTIONS))),
        }),
    );
    if kind.namespaced {
        let everywhere = json!({"get": operation(kind, "list", &list, LISTING, None)});
        paths.insert(format!("{root}/{}", kind.plural), everywhere);
    }
    let item = format!("{collection}/{{name}}");
    let mut operations = readable_and_writable(kind, &own);
    operations["delete"] = operation(kind, "delete", STATUS, DELETING, Some(body("application/json", DELETE_OPTIONS)));
    paths.insert(item.clone(), operations);
    if kind.has_status {
        paths.insert(format!("{item}/status"), readable_and_writable(kind, &own));
    }
    if kind.has_scale {
        let mut scale = readable_and_writable(kind, SCALE);
        for verb in ["get", "put", "patch"] {
            scale[verb]["x-kubernetes-group-version-kind"] =
                json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        }
        paths.insert(format!("{item}/scale"), scale);
    }
    paths
}

fn readable_and_writable(kind: &Kind, component: &str) -> Value {
    let patch: Map<String, Value> =
        PATCHES.iter().map(|media| ((*media).to_owned(), json!({"schema": {"type": "object"}}))).collect();
    json!({
        "get": operation(kind, "get", component, &[], None),
        "put": operation(kind, "put", component, WRITING, Some(body("application/json", component))),
        "patch": operation(kind, "patch", component, PATCHING, Some(json!({"required": true, "content": patch}))),
    })
}

type Parameter = (&'static str, &'static str, &'static str);

const WRITING: &[Parameter] = &[
    ("dryRun", "string", "With \"All\" every stage runs and nothing is stored."),
    ("fieldManager", "string", "Who makes the change; the start of the user agent when absent."),
    ("fieldValidation", "string", "Ignore, Warn or Strict: what happens to unknown and duplicate fields."),
];

const PATCHING: &[Parameter] =
    &[WRITING[0], WRITING[1], WRITING[2], ("force", "boolean", "Apply takes over fields that others manage.")];

const DELETING: &[Parameter] = &[
    WRITING[0],
    ("gracePeriodSeconds", "integer", "Seconds until the object is removed; zero removes it at once."),
    ("propagationPolicy", "string", "Background, Foreground or Orphan: what happens to dependents."),
];

const LISTING: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Bookmarks may be sent."),
    ("continue", "string", "Token of the next page."),
    ("fieldSelector", "string", "Only objects with these field values."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "Most objects on a page."),
    ("resourceVersion", "string", "How fresh the answer must be, or where a watch starts."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "A watch starts with what is there, then a bookmark."),
    ("timeoutSeconds", "integer", "Limits the call, watches included."),
    ("watch", "boolean", "Follow changes instead of listing."),
];

fn operation(kind: &Kind, action: &str, answers: &str, parameters: &[Parameter], request: Option<Value>) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, of, description)| {
            json!({"name": name, "in": "query", "description": description, "schema": {"type": of, "uniqueItems": true}})
        })
        .collect();
    let mut operation = json!({
        "operationId": format!("{action}{}{}", kind.kind, if kind.namespaced { "InNamespace" } else { "" }),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference(answers)}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    });
    if let Some(request) = request {
        operation["requestBody"] = request;
    }
    operation
}

fn body(media: &str, component: &str) -> Value {
    json!({"content": {media: {"schema": reference(component)}}})
}
