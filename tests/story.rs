//! The story that the README tells, on real containers and with the real kubectl: nginx serves through the death of the leader in
//! the middle of a rolling update and through the death of a node, goes back to its old version, and leaves nothing behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chaos::serving::{Promise, Report, Round, Serving};
use chaos::{Cluster, Error, Shape};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How long anything may take on a slow, loaded machine before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for kubectl.
const TIMEOUT: &str = "--timeout=120s";
/// Replicas of config/web.yaml.
const REPLICAS: usize = 6;
/// So many are ready at any moment of a rolling update: its maxUnavailable is one.
const ROLLING: usize = REPLICAS - 1;

/// Why the test failed.
static REASON: Mutex<Option<String>> = Mutex::new(None);

/// Prints what a person would look at when the test fails, and the reason once more at the end: the middle of a long output is
/// what gets lost.
struct Diagnosis<'a>(&'a Cluster);

impl<'a> Diagnosis<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            REASON.lock().expect("nobody panics while holding it").get_or_insert(panic.to_string());
            print(panic);
        }));
        Self(cluster)
    }
}

impl Drop for Diagnosis<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kubectl = |arguments: &str| {
            let arguments: Vec<&str> = arguments.split(' ').chain(["--request-timeout=10s"]).collect();
            self.0.kubectl(&arguments).unwrap_or_else(|error| error.to_string())
        };
        for line in ["get nodes -o wide", "get all -n demo -o wide", "describe pods -n demo", "get events -n demo"] {
            eprintln!("== kubectl {line}\n{}", kubectl(line));
        }
        for pod in kubectl("get pods -n demo -o name").split_whitespace() {
            eprintln!("== logs of {pod}\n{}", kubectl(&format!("logs -n demo --all-containers --tail=8 {pod}")));
        }
        eprintln!("== barque status\n{}", self.0.barque(&["status"]).unwrap_or_else(|error| error.to_string()));
        for process in ["master-1", "master-2", "master-3", "node-1", "node-2", "node-3", "gateway"] {
            let log = std::fs::read(self.0.dir().join(process).join("log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("== log of {process}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
        eprintln!(
            "== it failed because\n{}",
            REASON.lock().expect("nobody panics while holding it").as_deref().unwrap_or("?")
        );
    }
}

/// Runs kubectl and returns what it printed.
fn kubectl(cluster: &Cluster, line: &str) -> String {
    let arguments: Vec<&str> = line.split(' ').collect();
    cluster.kubectl(&arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// `kubectl rollout status`, which goes on while the cluster is hurt.
fn rollout_status(cluster: &Cluster) -> Child {
    let mut command = cluster.kubectl_command(&["rollout", "status", "deployment/web", "-n", "demo", TIMEOUT]);
    command.stdout(Stdio::null()).spawn().expect("kubectl starts")
}

/// Watches the Deployment's pods; `except` is a node that is about to die.
fn watch(cluster: &Cluster, at_least: usize, except: Option<&str>) -> Serving {
    let pods = "/api/v1/namespaces/demo/pods?labelSelector=app%3Dweb".to_owned();
    let promise = Promise { pods, port: 80, page, at_least, except: except.map(str::to_owned) };
    Serving::watch(cluster, promise).expect("a watch")
}

/// What a pod of config/web.yaml answers: its name and the version in its neighbour's environment.
fn page(pod: &Value) -> String {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let environment = all(&pod["spec"]["containers"]).into_iter().flat_map(|container| all(&container["env"]));
    let version = environment.into_iter().find(|variable| variable["name"] == "VERSION").unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}\n", text(&pod["metadata"]["name"]), text(&version["value"]))
}

/// How many pods answer with each version.
fn versions(round: &Round) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for page in round.pages.values() {
        *counts.entry(page.trim_end().rsplit(' ').next().unwrap_or("")).or_default() += 1;
    }
    counts
}

fn all_answer(serving: &Serving, version: &str) {
    let what = format!("all replicas answer with version {version}");
    serving.until(&what, PATIENCE, |round| versions(round) == [(version, REPLICAS)].into()).expect("they answer");
}

fn kept(serving: Serving, what: &str) {
    let report: Report = serving.finish();
    eprintln!("{what}: {report:?}");
    assert!(report.faults.is_empty(), "{what}: {:#?}", report.faults);
}

/// Containers of this cluster in the engine, running or not.
fn containers(cluster_id: &str) -> Result<Vec<String>, Error> {
    let filter = format!("label=io.barque.cluster={cluster_id}");
    let shown = ["ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Status}}", "--filter", &filter];
    let output = Command::new("docker").args(shown).output().map_err(Error::system("run docker"))?;
    assert!(output.status.success(), "docker ps: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn nginx_serves_while_the_leader_and_a_node_die() {
    if !Command::new("docker").arg("version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no Docker engine answers: start one (make test does)");
        eprintln!("NOT RUN: no Docker engine answers");
        return;
    }
    chaos::ensure_image().expect("the neighbour's image");
    chaos::ensure_nginx_image().expect("the image with nginx");
    let shape = Shape { masters: 3, nodes: 3, runtime: "docker" };
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster");
    let _diagnosis = Diagnosis::of(&cluster);
    let id = cluster.id().unwrap();

    // A Deployment of a real server: every replica is Running and answers.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/web.yaml");
    kubectl(&cluster, &format!("apply -f {}", manifest.display()));
    assert!(rollout_status(&cluster).wait().unwrap().success());
    let phases = kubectl(&cluster, "get pods -n demo -l app=web -o jsonpath={.items[*].status.phase}");
    assert_eq!(phases, ["Running"; REPLICAS].join(" "));
    let serving = watch(&cluster, ROLLING, None);
    all_answer(&serving, "one");

    // The leader dies in the middle of a rolling update, which goes on under another one.
    kubectl(&cluster, "set env deployment/web -n demo -c writer VERSION=two");
    let mut status = rollout_status(&cluster);
    let mixed = |round: &Round| ["one", "two"].iter().all(|version| versions(round).get(version) >= Some(&2));
    serving.until("the middle of the rolling update", PATIENCE, mixed).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.signal(leader.pid, Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    assert!(status.try_wait().unwrap().is_none(), "the update was over before the leader died");
    let still = |round: &Round| round.began > killed && versions(round).contains_key("one");
    serving.until("old pods that serve after the leader's death", PATIENCE, still).unwrap();
    assert!(status.wait().unwrap().success(), "kubectl rollout status sees the end through the leader's death");
    all_answer(&serving, "two");
    kept(serving, "the leader killed in a rolling update");
    assert_ne!(cluster.leader().unwrap().name, leader.name);

    // A node dies, and its pods come back elsewhere.
    let places = kubectl(&cluster, "get pods -n demo -l app=web -o jsonpath={.items[*].spec.nodeName}");
    let on = |name: &str| places.split(' ').filter(|place| *place == name).count();
    let victim = cluster.nodes().unwrap().into_iter().max_by_key(|node| on(&node.name)).expect("a node");
    assert!(on(&victim.name) > 0, "{places}");
    let serving = watch(&cluster, REPLICAS - on(&victim.name), Some(&victim.name));
    cluster.kill_node(&victim).unwrap();
    kubectl(&cluster, &format!("wait --for=condition=Ready=Unknown node/{} {TIMEOUT}", victim.name));
    all_answer(&serving, "two");

    // Both come back.
    cluster.up().unwrap();
    cluster
        .wait("three masters and three nodes", PATIENCE, || {
            let status = cluster.status()?;
            let nodes = cluster.nodes()?;
            let whole = status["tolerates"] == 1 && nodes.len() == 3 && nodes.iter().all(|node| node.ready);
            Ok(whole.then_some(()))
        })
        .unwrap();
    cluster
        .wait("the dead node's pods to be gone", PATIENCE, || {
            let names = cluster.kubectl(&["get", "pods", "-n", "demo", "-o", "name"])?;
            Ok((names.lines().count() == REPLICAS).then_some(()))
        })
        .unwrap();
    kept(serving, "a node killed and taken back");

    // Back to the old version, under the same promise.
    let serving = watch(&cluster, ROLLING, None);
    kubectl(&cluster, "rollout undo deployment/web -n demo");
    assert!(rollout_status(&cluster).wait().unwrap().success());
    all_answer(&serving, "one");
    kept(serving, "the update undone");

    // Nothing is left.
    assert!(!containers(&id).unwrap().is_empty());
    kubectl(&cluster, &format!("delete namespace demo {TIMEOUT}"));
    let gone = cluster.kubectl(&["get", "namespace", "demo"]).expect_err("it is gone").to_string();
    assert!(gone.contains("NotFound"), "{gone}");
    let left = cluster.wait("no container left", PATIENCE, || Ok(containers(&id)?.is_empty().then_some(())));
    assert!(left.is_ok(), "{:#?}", containers(&id));
}
