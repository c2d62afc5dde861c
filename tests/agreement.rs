//! What must be the same on all masters: the chain of all changes, and the documents that clients keep by their tags.

use std::path::Path;
use std::time::Duration;

use chaos::{Cluster, Master, Shape};
use client::{Call, Client};
use http::Method;
use http::header::{ACCEPT, ETAG, HeaderValue};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);
const CM: &str = "/api/v1/namespaces/default/configmaps";

struct Through {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Through {
    fn all(cluster: &Cluster, masters: &[Master]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let clients = masters.iter().map(|master| cluster.master_client(&master.name).expect("a client")).collect();
        Self { runtime, clients }
    }

    fn create(&self, at: usize, name: &str) {
        let object = json!({"metadata": {"name": name}, "data": {"through": at.to_string()}});
        self.runtime.block_on(self.clients[at].json(Call::new(Method::POST, CM).json(&object))).expect("created");
    }

    fn statuses(&self) -> Vec<Value> {
        let one = |client: &Client| self.runtime.block_on(client.get("/barque/v1/status")).unwrap_or_default();
        self.clients.iter().map(one).collect()
    }

    /// The tag and the body of a document on each master.
    fn document(&self, path: &str, accept: &str) -> Vec<(String, Vec<u8>)> {
        let one = |client: &Client| {
            let call = Call::get(path).header(ACCEPT, HeaderValue::from_str(accept).expect("a header"));
            let answer = self.runtime.block_on(client.request(call)).expect("an answer");
            assert_eq!(answer.status, 200, "{path}");
            (answer.headers[ETAG].to_str().expect("text").to_owned(), answer.body.to_vec())
        };
        self.clients.iter().map(one).collect()
    }
}

/// Waits until all masters show one revision, and checks that they show one chain; gives both.
fn agreed(cluster: &Cluster, through: &Through) -> (u64, String) {
    let seen = cluster.wait("one revision on all masters", PATIENCE, || {
        let statuses = through.statuses();
        let revisions: Vec<_> = statuses.iter().map(|status| status["revision"].as_u64()).collect();
        let one = revisions[0].is_some() && revisions.iter().all(|revision| *revision == revisions[0]);
        Ok(one.then_some(statuses))
    });
    let statuses = seen.expect("agreement");
    let chain = statuses[0]["chain"].as_str().expect("a chain").to_owned();
    assert_eq!(chain.len(), 64, "{chain}");
    for status in &statuses {
        assert_eq!(status["chain"], chain.as_str(), "the masters have diverged: {statuses:#?}");
    }
    (statuses[0]["revision"].as_u64().expect("a revision"), chain)
}

#[test]
fn all_masters_hold_and_show_the_same() {
    let shape = Shape { masters: 3, nodes: 0, runtime: "sim" };
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster");
    let masters = cluster.masters().unwrap();
    assert_eq!(masters.len(), 3);
    let through = Through::all(&cluster, &masters);
    let (first, chain) = agreed(&cluster, &through);
    for round in 0..10 {
        (0..3).for_each(|at| through.create(at, &format!("a{at}-{round}")));
    }
    let (second, later) = agreed(&cluster, &through);
    assert!(second >= first + 30 && later != chain, "{first} {second}");

    let leader = cluster.leader().unwrap();
    cluster.signal(leader.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster.ended(leader.pid).unwrap();
    let alive: Vec<usize> = (0..3).filter(|at| masters[*at].name != leader.name).collect();
    for round in 0..10 {
        alive.iter().for_each(|at| through.create(*at, &format!("b{at}-{round}")));
    }
    cluster.up().unwrap();
    let back = masters.iter().position(|master| master.name == leader.name).unwrap();
    through.create(back, "back");
    let (third, last) = agreed(&cluster, &through);
    assert!(third >= second + 21 && last != later, "{second} {third}");

    // What clients ask for by tag: the one that restarted makes it anew.
    let index = through.document("/openapi/v3", "application/json");
    let urls: Value = serde_json::from_slice(&index[0].1).unwrap();
    let mut documents: Vec<(String, &str)> = urls["paths"]
        .as_object()
        .expect("paths")
        .values()
        .map(|entry| (entry["serverRelativeURL"].as_str().expect("url").to_owned(), "application/json"))
        .collect();
    assert!(documents.len() >= 5, "{documents:?}");
    documents.push(("/openapi/v3".into(), "application/json"));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    documents.extend(["/api", "/apis"].map(|path| (path.to_owned(), aggregated)));
    for (path, accept) in documents {
        let seen = through.document(&path, accept);
        assert!(seen.iter().all(|one| *one == seen[0]), "{path} differs between masters");
        assert!(!seen[0].1.is_empty() && seen[0].0.len() > 16, "{path}");
    }
}
