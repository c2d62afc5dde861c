//! All controllers and the scheduler together, against a proposer that applies at once, and an agent that only pretends.

#[path = "admission_tests.rs"]
mod admission;
mod jobs;
mod services;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base::Shutdown;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::service_account::{Claims, ISSUER, Reference};
use identity::{Authority, KeyRing, Role, Seal, Token};
use jiff::Timestamp;
use objects::lifecycle::{self, DeleteOptions, Deletion, Propagation};
use objects::{Key, Object, canonical, defaulting, kind, time};
use rbac::PolicyKind;
use serde_json::{Value, json};
use state::{Change, Origin};
use store::testing::Direct;
use store::{Beat, Duty, Liveness, Store};
use tokio::time::Instant;

use crate::{Options, run};

static SEAL: LazyLock<Arc<Seal>> =
    LazyLock::new(|| Arc::new(Authority::generate("test").unwrap().signing_seal().unwrap()));

/// The seal of all test clusters.
pub(crate) fn seal() -> Arc<Seal> {
    Arc::clone(&SEAL)
}

struct World {
    store: Store,
    direct: Arc<Direct>,
    liveness: Arc<Liveness>,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    /// A cluster with nodes that are ready, controllers that run, and an agent that makes every bound pod ready.
    async fn start(nodes: &[&str]) -> Self {
        let (store, direct) = Direct::start();
        let (liveness, shutdown) = (Arc::clone(&direct.liveness), Shutdown::new());
        let mut options = Options::new("PEM", seal(), Arc::new(|_| Box::pin(async { Ok(()) })));
        options.node_grace = Duration::from_secs(2);
        options.masters = Arc::new(|| ["https://10.0.0.1:6443", "https://10.0.0.2:6443"].map(str::to_owned).into());
        options.orphan_grace = Duration::from_millis(200);
        let duty = Duty::new(store.clone(), direct.lead(1));
        let running = tokio::spawn(run(duty, Arc::clone(&liveness), options, shutdown.stopping()));
        let world = Self { store, direct, liveness, shutdown, running };
        for node in nodes {
            world.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        }
        for (index, node) in nodes.iter().enumerate() {
            tokio::spawn(beat(
                world.store.clone(),
                Arc::clone(&world.liveness),
                (*node).to_owned(),
                world.shutdown.stopping(),
            ));
            if index == 0 {
                tokio::spawn(agent(
                    world.store.clone(),
                    nodes.iter().map(|name| (*name).to_owned()).collect(),
                    world.shutdown.stopping(),
                ));
            }
        }
        world
    }

    fn put(&self, changes: Vec<Change>) {
        self.direct.write(changes);
    }

    fn create(&self, mut value: Value) -> Key {
        let kind = kind::by_kind(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap()).unwrap();
        defaulting::apply(kind, &mut value);
        defaulting::admission_defaults(kind, &mut value);
        let now = time::format(base::clock::now());
        lifecycle::prepare_create(kind, &mut value, &base::random::uid(), &now, "abcde").unwrap();
        canonical::canonicalize(kind, &mut value).unwrap();
        let metadata = &value["metadata"];
        let key =
            Key::new(kind.resource(), metadata["namespace"].as_str().unwrap_or(""), metadata["name"].as_str().unwrap());
        self.put(vec![Change::Put { key: key.clone(), object: Arc::new(Object::new(kind, &value).unwrap()) }]);
        key
    }

    /// Changes an object as a client does, against the state as it is.
    fn edit(&self, key: &Key, mutate: impl Fn(&mut Value)) {
        let kind = kind::by_resource(&key.resource).unwrap();
        let stored = Arc::clone(self.store.current().get(key).expect("there"));
        let old: Value = serde_json::from_slice(stored.object.bytes()).unwrap();
        let mut new = old.clone();
        mutate(&mut new);
        lifecycle::prepare_update(kind, &old, &mut new, None).unwrap();
        canonical::canonicalize(kind, &mut new).unwrap();
        self.put(vec![Change::Put { key: key.clone(), object: Arc::new(Object::new(kind, &new).unwrap()) }]);
    }

    fn delete(&self, key: &Key, propagation: Propagation) {
        let kind = kind::by_resource(&key.resource).unwrap();
        let old = self.value(key).unwrap();
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let now = time::format(base::clock::now());
        match lifecycle::prepare_delete(kind, &old, &options, &now).unwrap() {
            Deletion::Remove => self.put(vec![Change::Delete { key: key.clone() }]),
            Deletion::Update(new) => {
                self.put(vec![Change::Put { key: key.clone(), object: Arc::new(Object::new(kind, &new).unwrap()) }]);
            }
            Deletion::Nothing => {}
        }
    }

    fn value(&self, key: &Key) -> Option<Value> {
        self.store.current().get(key).map(|stored| serde_json::from_slice(stored.object.bytes()).unwrap())
    }

    fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let state = self.store.current();
        let list = state.list_in(&resource.into(), namespace);
        list.map(|stored| serde_json::from_slice(stored.object.bytes()).unwrap()).collect()
    }

    fn live_pods(&self) -> Vec<Value> {
        let mut pods = self.list("pods", "default");
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    async fn until(&self, what: &str, settled: impl Fn(&World) -> bool) {
        until(&self.store, what, || settled(self)).await;
    }

    async fn rolled_out(&self, key: &Key, replicas: i64) {
        self.until("rolled out", |world| {
            let value = world.value(key).unwrap();
            let (status, generation) = (&value["status"], &value["metadata"]["generation"]);
            status["observedGeneration"] == *generation
                && status["updatedReplicas"].as_i64().unwrap_or(0) == replicas
                && status["replicas"].as_i64().unwrap_or(0) == replicas
                && status["availableReplicas"].as_i64().unwrap_or(0) == replicas
        })
        .await;
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(Duration::from_secs(10), self.running).await.expect("stops").unwrap();
    }
}

async fn until(store: &Store, what: &str, settled: impl Fn() -> bool) {
    let mut changes = store.changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            if settled() {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), waiting).await.is_err() {
        let state = store.current();
        for resource in ["deployments.apps", "replicasets.apps", "pods", "nodes", "namespaces", "events"] {
            for stored in state.list(&resource.into()) {
                eprintln!("{}", String::from_utf8_lossy(stored.object.bytes()));
            }
        }
        panic!("not in time: {what}");
    }
}

/// Places pods, makes them ready, and ends those that are being deleted, on the nodes that are not lost.
async fn agent(store: Store, nodes: Vec<String>, stopping: base::Stopping) {
    let kind = kind::by_kind("v1", "Pod").unwrap();
    let mut changes = store.changes();
    let work = async {
        loop {
            changes.borrow_and_update();
            let state = store.current();
            for stored in state.list(&"pods".into()) {
                let mut pod: Value = serde_json::from_slice(stored.object.bytes()).unwrap();
                let bound = pod["spec"]["nodeName"].as_str().map(str::to_owned);
                let lost = |name: &str| {
                    let node = state.get(&Key::new("nodes", "", name));
                    node.is_none_or(|node| String::from_utf8_lossy(node.object.bytes()).contains("\"Unknown\""))
                };
                let change = match bound {
                    None => {
                        let free: Vec<&String> = nodes.iter().filter(|name| !lost(name)).collect();
                        pod["spec"]["nodeName"] = json!(free[base::random::below(free.len())]);
                        Change::Put { key: stored.key.clone(), object: Arc::new(Object::new(kind, &pod).unwrap()) }
                    }
                    Some(name) if lost(&name) => continue,
                    Some(_) if stored.face().deleting => Change::Delete { key: stored.key.clone() },
                    Some(_) if pod["status"]["phase"] == "Running" => continue,
                    Some(_) => {
                        let now = time::format(base::clock::now());
                        pod["status"]["phase"] = json!("Running");
                        pod["status"]["conditions"] =
                            json!([{"type": "Ready", "status": "True", "lastTransitionTime": now}]);
                        Change::Put { key: stored.key.clone(), object: Arc::new(Object::new(kind, &pod).unwrap()) }
                    }
                };
                let same = state::Precondition::Unchanged { key: stored.key.clone(), revision: stored.revision };
                let deadline = Instant::now() + Duration::from_secs(5);
                let _ = store.transact(Origin::Node("n".into()), vec![same], vec![change], deadline).await;
            }
            changes.changed().await.unwrap();
        }
    };
    stopping.unless(work).await;
}

/// Beats for a node until its object says `dead: "true"` in a label.
async fn beat(store: Store, liveness: Arc<Liveness>, node: String, stopping: base::Stopping) {
    while stopping.sleep(Duration::from_millis(200)).await {
        if let Some(stored) = store.current().get(&Key::new("nodes", "", &node))
            && stored.face().label("dead") != Some("true")
        {
            liveness.beat(Beat { node: node.clone(), uid: stored.face().uid.to_string() });
        }
    }
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn images(pods: &[Value]) -> Vec<&str> {
    let mut images: Vec<&str> =
        pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap()).collect();
    images.sort();
    images.dedup();
    images
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_updates_undoes_scales_and_goes_with_its_dependents() {
    let world = World::start(&["n1", "n2", "n3"]).await;
    world
        .until("the namespace is there", |world| {
            world.value(&Key::new("serviceaccounts", "default", "default")).is_some()
        })
        .await;
    assert_eq!(world.value(&Key::new("configmaps", "default", "kube-root-ca.crt")).unwrap()["data"]["ca.crt"], "PEM");
    let key = world.create(deployment(5, "a"));
    world.rolled_out(&key, 5).await;
    assert_eq!(world.live_pods().len(), 5);
    world.edit(&key, |value| value["spec"]["template"]["spec"]["containers"][0]["image"] = json!("b"));
    world.rolled_out(&key, 5).await;
    assert_eq!(images(&world.live_pods()), ["b"]);
    // As `kubectl rollout undo` does it: the old template is written back.
    world.edit(&key, |value| value["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a"));
    world.rolled_out(&key, 5).await;
    assert_eq!(images(&world.live_pods()), ["a"]);
    world
        .until("the revision is shown", |world| {
            world.value(&key).unwrap()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        })
        .await;
    assert_eq!(world.list("replicasets.apps", "default").len(), 2);
    world.edit(&key, |value| value["spec"]["replicas"] = json!(8));
    world.rolled_out(&key, 8).await;
    world.edit(&key, |value| value["spec"]["replicas"] = json!(2));
    world.rolled_out(&key, 2).await;
    world
        .until("told", |world| {
            let events = world.list("events", "default");
            ["ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"]
                .iter()
                .all(|reason| events.iter().any(|event| event["reason"] == *reason))
        })
        .await;
    world.delete(&key, Propagation::Background);
    world
        .until("all gone", |world| {
            world.value(&key).is_none()
                && world.list("replicasets.apps", "default").is_empty()
                && world.list("pods", "default").is_empty()
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_waits_and_orphans_live_on() {
    let world = World::start(&["n1"]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let key = world.create(deployment(2, "a"));
    world.rolled_out(&key, 2).await;
    world.delete(&key, Propagation::Foreground);
    world
        .until("the owner is the last to go", |world| {
            let gone = world.value(&key).is_none();
            let pods = world.list("pods", "default").len() + world.list("replicasets.apps", "default").len();
            assert!(!gone || pods == 0, "the owner went before its dependents");
            gone
        })
        .await;
    let key = world.create(deployment(2, "a"));
    world.rolled_out(&key, 2).await;
    world.delete(&key, Propagation::Orphan);
    world.until("the owner is gone", |world| world.value(&key).is_none()).await;
    let sets = world.list("replicasets.apps", "default");
    assert_eq!((sets.len(), &sets[0]["metadata"]["ownerReferences"]), (1, &Value::Null));
    // A new Deployment of the same selector takes the orphan over.
    let key = world.create(deployment(2, "a"));
    world.rolled_out(&key, 2).await;
    let sets = world.list("replicasets.apps", "default");
    assert_eq!((sets.len(), &sets[0]["metadata"]["ownerReferences"][0]["kind"]), (1, &json!("Deployment")));
    assert_eq!(world.live_pods().len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let world = World::start(&["n1"]).await;
    let namespace = world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}));
    world
        .until("it is furnished", |world| world.value(&Key::new("serviceaccounts", "team", "default")).is_some())
        .await;
    let mut value = deployment(3, "a");
    value["metadata"]["namespace"] = json!("team");
    let key = world.create(value);
    world.rolled_out(&key, 3).await;
    let held = world.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "team", "finalizers": ["example.com/mine"]}}));
    world.delete(&namespace, Propagation::Background);
    world
        .until("it says what it waits for", |world| {
            let value = world.value(&namespace).unwrap();
            let found = crate::conditions::find(&value["status"], "NamespaceFinalizersRemaining");
            crate::conditions::text(found, "status") == "True" && world.list("pods", "team").is_empty()
        })
        .await;
    world.put(vec![Change::Delete { key: held }]);
    world.until("it is gone", |world| world.value(&namespace).is_none()).await;
    let state = world.store.current();
    assert_eq!(kind::all().iter().map(|kind| state.list_in(&kind.resource(), "team").count()).sum::<usize>(), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pods_of_a_lost_node_come_back_elsewhere() {
    let world = World::start(&["n1", "n2", "n3"]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let key = world.create(deployment(6, "a"));
    world.rolled_out(&key, 6).await;
    let node = Key::new("nodes", "", "n1");
    let before = Instant::now();
    world.edit(&node, |value| value["metadata"]["labels"]["dead"] = json!("true"));
    world
        .until("it is known to be lost", |world| {
            let value = world.value(&node).unwrap();
            let ready = crate::conditions::find(&value["status"], "Ready");
            crate::conditions::text(ready, "status") == "Unknown"
                && value["spec"]["taints"].as_array().is_some_and(|list| list.len() == 2)
        })
        .await;
    assert!(before.elapsed() > Duration::from_millis(1500), "a node has its grace");
    world
        .until("six pods elsewhere", |world| {
            let pods = world.live_pods();
            let elsewhere = |pod: &Value| pod["spec"]["nodeName"] != "n1" && pod["status"]["phase"] == "Running";
            pods.len() == 6 && pods.iter().all(elsewhere)
        })
        .await;
    world.rolled_out(&key, 6).await;
    let ending: Vec<Value> =
        world.list("pods", "default").into_iter().filter(|pod| pod["spec"]["nodeName"] == "n1").collect();
    assert!(ending.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string()), "they wait for their node");
    // Its object goes: nobody will ever end those pods, so they are removed.
    world.put(vec![Change::Delete { key: node }]);
    world
        .until("no pod is left of it", |world| {
            world.list("pods", "default").iter().all(|pod| pod["spec"]["nodeName"] != "n1")
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secrets_of_expired_tokens_go() {
    let world = World::start(&[]).await;
    let hours = |number: i64| base::clock::now() + jiff::SignedDuration::from_hours(number);
    let keep = |expires: Timestamp, uses: Option<u32>| {
        world.create(Token::new(Role::Node, "0".repeat(64)).record(expires, uses).secret())
    };
    // Of somebody else, though it is named like ours.
    let foreign = world.create(json!({"apiVersion": "v1", "kind": "Secret", "data": {"record": "e30="}, "metadata":
        {"name": format!("{}mine", identity::token::SECRET_PREFIX), "namespace": identity::token::NAMESPACE}}));
    let kept = [foreign, keep(hours(1), Some(0)), keep(hours(1), None)];
    let gone = [keep(hours(-2), Some(0)), keep(hours(-2), Some(1)), keep(hours(-2), None)];
    world.until("they are gone", |world| gone.iter().all(|key| world.value(key).is_none())).await;
    assert!(kept.iter().all(|key| world.value(key).is_some()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_get_what_their_account_brings_once_it_is_there() {
    let world = World::start(&["n1"]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let mut wanted = deployment(1, "a");
    wanted["spec"]["template"]["spec"]["serviceAccountName"] = json!("robot");
    let key = world.create(wanted);
    world
        .until("it is said that the account is missing", |world| {
            let sets = world.list("replicasets.apps", "default");
            sets.iter().any(|set| {
                let failure = crate::conditions::find(&set["status"], "ReplicaFailure");
                crate::conditions::text(failure, "message").contains("serviceaccount \"robot\" not found")
            })
        })
        .await;
    world.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "pull"}],
        "metadata": {"name": "robot", "namespace": "default"}}));
    world.rolled_out(&key, 1).await;
    let pod = &world.live_pods()[0];
    assert!(pod["spec"]["volumes"][0]["name"].as_str().unwrap().starts_with("kube-api-access-"), "{pod}");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_are_made_and_made_anew_when_they_are_lost() {
    let world = World::start(&[]).await;
    let key = Key::new("secrets", identity::token::NAMESPACE, identity::signing::SECRET_NAME);
    let keys = |world: &World| KeyRing::of_secret(&world.value(&key)?, &seal()).ok().map(|ring| ring.key_set());
    world.until("there are keys", |world| keys(world).is_some()).await;
    let first = keys(&world).unwrap();
    world.edit(&key, |value| value["data"]["sealed"] = json!("AAAA"));
    world.until("damaged keys are replaced", |world| keys(world).is_some_and(|found| found != first)).await;
    let second = keys(&world).unwrap();
    world.put(vec![Change::Delete { key: key.clone() }]);
    world.until("deleted keys are replaced", |world| keys(world).is_some_and(|found| found != second)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_accounts_are_filled_and_go_with_their_account() {
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let secret =
        world.create(json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "namespace": "default",
            "annotations": {"kubernetes.io/service-account.name": "robot"}}}));
    let account = world.create(json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": "default"}}));
    let entry = |world: &World, name: &str| {
        let bytes = STANDARD.decode(world.value(&secret)?["data"][name].as_str()?).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    };
    let keys = Key::new("secrets", identity::token::NAMESPACE, identity::signing::SECRET_NAME);
    let claims = |world: &World| {
        let ring = KeyRing::of_secret(&world.value(&keys)?, &seal()).ok()?;
        let json = ring.verify(&entry(world, "token")?).ok()?;
        Some(Claims::read(&json, &[ISSUER], base::clock::now()).unwrap().0)
    };
    world.until("it is filled", |world| claims(world).is_some()).await;
    let uid = |key: &Key| world.value(key).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let first = claims(&world).unwrap();
    assert_eq!(first.bound().secret, Some(Reference { name: "s".into(), uid: uid(&secret) }));
    assert_eq!(first.bound().account, Reference { name: "robot".into(), uid: uid(&account) });
    assert_eq!(entry(&world, "ca.crt").as_deref(), Some("PEM"));
    assert_eq!(entry(&world, "namespace").as_deref(), Some("default"));
    world.put(vec![Change::Delete { key: keys.clone() }]);
    world.until("the keys are new, and so is it", |world| claims(world).is_some_and(|found| found != first)).await;
    world.put(vec![Change::Delete { key: account }]);
    world.until("it goes with its account", |world| world.value(&secret).is_none()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_ends_the_old_ones_duties() {
    let world = World::start(&["n1"]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    world.direct.lead(2);
    world.create(deployment(5, "a"));
    tokio::time::timeout(Duration::from_secs(10), world.running).await.expect("it ends by itself").unwrap();
    assert!(world.store.current().list(&"replicasets.apps".into()).next().is_none());
    world.shutdown.trigger();
}

/// Whether a role allows to get crontabs, a kind that no built-in role knows.
fn gets_crontabs(role: Option<Value>) -> bool {
    role.is_some_and(|role| role["rules"].to_string().contains("crontabs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_has_its_roles_and_keeps_them() {
    let world = World::start(&[]).await;
    let named = |kind: PolicyKind, object: &Value| {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or("");
        Key::new(kind.resource(), text("namespace"), text("name"))
    };
    let expected = rbac::bootstrap::objects().unwrap();
    world
        .until("all are there", |world| {
            expected.iter().all(|(kind, object)| world.value(&named(*kind, object)).is_some())
        })
        .await;
    let of = |kind: PolicyKind, name: &str| Key::new(kind.resource(), "", name);
    let aggregated = ["view", "edit", "admin"].map(|name| of(PolicyKind::ClusterRole, name));
    let holds_pods = |role: Option<Value>| role.is_some_and(|role| role["rules"].to_string().contains("\"pods\""));
    world.until("roles gather", |world| aggregated.iter().all(|key| holds_pods(world.value(key)))).await;
    let crontabs = world.create(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "crontabs", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["crontabs"]}],
    }));
    world.until("they gather more", |world| aggregated.iter().all(|key| gets_crontabs(world.value(key)))).await;
    world.put(vec![Change::Delete { key: crontabs }]);
    world.until("and less", |world| aggregated.iter().all(|key| !gets_crontabs(world.value(key)))).await;

    // One that nobody may touch any more, unless it is deleted.
    let protected = of(PolicyKind::ClusterRole, "system:discovery");
    world.edit(&protected, |value| {
        value["rules"] = json!([]);
        value["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    });
    let emptied = of(PolicyKind::ClusterRole, "system:basic-user");
    let rules = world.value(&emptied).unwrap()["rules"].clone();
    world.edit(&emptied, |value| value["rules"] = json!([]));
    let moved = of(PolicyKind::ClusterRoleBinding, "system:basic-user");
    world.edit(&moved, |value| value["roleRef"]["name"] = json!("view"));
    let deleted = of(PolicyKind::ClusterRoleBinding, "cluster-admin");
    world.put(vec![Change::Delete { key: deleted.clone() }]);
    world
        .until("they are as they were", |world| {
            world.value(&emptied).unwrap()["rules"].as_array().is_some_and(|list| list.len() >= 3)
                && world.value(&moved).is_some_and(|value| value["roleRef"]["name"] == "system:basic-user")
                && world.value(&deleted).is_some()
        })
        .await;
    assert_eq!(rules.as_array().unwrap().len(), 2);
    assert!(world.value(&protected).unwrap()["rules"].is_null(), "no rules are not written down");
    world.stop().await;
}

/// A definition of the group `example.com`, without defaults that the API server would fill in.
fn definition(plural: &str, kind: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

impl World {
    fn create_custom(&self, plural: &str, namespace: &str, name: &str, metadata: Value) -> Key {
        let kind = objects::Kind::undeclared("example.com", "v1", "Widget", plural, true);
        let mut value = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata});
        for (key, text) in [("name", name), ("namespace", namespace), ("uid", name)] {
            value["metadata"][key] = json!(text);
        }
        let key = Key::new(kind.resource(), namespace, name);
        self.put(vec![Change::Put { key: key.clone(), object: Arc::new(Object::new(&kind, &value).unwrap()) }]);
        key
    }

    fn condition(&self, key: &Key, ty: &str) -> String {
        let value = self.value(key).unwrap_or_default();
        crate::conditions::text(crate::conditions::find(&value["status"], ty), "status").to_owned()
    }

    /// As the API server answers a DELETE of a definition.
    fn delete_definition(&self, key: &Key) {
        let now = time::format(base::clock::now());
        self.edit(key, |value| schemas::definition::begin_removal(value, &now));
        self.delete(key, Propagation::Background);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_gets_its_names_and_takes_its_objects_along() {
    let world = World::start(&[]).await;
    let first = world.create(definition("widgets", "Widget"));
    world.until("it is established", |world| world.condition(&first, "Established") == "True").await;
    assert_eq!(world.value(&first).unwrap()["status"]["acceptedNames"]["kind"], "Widget");
    let second = world.create(definition("gadgets", "Widget"));
    world.until("it is refused", |world| world.condition(&second, "NamesAccepted") == "False").await;
    assert_eq!(world.condition(&second, "Established"), "False");

    world.create_custom("widgets", "default", "plain", json!({}));
    let held = world.create_custom("widgets", "default", "held", json!({"finalizers": ["example.com/mine"]}));
    world.delete_definition(&first);
    world.until("all that can go is gone", |world| world.list("widgets.example.com", "default").len() == 1).await;
    world.until("the last is going", |world| world.store.current().get(&held).unwrap().face().deleting).await;
    assert_eq!(world.condition(&first, "Terminating"), "True");
    world.put(vec![Change::Delete { key: held }]);
    world.until("the definition is gone", |world| world.value(&first).is_none()).await;
    world.until("its names are free", |world| world.condition(&second, "Established") == "True").await;

    // One that was never established goes as well.
    let third = world.create(definition("things", "Widget"));
    world.until("it is refused", |world| world.condition(&third, "NamesAccepted") == "False").await;
    world.delete_definition(&third);
    world.until("it is gone", |world| world.value(&third).is_none()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_collected_and_go_with_their_namespace() {
    let world = World::start(&[]).await;
    let namespace = world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}));
    // Known after the controllers began: they hear of it.
    let crd = world.create(definition("widgets", "Widget"));
    world.until("it is established", |world| world.condition(&crd, "Established") == "True").await;
    let owned_by = |api: &str, kind: &str, name: &str| json!({"ownerReferences": [{"apiVersion": api, "kind": kind, "name": name, "uid": name}]});
    let owner = world.create_custom("widgets", "team", "owner", json!({}));
    let child = world.create_custom("widgets", "team", "child", owned_by("example.com/v1", "Widget", "owner"));
    let mut config =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned_by("example.com/v1", "Widget", "owner")});
    config["metadata"]["name"] = json!("owned");
    config["metadata"]["namespace"] = json!("team");
    let config = world.create(config);
    world.put(vec![Change::Delete { key: owner }]);
    world.until("dependents follow", |world| world.value(&child).is_none() && world.value(&config).is_none()).await;
    // An owner of a kind that nobody knows is left alone.
    let stranger = world.create_custom("widgets", "team", "stranger", owned_by("other.org/v1", "Nothing", "x"));
    let orphan = world.create_custom("widgets", "team", "lost", owned_by("example.com/v1", "Widget", "never"));
    world.until("what has lost its owner goes", |world| world.value(&orphan).is_none()).await;
    assert!(world.value(&stranger).is_some());
    world.delete(&namespace, Propagation::Background);
    world.until("the namespace is gone", |world| world.value(&namespace).is_none()).await;
    assert!(world.list("widgets.example.com", "team").is_empty());
    world.stop().await;
}
