//! Limits and classes: bounds, defaults, priorities.

use super::*;

fn limit_range(items: Value) -> Value {
    object("v1", "LimitRange", "l", json!({"spec": {"limits": items}}))
}

#[test]
fn what_is_out_of_bounds_is_refused_in_every_sort_of_container() {
    let containers =
        limit_range(json!([{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1", "memory": "1Gi"},
        "maxLimitRequestRatio": {"cpu": "4"}}]));
    let pods = limit_range(json!([{"type": "Pod", "max": {"cpu": "2"}}]));
    let fine = || container("a", json!({"cpu": "500m", "memory": "1Gi"}), json!({"cpu": "1", "memory": "1Gi"}));
    let large = || container("b", json!({"cpu": "500m", "memory": "1Gi"}), json!({"cpu": "1500m", "memory": "1Gi"}));
    let over = "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 1500m";
    let rows = [
        (&containers, json!({"containers": [large()]}), over),
        (&containers, json!({"containers": [fine()], "initContainers": [large()]}), over),
        (
            &containers,
            json!({"containers": [container("a", json!({"cpu": "50m", "memory": "1"}), json!({"cpu": "100m", "memory": "1"}))]}),
            "pods \"p\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            &containers,
            json!({"containers": [container("a", json!({"cpu": "200m", "memory": "1"}), json!({"cpu": "1", "memory": "1"}))]}),
            "pods \"p\" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000",
        ),
        (
            &containers,
            json!({"containers": [{"name": "a", "image": "i"}]}),
            "pods \"p\" is forbidden: [minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage \
             per Container is 1.  No limit is specified, maximum memory usage per Container is 1Gi.  No limit is specified, \
             cpu max limit to request ratio per Container is 4, but no request is specified or request is 0]",
        ),
        (&containers, json!({"containers": [fine()], "initContainers": [fine()]}), ""),
        (
            &pods,
            json!({"containers": [fine(), large()]}),
            "pods \"p\" is forbidden: maximum cpu usage per Pod is 2, but limit is 2500m",
        ),
        (&pods, json!({"containers": [fine(), fine()], "initContainers": [large()]}), ""),
    ];
    for (range, spec, wanted) in rows {
        assert_eq!(verdict(&state(std::slice::from_ref(range)), &pod(spec.clone()), None), wanted, "{spec}");
    }
    let claims =
        limit_range(json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]));
    let claim = |size: &str| {
        object("v1", "PersistentVolumeClaim", "c", json!({"spec": {"resources": {"requests": {"storage": size}}}}))
    };
    for (size, wanted) in [
        (
            "3Gi",
            "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
        ),
        (
            "1Mi",
            "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
        ),
        ("2Gi", ""),
    ] {
        assert_eq!(verdict(&state(std::slice::from_ref(&claims)), &claim(size), None), wanted);
        // Nor may a claim grow beyond it.
        let grown = verdict(&state(std::slice::from_ref(&claims)), &claim(size), Some(&claim("1500Mi")));
        assert_eq!(grown.contains("usage per PersistentVolumeClaim"), !wanted.is_empty(), "{grown}");
    }
}

#[test]
fn what_a_pod_does_not_say_a_limit_range_says() {
    let range = limit_range(
        json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]),
    );
    let state = state(&[range]);
    let mut value = pod(json!({"containers": [{"name": "a", "image": "i"}],
        "initContainers": [container("b", json!({"cpu": "1"}), json!({"cpu": "2"}))]}));
    mutate(&request(&state, &value.clone(), None), &mut value).unwrap();
    let resources = |list: &str| value["spec"][list][0]["resources"].clone();
    assert_eq!(resources("containers"), json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}}));
    assert_eq!(resources("initContainers"), json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}));
    let note = "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; memory limit for init \
                container b";
    assert_eq!(value["metadata"]["annotations"]["kubernetes.io/limit-ranger"], note);
    let once = value.clone();
    mutate(&request(&state, &once, None), &mut value).unwrap();
    assert_eq!(value, once);
}

fn class(name: &str, value: i64, default: bool) -> Value {
    object(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        name,
        json!({"value": value, "globalDefault": default, "preemptionPolicy": "Never"}),
    )
}

#[test]
fn priority_comes_from_classes_only() {
    let classes = [class("high", 1000, false), class("usual", 10, true)];
    let with = |spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "a", "image": "i"}]);
        pod(spec)
    };
    let rows = [
        (json!({"priorityClassName": "none"}), "no PriorityClass with name none was found"),
        (
            json!({"priority": 2_000_000_000}),
            "the integer value of priority (2000000000) must not be provided in pod spec; priority admission controller \
             computed 10 from the given PriorityClass name",
        ),
        (
            json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority \
             admission controller computed Never from the given PriorityClass name",
        ),
    ];
    for (spec, why) in rows {
        assert_eq!(verdict(&state(&classes), &with(spec), None), format!("pods \"p\" is forbidden: {why}"));
    }
    for (spec, classes, wanted) in [
        (json!({"priorityClassName": "high"}), &classes[..], json!(["high", 1000, "Never"])),
        (json!({}), &classes[..], json!(["usual", 10, "Never"])),
        (json!({}), &[], json!([null, 0, "PreemptLowerPriority"])),
    ] {
        let (state, mut value) = (state(classes), with(spec));
        mutate(&request(&state, &value.clone(), None), &mut value).unwrap();
        let spec = &value["spec"];
        assert_eq!(json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]]), wanted);
    }
    let second = "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. \
                  Only one default can exist";
    assert_eq!(verdict(&state(&classes), &class("other", 5, true), None), second);
    assert_eq!(verdict(&state(&classes), &class("usual", 10, true), Some(&class("usual", 10, false))), "");
}

#[test]
fn classes_are_given_and_kept() {
    let storage = |name: &str, at: &str, grows: bool| {
        let mut class = object(
            "storage.k8s.io/v1",
            "StorageClass",
            name,
            json!({"provisioner": "p", "allowVolumeExpansion": grows}),
        );
        class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        class["metadata"]["creationTimestamp"] = json!(at);
        class
    };
    let runtime = object(
        "node.k8s.io/v1",
        "RuntimeClass",
        "vm",
        json!({"handler": "h", "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}}),
    );
    let state = state(&[
        storage("a", "2026-01-01T00:00:00Z", true),
        storage("b", "2026-01-02T00:00:00Z", false),
        storage("c", "2026-01-02T00:00:00Z", true),
        runtime,
    ]);
    let claim = |class: Value, size: &str, phase: &str| {
        object(
            "v1",
            "PersistentVolumeClaim",
            "c",
            json!({"status": {"phase": phase},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}}),
        )
    };
    let mut given = claim(json!(null), "1Gi", "Pending");
    mutate(&request(&state, &given.clone(), None), &mut given).unwrap();
    assert_eq!(given["spec"]["storageClassName"], "b");
    let mut none = claim(json!(""), "1Gi", "Pending");
    mutate(&request(&state, &none.clone(), None), &mut none).unwrap();
    assert_eq!(none["spec"]["storageClassName"], "");
    for (class, phase, wanted) in [
        ("a", "Bound", ""),
        ("a", "Pending", "Only bound persistent volume claims can be expanded"),
        ("b", "Bound", "only dynamically provisioned pvc can be resized"),
        ("gone", "Bound", "only dynamically provisioned pvc can be resized"),
    ] {
        let (before, after) = (claim(json!(class), "1Gi", phase), claim(json!(class), "2Gi", phase));
        let found = verdict(&state, &after, Some(&before));
        assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{found}");
    }
    let containers = json!([{"name": "a", "image": "i"}]);
    for (spec, wanted) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm]",
        ),
    ] {
        let mut spec = spec;
        spec["containers"] = containers.clone();
        let found = verdict(&state, &pod(spec), None);
        assert!(found.contains(wanted), "{found}");
    }
    let mut value = pod(json!({"runtimeClassName": "vm", "containers": containers}));
    mutate(&request(&state, &value.clone(), None), &mut value).unwrap();
    let spec = &value["spec"];
    assert_eq!((&spec["overhead"]["cpu"], &spec["nodeSelector"]["vm"]), (&json!("100m"), &json!("yes")));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 1);
}
