//! Server-side apply: merges, conflicts, and random sequences that must keep ownership sound.

use serde_json::{Value, json};

use super::*;
use crate::kind;

const NOW: &str = "2026-07-24T08:00:00Z";
const LATER: &str = "2026-07-24T09:00:00Z";

fn deployment() -> &'static Kind {
    kind::by_kind("apps/v1", "Deployment").expect("served")
}

fn config_map() -> &'static Kind {
    kind::by_kind("v1", "ConfigMap").expect("served")
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}, "data": data})
}

fn deploy(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec})
}

fn template(containers: Value) -> Value {
    json!({"template": {"spec": {"containers": containers}}})
}

/// Managers and what each owns.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            (format!("{} {}", entry["operation"], entry["manager"]).replace('"', ""), entry["fieldsV1"].clone())
        })
        .collect()
}

fn first(kind: &Kind, applied: &Value, manager: &str) -> Value {
    apply(kind, None, applied, manager, false, NOW, None).expect("applies")
}

fn then(kind: &Kind, live: &Value, applied: &Value, manager: &str) -> Value {
    apply(kind, Some(live), applied, manager, false, LATER, None).expect("applies")
}

#[test]
fn bad_requests_are_refused() {
    let long = "x".repeat(129);
    for (manager, applied, code, text) in [
        ("", map(json!({})), 422, "fieldManager: Required value: is required for apply patch"),
        (long.as_str(), map(json!({})), 422, "Too long"),
        ("a\n", map(json!({})), 422, "printable"),
        ("m", json!([]), 400, "object"),
        ("m", json!({"apiVersion": "v2", "kind": "ConfigMap"}), 400, "Specified patch version: v2, expected: v1"),
        ("m", json!({"kind": "ConfigMap"}), 400, "Incorrect version"),
        ("m", json!({"apiVersion": "v1", "kind": "Pod"}), 400, "Incorrect kind"),
        (
            "m",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "managedFields": []}}),
            400,
            "metadata.managedFields must be nil",
        ),
        ("m", json!({"apiVersion": "v1", "kind": "ConfigMap", "dota": {}}), 400, ".dota: field not declared in schema"),
        ("m", map(json!({"a": 1})), 400, "(d/c; v1, Kind=ConfigMap): .data.a: expected string, got number"),
        ("m", map(json!(["a"])), 400, ".data: expected map, got list"),
        ("m", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": 3}), 400, ".metadata: expected map"),
    ] {
        let status = apply(config_map(), None, &applied, manager, false, NOW, None).unwrap_err();
        assert_eq!(status.code, code, "{applied}");
        assert!(status.message.contains(text), "{status}");
    }
    for (spec, text) in [
        (json!({"replicas": "1"}), ".spec.replicas: expected numeric (int or float), got string"),
        (
            json!({"replicas": "1", "paused": 1}),
            "errors:\n  .spec.paused: expected boolean, got number\n  .spec.replicas",
        ),
        (template(json!({})), ".spec.template.spec.containers: expected list, got map"),
        (template(json!([{"image": "x"}])), "omits all key fields [\"name\"]"),
        (template(json!([{"name": "a"}, {"name": "a"}])), "duplicate entries for key [name=\"a\"]"),
        (template(json!([{"name": "a", "imag": "x"}])), ".containers[name=\"a\"].imag: field not declared"),
        (
            template(json!([{"name": "a", "resources": {"limits": {"cpu": true}}}])),
            ".limits.cpu: expected string or number",
        ),
    ] {
        let status = apply(deployment(), None, &deploy(spec), "m", false, NOW, None).unwrap_err();
        assert_eq!(status.code, 400);
        assert!(status.message.contains(text), "{status}");
    }
}

#[test]
fn the_first_apply_creates() {
    let object = first(config_map(), &map(json!({"a": "1", "gone": null})), "m");
    assert_eq!(object["data"], json!({"a": "1"}));
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{"manager": "m", "operation": "Apply", "apiVersion": "v1", "time": NOW, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}, "f:gone": {}}}}])
    );
    // Who says nothing owns nothing.
    let object = first(config_map(), &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}), "m");
    assert_eq!(object["metadata"], json!({"name": "c"}));
}

#[test]
fn list_elements_are_owned_by_their_keys() {
    let object = first(
        deployment(),
        &deploy(
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "c", "image": "i", "args": ["x"], "ports": [{"containerPort": 80}]}], "securityContext": {}}}}),
        ),
        "m",
    );
    assert_eq!(
        owners(&object)[0].1,
        json!({"f:spec": {"f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:securityContext": {}, "f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}},
        }}})
    );
}

#[test]
fn a_field_of_another_is_a_conflict() {
    let live = first(deployment(), &deploy(json!({"replicas": 1, "paused": true})), "a");
    let wanted = deploy(json!({"replicas": 2, "paused": false}));
    let status = apply(deployment(), Some(&live), &wanted, "b", false, LATER, None).unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas"
    );
    assert_eq!(
        status.to_value()["details"]["causes"],
        json!([
            {"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".spec.paused"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".spec.replicas"},
        ])
    );
    // By force it goes over.
    let taken = apply(deployment(), Some(&live), &wanted, "b", true, LATER, None).unwrap();
    // In canonical form, `paused: false` is left out.
    assert_eq!(taken["spec"]["replicas"], 2);
    assert!(taken["spec"].get("paused").is_none());
    assert_eq!(owners(&taken), [("Apply b".to_owned(), json!({"f:spec": {"f:paused": {}, "f:replicas": {}}}))]);
    // The same value is shared.
    let shared = then(deployment(), &live, &deploy(json!({"replicas": 1})), "b");
    let all = owners(&shared);
    assert_eq!(all[0], ("Apply a".to_owned(), json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})));
    assert_eq!(all[1], ("Apply b".to_owned(), json!({"f:spec": {"f:replicas": {}}})));
}

#[test]
fn conflicts_name_updaters_with_their_version() {
    let mut live = deploy(json!({"replicas": 1}));
    managed::update(deployment(), None, &mut live, "kubectl-client-side-apply", NOW, None).unwrap();
    let status =
        apply(deployment(), Some(&live), &deploy(json!({"replicas": 2})), "b", false, LATER, None).unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(3);
    managed::update(deployment(), Some(&live), &mut scaled, "hpa", LATER, Some("scale")).unwrap();
    let status =
        apply(deployment(), Some(&scaled), &deploy(json!({"replicas": 2})), "b", false, LATER, None).unwrap_err();
    assert!(
        status.message.contains("conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"),
        "{status}"
    );
}

#[test]
fn dropped_fields_go_unless_another_owns_them() {
    let live = first(config_map(), &map(json!({"a": "1", "b": "2", "c": "3"})), "m");
    let live = then(config_map(), &live, &map(json!({"b": "2"})), "other");
    let mut edited = live.clone();
    edited["data"]["d"] = json!("4");
    managed::update(config_map(), Some(&live), &mut edited, "editor", LATER, None).unwrap();
    let less = then(config_map(), &edited, &map(json!({"a": "1"})), "m");
    assert_eq!(less["data"], json!({"a": "1", "b": "2", "d": "4"}));
    // Fields that nobody owns stay, such as defaults.
    let mut live = first(deployment(), &deploy(json!({"replicas": 1, "minReadySeconds": 3})), "m");
    live["spec"]["revisionHistoryLimit"] = json!(10);
    live["metadata"]["uid"] = json!("u");
    let less = then(deployment(), &live, &deploy(json!({"replicas": 1})), "m");
    assert_eq!(less["spec"], json!({"replicas": 1, "revisionHistoryLimit": 10}));
    assert_eq!(less["metadata"]["uid"], "u");
    // All of it.
    let none = then(
        config_map(),
        &first(config_map(), &map(json!({"a": "1"})), "m"),
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}}),
        "m",
    );
    assert_eq!(none, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}}));
}

#[test]
fn dropped_elements_go_and_the_others_keep_their_place() {
    let live =
        first(deployment(), &deploy(template(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]))), "m");
    // Another adds an element between, and a field.
    let live = then(
        deployment(),
        &live,
        &deploy(template(json!([{"name": "s", "image": "9"}, {"name": "b", "tty": true}]))),
        "other",
    );
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&live), ["a", "s", "b"]);
    let less = then(deployment(), &live, &deploy(template(json!([{"name": "a", "image": "1"}]))), "m");
    // `b` keeps what the other owns.
    assert_eq!(names(&less), ["a", "s", "b"]);
    assert_eq!(less["spec"]["template"]["spec"]["containers"][2], json!({"name": "b", "tty": true}));
    let less = then(deployment(), &less, &deploy(template(json!([{"name": "s", "image": "9"}]))), "other");
    assert_eq!(names(&less), ["a", "s"]);
    // A new order of shared elements is taken over.
    let live = first(deployment(), &deploy(template(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]))), "m");
    let turned =
        then(deployment(), &live, &deploy(template(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}]))), "m");
    assert_eq!(names(&turned), ["c", "a", "b"]);
}

#[test]
fn sets_merge_by_value() {
    let with =
        |list: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": list}});
    let live = first(config_map(), &with(json!(["x/a", "x/b"])), "m");
    let live = then(config_map(), &live, &with(json!(["x/c"])), "other");
    assert_eq!(live["metadata"]["finalizers"], json!(["x/a", "x/b", "x/c"]));
    let less = then(config_map(), &live, &with(json!(["x/b"])), "m");
    assert_eq!(less["metadata"]["finalizers"], json!(["x/b", "x/c"]));
    assert_eq!(
        owners(&less),
        [
            ("Apply m".to_owned(), json!({"f:metadata": {"f:finalizers": {"v:\"x/b\"": {}}}})),
            ("Apply other".to_owned(), json!({"f:metadata": {"f:finalizers": {"v:\"x/c\"": {}}}})),
        ]
    );
}

#[test]
fn an_apply_that_changes_nothing_moves_no_time() {
    let live = first(config_map(), &map(json!({"a": "1"})), "m");
    assert_eq!(then(config_map(), &live, &map(json!({"a": "1"})), "m"), live);
    let changed = then(config_map(), &live, &map(json!({"a": "2"})), "m");
    assert_eq!(changed["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn untracked_objects_get_a_first_owner() {
    let live = map(json!({"a": "1"}));
    let status = apply(config_map(), Some(&live), &map(json!({"a": "2"})), "m", false, LATER, None).unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
    let object = then(config_map(), &live, &map(json!({"b": "2"})), "m");
    assert_eq!(
        owners(&object),
        [
            ("Apply m".to_owned(), json!({"f:data": {"f:b": {}}})),
            ("Update before-first-apply".to_owned(), json!({"f:data": {".": {}, "f:a": {}}})),
        ]
    );
}

#[test]
fn another_spelling_is_no_change() {
    let limits = |cpu: &str| deploy(template(json!([{"name": "a", "resources": {"limits": {"cpu": cpu}}}])));
    let live = first(deployment(), &limits("1000m"), "m");
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
    assert_eq!(then(deployment(), &live, &limits("1000m"), "m"), live);
    then(deployment(), &live, &limits("1000m"), "other");
    let status = apply(deployment(), None, &limits("one"), "m", false, NOW, None).unwrap_err();
    assert_eq!(status.code, 400);
}

#[test]
fn status_belongs_to_its_subresource() {
    let mut wanted = deploy(json!({"replicas": 1}));
    wanted["status"] = json!({"replicas": 7});
    let live = first(deployment(), &wanted, "m");
    assert!(live.get("status").is_none());
    let object = apply(deployment(), Some(&live), &wanted, "m", false, LATER, Some("status")).unwrap();
    assert_eq!(object["status"], json!({"replicas": 7}));
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn a_named_revision_is_a_precondition() {
    let mut live = first(config_map(), &map(json!({"a": "1"})), "m");
    live["metadata"]["resourceVersion"] = json!("5");
    let mut wanted = map(json!({"a": "2"}));
    wanted["metadata"]["resourceVersion"] = json!("4");
    let status = apply(config_map(), Some(&live), &wanted, "m", false, LATER, None).unwrap_err();
    assert!(status.message.starts_with("Operation cannot be fulfilled on configmaps \"c\""), "{status}");
    wanted["metadata"]["resourceVersion"] = json!("5");
    assert_eq!(then(config_map(), &live, &wanted, "m")["data"]["a"], "2");
}

#[test]
fn client_side_apply_hands_over_to_kubectl() {
    let last = deploy(json!({"replicas": 1, "paused": true}));
    let mut live = last.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: last.to_string()});
    managed::update(deployment(), None, &mut live, "kubectl-client-side-apply", NOW, None).unwrap();
    let wanted = deploy(json!({"replicas": 5, "paused": true}));
    // Other managers fight for it.
    apply(deployment(), Some(&live), &wanted, "helm", false, LATER, None).unwrap_err();
    let object = then(deployment(), &live, &wanted, "kubectl");
    assert_eq!(object["spec"]["replicas"], 5);
    let annotation: Value =
        serde_json::from_str(object["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(annotation, wanted);
    // What was edited since is fought for.
    let mut edited = live.clone();
    edited["spec"]["replicas"] = json!(3);
    managed::update(deployment(), Some(&live), &mut edited, "kubectl-edit", LATER, None).unwrap();
    let status = apply(deployment(), Some(&edited), &wanted, "kubectl", false, LATER, None).unwrap_err();
    assert!(status.message.contains("\"kubectl-edit\" using apps/v1: .spec.replicas"), "{status}");
}
