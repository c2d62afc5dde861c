//! The paths of a kind: which operations exist, what they take and what they answer.

use objects::Kind;
use objects::kind::Subresource;
use serde_json::{Map, Value, json};

use super::schemas::{self, component, gvk, reference};
use crate::discovery;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
/// Not for custom resources, whose lists have no such rules.
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCHES: [&str; 4] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", STRATEGIC];

/// What an operation works on: for its id and for the extensions that clients look operations up by.
struct Of {
    /// End of the operation's id, as `PodInNamespaceStatus`.
    id: String,
    /// Group, version and kind of what is sent and answered.
    gvk: Value,
}

/// All paths of one kind.
pub fn of(kind: &Kind) -> Map<String, Value> {
    let root = root(&kind.group, &kind.version);
    let place = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{place}/{}", kind.plural);
    let own = component(kind);
    let list = schemas::list_component(kind);
    let id = format!("{}{}", kind.kind, if kind.namespaced { "InNamespace" } else { "" });
    let this = |end: &str| Of { id: format!("{id}{end}"), gvk: gvk(kind) };
    let mut paths = Map::new();
    let mut add = |path: String, mut operations: Value| {
        parameterize(&path, &mut operations);
        paths.insert(path, operations);
    };
    let options = || Some(body("application/json", DELETE_OPTIONS));
    let several = this("");
    add(
        collection.clone(),
        json!({
            "get": operation(&several, "list", &list, LISTING, None),
            "post": operation(&several, "post", &own, WRITING, Some(body("application/json", &own))),
            "delete": operation(&several, "deletecollection", STATUS, LISTING, options()),
        }),
    );
    if kind.namespaced {
        let all = Of { id: format!("{}ForAllNamespaces", kind.kind), gvk: gvk(kind) };
        add(format!("{root}/{}", kind.plural), json!({"get": operation(&all, "list", &list, LISTING, None)}));
    }
    let item = format!("{collection}/{{name}}");
    let mut operations = readable_and_writable(&this(""), &own);
    operations["delete"] = operation(&this(""), "delete", STATUS, DELETING, options());
    add(item.clone(), operations);
    if kind.has_status {
        add(format!("{item}/status"), readable_and_writable(&this("Status"), &own));
    }
    if kind.has_scale {
        let gvk = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        add(format!("{item}/scale"), readable_and_writable(&Of { id: format!("{id}Scale"), gvk }, SCALE));
    }
    for extra in discovery::extras_of(kind) {
        add(format!("{item}/{}", extra.name), beside(&id, &own, kind, extra));
    }
    if kind.custom.is_some() {
        for path in paths.values_mut() {
            if let Some(media) = path.pointer_mut("/patch/requestBody/content").and_then(Value::as_object_mut) {
                media.remove(STRATEGIC);
            }
        }
    }
    paths
}

/// Says what the braces in a path stand for.
fn parameterize(path: &str, operations: &mut Value) {
    let named = [("name", "Name of the object."), ("namespace", "Namespace of the object.")];
    let given: Vec<Value> = named
        .iter()
        .filter(|(name, _)| path.contains(&format!("{{{name}}}")))
        .map(|(name, description)| {
            json!({"name": name, "in": "path", "required": true, "description": description,
                "schema": {"type": "string", "uniqueItems": true}})
        })
        .collect();
    if !given.is_empty() {
        operations["parameters"] = Value::Array(given);
    }
}

/// The path of a kind that is asked and answered but never stored.
pub fn review(group: &str, plural: &str, kind: &str) -> (String, Value) {
    let of = Of { id: kind.to_owned(), gvk: json!({"group": group, "version": "v1", "kind": kind}) };
    let own = schemas::component_of(group, "v1", kind);
    let post = operation(&of, "post", &own, WRITING, Some(body("application/json", &own)));
    let place = if discovery::is_namespaced_review(plural) { "namespaces/{namespace}/" } else { "" };
    let path = format!("{}/{place}{plural}", root(group, "v1"));
    let mut operations = json!({ "post": post });
    parameterize(&path, &mut operations);
    (path, operations)
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// A subresource that follows from no flag of its kind.
fn beside(id: &str, own: &str, kind: &Kind, extra: &Subresource) -> Value {
    let mut letters = extra.name.chars();
    let end: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let group = if extra.group.is_empty() { kind.group.as_str() } else { extra.group };
    let gvk = json!({"group": group, "version": extra.version, "kind": extra.kind});
    let of = Of { id: format!("{id}{end}"), gvk };
    let sent = schemas::component_of(group, extra.version, extra.kind);
    match extra.name {
        "log" => json!({"get": text_of(operation(&of, "get", STATUS, LOG, None), "text/plain")}),
        "exec" | "attach" | "portforward" => {
            let parameters = match extra.name {
                "exec" => EXEC,
                "attach" => &EXEC[1..],
                _ => PORTS,
            };
            let connect = |method: &str| {
                let mut one = text_of(operation(&of, "connect", STATUS, parameters, None), "*/*");
                one["operationId"] = json!(format!("connect{method}{id}{end}"));
                one
            };
            json!({"get": connect("Get"), "post": connect("Post")})
        }
        "proxy" => {
            let connect = |method: &str| {
                let mut one = text_of(operation(&of, "connect", STATUS, &[], None), "*/*");
                one["operationId"] = json!(format!("connect{method}{id}{end}"));
                one
            };
            let methods = [("delete", "Delete"), ("get", "Get"), ("patch", "Patch"), ("post", "Post"), ("put", "Put")];
            let operations = methods.map(|(key, method)| (key.to_owned(), connect(method)));
            Value::Object(operations.into_iter().collect())
        }
        "approval" => readable_and_writable(&of, own),
        "finalize" => json!({"put": operation(&of, "put", own, WRITING, Some(body("application/json", own)))}),
        _ => json!({"post": operation(&of, "post", STATUS, WRITING, Some(body("application/json", &sent)))}),
    }
}

/// The operation with text or a stream as its answer.
fn text_of(mut operation: Value, media: &str) -> Value {
    operation["responses"]["200"]["content"] = json!({media: {"schema": {"type": "string"}}});
    operation
}

fn readable_and_writable(of: &Of, component: &str) -> Value {
    let patch: Map<String, Value> =
        PATCHES.iter().map(|media| ((*media).to_owned(), json!({"schema": {"type": "object"}}))).collect();
    json!({
        "get": operation(of, "get", component, &[], None),
        "put": operation(of, "put", component, WRITING, Some(body("application/json", component))),
        "patch": operation(of, "patch", component, PATCHING, Some(json!({"required": true, "content": patch}))),
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

const LOG: &[Parameter] = &[
    ("container", "string", "Which container; needed where a pod has several."),
    ("follow", "boolean", "Go on with what is written later."),
    ("limitBytes", "integer", "Most bytes sent."),
    ("previous", "boolean", "The container's last run instead of this one."),
    ("sinceSeconds", "integer", "Only what is at most that old."),
    ("sinceTime", "string", "Only what was written since this time."),
    ("stream", "string", "All, Stdout or Stderr."),
    ("tailLines", "integer", "Only that many lines from the end."),
    ("timestamps", "boolean", "Each line begins with its time."),
];

/// The command first: attaching has none.
const EXEC: &[Parameter] = &[
    ("command", "string", "The program and its arguments, one parameter each."),
    ("container", "string", "Which container; needed where a pod has several."),
    ("stderr", "boolean", "Its error output is sent."),
    ("stdin", "boolean", "It gets an input."),
    ("stdout", "boolean", "Its output is sent."),
    ("tty", "boolean", "It gets a terminal."),
];

const PORTS: &[Parameter] = &[("ports", "integer", "Where a WebSocket carries no SPDY: which ports.")];

fn operation(of: &Of, action: &str, answers: &str, parameters: &[Parameter], request: Option<Value>) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, of, description)| {
            json!({"name": name, "in": "query", "description": description, "schema": {"type": of, "uniqueItems": true}})
        })
        .collect();
    let (code, said) = if action == "post" { ("201", "Created") } else { ("200", "OK") };
    let mut operation = json!({
        "operationId": format!("{action}{}", of.id),
        "parameters": parameters,
        "responses": {code: {"description": said, "content": {"application/json": {"schema": reference(answers)}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": of.gvk,
    });
    if let Some(request) = request {
        operation["requestBody"] = request;
    }
    operation
}

fn body(media: &str, component: &str) -> Value {
    json!({"content": {media: {"schema": reference(component)}}})
}
