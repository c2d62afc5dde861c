//! Who may do what, and what is answered about it.

use super::*;

const PODS: &str = "/api/v1/namespaces/d/pods";

#[tokio::test]
async fn strangers_learn_nothing() {
    let world = World::new().await;
    for path in ["/livez", "/readyz", "/healthz", "/version", "/livez?verbose"] {
        assert_eq!(world.send(Caller::anonymous(), "GET", path, &[], b"").await.code, 200, "{path}");
    }
    for path in [
        "/api",
        "/apis",
        "/openapi/v3",
        "/metrics",
        "/api/v1/pods",
        "/nonsense",
        "/barque/v1/status",
        "/a/../b",
        "/api/v1/pods?a=%zz",
    ] {
        let status = world.send(Caller::anonymous(), "GET", path, &[], b"").await.expect(401);
        assert_eq!(status["message"], "Unauthorized", "{path}");
    }
    *world.cluster.ready.lock().unwrap() = false;
    let ready = world.send(Caller::anonymous(), "GET", "/readyz?verbose", &[], b"").await;
    assert!(ready.code == 503 && ready.text.contains("no leader is known here"), "{ready:?}");
    assert_eq!(world.send(Caller::anonymous(), "GET", "/livez", &[], b"").await.text, "ok");
}

#[tokio::test]
async fn others_may_only_ask_about_themselves() {
    let world = World::governed().await;
    let user = || Caller::authenticated("u", vec!["g".to_owned()]);
    let refused = world.send(user(), "GET", PODS, &[], b"").await.expect(403);
    assert_eq!(
        refused["message"],
        "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"d\""
    );
    world.send(user(), "GET", "/metrics", &[], b"").await.expect(403);
    assert_eq!(world.send(user(), "GET", "/apis", &[], b"").await.code, 200);
    world.send(user(), "GET", "/barque/v1/status", &[], b"").await.expect(403);
    let body = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let who =
        world.send(user(), "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &[], body).await.expect(201);
    assert_eq!(who["status"]["userInfo"], json!({"username": "u", "groups": ["g", "system:authenticated"]}));
    let may = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "d"}}});
    for (caller, allowed) in [(user(), false), (admin(), true)] {
        let answer = world.send(caller, "POST", may, &[], asked.to_string().as_bytes()).await.expect(201);
        assert_eq!(answer["status"]["allowed"], allowed);
        assert_eq!(answer["spec"], asked["spec"]);
    }
    world.send(user(), "POST", may, &[], br#"{"spec":{}}"#).await.expect(422);
    world.send(user(), "POST", may, &[], br#"{"kind":"Pod"}"#).await.expect(400);
    world.send(user(), "GET", may, &[], b"").await.expect(405);
    let others = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let body = json!({"spec": {"user": "root", "groups": ["system:masters"], "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}});
    world.send(user(), "POST", others, &[], body.to_string().as_bytes()).await.expect(403);
    assert_eq!(world.post(others, &body).await.expect(201)["status"]["allowed"], true);
    let rules =
        world.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &json!({"spec": {"namespace": "d"}})).await;
    assert_eq!(rules.expect(201)["status"]["resourceRules"][0]["verbs"], json!(["*"]));
}

#[tokio::test]
async fn a_node_sees_and_changes_only_its_own() {
    let world = World::new().await;
    let register =
        |name: &str| json!({"metadata": {"name": name}, "status": {"capacity": {"cpu": "1", "memory": "1Gi"}}});
    let own =
        world.send(node("n1"), "POST", "/api/v1/nodes", &[], register("n1").to_string().as_bytes()).await.expect(201);
    assert_eq!(own["status"]["allocatable"]["cpu"], "1");
    world.send(node("n1"), "POST", "/api/v1/nodes", &[], register("n2").to_string().as_bytes()).await.expect(403);
    let mut fenced = register("n3");
    fenced["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/team": "a"});
    world.send(node("n3"), "POST", "/api/v1/nodes", &[], fenced.to_string().as_bytes()).await.expect(403);
    let merge = [("content-type", "application/merge-patch+json")];
    let status = br#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    world.send(node("n1"), "PATCH", "/api/v1/nodes/n1/status", &merge, status).await.expect(200);
    world.send(node("n2"), "PATCH", "/api/v1/nodes/n1/status", &merge, status).await.expect(403);
    let taint = br#"{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}"#;
    world.send(node("n1"), "PATCH", "/api/v1/nodes/n1", &merge, taint).await.expect(403);

    for (name, on) in [("mine", "n1"), ("theirs", "n2")] {
        let mut body = pod(name);
        body["spec"]["nodeName"] = json!(on);
        body["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": format!("{name}-secret")}}]);
        world.post(PODS, &body).await.expect(201);
        world
            .post("/api/v1/namespaces/d/secrets", &json!({"metadata": {"name": format!("{name}-secret")}}))
            .await
            .expect(201);
    }
    let rows = [
        ("GET", format!("{PODS}/mine"), 200),
        ("GET", format!("{PODS}/theirs"), 403),
        ("GET", format!("{PODS}/none"), 404),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1".into(), 200),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2".into(), 403),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1".into(), 403),
        ("GET", "/api/v1/pods".into(), 403),
        ("GET", "/api/v1/nodes".into(), 403),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1".into(), 200),
        ("GET", "/api/v1/namespaces/d/secrets/mine-secret".into(), 200),
        ("GET", "/api/v1/namespaces/d/secrets/theirs-secret".into(), 403),
        ("GET", "/api/v1/namespaces/d/secrets".into(), 403),
        ("DELETE", format!("{PODS}/theirs?gracePeriodSeconds=0"), 403),
        ("DELETE", format!("{PODS}/mine?gracePeriodSeconds=0"), 200),
        ("GET", "/api/v1/namespaces/d/secrets/mine-secret".into(), 403),
    ];
    for (method, path, code) in rows {
        let answer = world.send(node("n1"), method, &path, &[], b"").await;
        assert_eq!(answer.code, code, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn heartbeats_and_joining() {
    let world = World::new().await;
    let beat = |caller, body: &'static [u8]| world.send(caller, "POST", "/barque/v1/heartbeat", &[], body);
    let own = br#"{"node":"n1","uid":"u"}"#;
    assert_eq!(beat(node("n1"), own).await.expect(200), json!({"masters": ["https://m1:6443"]}));
    assert!(world.direct.liveness.heard("n1", "u"));
    beat(node("n2"), own).await.expect(403);
    beat(admin(), own).await.expect(403);
    beat(node("n1"), b"{}").await.expect(400);
    beat(Caller::anonymous(), own).await.expect(401);
    world.direct.fail(Some(Error::Unavailable("no leader".into())));
    beat(node("n1"), own).await.expect(503);

    let join = |body: Vec<u8>| {
        let world = &world;
        async move { world.send(Caller::anonymous(), "POST", "/barque/v1/join", &[], &body).await }
    };
    assert_eq!(join(br#"{"token":"good"}"#.to_vec()).await.expect(200)["cluster"], "c");
    join(br#"{"token":"bad"}"#.to_vec()).await.expect(401);
    join(vec![b'x'; 70_000]).await.expect(413);
    let secret = join(b"my-secret-token".to_vec()).await;
    assert!(secret.code == 400 && !secret.text.contains("my-secret-token"), "{secret:?}");
    world.send(Caller::anonymous(), "GET", "/barque/v1/join", &[], b"").await.expect(405);
    let mut refused = 0;
    for _ in 0..80 {
        refused += u32::from(join(br#"{"token":"bad"}"#.to_vec()).await.code == 429);
    }
    assert!(refused > 0, "guessing is slowed down");
    assert_eq!(world.send(node("n1"), "GET", "/barque/v1/status", &[], b"").await.expect(200)["leader"], "m1");
}

#[tokio::test]
async fn documents_have_tags_that_save_sending_them_again() {
    let world = World::new().await;
    for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3"] {
        let first = world.get(path).await;
        assert_eq!(first.code, 200, "{path}");
        let tag = first.headers["etag"].to_str().unwrap();
        let again = world.send(admin(), "GET", path, &[("if-none-match", tag)], b"").await;
        assert_eq!((again.code, again.text.len()), (304, 0), "{path}");
    }
    world.get("/openapi/v2").await.expect(404);
    let version = world.get("/version").await.expect(200);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("37")));
    let metrics = world.get("/metrics").await;
    assert!(metrics.code == 200 && metrics.text.contains("raft_term 3"), "{}", metrics.text);
}

#[tokio::test]
async fn pods_that_cannot_be_reached_say_why() {
    let world = World::new().await;
    world.post(PODS, &pod("free")).await.expect(201);
    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    two["spec"]["nodeName"] = json!("n1");
    world.post(PODS, &two).await.expect(201);
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
    let rows = [
        ("none/log", 404, "pods \"none\" not found"),
        ("free/log", 400, "pod free does not have a host assigned"),
        ("two/log", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("two/log?container=x", 400, "container x is not valid for pod two"),
        ("two/log?container=a", 404, "nodes \"n1\" not found"),
        ("two/log?container=a&tailLines=-1", 422, "tailLines"),
        ("two/log?container=a&sinceTime=now", 400, "RFC 3339"),
        ("free/exec?command=ls", 400, "does not have a host assigned"),
        ("two/exec?command=ls", 400, "choose one of: [a b]"),
        ("two/attach", 400, "choose one of: [a b]"),
        ("none/exec?command=ls", 404, "pods \"none\" not found"),
    ];
    for (suffix, code, fragment) in rows {
        let methods: &[&str] = if suffix.contains("log") { &["GET"] } else { &["GET", "POST"] };
        for method in methods {
            let answer = world.send(admin(), method, &format!("{PODS}/{suffix}"), &upgrade, b"").await;
            let status = answer.expect(code);
            assert!(status["message"].as_str().unwrap().contains(fragment), "{method} {suffix}: {status}");
        }
    }
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "example.com"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}});
    world.post("/api/v1/nodes", &node).await.expect(201);
    let answer = world.get(&format!("{PODS}/two/log?container=a")).await;
    assert!(answer.text.contains("has not said yet where its agent listens"), "names are not dialed: {}", answer.text);
}
