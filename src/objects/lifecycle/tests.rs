//! Rows of writes: what creation, update and deletion do to metadata.

use serde_json::{Value, json};

use super::*;
use crate::kind;

const NOW: &str = "2026-07-24T08:00:00Z";

fn of(name: &str) -> &'static Kind {
    kind::all().iter().find(|kind| kind.kind == name).unwrap()
}

#[test]
fn a_nameless_object_is_not_created() {
    let status = prepare_create(of("Pod"), &mut json!({}), "u", NOW, "abcde").unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (422, "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required")
    );
}

#[test]
fn creation_sets_what_only_the_server_writes() {
    let meta = |mut extra: Value| {
        extra["uid"] = json!("u");
        extra["creationTimestamp"] = json!(NOW);
        extra
    };
    for (kind, value, expected) in [
        (
            "Pod",
            json!({"metadata": {"name": "a", "uid": "mine", "resourceVersion": "7", "selfLink": "/x", "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 3, "generation": 9}, "status": {"phase": "Running"}}),
            json!({"metadata": meta(json!({"name": "a", "generation": 1})), "status": {"phase": "Pending", "qosClass": "BestEffort"}}),
        ),
        (
            "Pod",
            json!({"metadata": {"name": "a"}, "spec": {"schedulingGates": [{"name": "g"}]}}),
            json!({"metadata": meta(json!({"name": "a", "generation": 1})), "spec": {"schedulingGates": [{"name": "g"}]}, "status": {
                "phase": "Pending", "qosClass": "BestEffort",
                "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}],
            }}),
        ),
        (
            "ConfigMap",
            json!({"metadata": {"generateName": "a-"}}),
            json!({"metadata": meta(json!({"generateName": "a-", "name": "a-abcde"}))}),
        ),
        (
            "Namespace",
            json!({"metadata": {"name": "n"}, "status": {"phase": "Terminating"}}),
            json!({"metadata": meta(json!({"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}})), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
        ),
        (
            "Node",
            json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "1"}}}),
            json!({"metadata": meta(json!({"name": "n"})), "status": {"capacity": {"cpu": "1"}}}),
        ),
        (
            "Deployment",
            json!({"metadata": {"name": "d"}, "status": {"replicas": 3}}),
            json!({"metadata": meta(json!({"name": "d", "generation": 1})), "status": {}}),
        ),
        (
            "ReplicaSet",
            json!({"metadata": {"name": "d"}}),
            json!({"metadata": meta(json!({"name": "d", "generation": 1})), "status": {"replicas": 0}}),
        ),
    ] {
        let mut found = value.clone();
        prepare_create(of(kind), &mut found, "u", NOW, "abcde").unwrap();
        assert_eq!(found, expected, "{value}");
    }
    let mut long = json!({"metadata": {"generateName": "ä".repeat(100)}});
    prepare_create(of("ConfigMap"), &mut long, "u", NOW, "abcde").unwrap();
    let name = long["metadata"]["name"].as_str().unwrap();
    assert!(name.len() <= 63 && name.ends_with("abcde"), "{name}");
}

#[test]
fn another_object_is_not_an_update() {
    let old = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}});
    for (metadata, code, message) in [
        (json!({"name": "b"}), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            json!({"namespace": "m"}),
            400,
            "the namespace of the object (m) does not match the namespace on the request (n)",
        ),
        (
            json!({"uid": "v"}),
            409,
            "Operation cannot be fulfilled on pods \"a\": Precondition failed: UID in precondition: v, UID in object meta: u",
        ),
    ] {
        let status = prepare_update(of("Pod"), &old, &mut json!({"metadata": metadata}), None).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
    let dying = json!({"metadata": {"name": "a", "uid": "u", "deletionTimestamp": NOW, "finalizers": ["x/y"]}});
    let mut new = json!({"metadata": {"finalizers": ["x/y", "x/z"]}});
    let status = prepare_update(of("Pod"), &dying, &mut new, None).unwrap_err();
    assert_eq!(status.code, 422);
    assert!(status.message.ends_with("found new finalizers []string{\"x/z\"}"), "{status}");
    assert!(prepare_update(of("Pod"), &dying, &mut json!({"metadata": {}}), None).unwrap());
}

#[test]
fn updates_touch_what_their_door_lets_through() {
    let old = json!({
        "metadata": {"name": "a", "uid": "u", "generation": 3, "creationTimestamp": NOW, "labels": {"a": "1"}, "ownerReferences": [{"uid": "o"}]},
        "spec": {"x": 1}, "status": {"y": 1},
    });
    let with = |path: &str, to: Value| {
        let mut value = old.clone();
        *value.pointer_mut(path).unwrap() = to;
        value
    };
    let both = |first: Value, generation: i64| {
        let mut value = first;
        value["metadata"]["generation"] = json!(generation);
        value
    };
    for (kind, subresource, new, expected, changed) in [
        ("Deployment", None, old.clone(), old.clone(), false),
        ("Deployment", None, with("/spec/x", json!(2)), both(with("/spec/x", json!(2)), 4), true),
        ("Deployment", None, with("/status/y", json!(2)), old.clone(), false),
        ("Deployment", None, with("/metadata/labels/a", json!("2")), with("/metadata/labels/a", json!("2")), true),
        ("Deployment", None, with("/metadata/generation", json!(9)), old.clone(), false),
        ("Deployment", None, with("/metadata/creationTimestamp", json!("2020-01-01T00:00:00Z")), old.clone(), false),
        ("Deployment", Some("status"), with("/status/y", json!(2)), with("/status/y", json!(2)), true),
        ("Deployment", Some("status"), with("/spec/x", json!(2)), old.clone(), false),
        ("Deployment", Some("status"), with("/metadata/labels/a", json!("2")), old.clone(), false),
        (
            "ReplicaSet",
            Some("status"),
            with("/metadata/labels/a", json!("2")),
            with("/metadata/labels/a", json!("2")),
            true,
        ),
        ("Pod", Some("status"), with("/metadata/ownerReferences", json!([])), old.clone(), false),
        ("Pod", Some("binding"), with("/status/y", json!(2)), with("/status/y", json!(2)), true),
        ("ConfigMap", None, with("/spec/x", json!(2)), with("/spec/x", json!(2)), true),
    ] {
        let mut found = new.clone();
        let result = prepare_update(of(kind), &old, &mut found, subresource).unwrap();
        assert_eq!((found, result), (expected, changed), "{kind} {subresource:?} {new}");
    }
    let door = |new: Value, subresource: &str| {
        let mut found = new;
        prepare_update(of("Pod"), &old, &mut found, Some(subresource)).unwrap();
        found
    };
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "e"}]);
    let mut more = debugged.clone();
    more["spec"]["x"] = json!(2);
    more["metadata"]["labels"] = json!({});
    more["status"] = json!({});
    assert_eq!(door(more, "ephemeralcontainers"), both(debugged, 4));
    let mut classed = old.clone();
    classed["status"]["qosClass"] = json!("Burstable");
    let mut bare = with("/status", json!({"phase": "Running"}));
    prepare_update(of("Pod"), &classed, &mut bare, Some("status")).unwrap();
    assert_eq!(bare["status"], json!({"phase": "Running", "qosClass": "Burstable"}));
    let managed = |time: &str, manager: &str| json!({"metadata": {"name": "a", "resourceVersion": time, "managedFields": [{"manager": manager, "time": time}]}});
    assert!(!differs(&managed("1", "m"), &managed("2", "m")));
    assert!(differs(&managed("1", "m"), &managed("1", "n")));
    let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
    let mut new = json!({"metadata": {"name": "n"}, "spec": {}});
    assert!(!prepare_update(of("Namespace"), &namespace, &mut new, None).unwrap());
    let mut new = json!({"metadata": {"name": "n"}, "spec": {}});
    assert!(prepare_update(of("Namespace"), &namespace, &mut new, Some("finalize")).unwrap());
    assert_eq!(new["spec"], json!({}));
}

#[test]
fn bad_delete_options_are_refused() {
    for (value, code) in [
        (json!({"gracePeriodSeconds": "soon"}), 400),
        (json!([]), 400),
        (json!({"propagationPolicy": "Sideways"}), 422),
        (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422),
        (json!({"dryRun": ["Some"]}), 422),
    ] {
        assert_eq!(DeleteOptions::from_value(&value).unwrap_err().code, code, "{value}");
    }
    for (key, value, code) in [
        ("gracePeriodSeconds", "x", 400),
        ("orphanDependents", "maybe", 400),
        ("propagationPolicy", "x", 422),
        ("dryRun", "x", 422),
    ] {
        assert_eq!(DeleteOptions::from_query([(key, value)]).unwrap_err().code, code, "{key}={value}");
    }
    let options = DeleteOptions::from_value(&json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u", "resourceVersion": "7"}, "dryRun": ["All"],
    }))
    .unwrap();
    assert_eq!((options.grace, options.propagation, options.dry_run), (Some(0), Some(Propagation::Foreground), true));
    assert_eq!(options.preconditions.resource_version.as_deref(), Some("7"));
    let query =
        DeleteOptions::from_query([("gracePeriodSeconds", "5"), ("pretty", "true"), ("propagationPolicy", "Orphan")])
            .unwrap();
    assert_eq!((query.grace, query.propagation), (Some(5), Some(Propagation::Orphan)));
    let stale = DeleteOptions {
        preconditions: Preconditions { uid: Some("v".into()), ..Preconditions::default() },
        ..DeleteOptions::default()
    };
    let old = json!({"metadata": {"name": "a", "uid": "u"}});
    assert_eq!(prepare_delete(of("Pod"), &old, &stale, NOW).unwrap_err().code, 409);
}

/// What a deletion came to, in one line.
fn shown(deletion: &Deletion) -> String {
    match deletion {
        Deletion::Remove => "remove".into(),
        Deletion::Nothing => "nothing".into(),
        Deletion::Update(value) => {
            let metadata = &value["metadata"];
            format!(
                "{} {} {} {}",
                metadata["deletionTimestamp"].as_str().unwrap_or("-"),
                metadata["deletionGracePeriodSeconds"],
                metadata["finalizers"],
                metadata["generation"],
            )
        }
    }
}

#[test]
fn pods_get_their_grace() {
    let pod = |spec: Value, phase: &str, metadata: Value| {
        let mut pod =
            json!({"metadata": {"name": "a", "uid": "u", "generation": 1}, "spec": spec, "status": {"phase": phase}});
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        pod
    };
    let bound = json!({"nodeName": "n", "terminationGracePeriodSeconds": 30});
    let dying = json!({"deletionTimestamp": "2026-07-24T08:00:20Z", "deletionGracePeriodSeconds": 30});
    let over = json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0, "finalizers": ["x/y"]});
    let grace = |seconds: i64| DeleteOptions { grace: Some(seconds), ..DeleteOptions::default() };
    let default = DeleteOptions::default();
    for (old, options, expected) in [
        (pod(bound.clone(), "Running", json!({})), &default, "2026-07-24T08:00:30Z 30 null 2"),
        (pod(json!({"nodeName": "n"}), "Running", json!({})), &default, "2026-07-24T08:00:30Z 30 null 2"),
        (pod(bound.clone(), "Running", json!({})), &grace(5), "2026-07-24T08:00:05Z 5 null 2"),
        (pod(bound.clone(), "Running", json!({})), &grace(-7), "2026-07-24T08:00:01Z 1 null 2"),
        (pod(bound.clone(), "Running", json!({})), &grace(0), "remove"),
        (
            pod(bound.clone(), "Running", json!({"finalizers": ["x/y"]})),
            &grace(0),
            "2026-07-24T08:00:00Z 0 [\"x/y\"] 2",
        ),
        (
            pod(bound.clone(), "Running", json!({"finalizers": ["x/y"]})),
            &default,
            "2026-07-24T08:00:30Z 30 [\"x/y\"] 2",
        ),
        (pod(bound.clone(), "Succeeded", json!({})), &default, "remove"),
        (pod(bound.clone(), "Failed", json!({})), &grace(60), "remove"),
        (pod(json!({"terminationGracePeriodSeconds": 30}), "Pending", json!({})), &default, "remove"),
        (pod(bound.clone(), "Running", dying.clone()), &default, "nothing"),
        (pod(bound.clone(), "Running", dying.clone()), &grace(60), "nothing"),
        (pod(bound.clone(), "Running", dying.clone()), &grace(30), "nothing"),
        (pod(bound.clone(), "Running", dying.clone()), &grace(10), "2026-07-24T08:00:00Z 10 null 1"),
        (pod(bound.clone(), "Running", dying), &grace(0), "remove"),
        (pod(bound.clone(), "Running", over), &default, "nothing"),
    ] {
        assert_eq!(shown(&prepare_delete(of("Pod"), &old, options, NOW).unwrap()), expected, "{old} {options:?}");
    }
}

#[test]
fn finalizers_and_policies_hold_an_object() {
    let set =
        |finalizers: Value| json!({"metadata": {"name": "a", "uid": "u", "generation": 1, "finalizers": finalizers}});
    let policy = |policy| DeleteOptions { propagation: Some(policy), ..DeleteOptions::default() };
    let default = DeleteOptions::default();
    let orphan = DeleteOptions { orphan_dependents: Some(true), ..DeleteOptions::default() };
    for (old, options, expected) in [
        (set(json!([])), &default, "remove"),
        (set(json!([])), &policy(Propagation::Background), "remove"),
        (set(json!([])), &policy(Propagation::Foreground), "2026-07-24T08:00:00Z 0 [\"foregroundDeletion\"] 2"),
        (set(json!([])), &policy(Propagation::Orphan), "2026-07-24T08:00:00Z 0 [\"orphan\"] 2"),
        (set(json!([])), &orphan, "2026-07-24T08:00:00Z 0 [\"orphan\"] 2"),
        (set(json!(["x/y"])), &default, "2026-07-24T08:00:00Z 0 [\"x/y\"] 2"),
        (set(json!(["orphan"])), &default, "2026-07-24T08:00:00Z 0 [\"orphan\"] 2"),
        (set(json!(["orphan"])), &policy(Propagation::Background), "remove"),
        (
            set(json!(["orphan", "x/y"])),
            &policy(Propagation::Foreground),
            "2026-07-24T08:00:00Z 0 [\"x/y\",\"foregroundDeletion\"] 2",
        ),
    ] {
        let found = prepare_delete(of("ReplicaSet"), &old, options, NOW).unwrap();
        assert_eq!(shown(&found), expected, "{old} {options:?}");
        if let Deletion::Update(marked) = found {
            let again = prepare_delete(of("ReplicaSet"), &marked, &default, "2026-07-24T09:00:00Z").unwrap();
            assert_eq!(again, Deletion::Nothing, "a second time: {marked}");
        }
    }
    let namespace = json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    let Deletion::Update(marked) = prepare_delete(of("Namespace"), &namespace, &default, NOW).unwrap() else {
        panic!("marked")
    };
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(marked["metadata"]["deletionTimestamp"], NOW);
    assert_eq!(prepare_delete(of("Namespace"), &marked, &default, "2026-07-24T09:00:00Z").unwrap(), Deletion::Nothing);
    assert!(!after_update(of("Namespace"), &marked));
    let mut finalized = marked;
    finalized["spec"] = json!({});
    assert!(after_update(of("Namespace"), &finalized));
    assert_eq!(prepare_delete(of("Namespace"), &finalized, &default, NOW).unwrap(), Deletion::Remove);
}

#[test]
fn the_last_finalizer_lets_go() {
    for (kind, metadata, expected) in [
        ("ReplicaSet", json!({}), false),
        ("ReplicaSet", json!({"deletionTimestamp": NOW, "finalizers": ["x"]}), false),
        ("ReplicaSet", json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}), true),
        ("ReplicaSet", json!({"deletionTimestamp": NOW}), true),
        ("Pod", json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 30}), false),
        ("Pod", json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}), true),
    ] {
        assert_eq!(after_update(of(kind), &json!({"metadata": metadata})), expected, "{kind}");
    }
}
