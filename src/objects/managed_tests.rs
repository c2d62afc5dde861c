//! Who owns which field after which write.

use serde_json::{Value, json};

use super::*;
use crate::kind;
use crate::patch::apply;

const NOW: &str = "2026-07-24T08:00:00Z";
const LATER: &str = "2026-07-24T09:00:00Z";

fn config_map() -> &'static Kind {
    kind::by_kind("v1", "ConfigMap").expect("served")
}

fn deployment() -> &'static Kind {
    kind::by_kind("apps/v1", "Deployment").expect("served")
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "u"}, "data": data})
}

fn created(data: Value, manager: &str) -> Value {
    let mut object = map(data);
    update(config_map(), None, &mut object, manager, NOW, None).expect("recorded");
    object
}

fn changed(old: &Value, data: Value, manager: &str) -> Value {
    let mut new = old.clone();
    new["data"] = data;
    update(config_map(), Some(old), &mut new, manager, LATER, None).expect("recorded");
    new
}

fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["fieldsV1"].clone())).collect()
}

#[test]
fn entries_that_cannot_be_read_are_refused() {
    let good = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}});
    for (change, field, text) in [
        (json!({"operation": "Delete"}), "metadata.managedFields[0].operation", "must be `Apply` or `Update`"),
        (json!({"operation": null}), "metadata.managedFields[0].operation", "must be"),
        (json!({"apiVersion": ""}), "metadata.managedFields[0].apiVersion", "must not be empty"),
        (json!({"fieldsType": "FieldsV2"}), "metadata.managedFields[0].fieldsType", "must be `FieldsV1`"),
        (json!({"fieldsV1": {"data": {}}}), "metadata.managedFields[0].fieldsV1", "missing colon"),
        (json!({"fieldsV1": "x"}), "metadata.managedFields[0].fieldsV1", "error decoding set"),
        (json!({"manager": "x".repeat(129)}), "metadata.managedFields[0].manager", "128 bytes"),
    ] {
        let mut entry = good.clone();
        for (key, value) in change.as_object().unwrap() {
            entry[key] = value.clone();
        }
        let old = created(json!({"a": "1"}), "m");
        let mut new = old.clone();
        new["metadata"]["managedFields"] = json!([entry]);
        let status = update(config_map(), Some(&old), &mut new, "m", LATER, None).unwrap_err();
        assert_eq!(status.code, 422);
        assert_eq!(status.details.causes[0].field, field);
        assert!(status.message.contains(text), "{status}");
    }
    let mut new = map(json!({}));
    new["metadata"]["managedFields"] = json!({"f:data": {}});
    assert_eq!(update(config_map(), None, &mut new, "m", NOW, None).unwrap_err().code, 422);
}

#[test]
fn a_creation_owns_what_it_says() {
    let object = created(json!({"a": "1"}), "m");
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": NOW, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}}}}])
    );
    // As kubectl create deployment looks upstream: fields of structs that are always there have no dot.
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "d"}, "creationTimestamp": NOW},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "d"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [
                {"name": "n", "image": "i", "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                "restartPolicy": "Always", "securityContext": {}}}},
        "status": {"replicas": 9}});
    update(deployment(), None, &mut object, "kubectl-create", NOW, None).unwrap();
    assert_eq!(
        owners(&object),
        [(
            "kubectl-create".to_owned(),
            json!({
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:replicas": {}, "f:selector": {},
                    "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                    "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
                        "f:containers": {"k:{\"name\":\"n\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                ".": {}, "f:containerPort": {}, "f:protocol": {}}}}},
                        "f:restartPolicy": {}, "f:securityContext": {}}}},
            })
        )]
    );
}

#[test]
fn an_update_takes_what_it_changes() {
    let object = created(json!({"a": "1", "b": "1", "c": "1"}), "first");
    let object = changed(&object, json!({"a": "2", "b": "1", "d": "1"}), "second");
    assert_eq!(
        owners(&object),
        [
            ("first".to_owned(), json!({"f:data": {".": {}, "f:b": {}}})),
            ("second".to_owned(), json!({"f:data": {"f:a": {}, "f:d": {}}})),
        ]
    );
    assert_eq!(object["metadata"]["managedFields"][0]["time"], NOW);
    assert_eq!(object["metadata"]["managedFields"][1]["time"], LATER);
    // Its own entry grows.
    let object = changed(&object, json!({"a": "2", "b": "2", "d": "1"}), "second");
    assert_eq!(owners(&object)[1].1, json!({"f:data": {"f:a": {}, "f:b": {}, "f:d": {}}}));
    assert_eq!(owners(&object)[0].1, json!({"f:data": {}}));
}

#[test]
fn nothing_changed_moves_nothing() {
    let object = created(json!({"a": "1"}), "m");
    assert_eq!(changed(&object, json!({"a": "1"}), "other"), object);
    // A client that does not know the entries cannot delete them.
    let mut forgetful = object.clone();
    take(&mut forgetful);
    update(config_map(), Some(&object), &mut forgetful, "other", LATER, None).unwrap();
    assert_eq!(forgetful, object);
}

#[test]
fn a_reset_ends_the_bookkeeping() {
    let object = created(json!({"a": "1"}), "m");
    for reset in [json!([]), json!([{}]), json!([{"manager": null}])] {
        let mut new = object.clone();
        new["metadata"]["managedFields"] = reset;
        update(config_map(), Some(&object), &mut new, "m", LATER, None).unwrap();
        assert!(new["metadata"].get("managedFields").is_none());
        // It stays ended for updates …
        let after = changed(&new, json!({"a": "2"}), "m");
        assert!(after["metadata"].get("managedFields").is_none());
        // … until something is applied.
        let after = apply(config_map(), Some(&after), &map(json!({"b": "1"})), "m", false, LATER, None).unwrap();
        assert_eq!(after["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    }
    // Not through a subresource.
    let mut new = object.clone();
    new["metadata"]["managedFields"] = json!([]);
    update(config_map(), Some(&object), &mut new, "m", LATER, Some("status")).unwrap();
    assert_eq!(new, object);
}

#[test]
fn a_client_may_hand_fields_over() {
    // kubectl's migration: the entry of client-side apply becomes one of server-side apply.
    let object = created(json!({"a": "1"}), "kubectl-client-side-apply");
    let mut new = object.clone();
    new["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
    new["metadata"]["managedFields"][0]["operation"] = json!("Apply");
    update(config_map(), Some(&object), &mut new, "kubectl", LATER, None).unwrap();
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": NOW, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}}}}])
    );
}

#[test]
fn status_and_spec_keep_apart() {
    let mut object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1}});
    update(deployment(), None, &mut object, "m", NOW, None).unwrap();
    let mut new = object.clone();
    new["status"] = json!({"replicas": 1});
    update(deployment(), Some(&object), &mut new, "controller", LATER, Some("status")).unwrap();
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn old_updaters_are_folded() {
    let mut object = created(json!({"k": "0"}), "m");
    for at in 0..15 {
        let mut data = object["data"].clone();
        data[format!("k{at:02}")] = json!("1");
        let mut new = object.clone();
        new["data"] = data;
        let now = format!("2026-07-24T10:00:{at:02}Z");
        update(config_map(), Some(&object), &mut new, &format!("m{at:02}"), &now, None).unwrap();
        object = new;
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), UPDATE_ENTRIES_MAX);
    assert_eq!(owners[0].0, ANCIENT_CHANGES);
    assert_eq!(
        owners[0].1,
        json!({"f:data": {".": {}, "f:k": {}, "f:k00": {}, "f:k01": {}, "f:k02": {}, "f:k03": {}, "f:k04": {}, "f:k05": {}}})
    );
}

#[test]
fn managers_come_from_user_agents() {
    let long = "ü".repeat(200);
    for (agent, manager) in [
        ("", ""),
        ("kubectl/v1.32.4 (linux/amd64) kubernetes/abc", "kubectl"),
        ("curl", "curl"),
        ("a\u{7}b/1", "ab"),
        ("/x", ""),
        (long.as_str(), "ü".repeat(64).as_str()),
    ] {
        assert_eq!(manager_from_user_agent(agent), manager);
    }
}
