//! Roles decide: what they open, what they leave shut, and what can be learned about them.

use super::*;

const PODS: &str = "/api/v1/namespaces/d/pods";
const CM: &str = "/api/v1/namespaces/d/configmaps";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

#[tokio::test]
async fn a_role_opens_what_it_names_and_nothing_else() {
    let world = World::governed().await;
    for name in ["a", "b"] {
        world.post(CM, &config_map(name)).await.expect(201);
        world.post(PODS, &pod(name)).await.expect(201);
    }
    world.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.expect(201);
    let in_d = [
        ("reader", json!([rule(&["get", "list", "watch"], &["pods"])])),
        ("all-verbs", json!([rule(&["*"], &["pods"])])),
        ("stars", json!([rule(&["*"], &["pods/*", "*/*"])])),
        ("scales", json!([rule(&["get"], &["*/log"])])),
        ("everything", json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])),
        ("other-group", json!([{"verbs": ["*"], "apiGroups": ["apps"], "resources": ["pods"]}])),
        ("looker", json!([rule(&["get"], &["pods/exec", "pods/attach", "pods"])])),
        ("runner", json!([rule(&["create"], &["pods/exec", "pods/attach"])])),
    ];
    for (user, rules) in in_d {
        world.grant(user, "d", user, rules).await;
    }
    let mut named = rule(&["*"], &["configmaps"]);
    named["resourceNames"] = json!(["a"]);
    world.grant("named", "d", "named", json!([named])).await;
    world.grant("everywhere", "", "everywhere", json!([rule(&["get", "list"], &["pods", "nodes"])])).await;
    let binding = binding("viewers", "ClusterRole", "view", "viewer");
    world.post(&format!("{}/rolebindings", rbac_in("d")), &binding).await.expect(201);
    let rows = [
        ("nobody", "GET", PODS, 403),
        ("reader", "GET", PODS, 200),
        ("reader", "GET", "/api/v1/namespaces/d/pods/a", 200),
        ("reader", "GET", "/api/v1/namespaces/default/pods", 403),
        ("reader", "GET", "/api/v1/pods", 403),
        ("reader", "DELETE", "/api/v1/namespaces/d/pods/a?dryRun=All", 403),
        ("reader", "DELETE", PODS, 403),
        ("reader", "GET", "/api/v1/namespaces/d/pods/a/log", 403),
        ("reader", "GET", "/api/v1/namespaces/d/pods/a/status", 403),
        // Every verb of a resource is none of its subresources.
        ("all-verbs", "DELETE", "/api/v1/namespaces/d/pods/a?dryRun=All", 200),
        ("all-verbs", "GET", "/api/v1/namespaces/d/pods/a/status", 403),
        ("all-verbs", "POST", "/api/v1/namespaces/d/pods/a/exec?command=ls", 403),
        ("all-verbs", "POST", "/api/v1/namespaces/d/pods/a/eviction", 403),
        ("stars", "GET", "/api/v1/namespaces/d/pods/a", 403),
        ("stars", "GET", "/api/v1/namespaces/d/pods/a/status", 403),
        ("scales", "GET", "/api/v1/namespaces/d/pods/a/log", 400),
        ("scales", "GET", "/api/v1/namespaces/d/pods/a", 403),
        ("other-group", "GET", PODS, 403),
        // A role in a namespace is about that namespace, whatever it names.
        ("everything", "GET", PODS, 200),
        ("everything", "GET", "/api/v1/namespaces/d", 200),
        ("everything", "GET", "/api/v1/namespaces/default", 403),
        ("everything", "GET", "/api/v1/namespaces", 403),
        ("everything", "GET", "/api/v1/nodes", 403),
        ("everything", "GET", "/api/v1/nodes/n1", 403),
        ("everything", "DELETE", "/api/v1/nodes/n1?dryRun=All", 403),
        ("everything", "GET", "/api/v1/pods", 403),
        ("everything", "GET", "/metrics", 403),
        ("everywhere", "GET", "/api/v1/nodes/n1", 200),
        ("everywhere", "GET", "/api/v1/pods", 200),
        ("everywhere", "GET", PODS, 200),
        // Names: of a list or a watch the one that the field selector binds it to.
        ("named", "GET", "/api/v1/namespaces/d/configmaps/a", 200),
        ("named", "GET", "/api/v1/namespaces/d/configmaps/b", 403),
        ("named", "GET", "/api/v1/namespaces/default/configmaps/a", 403),
        ("named", "GET", CM, 403),
        ("named", "GET", "/api/v1/namespaces/d/configmaps?fieldSelector=metadata.name%3Da", 200),
        ("named", "GET", "/api/v1/namespaces/d/configmaps?fieldSelector=metadata.name%3Db", 403),
        ("named", "GET", "/api/v1/namespaces/d/configmaps?fieldSelector=metadata.name!%3Da", 403),
        ("named", "GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Da", 403),
        ("named", "DELETE", "/api/v1/namespaces/d/configmaps?fieldSelector=metadata.name%3Da", 403),
        ("named", "DELETE", "/api/v1/namespaces/d/configmaps/a?dryRun=All", 200),
        // Running something is to create it, whatever the method.
        ("looker", "GET", "/api/v1/namespaces/d/pods/a/exec?command=ls", 403),
        ("looker", "GET", "/api/v1/namespaces/d/pods/a/attach", 403),
        ("looker", "POST", "/api/v1/namespaces/d/pods/a/exec?command=ls", 403),
        ("runner", "GET", "/api/v1/namespaces/d/pods/a/exec?command=ls", 400),
        ("runner", "POST", "/api/v1/namespaces/d/pods/a/attach", 400),
        ("viewer", "GET", PODS, 200),
        ("viewer", "GET", "/api/v1/namespaces/d", 200),
        ("viewer", "GET", "/api/v1/namespaces/d/secrets", 403),
        ("viewer", "GET", "/api/v1/namespaces/default/pods", 403),
    ];
    for (user, method, path, code) in rows {
        let answer = world.by(user, method, path, &Value::Null).await;
        assert_eq!(answer.code, code, "{user} {method} {path}: {}", answer.text);
        if code == 403 {
            assert_eq!(answer.value()["reason"], "Forbidden");
        }
    }
    let create = world.by("named", "POST", CM, &config_map("a")).await.expect(403);
    let words = "configmaps is forbidden: User \"named\" cannot create resource \"configmaps\" in API group \"\" \
                 in the namespace \"d\"";
    assert_eq!(create["message"], words);
    let exec = world.by("looker", "GET", &format!("{PODS}/a/exec?command=ls"), &Value::Null).await.expect(403);
    let words = "pods \"a\" is forbidden: User \"looker\" cannot create resource \"pods/exec\" in API group \"\" \
                 in the namespace \"d\"";
    assert_eq!(exec["message"], words);
}

#[tokio::test]
async fn a_role_holds_from_the_next_request_on() {
    let world = World::governed().await;
    let get = || world.by("ann", "GET", PODS, &Value::Null);
    get().await.expect(403);
    world.grant("ann", "d", "reader", json!([rule(&["list"], &["pods"])])).await;
    get().await.expect(200);
    let role = format!("{}/roles/reader", rbac_in("d"));
    world.patch(&role, "merge-patch", &json!({"rules": [rule(&["get"], &["pods"])]})).await.expect(200);
    get().await.expect(403);
    world.patch(&role, "merge-patch", &json!({"rules": [rule(&["list"], &["pods"])]})).await.expect(200);
    get().await.expect(200);
    world.delete(&role).await.expect(200);
    // Upstream says what it could not find.
    let refused = get().await.expect(403);
    assert_eq!(
        refused["message"],
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"d\": \
         RBAC: role.rbac.authorization.k8s.io \"reader\" not found"
    );
    world
        .post(
            &format!("{}/roles", rbac_in("d")),
            &json!({"metadata": {"name": "reader"}, "rules": [rule(&["list"], &["pods"])]}),
        )
        .await
        .expect(201);
    get().await.expect(200);
    world.delete(&format!("{}/rolebindings/reader", rbac_in("d"))).await.expect(200);
    get().await.expect(403);
}

#[tokio::test]
async fn to_patch_is_not_to_create() {
    let world = World::governed().await;
    world.post(CM, &config_map("there")).await.expect(201);
    world.grant("ann", "d", "patcher", json!([rule(&["get", "patch"], &["configmaps"])])).await;
    for (name, code) in [("there", 200), ("new", 403)] {
        let path = format!("{CM}/{name}?fieldManager=m&force=true");
        let media = [("content-type", "application/apply-patch+yaml")];
        let ann = Caller::authenticated("ann", []);
        let answer =
            world.send(ann, "PATCH", &path, &media, config_map(name).to_string().as_bytes()).await.expect(code);
        if code == 403 {
            let words = "configmaps \"new\" is forbidden: User \"ann\" cannot create resource \"configmaps\"";
            assert!(answer["message"].as_str().unwrap().starts_with(words), "{answer}");
        }
    }
    world.get(&format!("{CM}/new")).await.expect(404);
}

#[tokio::test]
async fn paths_are_authorized_as_paths() {
    let bare = World::new().await;
    let world = World::governed().await;
    let monitor = || Caller::authenticated("m", ["system:monitoring".to_owned()]);
    for (path, without_roles, code) in [
        ("/healthz", 200, 200),
        ("/version", 200, 200),
        ("/api", 403, 200),
        ("/apis/", 403, 200),
        ("/api/v1", 403, 200),
        ("/apis/apps/v1", 403, 200),
        ("/openapi/v3", 403, 200),
        ("/apis/nothing/v1/of/the/kind", 403, 404),
        ("/metrics", 403, 403),
        ("/nonsense", 403, 403),
        ("/api/v1/namespaces/%2e%2e/pods", 403, 404),
        ("/barque/v1/status", 403, 403),
    ] {
        let refused = bare.by("u", "GET", path, &Value::Null).await;
        assert_eq!(refused.code, without_roles, "{path}: {}", refused.text);
        if without_roles == 403 {
            assert_eq!(refused.value()["message"], format!("forbidden: User \"u\" cannot get path \"{path}\""));
        }
        let answer = world.by("u", "GET", path, &Value::Null).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.text);
    }
    assert_eq!(world.send(monitor(), "GET", "/metrics", &[], b"").await.code, 200);
    world.by("u", "POST", "/api", &Value::Null).await.expect(403);
    world.send(admin(), "POST", "/api", &[], b"").await.expect(405);
    world.send(admin(), "GET", "/nonsense", &[], b"").await.expect(404);
}

#[tokio::test]
async fn a_node_gets_from_roles_what_it_does_not_get_as_a_node() {
    let world = World::governed().await;
    let services = "/api/v1/services";
    let refused = world.send(node("n1"), "GET", services, &[], b"").await.expect(403);
    assert!(refused["message"].as_str().unwrap().starts_with("services is forbidden: User \"system:node:n1\""));
    let secrets = world.send(node("n1"), "GET", "/api/v1/secrets", &[], b"").await.expect(403);
    assert!(secrets["message"].as_str().unwrap().ends_with("can only read individual resources of this type"));
    world.grant("system:node:n1", "", "node-services", json!([rule(&["list"], &["services"])])).await;
    world.send(node("n1"), "GET", services, &[], b"").await.expect(200);
    world.send(node("n2"), "GET", services, &[], b"").await.expect(403);
}

#[tokio::test]
async fn names_of_roles_are_steps_of_a_path() {
    let world = World::governed().await;
    let named = |name: &str| json!({"metadata": {"name": name}, "rules": []});
    for name in ["system:mine", "A b", "a.B:c"] {
        world.post(&format!("{RBAC}/clusterroles"), &named(name)).await.expect(201);
        let path = format!("{RBAC}/clusterroles/{}", name.replace(' ', "%20").replace(':', "%3A"));
        assert_eq!(world.get(&path).await.expect(200)["metadata"]["name"], name);
    }
    for name in ["a/b", "..", ".", "a%2fb"] {
        let refused = world.post(&format!("{RBAC}/clusterroles"), &named(name)).await.expect(422);
        assert!(refused["message"].as_str().unwrap().contains("metadata.name: Invalid value"), "{refused}");
    }
}

#[tokio::test]
async fn people_learn_what_they_may_do() {
    let world = World::governed().await;
    world.grant("ann", "d", "reader", json!([rule(&["list"], &["pods"])])).await;
    let ask = |user: &'static str, kind: &str, spec: Value| {
        let path = format!("{REVIEWS}/{kind}");
        let world = &world;
        async move { world.by(user, "POST", &path, &json!({ "spec": spec })).await }
    };
    // What `kubectl auth can-i --list` shows.
    let rules = ask("ann", "selfsubjectrulesreviews", json!({"namespace": "d"})).await.expect(201)["status"].take();
    assert_eq!((&rules["incomplete"], &rules["evaluationError"]), (&json!(false), &Value::Null));
    let resources = rules["resourceRules"].as_array().unwrap();
    assert!(resources.contains(&rule(&["list"], &["pods"])), "{rules}");
    assert!(resources.iter().any(|rule| rule["resources"] == json!(["selfsubjectreviews"])), "{rules}");
    assert!(rules["nonResourceRules"].to_string().contains("/healthz"), "{rules}");
    let elsewhere = ask("ann", "selfsubjectrulesreviews", json!({"namespace": "default"})).await.expect(201);
    assert!(!elsewhere["status"]["resourceRules"].to_string().contains("pods"), "{elsewhere}");
    ask("ann", "selfsubjectrulesreviews", json!({})).await.expect(400);
    let path = format!("{REVIEWS}/selfsubjectrulesreviews");
    let node = world.send(node("n1"), "POST", &path, &[], br#"{"spec":{"namespace":"d"}}"#).await.expect(201);
    assert_eq!(node["status"]["incomplete"], true);
    assert_eq!(node["status"]["evaluationError"], "node authorizer does not support user rule resolution");

    let pods = |verb: &str, namespace: &str| json!({"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": namespace}});
    let path = |verb: &str, path: &str| json!({"nonResourceAttributes": {"verb": verb, "path": path}});
    for (spec, allowed) in [
        (pods("list", "d"), true),
        (pods("list", ""), false),
        (pods("get", "d"), false),
        (pods("*", "d"), false),
        (path("get", "/apis"), true),
        (path("get", "/version"), true),
        (path("get", "/metrics"), false),
        (path("post", "/apis"), false),
    ] {
        let status = ask("ann", "selfsubjectaccessreviews", spec.clone()).await.expect(201)["status"].take();
        assert_eq!(status["allowed"], allowed, "{spec}: {status}");
    }
    let reason = ask("ann", "selfsubjectaccessreviews", pods("list", "d")).await.expect(201)["status"]["reason"].take();
    assert_eq!(reason, "RBAC: allowed by RoleBinding \"reader/d\" of Role \"reader\" to User \"ann\"");
}

#[tokio::test]
async fn reviews_about_others_take_a_permission() {
    let world = World::governed().await;
    world.grant("ann", "d", "reader", json!([rule(&["list"], &["pods"])])).await;
    world
        .post(&format!("{RBAC}/clusterrolebindings"), &binding("b", "ClusterRole", "system:auth-delegator", "delegate"))
        .await
        .expect(201);
    let mut local = rule(&["create"], &["localsubjectaccessreviews"]);
    local["apiGroups"] = json!(["authorization.k8s.io"]);
    world.grant("local", "d", "local", json!([local])).await;
    let (everywhere, in_d) =
        (format!("{REVIEWS}/subjectaccessreviews"), format!("{REVIEWS}/namespaces/d/localsubjectaccessreviews"));
    let pods = json!({"verb": "list", "resource": "pods", "namespace": "d"});
    let about = |user: &str| json!({"spec": {"user": user, "resourceAttributes": pods}});
    for (who, path, code) in [
        ("ann", &everywhere, 403),
        ("ann", &in_d, 403),
        ("local", &everywhere, 403),
        ("local", &in_d, 201),
        ("delegate", &everywhere, 201),
    ] {
        let answer = world.by(who, "POST", path, &about("ann")).await.expect(code);
        if code == 201 {
            assert_eq!(answer["status"]["allowed"], true, "{answer}");
            let other = world.by(who, "POST", path, &about("bob")).await.expect(201);
            assert_eq!(other["status"], json!({"allowed": false}));
        }
    }
    let elsewhere = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
    world.by("local", "POST", &elsewhere, &about("ann")).await.expect(403);
    world.by("local", "GET", &in_d, &Value::Null).await.expect(405);
    let everything = json!({"verb": "*", "group": "*", "resource": "*"});
    let groups = json!({"spec": {"groups": ["system:masters"], "resourceAttributes": everything}});
    assert_eq!(world.by("delegate", "POST", &everywhere, &groups).await.expect(201)["status"]["allowed"], true);
    let mut moved = about("ann");
    moved["metadata"] = json!({"namespace": "default"});
    let mut asked_elsewhere = about("ann");
    asked_elsewhere["spec"]["resourceAttributes"]["namespace"] = json!("default");
    let path = json!({"verb": "get", "path": "/apis"});
    let mut both = about("ann");
    both["spec"]["nonResourceAttributes"] = path.clone();
    for (path, body, code, words) in [
        (&in_d, moved, 400, "must match namespace: d"),
        (&in_d, asked_elsewhere, 422, "spec.resourceAttributes.namespace: Invalid value"),
        (
            &in_d,
            json!({"spec": {"user": "ann", "nonResourceAttributes": path}}),
            422,
            "disallowed on this kind of request",
        ),
        (&everywhere, both, 422, "cannot be specified in combination with resourceAttributes"),
        (&everywhere, about(""), 422, "at least one of user or group must be specified"),
        (
            &everywhere,
            json!({"spec": {"user": "ann"}}),
            422,
            "exactly one of nonResourceAttributes or resourceAttributes",
        ),
    ] {
        let refused = world.post(path, &body).await.expect(code);
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }
}
