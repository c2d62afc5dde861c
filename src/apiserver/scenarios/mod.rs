//! Requests against a whole API server over a store that applies at once, without a network where none is needed.

mod access;
mod admission;
mod custom;
mod escalating;
mod evictions;
mod hostile;
mod impersonating;
mod reads;
mod refusals;
mod roles;
mod rows;
mod services;
mod streams;
mod tokens;
mod watching;
mod wire;
mod writes;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base::Stopping;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use identity::{Authority, Caller, Seal};
use objects::{Key, Object, Status, kind};
use rbac::PolicyKind;
use rustls::ClientConfig;
use serde_json::{Value, json};
use state::{Change, Command};
use store::Error;
use store::testing::Direct;

use crate::api::Api;
use crate::cluster::{Cluster, Readiness};
use crate::options::Options;
use crate::reply::{Body, Response};
use crate::router;

/// What seals the signing keys of all test clusters.
static SEAL: LazyLock<Arc<Seal>> =
    LazyLock::new(|| Arc::new(Authority::generate("test").unwrap().signing_seal().unwrap()));

struct TestCluster {
    agent_tls: Arc<ClientConfig>,
    ready: Mutex<bool>,
}

impl Cluster for TestCluster {
    fn readiness(&self) -> Readiness {
        let ready = *self.ready.lock().unwrap();
        let reasons = if ready { vec![] } else { vec!["no leader is known here".into()] };
        Readiness { ready, reasons, leads: ready }
    }

    fn status(&self) -> Value {
        json!({"leader": "m1"})
    }

    fn masters(&self) -> Vec<String> {
        vec!["https://m1:6443".into()]
    }

    fn admit(&self, request: Value) -> BoxFuture<'_, Result<Value, Status>> {
        Box::pin(async move {
            if request["token"] == "good" { Ok(json!({"cluster": "c"})) } else { Err(Status::unauthorized()) }
        })
    }

    fn agent_tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.agent_tls)
    }

    fn signing_seal(&self) -> Arc<Seal> {
        Arc::clone(&SEAL)
    }

    fn extra_metrics(&self) -> String {
        "# TYPE raft_term gauge\nraft_term 3\n".into()
    }
}

/// An API server, and what stands behind it.
struct World {
    api: Arc<Api>,
    direct: Arc<Direct>,
    cluster: Arc<TestCluster>,
}

/// An answer that has been read to its end.
#[derive(Debug)]
struct Answer {
    code: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The value, of an answer that must have this code.
    fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.value()
    }

    fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

fn plain_tls() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(identity::tls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

impl World {
    /// With the namespaces `default`, `kube-system` and `d`.
    async fn new() -> Self {
        Self::with(Options::default(), Stopping::never()).await
    }

    async fn with(options: Options, stopping: Stopping) -> Self {
        Self::build(options, stopping, plain_tls()).await
    }

    async fn build(options: Options, stopping: Stopping, agent_tls: Arc<ClientConfig>) -> Self {
        let (store, direct) = Direct::start();
        let cluster = Arc::new(TestCluster { agent_tls, ready: Mutex::new(true) });
        let api = Api::new(options, store, Arc::clone(&cluster) as Arc<dyn Cluster>, stopping);
        let world = Self { api, direct, cluster };
        for name in ["default", "kube-system", "d"] {
            let namespace = json!({"metadata": {"name": name}});
            world.post("/api/v1/namespaces", &namespace).await.expect(201);
            // As the leader does.
            let account = json!({"metadata": {"name": "default"}});
            world.post(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await.expect(201);
        }
        world
    }

    /// With the roles and bindings that every cluster starts with, too.
    async fn governed() -> Self {
        let world = Self::new().await;
        world.govern();
        world
    }

    fn govern(&self) {
        let mut objects = rbac::bootstrap::objects().unwrap();
        // A chain of roles that gather others becomes right from the bottom up.
        for _ in 0..3 {
            let roles: Vec<Value> = objects.iter().map(|(_, object)| object.clone()).collect();
            for (_, object) in &mut objects {
                if let Some(rules) = rbac::aggregation::missing_change(object, &roles).unwrap() {
                    object["rules"] = rules;
                }
            }
        }
        let put = |(kind, mut value): (PolicyKind, Value)| {
            value["metadata"]["uid"] = json!(base::random::uid());
            let text = |key: &str| value["metadata"][key].as_str().unwrap_or("");
            let served = kind::by_kind("rbac.authorization.k8s.io/v1", kind.name()).unwrap();
            let object = Arc::new(Object::new(served, &value).unwrap());
            Change::Put { key: Key::new(kind.resource(), text("namespace"), text("name")), object }
        };
        self.direct.write(objects.into_iter().map(put).collect());
    }

    /// Gives a user rules in a namespace, or everywhere where it is empty, through a role and a binding of this name.
    async fn grant(&self, user: &str, namespace: &str, name: &str, rules: Value) {
        let (path, kind) =
            if namespace.is_empty() { (RBAC.to_owned(), "ClusterRole") } else { (rbac_in(namespace), "Role") };
        let plural = format!("{}s", kind.to_lowercase());
        self.post(&format!("{path}/{plural}"), &json!({"metadata": {"name": name}, "rules": rules})).await.expect(201);
        let binding = binding(name, kind, name, user);
        self.post(&format!("{path}/{}", plural.replace("roles", "rolebindings")), &binding).await.expect(201);
    }

    /// Sends a request with a JSON body as a user without groups; a patch is a merge patch.
    async fn by(&self, user: &str, method: &str, path: &str, body: &Value) -> Answer {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(Caller::authenticated(user, []), method, path, &[("content-type", media)], &bytes).await
    }

    /// Sends a request and gives the answer with its body still open.
    async fn open(&self, caller: Caller, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {}).boxed_unsync();
        router::answer(Arc::clone(&self.api), ([127, 0, 0, 1], 50_000).into(), caller, request.body(body).unwrap())
            .await
    }

    async fn send(&self, caller: Caller, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (parts, body) = self.open(caller, method, path, headers, body).await.into_parts();
        let bytes =
            tokio::time::timeout(Duration::from_secs(10), body.collect()).await.expect("in time").unwrap().to_bytes();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(admin(), "GET", path, &[], b"").await
    }

    async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.send(admin(), "GET", path, &[("accept", accept)], b"").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(admin(), "POST", path, &[], body.to_string().as_bytes()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(admin(), "PUT", path, &[], body.to_string().as_bytes()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(admin(), "DELETE", path, &[], b"").await
    }

    /// `kind` is the content type up to its plus sign: `merge-patch`, `apply-patch`.
    async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let suffix = if kind == "apply-patch" { "yaml" } else { "json" };
        let media = format!("application/{kind}+{suffix}");
        self.send(admin(), "PATCH", path, &[("content-type", &media)], body.to_string().as_bytes()).await
    }
}

fn admin() -> Caller {
    Caller::authenticated("admin", ["system:masters".to_owned()])
}

fn node(name: &str) -> Caller {
    Caller::authenticated(format!("system:node:{name}"), ["system:nodes".to_owned()])
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn rbac_in(namespace: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}")
}

/// A rule about the core group.
fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
}

/// A binding of a role to a user; in a namespace or not is for the path to say.
fn binding(name: &str, role_kind: &str, role: &str, user: &str) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"kind": role_kind, "name": role},
        "subjects": [{"kind": "User", "name": user}]})
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]}})
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}},
    }})
}

/// Reads lines of an open stream.
struct Lines {
    body: Body,
    rest: String,
}

impl Lines {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                self.rest = rest.to_owned();
                return Some(event);
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(120), self.body.frame()).await.expect("an event in time");
            let bytes = frame?.unwrap().into_data().unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Type and object name of the next event.
    async fn short(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        format!("{} {}", text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}
