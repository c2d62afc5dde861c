//! A cluster in memory that speaks as much of the API as an agent needs, over real TLS.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use identity::{Authority, ReloadableCert, tls};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

type Body = BoxBody<Bytes, Infallible>;

/// The authority of all test clusters of this process.
pub(super) static CLUSTER: LazyLock<Authority> = LazyLock::new(|| Authority::generate("scenario").unwrap());

struct Store {
    revision: u64,
    objects: BTreeMap<String, Value>,
}

/// The cluster's objects, by path. Outlives its masters.
pub(super) struct Cluster {
    store: Mutex<Store>,
    changes: broadcast::Sender<(String, Value)>,
    pub beats: Mutex<Vec<Value>>,
    /// What a heartbeat's answer lists.
    pub masters: Mutex<Vec<String>>,
    /// Requests for tokens, by path; the n-th is answered with `token-n`.
    pub token_requests: Mutex<Vec<(String, Value)>>,
    /// The life of tokens, whatever is asked for.
    pub token_seconds: Mutex<u64>,
}

impl Cluster {
    /// An empty cluster at a revision.
    pub fn at(revision: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Store { revision, objects: BTreeMap::new() }),
            changes: broadcast::Sender::new(1024),
            beats: Mutex::default(),
            masters: Mutex::default(),
            token_requests: Mutex::default(),
            token_seconds: Mutex::new(3607),
        })
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.store.lock().unwrap().objects.get(path).cloned()
    }

    /// All objects whose path contains `part`.
    pub fn all(&self, part: &str) -> Vec<Value> {
        let store = self.store.lock().unwrap();
        store.objects.iter().filter(|(path, _)| path.contains(part)).map(|(_, object)| object.clone()).collect()
    }

    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut store = self.store.lock().unwrap();
        store.revision += 1;
        object["metadata"]["resourceVersion"] = json!(store.revision.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(base::random::uid());
        }
        let known = store.objects.insert(path.to_owned(), object.clone());
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let _ = self.changes.send((path.to_owned(), json!({"type": kind, "object": object})));
        object
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        change(&mut object);
        self.put(path, object);
    }

    pub fn remove(&self, path: &str) -> Option<Value> {
        let mut store = self.store.lock().unwrap();
        store.revision += 1;
        let mut object = store.objects.remove(path)?;
        object["metadata"]["resourceVersion"] = json!(store.revision.to_string());
        let _ = self.changes.send((path.to_owned(), json!({"type": "DELETED", "object": object})));
        Some(object)
    }

    fn list(&self, collection: &str) -> Value {
        let store = self.store.lock().unwrap();
        let items: Vec<&Value> =
            store.objects.iter().filter(|(path, _)| is_in(path, collection)).map(|(_, object)| object).collect();
        json!({"kind": "List", "metadata": {"resourceVersion": store.revision.to_string()}, "items": items})
    }

    fn watch(&self, collection: String, from: u64) -> Response<Body> {
        let receiver = self.changes.subscribe();
        // What changed between the list and this watch is told first.
        let store = self.store.lock().unwrap();
        let missed: Vec<Value> = store
            .objects
            .iter()
            .filter(|(path, object)| is_in(path, &collection) && revision(object) > from)
            .map(|(_, object)| json!({"type": "MODIFIED", "object": object}))
            .collect();
        let state = (missed.into_iter(), receiver, collection, from);
        let frames = futures::stream::unfold(state, |(mut missed, mut receiver, collection, mut reached)| async move {
            let event = match missed.next() {
                Some(event) => event,
                None => loop {
                    let (path, event) = receiver.recv().await.ok()?;
                    if is_in(&path, &collection) && revision(&event["object"]) > reached {
                        break event;
                    }
                },
            };
            reached = reached.max(revision(&event["object"]));
            let line = Bytes::from(format!("{event}\n"));
            Some((Ok::<_, Infallible>(Frame::data(line)), (missed, receiver, collection, reached)))
        });
        Response::new(BodyExt::boxed(StreamBody::new(frames)))
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: Value) -> Response<Body> {
        let (object_path, subresource) = match path.strip_suffix("/status") {
            Some(path) => (path, true),
            None => (path, false),
        };
        match method {
            "POST" if path == "/barque/v1/heartbeat" => {
                self.beats.lock().unwrap().push(body);
                reply(200, &json!({"masters": *self.masters.lock().unwrap()}))
            }
            "GET" if path == "/readyz" => reply(200, &json!("ok")),
            "GET" if query.contains("watch=true") => {
                let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
                self.watch(path.to_owned(), from.and_then(|it| it.parse().ok()).unwrap_or(0))
            }
            "GET" => match self.get(path) {
                Some(object) => reply(200, &object),
                None if query.contains("fieldSelector") => reply(200, &self.list(path)),
                None => absent(),
            },
            "POST" if path.ends_with("/token") => {
                let mut requests = self.token_requests.lock().unwrap();
                requests.push((path.to_owned(), body));
                let seconds = *self.token_seconds.lock().unwrap();
                let status = json!({"token": format!("token-{}", requests.len())});
                reply(201, &json!({"spec": {"expirationSeconds": seconds}, "status": status}))
            }
            "POST" => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                reply(201, &self.put(&format!("{path}/{name}"), body))
            }
            "PATCH" => match self.get(object_path) {
                None => absent(),
                Some(mut object) => {
                    let uid = &body["metadata"]["uid"];
                    if !uid.is_null() && *uid != object["metadata"]["uid"] {
                        return reply(409, &json!({"reason": "Conflict", "code": 409}));
                    }
                    assert!(!subresource || body["spec"].is_null(), "a status is no place for a spec");
                    merge(&mut object, &body);
                    reply(200, &self.put(object_path, object))
                }
            },
            "DELETE" => match self.get(path) {
                Some(object) if body["preconditions"]["uid"] != object["metadata"]["uid"] => {
                    reply(409, &json!({"reason": "Conflict", "code": 409}))
                }
                _ => self.remove(path).map_or_else(absent, |object| reply(200, &object)),
            },
            _ => reply(405, &json!({"code": 405})),
        }
    }
}

/// Whether an object's path lies in a collection: `/api/v1/pods` holds the pods of all namespaces.
fn is_in(path: &str, collection: &str) -> bool {
    let plural = collection.rsplit('/').next().unwrap_or_default();
    path.rsplit_once('/').is_some_and(|(folder, _)| folder.ends_with(&format!("/{plural}")))
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        match value {
            Value::Null => {
                target.as_object_mut().unwrap().remove(key);
            }
            value => merge(&mut target[key.as_str()], value),
        }
    }
}

fn absent() -> Response<Body> {
    reply(404, &json!({"kind": "Status", "reason": "NotFound", "code": 404, "message": "not found"}))
}

fn reply(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed();
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(body).unwrap()
}

/// A master that serves a cluster. Dropping it kills it and breaks its connections.
pub(super) struct Master {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Master {
    pub async fn start(cluster: &Arc<Cluster>) -> Self {
        Self::start_at(cluster, ([127, 0, 0, 1], 0).into()).await
    }

    /// Starts at an address, as a master does that comes back.
    pub async fn start_at(cluster: &Arc<Cluster>, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = ReloadableCert::new(CLUSTER.api_serving(1, &[]).unwrap()).unwrap();
        let tls = tls::api_server(&CLUSTER.clients().unwrap(), own).unwrap();
        let cluster = cluster.clone();
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, cluster) = (tls.clone(), cluster.clone());
                serving.spawn(async move {
                    let Ok((stream, _)) = identity::handshake::accept(tls, stream).await else { return };
                    let service = service_fn(move |request| handle(cluster.clone(), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, task }
    }

    /// Ends it and waits until its port is free.
    pub async fn kill(self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(cluster: Arc<Cluster>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(cluster.answer(head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default(), body))
}
