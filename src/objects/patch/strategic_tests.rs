//! Rows of strategic merge patches.

use serde_json::{Value, json};

use super::*;
use crate::kind;

fn patched(kind: &str, original: Value, patch: Value) -> Result<Value, Status> {
    let api = if matches!(kind, "Deployment" | "ReplicaSet") { "apps/v1" } else { "v1" };
    strategic(kind::by_kind(api, kind).expect("served"), &original, &patch)
}

fn containers(list: Value) -> Value {
    json!({"spec": {"containers": list}})
}

#[test]
fn bad_patches_are_refused() {
    let pod = containers(json!([{"name": "a", "image": "1"}]));
    let mut deep = json!({});
    for _ in 0..300 {
        deep = json!({ "a": deep });
    }
    for (patch, text) in [
        (json!([]), "invalid JSON document"),
        (json!("x"), "invalid JSON document"),
        (deep, "nests deeper"),
        (json!({"$patch": "explode"}), "unknown patch type explode"),
        (json!({"spec": {"$patch": 1}}), "unknown patch type 1"),
        (json!({"spec": {"$unknown": 1}}), "unknown patch directive $unknown"),
        (json!({"spec": {"$retainKeys": "x"}}), "retainKeys"),
        (json!({"spec": {"$retainKeys": ["a"], "nodeName": "x"}}), "retainKeys"),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}), "primitive list"),
        (json!({"spec": {"$setElementOrder/containers": "x"}}), "setElementOrder"),
        (
            json!({"spec": {"$setElementOrder/containers": [{"image": "x"}], "containers": [{"name": "a"}]}}),
            "declared merge key: name",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}}),
            "doesn't match $setElementOrder",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "a"}, {"name": "b"}]}}),
            "doesn't match $setElementOrder",
        ),
        (containers(json!([{"image": "x"}])), "declared merge key: name"),
        (containers(json!([{"$patch": "delete"}])), "declared merge key: name"),
        (containers(json!([{"$patch": "merge"}])), "merging lists cannot yet"),
        (containers(json!([{"name": "a", "$patch": "explode"}])), "unknown patch type explode"),
        (containers(json!([["x"]])), "lists of lists"),
        (containers(json!(["x"])), "not identical"),
    ] {
        let status = patched("Pod", pod.clone(), patch.clone()).unwrap_err();
        assert_eq!(status.code, 400, "{patch}");
        assert!(status.message.contains(text), "{patch}: {status}");
    }
}

#[test]
fn fields_merge_and_null_deletes() {
    for (original, patch, merged) in [
        (
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"b": null, "c": "3"}}}),
            json!({"metadata": {"labels": {"a": "1", "c": "3"}}}),
        ),
        // Free keys may look like directives.
        (json!({"data": {"a": "1"}}), json!({"data": {"$x": "1"}}), json!({"data": {"$x": "1", "a": "1"}})),
        (json!({"data": {"a": "1"}}), json!({"data": {"$patch": "replace", "b": "2"}}), json!({"data": {"b": "2"}})),
        (json!({"data": {"a": "1"}}), json!({"data": {"$patch": "delete"}}), json!({"data": {}})),
        (
            json!({"data": {"a": "1"}}),
            json!({"data": {"$patch": "merge", "b": "2"}}),
            json!({"data": {"a": "1", "b": "2"}}),
        ),
        (json!({}), json!({"data": {"a": null, "b": "2"}}), json!({"data": {"b": "2"}})),
        (json!({}), json!({"data": {"$patch": "delete"}}), json!({})),
        (json!({"data": {"a": "1"}}), json!({"data": null}), json!({})),
        (json!({"data": "odd"}), json!({"data": {"a": "1"}}), json!({"data": {"a": "1"}})),
        (json!({"immutable": true}), json!({"immutable": false}), json!({"immutable": false})),
    ] {
        assert_eq!(patched("ConfigMap", original.clone(), patch.clone()).unwrap(), merged, "{original} + {patch}");
    }
}

#[test]
fn lists_of_objects_merge_by_their_key() {
    let original =
        json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]);
    for (patch, merged) in [
        (
            json!([{"name": "b", "image": "3"}]),
            json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "3"}]),
        ),
        (
            json!([{"name": "a", "env": [{"name": "Y", "value": "2"}]}]),
            json!([{"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "b", "image": "2"}]),
        ),
        (json!([{"name": "a", "$patch": "delete"}]), json!([{"name": "b", "image": "2"}])),
        (
            json!([{"name": "c", "image": "9"}, {"name": "none", "$patch": "delete"}]),
            json!([{"name": "c", "image": "9"}, {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
                {"name": "b", "image": "2"}]),
        ),
        (json!([{"$patch": "replace"}, {"name": "z", "image": "0"}]), json!([{"name": "z", "image": "0"}])),
        (json!([{"$patch": "replace"}]), json!([])),
    ] {
        let result = patched("Pod", containers(original.clone()), containers(patch.clone())).unwrap();
        assert_eq!(result, containers(merged), "{patch}");
    }
}

#[test]
fn ports_pair_by_number_alone() {
    let original = containers(json!([{"name": "a", "ports": [
        {"containerPort": 53, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]}]));
    let patch = containers(json!([{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]));
    assert_eq!(
        patched("Pod", original, patch).unwrap(),
        containers(json!([{"name": "a", "ports": [
            {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]}]))
    );
}

#[test]
fn atomic_lists_replace() {
    let original = json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["x", "y"]}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["z"]}]}});
    assert_eq!(
        patched("Pod", original, patch).unwrap(),
        json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["z"]}]}})
    );
}

#[test]
fn finalizers_merge_as_a_set() {
    for (old, patch, merged) in [
        (json!(["a", "b"]), json!({"finalizers": ["c"]}), json!(["a", "b", "c"])),
        (json!(["a", "b"]), json!({"finalizers": ["b"]}), json!(["a", "b"])),
        (json!(["a", "b"]), json!({"$deleteFromPrimitiveList/finalizers": ["a"]}), json!(["b"])),
        (
            json!(["a", "b"]),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
            json!(["c", "b"]),
        ),
        (json!(["a", "b"]), json!({"$setElementOrder/finalizers": ["b", "a"]}), json!(["b", "a"])),
    ] {
        let original = json!({"metadata": {"finalizers": old}});
        let result = patched("Pod", original, json!({ "metadata": patch })).unwrap();
        let mut sorted = result["metadata"]["finalizers"].as_array().unwrap().clone();
        let mut wanted = merged.as_array().unwrap().clone();
        if patch.get("$setElementOrder/finalizers").is_none() {
            // The place of a value that only one side has is best effort.
            sorted.sort_by_key(Value::to_string);
            wanted.sort_by_key(Value::to_string);
        }
        assert_eq!(sorted, wanted, "{patch}");
    }
    // Deleting from a list that is not there is nothing.
    assert_eq!(
        patched("Pod", json!({"metadata": {}}), json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}))
            .unwrap(),
        json!({"metadata": {}})
    );
}

#[test]
fn the_order_asked_for_wins() {
    let original = containers(json!([{"name": "a"}, {"name": "b"}, {"name": "server"}]));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
        "containers": [{"name": "new", "image": "n"}, {"name": "a", "image": "i"}],
    }});
    let result = patched("Pod", original, patch).unwrap();
    let names: Vec<&str> =
        result["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "new", "a", "server"]);
    // Deletions need no place in the order.
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}],
        "containers": [{"name": "a", "$patch": "delete"}],
    }});
    let result = patched("Pod", containers(json!([{"name": "a"}, {"name": "b"}])), patch).unwrap();
    assert_eq!(result, containers(json!([{"name": "b"}])));
    // A new list is ordered as well, and leaves no directive behind.
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "b"}, {"name": "a", "env": [{"name": "X", "$patch": "delete"}]}],
    }});
    let result = patched("Pod", json!({"spec": {}}), patch).unwrap();
    assert_eq!(result, containers(json!([{"name": "b"}, {"name": "a", "env": []}])));
}

#[test]
fn retain_keys_clears_the_other_strategy() {
    let original = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched("Deployment", original, patch).unwrap(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let original = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let patch = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}, "emptyDir": null}]}});
    assert_eq!(
        patched("Pod", original, patch).unwrap(),
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}})
    );
}

#[test]
fn big_numbers_keep_their_digits() {
    let result = patched(
        "Pod",
        json!({"metadata": {"generation": 1}}),
        json!({"metadata": {"generation": 9_007_199_254_740_993_i64}}),
    );
    assert_eq!(result.unwrap()["metadata"]["generation"], 9_007_199_254_740_993_i64);
}
