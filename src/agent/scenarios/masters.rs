//! The list of masters: an agent learns it from the cluster, moves along it, and keeps it over a restart.

use super::*;
use client::Address;

/// Lets the answers to heartbeats list these masters.
fn list(cluster: &Cluster, masters: &[&Master]) {
    *cluster.masters.lock().unwrap() = masters.iter().map(|master| format!("https://{}", master.address)).collect();
}

/// Waits until the agent's folder holds exactly these masters.
async fn kept(dir: &Path, masters: &[&Master]) {
    let mut expected: Vec<Address> = masters.iter().map(|master| master.address.into()).collect();
    expected.sort_by_key(ToString::to_string);
    eventually("the list is kept", async || {
        let mut found = crate::read_masters(dir);
        found.sort_by_key(ToString::to_string);
        (found == expected).then_some(())
    })
    .await;
}

/// Gives the node a pod of this name and waits until it is ready.
async fn serves(cluster: &Cluster, name: &str) {
    let path = format!("/api/v1/namespaces/ns/pods/{name}");
    let mut pod = pod(server());
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["uid"] = json!(name);
    cluster.put(&path, pod);
    eventually("the pod is ready", async || {
        let conditions = cluster.get(&path)?["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_learnt_followed_and_kept_over_a_restart() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let (first, second) = (Master::start(&cluster).await, Master::start(&cluster).await);
    let told: Address = first.address.into();
    list(&cluster, &[&first]);
    let agent = Agent::start(dir.path(), &sim, &[first.address]).await;
    serves(&cluster, "before").await;
    list(&cluster, &[&first, &second]);
    kept(dir.path(), &[&first, &second]).await;

    first.kill().await;
    beats(&cluster, 5).await;
    serves(&cluster, "after").await;
    // What cannot be read leaves the list as it is.
    *cluster.masters.lock().unwrap() = vec!["https://".into(), format!("https://{}", second.address)];
    beats(&cluster, 5).await;
    serves(&cluster, "still").await;
    agent.stop().await;

    // Started anew as `barque node` does it: with what was learnt, then what it is told, which is out of date by now.
    let endpoints = Endpoints::restore(crate::read_masters(dir.path()), [told]).unwrap();
    let agent = Agent::start_through(dir.path(), Arc::new(sim.clone()), "scenario", endpoints, None).await;
    beats(&cluster, 5).await;
    serves(&cluster, "again").await;
    // A master that has left the cluster is forgotten.
    list(&cluster, &[&second]);
    kept(dir.path(), &[&second]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_endpoint_follows_the_list() {
    let (dir, sim, cluster) = (tempfile::tempdir().unwrap(), sim(), Cluster::at(10));
    let (first, second) = (Master::start(&cluster).await, Master::start(&cluster).await);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = SocketAddr::from(([127, 0, 0, 1], port));
    let endpoints = Endpoints::in_order([first.address.into()]).unwrap();
    let agent = Agent::start_through(dir.path(), Arc::new(sim), "scenario", endpoints, Some(gateway)).await;
    let tls = tls::api_client(&CLUSTER.serving().unwrap(), None).unwrap();
    let local = Client::new(Endpoints::in_order([gateway.into()]).unwrap(), tls);
    let asks = async || local.get("/api/v1/nodes/n").await.ok();
    eventually("the endpoint leads to the first", asks).await;
    list(&cluster, &[&first, &second]);
    kept(dir.path(), &[&first, &second]).await;
    first.kill().await;
    eventually("the endpoint leads to the second", asks).await;
    agent.stop().await;
}
