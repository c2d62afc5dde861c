//! The Deployment that must not notice anything, and what is known about its pods.

use std::collections::BTreeMap;
use std::time::Duration;

use chaos::{Cluster, Error, IMAGE};
use client::{Call, Client};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Replicas of the Deployment: two for each node.
pub const REPLICAS: usize = 6;

/// Creates the Deployment unless it is there, and waits until it is available.
pub async fn ensure(cluster: &Cluster) -> Result<(), Error> {
    let client = cluster.gateway_client()?;
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "steady"},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "steady"}}, "template": {
            "metadata": {"labels": {"app": "steady"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]}]}}},
    });
    match client.json(Call::new(Method::POST, DEPLOYMENTS).json(&body)).await {
        Err(error) if !error.is_already_exists() => return Err(error.into()),
        _ => {}
    }
    wait_available(&client, REPLICAS, Duration::from_secs(120)).await
}

/// Waits until so many replicas are available.
pub async fn wait_available(client: &Client, replicas: usize, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = client.json(Call::get(format!("{DEPLOYMENTS}/steady"))).await;
        if seen.as_ref().is_ok_and(|one| one["status"]["availableReplicas"] == replicas) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let detail = seen.map_or_else(|error| error.to_string(), |one| one["status"].to_string());
            let what = format!("{replicas} available replicas");
            return Err(Error::Late { what, seconds: patience.as_secs(), detail: format!(": {detail}") });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The Deployment's pods.
pub async fn pods(client: &Client) -> Result<Vec<Value>, Error> {
    let list = client.json(Call::get(format!("{PODS}?labelSelector=app%3Dsteady"))).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// What must not change under a master's fault: each pod, its node and its container.
pub async fn fingerprint(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let shown = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        let text = format!("{} {} restarts {}", pod["spec"]["nodeName"], status["containerID"], status["restartCount"]);
        (pod["metadata"]["name"].as_str().unwrap_or("").to_owned(), text)
    };
    Ok(pods(client).await?.iter().map(shown).collect())
}

/// Since when each node is Ready, or what else it is: the same before and after a fault that no agent may notice.
pub async fn readiness(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let list = client.json(Call::get("/api/v1/nodes")).await?;
    let shown = |node: &Value| {
        let ready = node["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
        let text =
            ready.map_or_else(String::new, |one| format!("{} since {}", one["status"], one["lastTransitionTime"]));
        (node["metadata"]["name"].as_str().unwrap_or("").to_owned(), text)
    };
    Ok(list["items"].as_array().into_iter().flatten().map(shown).collect())
}

/// Creates a pod that any node can run, again and again until it is accepted, then waits until it has a node. Returns the
/// time since `since`.
pub async fn schedule_one(client: &Client, name: &str, since: Instant) -> Result<Duration, Error> {
    let deadline = since + Duration::from_secs(30);
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "probe"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]}]},
    });
    let attempt = Duration::from_millis(1_000);
    let late = |detail: String| Error::Late { what: format!("a node for pod {name}"), seconds: 30, detail };
    loop {
        match client.json(Call::new(Method::POST, PODS).json(&body).deadline(attempt)).await {
            Ok(_) => break,
            Err(error) if error.is_already_exists() => break,
            Err(error) if Instant::now() > deadline => return Err(late(format!(": {error}"))),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    loop {
        let seen = client.json(Call::get(format!("{PODS}/{name}")).deadline(attempt)).await;
        if seen.is_ok_and(|pod| pod["spec"]["nodeName"].is_string()) {
            return Ok(since.elapsed());
        }
        if Instant::now() > deadline {
            return Err(late(String::new()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Removes the pods that [`schedule_one`] made.
pub async fn clear_probes(client: &Client) -> Result<(), Error> {
    let path = format!("{PODS}?labelSelector=app%3Dprobe&gracePeriodSeconds=0");
    client.json(Call::new(Method::DELETE, path)).await?;
    Ok(())
}
