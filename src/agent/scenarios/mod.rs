//! Whole agents against a cluster in memory and simulated containers: pods come and go, agents start anew, masters vanish.

mod docker;
mod fake;
mod masters;
mod server;
mod streams;

use crate::tokens::Tokens;
use crate::volumes::{Bundle, token_needs};
use crate::{GatewayOptions, Options, run};
use base::Shutdown;
use client::{Client, Endpoints};
use fake::{CLUSTER, Cluster, Master};
use identity::credential::KeyRequest;
use identity::{ReloadableCert, tls};
use runtime::sim::{Sim, SimOptions};
use runtime::{Runtime, Scope};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const POD: &str = "/api/v1/namespaces/ns/pods/p";

/// A running agent.
struct Agent {
    scope: Shutdown,
    task: tokio::task::JoinHandle<Result<(), crate::Error>>,
    port: u16,
}

impl Agent {
    async fn start(dir: &Path, sim: &Sim, masters: &[SocketAddr]) -> Self {
        Self::start_with(dir, Arc::new(sim.clone()), "scenario", masters).await
    }

    async fn start_with(dir: &Path, runtime: Arc<dyn Runtime>, cluster: &str, masters: &[SocketAddr]) -> Self {
        let endpoints = Endpoints::in_order(masters.iter().map(|address| (*address).into())).unwrap();
        Self::start_through(dir, runtime, cluster, endpoints, None).await
    }

    /// Starts with a list of masters that may hold more than it was told, and with a local endpoint where one is wanted.
    async fn start_through(
        dir: &Path,
        runtime: Arc<dyn Runtime>,
        cluster: &str,
        endpoints: Endpoints,
        gateway: Option<SocketAddr>,
    ) -> Self {
        let client = Client::new(endpoints, tls::api_client(&CLUSTER.serving().unwrap(), None).unwrap());
        let request = KeyRequest::generate("n").unwrap();
        let certificate = CLUSTER.agent_serving(request.request_pem(), "n").unwrap();
        let own = ReloadableCert::new(request.complete(certificate).unwrap()).unwrap();
        let tls = tls::agent_server(&CLUSTER.clients().unwrap(), own).unwrap();
        // A port that is free now; the agent tells nobody in this process which one it took.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut options = Options::new("n", cluster, dir, ([127, 0, 0, 1], port).into(), [127, 0, 0, 1].into());
        options.memory_dir = None;
        options.heartbeat = Duration::from_millis(50);
        options.engine_patience = Duration::from_millis(500);
        let to_api = tls::api_client(&CLUSTER.serving().unwrap(), None).unwrap();
        options.gateway = gateway.map(|listen| GatewayOptions { listen, tls: to_api });
        let scope = Shutdown::new();
        let task = tokio::spawn(run(options, runtime, Arc::new(client), tls, scope.stopping()));
        Self { scope, task, port }
    }

    async fn stop(self) {
        self.scope.trigger();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap().unwrap();
    }
}

fn sim() -> Sim {
    Sim::open(Scope::new("scenario", "n").unwrap(), SimOptions::default()).unwrap()
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec})
}

fn server() -> Value {
    let mut container = json!({"name": "a", "image": "web:1", "command": ["serve"], "imagePullPolicy": "IfNotPresent"});
    container["terminationMessagePath"] = json!("/dev/termination-log");
    json!({"nodeName": "n", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1, "containers": [container]})
}

/// Waits until `condition` holds, or fails the test after a generous while.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(value) => value,
        Err(_) => panic!("never: {what}"),
    }
}

async fn ready(cluster: &Cluster) -> Value {
    eventually("the pod is ready", async || {
        let pod = cluster.get(POD)?;
        let conditions = pod["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True").then_some(pod)
    })
    .await
}

async fn running(sim: &Sim) -> Vec<runtime::Container> {
    let containers = sim.list().await.unwrap().containers;
    containers.into_iter().filter(|it| it.state.is_running()).collect()
}

/// Lets a good many heartbeats pass: long enough for any wrong decision to be taken.
async fn beats(cluster: &Cluster, count: usize) {
    let before = cluster.beats.lock().unwrap().len();
    eventually("heartbeats", async || (cluster.beats.lock().unwrap().len() >= before + count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_comes_up_is_reported_and_goes() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    cluster.put("/api/v1/namespaces/ns/configmaps/cm", json!({"metadata": {"name": "cm"}, "data": {"k": "v"}}));
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    let mut spec = server();
    spec["volumes"] = json!([{"name": "v", "configMap": {"name": "cm"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    cluster.put(POD, pod(spec));
    let up = ready(&cluster).await;
    assert_eq!(up["status"]["phase"], "Running");
    assert!(up["status"]["podIP"].is_string() && up["status"]["startTime"].is_string());
    assert_eq!(std::fs::read_to_string(dir.path().join("pods/u/volumes/v/k")).unwrap(), "v");
    let node = cluster.get("/api/v1/nodes/n").unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], agent.port);
    eventually("the lease", async || cluster.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n"))
        .await;
    eventually("a heartbeat with the node's uid", async || {
        let beats = cluster.beats.lock().unwrap();
        beats.iter().any(|beat| beat["uid"] == node["metadata"]["uid"] && beat["node"] == "n").then_some(())
    })
    .await;
    let mut reasons: Vec<String> = Vec::new();
    for reason in ["Pulled", "Created", "Started"] {
        eventually(reason, async || {
            let events = cluster.all("/events/");
            reasons = events.iter().filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect();
            reasons.contains(&reason.to_owned()).then_some(())
        })
        .await;
    }
    cluster.change(POD, |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(1);
    });
    eventually("the pod is gone from the API", async || cluster.get(POD).is_none().then_some(())).await;
    let left = sim.list().await.unwrap();
    assert!(left.containers.is_empty() && left.sandboxes.is_empty(), "{left:?}");
    assert!(!dir.path().join("pods/u").exists());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_the_token_of_its_account_bound_to_itself() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    let mut wanted = pod(server());
    wanted["spec"]["serviceAccountName"] = json!("robot");
    // What admission brings: without the ConfigMap the pod waits, and asks for no second token meanwhile.
    objects::defaulting::bring_account(&mut wanted, &json!({}), "abcde");
    cluster.put(POD, wanted);
    eventually("the missing ConfigMap is told", async || {
        cluster.all("/events/").iter().any(|event| event["reason"] == "FailedMount").then_some(())
    })
    .await;
    let root = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "PEM"}});
    cluster.put("/api/v1/namespaces/ns/configmaps/kube-root-ca.crt", root);
    ready(&cluster).await;
    let volume = dir.path().join("memory/u/kube-api-access-abcde");
    let read = |name: &str| std::fs::read_to_string(volume.join(name)).unwrap();
    assert_eq!((read("token"), read("ca.crt"), read("namespace")), ("token-1".into(), "PEM".into(), "ns".into()));
    let requests = cluster.token_requests.lock().unwrap().clone();
    let spec = json!({"expirationSeconds": 3607,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}});
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    assert_eq!(requests, [("/api/v1/namespaces/ns/serviceaccounts/robot/token".to_owned(), request)]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_renewed_in_time_and_used_while_nobody_renews_them() {
    let cluster = Cluster::at(10);
    *cluster.token_seconds.lock().unwrap() = 3;
    let master = Master::start(&cluster).await;
    let endpoints = Endpoints::in_order([master.address.into()]).unwrap();
    let client = Client::new(endpoints, tls::api_client(&CLUSTER.serving().unwrap(), None).unwrap());
    let tokens = Tokens::new(Arc::new(client));
    let mut wanted = pod(server());
    objects::defaulting::bring_account(&mut wanted, &json!({}), "abcde");
    let pod = serde_json::from_value(wanted).unwrap();
    let need = token_needs(&pod).pop_first().unwrap();
    let token = async || {
        let mut bundle = Bundle::default();
        tokens.add_to(&mut bundle, &pod).await.map(|()| bundle.token(&need).unwrap().to_owned())
    };
    assert_eq!((token().await, token().await), (Ok("token-1".to_owned()), Ok("token-1".to_owned())));
    eventually("the token is renewed", async || (token().await.ok()? == "token-2").then_some(())).await;
    assert_eq!(cluster.token_requests.lock().unwrap().len(), 2);
    master.kill().await;
    assert_eq!(token().await, Ok("token-2".to_owned()), "good enough while no master gives another");
    tokens.forget("u");
    let refused = token().await.unwrap_err();
    assert!(refused.starts_with("failed to fetch token"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_adopts_what_runs_and_stops_what_was_deleted() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    cluster.put(POD, pod(server()));
    let before = ready(&cluster).await;
    agent.stop().await;
    let id = running(&sim).await[0].id.clone();

    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    beats(&cluster, 10).await;
    assert_eq!(running(&sim).await.len(), 1);
    assert_eq!(running(&sim).await[0].id, id, "the same container goes on");
    let after = ready(&cluster).await;
    assert_eq!(after["status"]["containerStatuses"], before["status"]["containerStatuses"]);
    agent.stop().await;

    cluster.remove(POD);
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    eventually("a pod deleted meanwhile is stopped", async || {
        let left = sim.list().await.unwrap();
        (left.containers.is_empty() && left.sandboxes.is_empty()).then_some(())
    })
    .await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_are_away_young_or_empty_stop_nothing() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(1000));
    let master = Master::start(&cluster).await;
    let address = master.address;
    let agent = Agent::start(dir.path(), &sim, &[address]).await;
    cluster.put(POD, pod(server()));
    ready(&cluster).await;
    let id = running(&sim).await[0].id.clone();
    master.kill().await;
    agent.stop().await;

    // No master at all: the agent starts anew and looks after its pod; a crashed container comes back.
    let agent = Agent::start(dir.path(), &sim, &[address]).await;
    sim.end(&id, 1, false).unwrap();
    let again = eventually("the container is started again without any master", async || {
        running(&sim).await.first().filter(|it| it.attempt == 1).map(|it| it.id.clone())
    })
    .await;

    // A master that knows nothing, at a revision that is long past.
    let young = Cluster::at(3);
    let master = Master::start_at(&young, address).await;
    beats(&young, 20).await;
    assert_eq!(running(&sim).await.first().map(|it| it.id.clone()), Some(again.clone()), "nothing was stopped");
    master.kill().await;

    // The real one comes back, and what happened meanwhile is told.
    let master = Master::start_at(&cluster, address).await;
    eventually("the restart is reported", async || {
        (cluster.get(POD)?["status"]["containerStatuses"][0]["restartCount"] == 1).then_some(())
    })
    .await;
    assert_eq!(running(&sim).await[0].id, again);
    agent.stop().await;
    master.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_away_is_said_and_survived() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    cluster.put(POD, pod(server()));
    ready(&cluster).await;
    let node_is = |status: &'static str| {
        let cluster = cluster.clone();
        async move || {
            let node = cluster.get("/api/v1/nodes/n")?;
            let conditions = node["status"]["conditions"].as_array()?.clone();
            conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == status).then_some(())
        }
    };
    sim.set_reachable(false);
    // Any event or the next look finds out; a new pod asks for one.
    let mut other = pod(server());
    other["metadata"]["name"] = json!("q");
    other["metadata"]["uid"] = json!("v");
    cluster.put("/api/v1/namespaces/ns/pods/q", other);
    eventually("the node is not ready", node_is("False")).await;
    sim.set_reachable(true);
    eventually("the node is ready", node_is("True")).await;
    eventually("both run", async || (running(&sim).await.len() == 2).then_some(())).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_somebody_wrote_over_is_put_right() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    cluster.put(POD, pod(server()));
    ready(&cluster).await;
    // As the master does while it does not hear the node; the second time shows that the first left no trace.
    for _ in 0..2 {
        cluster.change(POD, |pod| {
            for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
                if condition["type"] == "Ready" {
                    condition["status"] = json!("False");
                    condition["reason"] = json!("NodeNotReady");
                }
            }
        });
        ready(&cluster).await;
    }
    // A condition of somebody else's own stays, and what is right is not written again.
    cluster.change(POD, |pod| {
        let condition = json!({"type": "example.com/gate", "status": "True"});
        pod["status"]["conditions"].as_array_mut().unwrap().push(condition);
    });
    beats(&cluster, 10).await;
    let settled = cluster.get(POD).unwrap();
    assert!(settled["status"]["conditions"].to_string().contains("example.com/gate"), "{settled}");
    beats(&cluster, 20).await;
    assert_eq!(cluster.get(POD).unwrap()["metadata"]["resourceVersion"], settled["metadata"]["resourceVersion"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_the_same_name_is_another_pod() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    cluster.put(POD, pod(server()));
    ready(&cluster).await;
    cluster.remove(POD);
    let mut second = pod(server());
    second["metadata"]["uid"] = json!("u2");
    cluster.put(POD, second);
    eventually("only the second runs", async || {
        let running = running(&sim).await;
        (running.len() == 1 && running[0].pod.uid == "u2").then_some(())
    })
    .await;
    assert_eq!(ready(&cluster).await["metadata"]["uid"], "u2");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_and_missing_configuration_are_told() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    let agent = Agent::start(dir.path(), &sim, &[master.address]).await;
    let mut spec = server();
    spec["containers"][0]["image"] = json!("missing:1");
    let mut second = spec["containers"][0].clone();
    second["name"] = json!("b");
    second["image"] = json!("web:1");
    second["env"] = json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    spec["containers"].as_array_mut().unwrap().push(second);
    cluster.put(POD, pod(spec));
    let reason = |index: usize, reason: &'static str| {
        let cluster = cluster.clone();
        async move || {
            let pod = cluster.get(POD)?;
            (pod["status"]["containerStatuses"][index]["state"]["waiting"]["reason"] == reason).then_some(())
        }
    };
    eventually("the image is missing", reason(0, "ErrImagePull")).await;
    eventually("the secret is missing", reason(1, "CreateContainerConfigError")).await;
    cluster.put("/api/v1/namespaces/ns/secrets/s", json!({"metadata": {"name": "s"}, "data": {"k": "djE="}}));
    eventually("the container starts once its secret is there", async || {
        running(&sim).await.iter().any(|it| it.name == "b").then_some(())
    })
    .await;
    agent.stop().await;
}
