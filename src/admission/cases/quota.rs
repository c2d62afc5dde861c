//! Quotas: refusals, scopes, charges, counts.

use super::*;

fn quota(name: &str, spec: Value, used: Value) -> Value {
    let hard = spec["hard"].clone();
    object("v1", "ResourceQuota", name, json!({"spec": spec, "status": {"hard": hard, "used": used}}))
}

fn worker(cpu: &str) -> Value {
    pod(json!({"containers": [container("a", json!({"cpu": cpu}), json!({}))]}))
}

#[test]
fn what_a_quota_does_not_allow_is_refused() {
    let full = quota(
        "q",
        json!({"hard": {"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"}}),
        json!({"pods": "2", "requests.cpu": "800m", "limits.memory": "0"}),
    );
    let limited =
        |cpu: &str| pod(json!({"containers": [container("a", json!({"cpu": cpu}), json!({"memory": "1Mi"}))]}));
    let state_of_full = state(&[full]);
    assert_eq!(
        verdict(&state_of_full, &limited("300m"), None),
        "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=300m, used: pods=2,requests.cpu=800m, limited: \
         pods=2,requests.cpu=1"
    );
    let silent = pod(json!({"containers": [container("a", json!({"cpu": "1"}), json!({}))],
        "initContainers": [{"name": "b", "image": "i"}]}));
    assert_eq!(
        verdict(&state_of_full, &silent, None),
        "pods \"p\" is forbidden: failed quota: q: must specify limits.memory for: a,b; requests.cpu for: b"
    );
    let unknown = state(&[quota("q", json!({"hard": {"pods": "2"}}), json!({}))]);
    assert_eq!(
        verdict(&unknown, &worker("1"), None),
        "pods \"p\" is forbidden: status unknown for quota: q, resources: pods"
    );
    let counts = state(&[quota(
        "q",
        json!({"hard": {"count/deployments.apps": "0", "configmaps": "1"}}),
        json!({"count/deployments.apps": "0", "configmaps": "1"}),
    )]);
    let deployment = object("apps/v1", "Deployment", "web", json!({"spec": {}}));
    assert!(verdict(&counts, &deployment, None).contains("exceeded quota: q, requested: count/deployments.apps=1"));
    let map = object("v1", "ConfigMap", "m", json!({}));
    assert!(
        verdict(&counts, &map, None)
            .contains("exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1")
    );
    assert_eq!(verdict(&counts, &map, Some(&map)), "");
}

#[test]
fn scopes_choose_what_a_quota_is_about() {
    let none = |spec: Value| state(&[quota("q", spec, json!({"pods": "0"}))]);
    let mut ending = worker("1");
    ending["spec"]["activeDeadlineSeconds"] = json!(5);
    let best_effort = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let mut important = worker("1");
    important["spec"]["priorityClassName"] = json!("high");
    let classes = |operator: &str| {
        json!({"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}})
    };
    let scope = |name: &str| json!({"hard": {"pods": "0"}, "scopes": [name]});
    for (spec, value, refused) in [
        (scope("Terminating"), &ending, true),
        (scope("Terminating"), &worker("1"), false),
        (scope("NotTerminating"), &ending, false),
        (scope("BestEffort"), &best_effort, true),
        (scope("BestEffort"), &worker("1"), false),
        (scope("NotBestEffort"), &best_effort, false),
        (classes("In"), &important, true),
        (classes("In"), &worker("1"), false),
        (classes("NotIn"), &important, false),
        (classes("NotIn"), &worker("1"), true),
    ] {
        let state = none(spec.clone());
        let found = charge(&request(&state, value, None), value, &mut Ledger::default());
        assert_eq!(found.is_err(), refused, "{spec}");
    }
    // A pod that changes its scope is charged to the quota it comes to.
    let state = none(scope("Terminating"));
    assert!(verdict(&state, &ending, Some(&worker("1"))).contains("exceeded quota"));
}

#[test]
fn a_charge_holds_only_where_nobody_charged_meanwhile() {
    let mut now = state(&[quota("q", json!({"hard": {"pods": "2"}}), json!({"pods": "1"}))]);
    let before = now.clone();
    let value = worker("1");
    let charged = |state: &State| {
        let mut ledger = Ledger::default();
        charge(&request(state, &value, None), &value, &mut ledger).map(|()| ledger.into_parts().unwrap())
    };
    let (preconditions, changes) = charged(&before).unwrap();
    put(&mut now, 10, preconditions, changes).unwrap();
    // Another master has read the same state: it is refused, reads again, and finds the quota used up.
    let (preconditions, changes) = charged(&before).unwrap();
    assert!(matches!(put(&mut now, 11, preconditions, changes), Err(state::Refusal::Changed { .. })));
    assert!(
        charged(&now)
            .unwrap_err()
            .message
            .contains("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2")
    );
    // Several objects of one transaction are charged one after the other.
    let mut ledger = Ledger::default();
    charge(&request(&before, &value, None), &value, &mut ledger).unwrap();
    assert!(charge(&request(&before, &value, None), &value, &mut ledger).is_err());
}

#[test]
fn what_is_used_is_counted_anew() {
    let named = |name: &str, phase: &str, spec: Value| {
        let mut value = pod(spec);
        value["metadata"]["name"] = json!(name);
        value["status"] = json!({"phase": phase});
        value
    };
    let spec = json!({"containers": [container("a", json!({"cpu": "500m"}), json!({"memory": "1Gi"}))]});
    let mut leaving = named("leaving", "Running", spec.clone());
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    leaving["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let mut overdue = named("overdue", "Running", spec.clone());
    overdue["metadata"]["deletionTimestamp"] = json!("2025-12-31T00:00:00Z");
    overdue["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let service =
        object("v1", "Service", "s", json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}));
    let claim = object(
        "v1",
        "PersistentVolumeClaim",
        "c",
        json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
    );
    let hard = json!({"hard": {"pods": "9", "requests.cpu": "9", "limits.memory": "9Gi", "count/pods": "9", "services.nodeports": "9",
        "services.loadbalancers": "9", "requests.storage": "9Gi", "fast.storageclass.storage.k8s.io/requests.storage": "9Gi",
        "count/secrets": "9", "requests.example.com/gpu": "9"}});
    let quota = quota("q", hard, json!({}));
    let state = state(&[
        named("a", "Running", spec.clone()),
        named("b", "Succeeded", spec),
        leaving,
        overdue,
        service,
        claim,
        quota.clone(),
    ]);
    let counted = crate::quota::counted(&state, "d", &quota, now());
    let used = json!({"pods": "2", "requests.cpu": "1", "limits.memory": "2Gi", "count/pods": "4", "services.nodeports": "2",
        "services.loadbalancers": "1", "requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "count/secrets": "0", "requests.example.com/gpu": "0"});
    assert_eq!(counted.status["used"], used);
    assert_eq!(counted.again_at, Some("2026-01-01T00:00:30Z".parse().unwrap()));
}
