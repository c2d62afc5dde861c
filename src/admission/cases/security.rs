//! The Pod Security Standards.

use super::*;

#[test]
fn no_container_is_a_way_around_a_standard() {
    let bad = json!({"name": "bad", "image": "i", "securityContext": {"privileged": true}});
    let good = json!({"name": "good", "image": "i"});
    let state = state(&[namespace(json!({"enforce": "baseline"}))]);
    let wanted = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"bad\" must not set \
                  securityContext.privileged=true)";
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let mut spec = json!({"containers": [good]});
        spec[list] = json!([bad]);
        assert_eq!(verdict(&state, &pod(spec), None), wanted, "{list}");
    }
    // Nor is a subresource: the update of a pod that was fine.
    let before = pod(json!({"containers": [good]}));
    let after = pod(json!({"containers": [good], "ephemeralContainers": [bad]}));
    let mut request = request(&state, &after, Some(&before));
    request.subresource = "ephemeralcontainers";
    assert_eq!(validate(&request, &after).unwrap_err().message, wanted);
    // What does not touch the standards is let through, whatever the pod was before.
    let mut labelled = pod(json!({"containers": [bad]}));
    let old = labelled.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(verdict(&state, &labelled, Some(&old)), "");
}

#[test]
fn every_check_has_upstreams_words() {
    let security = |context: Value| json!({"containers": [{"name": "a", "image": "i", "securityContext": context}]});
    let with = |spec: Value| {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "a", "image": "i"}]);
        }
        spec
    };
    let baseline = [
        (json!({"hostNetwork": true, "hostPID": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")"),
        (
            json!({"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 81}]}]}),
            "hostPort (container \"a\" uses hostPorts 80, 81)",
        ),
        (
            json!({"containers": [{"name": "a", "image": "i", "livenessProbe": {"httpGet": {"host": "h", "port": 1}}}]}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        ),
        (
            security(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            security(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"user": "u", "type": "t"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"t\"; user may not be set)",
        ),
        (
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ];
    let state = state(&[namespace(json!({"enforce": "baseline"}))]);
    for (spec, wanted) in baseline {
        let found = verdict(&state, &pod(with(spec)), None);
        assert_eq!(found, format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {wanted}"));
    }
    assert_eq!(verdict(&state, &pod(with(json!({}))), None), "");
}

#[test]
fn the_restricted_level_wants_everything_said() {
    let strict = state(&[namespace(json!({"enforce": "restricted"}))]);
    let found = verdict(
        &strict,
        &pod(json!({"hostNetwork": true, "containers": [{"name": "a", "image": "i"}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {}}, {"name": "x", "emptyDir": {}}]})),
        None,
    );
    let wanted = "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true), hostPath \
                  volumes (volume \"v\"), allowPrivilegeEscalation != false (container \"a\" must set \
                  securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" must set \
                  securityContext.capabilities.drop=[\"ALL\"]), restricted volume types (volumes \"v\", \"w\" use restricted volume \
                  types \"hostPath\", \"nfs\"), runAsNonRoot != true (pod or container \"a\" must set \
                  securityContext.runAsNonRoot=true), seccompProfile (pod or container \"a\" must set \
                  securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    assert_eq!(found, wanted);
    let container = json!({"name": "a", "image": "i", "securityContext":
        {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}});
    let good = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(verdict(&strict, &pod(json!({"securityContext": good, "containers": [container]})), None), "");
    let mut root = good.clone();
    root["runAsUser"] = json!(0);
    let found = verdict(&strict, &pod(json!({"securityContext": root, "containers": [container]})), None);
    assert!(found.ends_with("runAsUser=0 (pod must not set runAsUser=0)"), "{found}");
    // One container that says otherwise is enough.
    let mut other = container.clone();
    other["name"] = json!("b");
    other["securityContext"]["runAsNonRoot"] = json!(false);
    let found = verdict(&strict, &pod(json!({"securityContext": good, "containers": [container, other]})), None);
    assert!(
        found.ends_with("runAsNonRoot != true (container \"b\" must not set securityContext.runAsNonRoot=false)"),
        "{found}"
    );
    // Older versions knew fewer checks.
    let old = state(&[namespace(json!({"enforce": "restricted", "enforce-version": "v1.7"}))]);
    let found = verdict(&old, &pod(json!({"containers": [{"name": "a", "image": "i"}]})), None);
    let wanted = "pods \"p\" is forbidden: violates PodSecurity \"restricted:v1.7\": runAsNonRoot != true (pod or container \"a\" must \
                  set securityContext.runAsNonRoot=true)";
    assert_eq!(found, wanted);
}

#[test]
fn labels_of_namespaces_mean_something() {
    let none = State::default();
    let bad = verdict(&none, &namespace(json!({"enforce": "strict", "warn-version": "1.2"})), None);
    let wanted = "Namespace \"d\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must \
                  be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid \
                  value: \"1.2\": must be \"latest\" or \"v1.x\"]";
    assert_eq!(bad, wanted);
    // A label that came past this is taken for the strictest.
    let state = state(&[namespace(json!({"enforce": "strict"}))]);
    assert!(
        verdict(&state, &pod(json!({"containers": [{"name": "a", "image": "i"}]})), None).contains("restricted:latest")
    );
    for (text, fine) in
        [("v1.0", true), ("v1.37", true), ("latest", true), ("v1.01", false), ("v2.1", false), ("v1.", false)]
    {
        let found = verdict(&none, &namespace(json!({"audit-version": text})), None);
        assert_eq!(found.is_empty(), fine, "{text}: {found}");
    }
}

#[test]
fn templates_and_raised_levels_warn() {
    let state = state(&[
        namespace(json!({"enforce": "baseline"})),
        pod(json!({"hostNetwork": true, "containers": [{"name": "a", "image": "i"}]})),
    ]);
    let template = json!({"metadata": {}, "spec": {"hostPID": true, "containers": [{"name": "a", "image": "i"}]}});
    let deployment = object("apps/v1", "Deployment", "web", json!({"spec": {"template": template}}));
    let cron =
        object("batch/v1", "CronJob", "tick", json!({"spec": {"jobTemplate": {"spec": {"template": template}}}}));
    let wanted = "would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    for value in [&deployment, &cron] {
        let warnings = validate(&request(&state, value, None), value).unwrap();
        assert_eq!(warnings[0], wanted);
    }
    let (before, after) = (namespace(json!({})), namespace(json!({"enforce": "baseline"})));
    let warnings = validate(&request(&state, &after, Some(&before)), &after).unwrap();
    let wanted = [
        "existing pods in namespace \"d\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "p: host namespaces",
    ];
    assert_eq!(warnings, wanted);
}
