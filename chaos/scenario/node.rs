//! A node dies with its containers: its pods run elsewhere.

use std::time::Duration;

use chaos::figures::{Samples, table};
use chaos::{Cluster, Error, Node};
use client::{Call, Client};
use serde_json::Value;
use tokio::time::Instant;

use super::{check, workload};

/// Kills each node in turn.
pub async fn measure(cluster: &Cluster, runs: usize) -> Result<bool, Error> {
    workload::ensure(cluster).await?;
    let client = cluster.gateway_client()?;
    let (mut not_ready, mut elsewhere) = (Samples::default(), Samples::default());
    for run in 0..runs {
        let nodes = cluster.nodes()?;
        let node = &nodes[run % nodes.len()];
        spread(&client, node).await?;
        let fault = Instant::now();
        cluster.kill_node(node)?;
        let deadline = fault + Duration::from_secs(60);
        not_ready.add(until(&client, fault, deadline, "NotReady", |client| gone(client, &node.name)).await?);
        elsewhere.add(
            until(&client, fault, deadline, "running elsewhere", |client| all_elsewhere(client, &node.name)).await?,
        );
        cluster.up()?;
        workload::wait_available(&client, workload::REPLICAS, Duration::from_secs(60)).await?;
    }
    let row = |what: &str, samples: &Samples| {
        vec![what.to_owned(), runs.to_string(), format!("{:.0} / {:.0}", samples.quantile(0.5), samples.worst())]
    };
    let rows = [row("node is NotReady", &not_ready), row("all pods Running elsewhere", &elsewhere)];
    println!("{}", table(&["after an agent and its containers are killed", "runs", "ms (median / worst)"], &rows));
    let mut held = check(not_ready.worst() <= 6_000.0, "NotReady within 6 s");
    held &= check(elsewhere.worst() <= 10_000.0, "pods Running elsewhere within 10 s");
    Ok(held)
}

/// Makes sure that the node has something to lose: while it has no pod, one pod elsewhere is deleted.
async fn spread(client: &Client, node: &Node) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let pods = workload::pods(client).await?;
        let on_node = pods.iter().any(|pod| pod["spec"]["nodeName"] == node.name.as_str());
        let settled = pods.len() == workload::REPLICAS && pods.iter().all(is_ready);
        if on_node && settled {
            return Ok(());
        }
        if settled && let Some(name) = pods.first().and_then(|pod| pod["metadata"]["name"].as_str()) {
            let path = format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0");
            client.json(Call::new(http::Method::DELETE, path)).await?;
        }
        if Instant::now() > deadline {
            let what = format!("a pod on {}", node.name);
            return Err(Error::Late { what, seconds: 60, detail: String::new() });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn until<F: Future<Output = Result<bool, Error>>>(
    client: &Client,
    since: Instant,
    deadline: Instant,
    what: &str,
    condition: impl Fn(Client) -> F,
) -> Result<Duration, Error> {
    loop {
        if condition(client.clone()).await? {
            return Ok(since.elapsed());
        }
        if Instant::now() > deadline {
            return Err(Error::Late { what: what.to_owned(), seconds: 60, detail: String::new() });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn gone(client: Client, node: &str) -> Result<bool, Error> {
    let node = client.json(Call::get(format!("/api/v1/nodes/{node}"))).await?;
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.iter().any(|one| one["type"] == "Ready" && one["status"] != "True"))
}

async fn all_elsewhere(client: Client, node: &str) -> Result<bool, Error> {
    let pods = workload::pods(&client).await?;
    let running = pods.iter().filter(|pod| pod["spec"]["nodeName"] != node && is_ready(pod)).count();
    Ok(running == workload::REPLICAS)
}

fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
