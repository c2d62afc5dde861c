//! Tokens of service accounts and bootstrap tokens: who may have them, whom they speak for, and until when.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::KeyRing;
use identity::service_account::ISSUER;
use jiff::{SignedDuration, Timestamp};

use super::*;

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCOUNTS: &str = "/api/v1/namespaces/d/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/d/pods";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";

/// A world with signing keys, and the keys.
async fn keyed() -> (World, KeyRing) {
    let (world, ring) = (World::governed().await, new_ring());
    world.post(SECRETS, &ring.secret(&SEAL).unwrap()).await.expect(201);
    (world, ring)
}

/// Keys of a new cluster.
pub(super) fn new_ring() -> KeyRing {
    KeyRing::default().renewed(base::clock::now()).unwrap().expect("a first key")
}

impl World {
    async fn bearing(&self, authorization: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(Caller::anonymous(), method, path, &[("authorization", authorization)], body.as_bytes()).await
    }

    /// The code with which a token is answered that asks who it is.
    async fn code_of(&self, token: &str) -> u16 {
        self.bearing(&format!("Bearer {token}"), "POST", WHO, &json!({})).await.code
    }

    async fn issue(&self, account: &str, spec: &Value) -> Answer {
        self.post(&format!("{ACCOUNTS}/{account}/token"), &json!({"spec": spec})).await
    }

    async fn token(&self, account: &str, spec: &Value) -> String {
        self.issue(account, spec).await.expect(201)["status"]["token"].as_str().unwrap().to_owned()
    }

    async fn uid(&self, path: &str) -> Value {
        self.get(path).await.expect(200)["metadata"]["uid"].clone()
    }
}

fn bound_to(kind: &str, name: &str, uid: &Value) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}})
}

#[tokio::test]
async fn hostile_tokens_are_401_and_never_more() {
    let (world, ring) = keyed().await;
    let now = base::clock::now();
    let uid = world.uid(&format!("{ACCOUNTS}/default")).await;
    let second = now.as_second();
    let claims = json!({
        "aud": [ISSUER], "exp": second + 600, "iat": second, "iss": ISSUER, "jti": "j", "nbf": second,
        "kubernetes.io": {"namespace": "d", "serviceaccount": {"name": "default", "uid": uid}},
        "sub": "system:serviceaccount:d:default",
    });
    let signed = |path: &str, value: Value| {
        let mut claims = claims.clone();
        *claims.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        ring.sign(&claims, now).unwrap()
    };
    let good = signed("/jti", json!("k"));
    assert_eq!(world.code_of(&good).await, 201);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut hostile = vec![
        new_ring().sign(&claims, now).unwrap(),
        ring.sign(&json!({}), now).unwrap(),
        ring.sign(&json!([]), now).unwrap(),
        signed("/exp", json!(second)),
        signed("/exp", json!("never")),
        signed("/nbf", json!(second + 3600)),
        signed("/iss", json!("https://elsewhere")),
        signed("/aud", json!(["other"])),
        signed("/aud", json!([])),
        signed("/sub", json!("system:admin")),
        signed("/kubernetes.io/namespace", json!("kube-system")),
        signed("/kubernetes.io/serviceaccount/uid", json!("other")),
        signed("/kubernetes.io/serviceaccount/name", json!("../default")),
        signed(
            "/kubernetes.io",
            json!({"namespace": "d", "serviceaccount": {"name": "default", "uid": uid},
            "pod": {"name": "none", "uid": "u"}}),
        ),
        format!("{head}."),
        head.to_owned(),
        format!("{signature}.{signature}.{signature}"),
        format!("{}.{signature}", &head[..head.len() - 2]),
        "a.b.c".into(),
        "..".into(),
        "abcdef.0123456789abcdef".into(),
        "%00".into(),
        "x".repeat(20_000),
        ".".repeat(20_000),
        "[".repeat(20_000),
    ];
    // Any one letter of the signed part altered, here and there.
    for position in (0..head.len()).step_by(17) {
        let mut text = good.clone().into_bytes();
        text[position] = if text[position] == b'A' { b'B' } else { b'A' };
        hostile.push(String::from_utf8(text).unwrap());
    }
    for token in &hostile {
        let answer = world.bearing(&format!("Bearer {token}"), "POST", WHO, &json!({})).await;
        let status = answer.expect(401);
        assert_eq!((&status["reason"], &status["message"]), (&json!("Unauthorized"), &json!("Unauthorized")));
    }
    for header in ["Bearer", "Bearer  ", "Basic YTpi", "Negotiate x", &good] {
        assert_eq!(world.bearing(header, "GET", "/api", &json!(null)).await.code, 401, "{header}");
    }
    let second = format!("Bearer {good}");
    let two = [("authorization", "Bearer a"), ("authorization", second.as_str())];
    assert_eq!(world.send(Caller::anonymous(), "GET", "/api", &two, b"").await.code, 401);
    // Whoever has a certificate is who it says, whatever token comes along.
    let both = [("authorization", "Bearer a.b.c")];
    assert_eq!(world.send(admin(), "GET", "/api", &both, b"").await.code, 200);
    // Without a leader nobody is let in by what may be out of date, and nobody is told to go away for good.
    world.direct.fail(Some(Error::Unavailable("no leader".into())));
    assert_eq!(world.code_of(&signed("/kubernetes.io/serviceaccount/uid", json!("new"))).await, 503);
    assert_eq!(world.code_of(&hostile[0]).await, 401);
}

#[tokio::test]
async fn keys_that_are_missing_or_altered_let_nobody_in() {
    let (world, ring) = keyed().await;
    let token = world.token("default", &json!({})).await;
    let path = format!("{SECRETS}/{}", identity::signing::SECRET_NAME);
    // Who may write Secrets cannot plant a key.
    let foreign = Authority::generate("test").unwrap().signing_seal().unwrap();
    for data in [json!({"sealed": "AAAA"}), json!({}), new_ring().secret(&foreign).unwrap()["data"].clone()] {
        world.patch(&path, "json-patch", &json!([{"op": "add", "path": "/data", "value": data}])).await.expect(200);
        assert_eq!(world.code_of(&token).await, 401);
        world.issue("default", &json!({})).await.expect(503);
    }
    world.delete(&path).await.expect(200);
    assert_eq!(world.code_of(&token).await, 401);
    world.get("/openid/v1/jwks").await.expect(503);
    world.post(SECRETS, &ring.secret(&SEAL).unwrap()).await.expect(201);
    assert_eq!(world.code_of(&token).await, 201, "the keys are back");
    // A key that came later is known at once, the earlier one still counts.
    let later = base::clock::now() + SignedDuration::from_hours(24 * 91);
    let both = ring.renewed(later).unwrap().expect("a second key");
    let data = both.secret(&SEAL).unwrap()["data"].clone();
    world.patch(&path, "merge-patch", &json!({"data": data})).await.expect(200);
    assert_eq!(world.code_of(&token).await, 201);
    assert_eq!(world.get("/openid/v1/jwks").await.expect(200)["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_says_who_its_bearer_is() {
    let (world, _) = keyed().await;
    world.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    let before = base::clock::now();
    let issued = world.issue("robot", &json!({"expirationSeconds": 1200})).await.expect(201);
    assert_eq!((&issued["kind"], &issued["apiVersion"]), (&json!("TokenRequest"), &json!("authentication.k8s.io/v1")));
    assert_eq!(issued["spec"], json!({"audiences": [ISSUER], "expirationSeconds": 1200, "boundObjectRef": null}));
    let end: Timestamp = issued["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert!((1198..=1202).contains(&(end.as_second() - before.as_second())));
    let token = issued["status"]["token"].as_str().unwrap();
    for header in [format!("Bearer {token}"), format!("bearer {token}")] {
        let who = world.bearing(&header, "POST", WHO, &json!({})).await.expect(201);
        let info = &who["status"]["userInfo"];
        assert_eq!(info["username"], "system:serviceaccount:d:robot");
        assert_eq!(info["uid"], world.uid(&format!("{ACCOUNTS}/robot")).await);
        assert_eq!(
            info["groups"],
            json!(["system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated"])
        );
        assert!(info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI="));
    }
    let refused = world.bearing(&format!("Bearer {token}"), "GET", PODS, &json!(null)).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("User \"system:serviceaccount:d:robot\" cannot list"));
    // As kubectl asks since 1.32.
    let protobuf = b"k8s\0\x0a\x28\x0a\x18authentication.k8s.io/v1\x12\x0cTokenRequest\x12\x05\x12\x03\x20\xa0\x06";
    let media = [("content-type", "application/vnd.kubernetes.protobuf")];
    let issued = world.send(admin(), "POST", &format!("{ACCOUNTS}/robot/token"), &media, protobuf).await.expect(201);
    assert_eq!(issued["spec"]["expirationSeconds"], 800);
    let tried = world.post(&format!("{ACCOUNTS}/robot/token?dryRun=All"), &json!({})).await.expect(201);
    assert_eq!(tried["status"]["token"], "");
    let long = world.issue("robot", &json!({"expirationSeconds": 400_000_000})).await;
    assert_eq!(long.warnings().len(), 1, "{long:?}");
    assert_eq!(long.expect(201)["spec"]["expirationSeconds"], 365 * 24 * 3600);
    for (account, body, code, words) in [
        ("none", json!({}), 404, "serviceaccounts \"none\" not found"),
        ("robot", json!({"spec": {"expirationSeconds": 60}}), 422, "may not specify a duration less than 10 minutes"),
        ("robot", json!({"metadata": {"name": "other"}}), 400, "does not match"),
        ("robot", json!({"metadata": {"namespace": "other"}}), 400, "does not match"),
        ("robot", json!({"kind": "TokenReview"}), 400, "must be of type TokenRequest"),
        ("robot", json!({"spec": {"expirationSeconds": "x"}}), 400, ""),
        ("robot", json!({"spec": bound_to("Pod", "none", &json!(""))}), 404, "pods \"none\" not found"),
        ("robot", json!({"spec": bound_to("Deployment", "x", &json!(""))}), 400, "cannot bind token to object of type"),
    ] {
        let refused = world.post(&format!("{ACCOUNTS}/{account}/token"), &body).await.expect(code);
        assert!(refused["message"].as_str().unwrap().contains(words), "{body}: {refused}");
    }
    world.get(&format!("{ACCOUNTS}/robot/token")).await.expect(405);
    world.delete(&format!("{ACCOUNTS}/robot")).await.expect(200);
    assert_eq!(world.code_of(token).await, 401);
    world.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    assert_eq!(world.code_of(token).await, 401, "another account of that name");
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let (world, _) = keyed().await;
    let node = json!({"metadata": {"name": "n1"}});
    let own = |name: &str| format!("/api/v1/namespaces/d/{name}");
    let mut on_node = pod("p");
    on_node["spec"]["nodeName"] = json!("n1");
    let rows = [
        ("Secret", "s", own("secrets"), json!({"metadata": {"name": "s"}})),
        ("Node", "n1", "/api/v1/nodes".into(), node),
        ("Pod", "p", PODS.into(), on_node),
    ];
    for (kind, name, collection, object) in rows {
        let path = format!("{collection}/{name}");
        let uid = world.post(&collection, &object).await.expect(201)["metadata"]["uid"].clone();
        world.issue("default", &bound_to(kind, name, &json!("other"))).await.expect(409);
        let token = world.token("default", &bound_to(kind, name, &uid)).await;
        let who = world.bearing(&format!("Bearer {token}"), "POST", WHO, &json!({})).await.expect(201);
        let extra = &who["status"]["userInfo"]["extra"];
        if kind == "Pod" {
            assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
            assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([uid]));
            assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
            // A pod that is ending goes on working until its time is up.
            world.delete(&format!("{path}?gracePeriodSeconds=30")).await.expect(200);
            assert_eq!(world.code_of(&token).await, 201);
        }
        world.delete(&format!("{path}?gracePeriodSeconds=0")).await.expect(200);
        assert_eq!(world.code_of(&token).await, 401, "{kind}");
        world.post(&collection, &object).await.expect(201);
        assert_eq!(world.code_of(&token).await, 401, "another {kind} of that name");
    }
    world.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    let other = world.issue("robot", &bound_to("Pod", "p", &json!(""))).await.expect(400);
    assert!(other["message"].as_str().unwrap().contains("different serviceaccount name"), "{other}");
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_only() {
    let (world, _) = keyed().await;
    world.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    world.post(ACCOUNTS, &json!({"metadata": {"name": "idle"}})).await.expect(201);
    let mut uids = Vec::new();
    for (name, on) in [("mine", "n1"), ("theirs", "n2")] {
        let mut body = pod(name);
        body["spec"]["nodeName"] = json!(on);
        body["spec"]["serviceAccountName"] = json!("robot");
        body["spec"]["volumes"] = json!([{"name": "vault", "projected": {"sources": [
            {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]);
        uids.push(world.post(PODS, &body).await.expect(201)["metadata"]["uid"].clone());
    }
    let with = |audience: &str| {
        let mut spec = bound_to("Pod", "mine", &uids[0]);
        spec["audiences"] = json!([audience]);
        spec
    };
    let secret = world.post("/api/v1/namespaces/d/secrets", &json!({"metadata": {"name": "s"}})).await.expect(201);
    let rows = [
        ("robot", bound_to("Pod", "mine", &uids[0]), 201, ""),
        ("robot", with("vault"), 201, ""),
        ("robot", with(ISSUER), 201, ""),
        ("robot", with("bank"), 403, "not found in pod spec volume"),
        ("robot", json!({}), 403, "not bound to a pod"),
        ("robot", bound_to("Pod", "mine", &json!(null)), 403, "without a uid"),
        ("robot", bound_to("Pod", "mine", &uids[1]), 403, "does not match the UID in record"),
        ("robot", bound_to("Pod", "theirs", &uids[1]), 403, "scheduled on a different node"),
        ("robot", bound_to("Pod", "none", &json!("u")), 403, "not found"),
        ("robot", bound_to("Secret", "s", &secret["metadata"]["uid"]), 403, "not bound to a pod"),
        ("idle", bound_to("Pod", "mine", &uids[0]), 403, "no relationship found"),
        ("default", bound_to("Pod", "mine", &uids[0]), 403, "no relationship found"),
    ];
    for (account, spec, code, words) in rows {
        let body = json!({"spec": spec}).to_string();
        let path = format!("{ACCOUNTS}/{account}/token");
        let answer = world.send(node("n1"), "POST", &path, &[], body.as_bytes()).await;
        assert!(answer.code == code && answer.text.contains(words), "{account} {spec}: {answer:?}");
    }
    // What serves one program is no use against the API.
    let vault = world.token("robot", &with("vault")).await;
    assert_eq!(world.code_of(&vault).await, 401);
    // Neither accounts nor strangers issue tokens.
    let own = world.token("robot", &json!({})).await;
    world.bearing(&format!("Bearer {own}"), "POST", &format!("{ACCOUNTS}/robot/token"), &json!({})).await.expect(403);
    world.send(Caller::anonymous(), "POST", &format!("{ACCOUNTS}/robot/token"), &[], b"{}").await.expect(401);
}

#[tokio::test]
async fn others_can_check_tokens() {
    let (world, _) = keyed().await;
    let token = world.token("default", &json!({"audiences": ["vault", ISSUER]})).await;
    let review = |spec: Value| {
        let world = &world;
        async move { world.post(REVIEWS, &json!({"spec": spec})).await.expect(201)["status"].clone() }
    };
    let status = review(json!({"token": token})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([ISSUER])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:d:default");
    assert_eq!(review(json!({"token": token, "audiences": ["vault", "x"]})).await["audiences"], json!(["vault"]));
    for spec in [json!({"token": token, "audiences": ["x"]}), json!({"token": "a.b.c"}), json!({"token": "x"})] {
        let status = review(spec.clone()).await;
        assert!(status["authenticated"].is_null(), "{spec}: {status}");
        assert!(status["error"].as_str().unwrap().starts_with("invalid bearer token"), "{status}");
    }
    world.post(REVIEWS, &json!({"spec": {}})).await.expect(400);
    let own = format!("Bearer {token}");
    world.bearing(&own, "POST", REVIEWS, &json!({"spec": {"token": "x"}})).await.expect(403);

    let known = world.bearing(&own, "GET", "/.well-known/openid-configuration", &json!(null)).await.expect(200);
    assert_eq!((&known["issuer"], &known["jwks_uri"]), (&json!(ISSUER), &json!(format!("{ISSUER}/openid/v1/jwks"))));
    let keys = world.bearing(&own, "GET", "/openid/v1/jwks", &json!(null)).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let header: Value = {
        let first = token.split('.').next().unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap()
    };
    assert_eq!(keys.value()["keys"][0]["kid"], header["kid"]);
    for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
        assert_eq!(world.send(Caller::anonymous(), "GET", path, &[], b"").await.code, 401);
        let user = Caller::authenticated("u", Vec::new());
        let refused = world.send(user, "GET", path, &[], b"").await.expect(403);
        assert_eq!(refused["message"], format!("forbidden: User \"u\" cannot get path \"{path}\""));
        world.post(path, &json!({})).await.expect(405);
    }
}

#[tokio::test]
async fn bootstrap_tokens_authenticate_and_no_more() {
    let world = World::governed().await;
    let secret = |kind: &str, extra: &str| {
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": kind, "data": {
            "token-id": STANDARD.encode("abcdef"), "token-secret": STANDARD.encode("0123456789abcdef"),
            "usage-bootstrap-authentication": STANDARD.encode("true"), "auth-extra-groups": STANDARD.encode(extra)}})
    };
    let (kind, token) = ("bootstrap.kubernetes.io/token", "abcdef.0123456789abcdef");
    let path = format!("{SECRETS}/bootstrap-token-abcdef");
    for (kind, extra) in [("Opaque", ""), (kind, "system:masters")] {
        world.post(SECRETS, &secret(kind, extra)).await.expect(201);
        assert_eq!(world.code_of(token).await, 401, "{kind} {extra}");
        world.delete(&path).await.expect(200);
    }
    world.post(SECRETS, &secret(kind, "system:bootstrappers:nodes")).await.expect(201);
    let who = world.bearing(&format!("Bearer {token}"), "POST", WHO, &json!({})).await.expect(201);
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "system:bootstrap:abcdef",
            "groups": ["system:bootstrappers", "system:bootstrappers:nodes", "system:authenticated"]})
    );
    assert_eq!(world.code_of("abcdef.0123456789abcdee").await, 401);
    world.bearing(&format!("Bearer {token}"), "GET", PODS, &json!(null)).await.expect(403);
    let review = json!({"spec": {"token": token, "audiences": ["vault"]}});
    assert!(world.post(REVIEWS, &review).await.expect(201)["status"]["authenticated"].is_null());
    world.delete(&path).await.expect(200);
    assert_eq!(world.code_of(token).await, 401);
}

#[tokio::test(start_paused = true)]
async fn pods_get_what_their_account_brings() {
    let world = World::new().await;
    let made = world.post(PODS, &pod("a")).await.expect(201);
    let volume = &made["spec"]["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.strip_prefix("kube-api-access-").is_some_and(|suffix| suffix.len() == 5), "{name}");
    assert_eq!(
        volume["projected"],
        json!({"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]})
    );
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &json!(true)));

    let account = json!({"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "pull"}],
        "automountServiceAccountToken": false});
    world.post(ACCOUNTS, &account).await.expect(201);
    let mut body = pod("b");
    body["spec"]["serviceAccountName"] = json!("robot");
    let made = world.post(PODS, &body).await.expect(201);
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert!(made["spec"]["volumes"].is_null());
    body["metadata"]["name"] = json!("c");
    body["spec"]["serviceAccountName"] = json!("none");
    for path in [PODS.to_owned(), format!("{PODS}?dryRun=All")] {
        let refused = world.post(&path, &body).await.expect(403);
        assert_eq!(
            refused["message"],
            "pods \"c\" is forbidden: error looking up service account d/none: serviceaccount \"none\" not found"
        );
    }
    world.patch(&format!("{PODS}/c?fieldManager=m"), "apply-patch", &body).await.expect(403);
    let mut applied = pod("d");
    applied["metadata"]["name"] = json!("d");
    let made = world.patch(&format!("{PODS}/d?fieldManager=m"), "apply-patch", &applied).await.expect(201);
    assert!(made["spec"]["volumes"][0]["projected"].is_object());
    assert!(!made["metadata"]["managedFields"].to_string().contains("kube-api-access"), "it is not the applier's");

    // A namespace's own account comes a moment later, and is waited for.
    world.post("/api/v1/namespaces", &json!({"metadata": {"name": "new"}})).await.expect(201);
    let path = "/api/v1/namespaces/new/pods";
    let late = pod("late");
    let (made, ()) = tokio::join!(world.post(path, &late), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let account = json!({"metadata": {"name": "default"}});
        world.post("/api/v1/namespaces/new/serviceaccounts", &account).await.expect(201);
    });
    assert!(made.expect(201)["spec"]["volumes"].is_array());
    world.delete("/api/v1/namespaces/new/serviceaccounts/default").await.expect(200);
    let refused = world.post(path, &pod("never")).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("serviceaccount \"default\" not found"), "{refused}");
    let missing = world.post("/api/v1/namespaces/none/pods", &pod("x")).await.expect(404);
    assert_eq!(missing["message"], "namespaces \"none\" not found");
}

/// All that is logged, in one text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        attributes.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn no_token_reaches_a_log_a_metric_or_another_answer() {
    let (world, _) = keyed().await;
    let log = Log::default();
    // While there is only one, what other tests log first decides which places in the code are listened to.
    let _second = tracing::Dispatch::new(Log::default());
    let _guard = tracing::subscriber::set_default(log.clone());
    let mut shown = String::new();
    let good = world.token("default", &json!({})).await;
    let bad = format!("{}AAAA", &good[..good.len() - 4]);
    let bootstrap = "abcdef.0123456789abcdef";
    for token in [good.as_str(), &bad, bootstrap] {
        let header = format!("Bearer {token}");
        for (method, path, body) in
            [("POST", WHO, json!({})), ("GET", PODS, json!(null)), ("GET", "/none", json!(null))]
        {
            shown.push_str(&world.bearing(&header, method, path, &body).await.text);
        }
        // What is asked comes back; nothing else of the answer quotes it.
        let review = world.post(REVIEWS, &json!({"spec": {"token": token}})).await.expect(201);
        shown.push_str(&review["status"].to_string());
    }
    shown.push_str(&world.get("/metrics").await.text);
    shown.push_str(&log.0.lock().unwrap());
    assert!(shown.contains("a bearer token was refused"), "the refusals are logged");
    let secrets = [good.rsplit('.').next().unwrap(), bad.rsplit('.').next().unwrap(), "0123456789abcdef"];
    assert!(secrets.iter().all(|secret| !shown.contains(secret)));
    assert!(!shown.contains(good.split('.').nth(1).unwrap()), "nor its claims");
}
