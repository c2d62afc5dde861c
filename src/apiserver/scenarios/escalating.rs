//! Attempts to get more than one has, by writing roles and bindings.

use super::*;

/// Kinds of the group that are read to see that nothing has changed.
const PLURALS: [&str; 4] = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];

/// Ann may write roles and bindings everywhere; and holds a little to give: to get pods, to read one secret, `/metrics`.
async fn world() -> World {
    let world = World::governed().await;
    let group = "rbac.authorization.k8s.io";
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    world.grant("ann", "", "writer", json!([{"verbs": verbs, "apiGroups": [group], "resources": PLURALS}])).await;
    let mut secret = rule(&["get"], &["secrets"]);
    secret["resourceNames"] = json!(["mine"]);
    let metrics = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    world.grant("ann", "", "holder", json!([rule(&["get"], &["pods"]), secret, metrics])).await;
    world
}

async fn policy(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for plural in PLURALS {
        all.push(world.get(&format!("{RBAC}/{plural}")).await.expect(200)["items"].take());
    }
    all
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_hold() {
    let world = world().await;
    let (roles, bindings) = (format!("{}/roles", rbac_in("d")), format!("{}/rolebindings", rbac_in("d")));
    let (cluster_roles, cluster_bindings) = (format!("{RBAC}/clusterroles"), format!("{RBAC}/clusterrolebindings"));
    let small = json!([rule(&["get"], &["pods"])]);
    world.by("ann", "POST", &roles, &role("small", small.clone())).await.expect(201);
    world.by("ann", "POST", &bindings, &binding("small", "Role", "small", "bob")).await.expect(201);
    world.by("bob", "GET", "/api/v1/namespaces/d/pods/none", &Value::Null).await.expect(404);
    world
        .by("ann", "POST", &cluster_roles, &role("wide", json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}])))
        .await
        .expect(201);
    world.post(&roles, &role("big", json!([rule(&["*"], &["*"])]))).await.expect(201);
    world.post(&bindings, &binding("big", "Role", "big", "carl")).await.expect(201);
    let (small_path, big_binding) = (format!("{roles}/small"), format!("{bindings}/big"));
    let to = |user: &str| json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
    let before = policy(&world).await;

    let not_held = "is attempting to grant RBAC permissions not currently held:\n";
    let create = |rules: Value| role("r", rules);
    let mut other_secret = rule(&["get"], &["secrets"]);
    other_secret["resourceNames"] = json!(["mine", "theirs"]);
    let aggregated = |rules: Value| {
        json!({"metadata": {"name": "r"}, "rules": rules,
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})
    };
    let url = |url: &str| json!([{"verbs": ["get"], "nonResourceURLs": [url]}]);
    let rows = [
        ("POST", roles.clone(), create(json!([rule(&["get"], &["secrets"])])), 403, not_held),
        ("POST", roles.clone(), create(json!([other_secret])), 403, "ResourceNames:[\"theirs\"], Verbs:[\"get\"]}"),
        ("POST", roles.clone(), create(json!([rule(&["*"], &["pods"])])), 403, not_held),
        ("POST", roles.clone(), create(json!([rule(&["get", "list"], &["pods"])])), 403, "Verbs:[\"list\"]}"),
        ("POST", roles.clone(), create(json!([rule(&["get"], &["*"])])), 403, not_held),
        ("POST", roles.clone(), create(json!([rule(&["get"], &["pods/log"])])), 403, "Resources:[\"pods/log\"]"),
        ("POST", roles.clone(), create(json!([rule(&["impersonate"], &["users"])])), 403, not_held),
        (
            "POST",
            roles.clone(),
            create(json!([{"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}])),
            403,
            not_held,
        ),
        ("POST", format!("{roles}?dryRun=All"), create(json!([rule(&["get"], &["secrets"])])), 403, not_held),
        ("POST", cluster_roles.clone(), create(url("*")), 403, "NonResourceURLs:[\"*\"]"),
        ("POST", cluster_roles.clone(), create(url("/metrics/*")), 403, not_held),
        // An aggregated role gathers whatever anybody labels so.
        (
            "POST",
            cluster_roles.clone(),
            aggregated(json!([])),
            403,
            "must have cluster-admin privileges to use the aggregationRule",
        ),
        ("POST", cluster_roles.clone(), aggregated(small.clone()), 403, "must have cluster-admin privileges"),
        (
            "PATCH",
            format!("{cluster_roles}/wide"),
            json!({"aggregationRule": {"clusterRoleSelectors": [{}]}}),
            403,
            "cluster-admin",
        ),
        // Whoever takes the aggregation away keeps what was gathered from ever shrinking.
        ("PATCH", format!("{cluster_roles}/view"), json!({"aggregationRule": null, "rules": []}), 403, "cluster-admin"),
        // Growing what others are bound to.
        ("PATCH", small_path.clone(), json!({"rules": [rule(&["*"], &["*"])]}), 403, not_held),
        ("PUT", small_path.clone(), role("small", json!([rule(&["get"], &["secrets"])])), 403, not_held),
        (
            "PATCH",
            format!("{cluster_roles}/system:basic-user"),
            json!({"rules": [rule(&["*"], &["*"])]}),
            403,
            not_held,
        ),
        // Binding oneself to more.
        ("POST", bindings.clone(), binding("r", "Role", "big", "ann"), 403, not_held),
        ("POST", bindings.clone(), binding("r", "ClusterRole", "cluster-admin", "ann"), 403, not_held),
        (
            "POST",
            bindings.clone(),
            binding("r", "Role", "none", "ann"),
            404,
            "roles.rbac.authorization.k8s.io \"none\" not found",
        ),
        ("POST", bindings.clone(), binding("r", "ClusterRole", "none", "ann"), 404, "not found"),
        ("POST", cluster_bindings.clone(), binding("r", "ClusterRole", "cluster-admin", "ann"), 403, not_held),
        ("PATCH", big_binding.clone(), json!({"subjects": to("ann")}), 403, not_held),
        ("PATCH", format!("{cluster_bindings}/cluster-admin"), json!({"subjects": to("ann")}), 403, not_held),
    ];
    for (method, path, body, code, words) in rows {
        let refused = world.by("ann", method, &path, &body).await.expect(code);
        assert!(refused["message"].as_str().unwrap().contains(words), "{method} {path} {body}: {refused}");
    }
    let apply = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [rule(&["get"], &["secrets"])]});
    for (name, media) in [("r", "application/apply-patch+yaml"), ("small", "application/apply-patch+yaml")] {
        let mut body = apply.clone();
        body["metadata"]["name"] = json!(name);
        let path = format!("{roles}/{name}?fieldManager=m&force=true");
        let ann = Caller::authenticated("ann", []);
        let refused = world.send(ann, "PATCH", &path, &[("content-type", media)], body.to_string().as_bytes()).await;
        assert!(refused.expect(403)["message"].as_str().unwrap().contains(not_held));
    }
    let operations = json!([{"op": "add", "path": "/rules/-", "value": rule(&["get"], &["secrets"])}]);
    let media = [("content-type", "application/json-patch+json")];
    let ann = Caller::authenticated("ann", []);
    world.send(ann, "PATCH", &small_path, &media, operations.to_string().as_bytes()).await.expect(403);
    assert_eq!(policy(&world).await, before, "refused requests change nothing");
    // What gives nothing away is no escalation.
    world.by("ann", "PATCH", &big_binding, &json!({"metadata": {"finalizers": ["example.com/f"]}})).await.expect(200);
    world.by("ann", "PATCH", &small_path, &json!({"rules": []})).await.expect(200);
    world.by("ann", "DELETE", &format!("{roles}/big"), &Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_binding_keeps_its_role() {
    let world = world().await;
    let bindings = format!("{}/rolebindings", rbac_in("d"));
    world.post(&bindings, &binding("b", "ClusterRole", "view", "bob")).await.expect(201);
    let changed = json!({"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}});
    let refused = world.patch(&format!("{bindings}/b"), "merge-patch", &changed).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("cannot change roleRef"), "{refused}");
    world.by("ann", "PATCH", &format!("{bindings}/b"), &changed).await.expect(403);
}

#[tokio::test]
async fn explicit_verbs_let_one_give_more_than_one_holds() {
    let world = world().await;
    let (roles, bindings) = (format!("{}/roles", rbac_in("d")), format!("{}/rolebindings", rbac_in("d")));
    let group = "rbac.authorization.k8s.io";
    let bind =
        json!({"verbs": ["bind"], "apiGroups": [group], "resources": ["clusterroles"], "resourceNames": ["view"]});
    world.grant("ann", "d", "binder", json!([bind])).await;
    world.by("ann", "POST", &bindings, &binding("v", "ClusterRole", "view", "bob")).await.expect(201);
    world.by("ann", "POST", &bindings, &binding("e", "ClusterRole", "edit", "bob")).await.expect(403);
    let elsewhere = format!("{}/rolebindings", rbac_in("default"));
    world.by("ann", "POST", &elsewhere, &binding("v", "ClusterRole", "view", "bob")).await.expect(403);
    let cluster = format!("{RBAC}/clusterrolebindings");
    world.by("ann", "POST", &cluster, &binding("v", "ClusterRole", "view", "bob")).await.expect(403);

    let more = role("more", json!([rule(&["*"], &["secrets"])]));
    world.by("ann", "POST", &roles, &more).await.expect(403);
    let escalate = json!({"verbs": ["escalate"], "apiGroups": [group], "resources": ["roles"]});
    world.grant("ann", "d", "escalator", json!([escalate])).await;
    world.by("ann", "POST", &roles, &more).await.expect(201);
    world.by("ann", "POST", &format!("{}/roles", rbac_in("default")), &more).await.expect(403);
    // To write a role is not yet to bind it.
    world.by("ann", "POST", &bindings, &binding("m", "Role", "more", "ann")).await.expect(403);
}
