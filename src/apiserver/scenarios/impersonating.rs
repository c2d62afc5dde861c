//! Acting as somebody else, with and without the right to.

use super::*;

const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const PODS: &str = "/api/v1/namespaces/d/pods";

/// Ann may act as bob, in the group `staff`, with the scope `view` and the uid 1; ed may edit in `d`.
async fn world() -> World {
    let world = World::governed().await;
    let named = |group: &str, resource: &str, names: &[&str]| {
        let verbs = ["impersonate"];
        json!({"verbs": verbs, "apiGroups": [group], "resources": [resource], "resourceNames": names})
    };
    let rules = json!([
        named("", "users", &["bob"]),
        named("", "groups", &["staff"]),
        named("authentication.k8s.io", "userextras/scopes", &["view"]),
        named("authentication.k8s.io", "uids", &["1"]),
    ]);
    world.grant("ann", "", "impersonator", rules).await;
    let binding = binding("editors", "ClusterRole", "edit", "ed");
    world.post(&format!("{}/rolebindings", rbac_in("d")), &binding).await.expect(201);
    world
}

impl World {
    async fn who(&self, caller: Caller, headers: &[(&str, &str)]) -> Answer {
        self.send(
            caller,
            "POST",
            WHOAMI,
            headers,
            br#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#,
        )
        .await
    }
}

fn user(name: &str) -> Caller {
    Caller::authenticated(name, [])
}

#[tokio::test]
async fn who_may_not_is_told_what_they_lack() {
    let world = world().await;
    let (as_user, as_group, as_uid) = ("Impersonate-User", "Impersonate-Group", "Impersonate-Uid");
    let scopes = "Impersonate-Extra-Scopes";
    let rows = [
        (
            "nobody",
            vec![(as_user, "bob")],
            "users \"bob\" is forbidden: User \"nobody\" cannot impersonate resource \"users\" in API group \"\" \
             at the cluster scope",
        ),
        ("ann", vec![(as_user, "admin")], "users \"admin\" is forbidden"),
        (
            "ann",
            vec![(as_user, "bob"), (as_group, "system:masters")],
            "groups \"system:masters\" is forbidden: User \"ann\" cannot impersonate",
        ),
        ("ann", vec![(as_user, "bob"), (as_group, "barque:masters")], "groups \"barque:masters\" is forbidden"),
        ("ann", vec![(as_user, "bob"), (as_group, "staff"), (as_group, "system:masters")], "groups \"system:masters\""),
        ("ann", vec![(as_user, "bob"), (as_group, "system:nodes")], "groups \"system:nodes\""),
        ("ann", vec![(as_user, "system:node:n1")], "users \"system:node:n1\""),
        (
            "ann",
            vec![(as_user, "bob"), (scopes, "edit")],
            "userextras.authentication.k8s.io \"edit\" is forbidden: User \"ann\" cannot impersonate resource \
             \"userextras/scopes\"",
        ),
        ("ann", vec![(as_user, "bob"), ("Impersonate-Extra-Other", "view")], "resource \"userextras/other\""),
        ("ann", vec![(as_user, "bob"), (as_uid, "2")], "uids.authentication.k8s.io \"2\""),
        (
            "ed",
            vec![(as_user, "system:serviceaccount:kube-system:a")],
            "serviceaccounts \"a\" is forbidden: User \"ed\" cannot impersonate resource \"serviceaccounts\" \
             in API group \"\" in the namespace \"kube-system\"",
        ),
        ("ed", vec![(as_user, "system:serviceaccount:d:a"), (as_group, "system:masters")], "groups \"system:masters\""),
        ("system:anonymous", vec![(as_user, "bob")], "users \"bob\""),
    ];
    for (who, headers, words) in rows {
        let refused = world.who(user(who), &headers).await.expect(403);
        assert!(refused["message"].as_str().unwrap().contains(words), "{headers:?}: {refused}");
        assert_eq!(refused["reason"], "Forbidden");
    }
    world.who(node("n1"), &[(as_user, "system:node:n2"), (as_group, "system:nodes")]).await.expect(403);
    let masters = [(as_user, "root"), (as_group, "system:masters")];
    world.send(Caller::anonymous(), "GET", "/api/v1/pods", &masters, b"").await.expect(401);
}

#[tokio::test]
async fn incomplete_and_forged_headers_are_refused() {
    let world = world().await;
    for headers in [
        vec![("Impersonate-Group", "staff")],
        vec![("Impersonate-Uid", "1")],
        vec![("Impersonate-Extra-Scopes", "view")],
        vec![("Impersonate-User", "")],
        vec![("Impersonate-User", "bob"), ("Impersonate-User", "admin")],
        vec![("Impersonate-User", "bob"), ("Impersonate-Everything", "x")],
    ] {
        for caller in [admin(), user("ann")] {
            assert_eq!(world.who(caller, &headers).await.expect(400)["reason"], "BadRequest", "{headers:?}");
        }
    }
    // Nobody is trusted to speak for a proxy.
    let forged = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"), ("X-Remote-Extra-A", "b")];
    let who = world.who(user("nobody"), &forged).await.expect(201);
    assert_eq!(who["status"]["userInfo"], json!({"username": "nobody", "groups": ["system:authenticated"]}));
    world.send(user("nobody"), "GET", PODS, &forged, b"").await.expect(403);
    world.send(Caller::anonymous(), "GET", PODS, &forged, b"").await.expect(401);
}

#[tokio::test]
async fn the_impersonated_may_what_they_may() {
    let world = world().await;
    let headers = [
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "staff"),
        ("Impersonate-Extra-Scopes", "view"),
        ("Impersonate-Uid", "1"),
    ];
    let who = world.who(user("ann"), &headers).await.expect(201);
    let (groups, extra) = (["staff", "system:authenticated"], json!({"scopes": ["view"]}));
    let wanted = json!({"username": "bob", "uid": "1", "groups": groups, "extra": extra});
    assert_eq!(who["status"]["userInfo"], wanted);
    let account = [("Impersonate-User", "system:serviceaccount:d:a")];
    let who = world.who(user("ed"), &account).await.expect(201);
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated"]);
    assert_eq!(who["status"]["userInfo"]["groups"], groups);

    // An administrator who acts as somebody gives up their own rights; and is refused in the other's name.
    let as_bob = [("Impersonate-User", "bob")];
    let refused = world.send(admin(), "GET", PODS, &as_bob, b"").await.expect(403);
    assert!(refused["message"].as_str().unwrap().starts_with("pods is forbidden: User \"bob\" cannot list"));
    world.grant("bob", "d", "reader", json!([rule(&["list"], &["pods"])])).await;
    world.send(admin(), "GET", PODS, &as_bob, b"").await.expect(200);
    world.send(user("ann"), "GET", PODS, &as_bob, b"").await.expect(200);
    world.by("ann", "GET", PODS, &Value::Null).await.expect(403);
    // Not by way of another.
    let grant = binding("b", "ClusterRole", "cluster-admin", "bob");
    let path = format!("{}/rolebindings", rbac_in("d"));
    world.send(admin(), "POST", &path, &as_bob, grant.to_string().as_bytes()).await.expect(403);
    let who = world.who(admin(), &[("Impersonate-User", "system:anonymous")]).await;
    who.expect(403);
    let masters = [("Impersonate-User", "root"), ("Impersonate-Group", "system:masters")];
    world.send(admin(), "GET", "/api/v1/pods", &masters, b"").await.expect(200);
}

/// Keeps what is logged.
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!("{field}={value:?} "));
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

#[tokio::test]
async fn the_log_names_both() {
    let world = world().await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    // While there is only one subscriber, threads that have none may switch log lines off for it too; so there are two.
    let _other = tracing::Dispatch::new(Log(Arc::default()));
    let kept = tracing::subscriber::set_default(Log(Arc::clone(&lines)));
    world.send(user("ann"), "GET", PODS, &[("Impersonate-User", "bob")], b"").await.expect(403);
    drop(kept);
    let lines = lines.lock().unwrap();
    for message in ["a request was refused", "answered"] {
        let line = lines.iter().find(|line| line.contains(&format!("message={message}"))).expect(message);
        assert!(line.contains("user=ann ") && line.contains("impersonated=\"bob\" "), "{line}");
    }
}
