//! Creates of ConfigMaps of 1 KiB, JSON over TLS, one HTTP/2 connection per client, spread over all masters.

use std::time::Duration;

use chaos::{Cluster, Error};
use client::{Call, Client};
use http::Method;
use serde_json::json;

use crate::load::{Outcome, Requests, drive};

/// Bytes of each object's data.
const VALUE_BYTES: usize = 1_024;

/// Measures creates, then removes what was created.
pub async fn creates(cluster: &Cluster, clients: usize, duration: Duration, round: usize) -> Result<Outcome, Error> {
    let masters = cluster.masters()?;
    let writers = (0..clients)
        .map(|number| {
            let client = cluster.master_client(&masters[number % masters.len()].name)?;
            Ok(Writer { client, prefix: format!("b{clients}-{round}-{number}") })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    for writer in &writers {
        // Connected before the clock runs, as etcd's clients are.
        writer.client.json(Call::get("/version")).await?;
    }
    let outcome = drive(writers, duration).await?;
    let client = cluster.master_client(&masters[0].name)?;
    let all = Call::new(Method::DELETE, "/api/v1/namespaces/default/configmaps").deadline(Duration::from_secs(120));
    client.json(all).await?;
    Ok(outcome)
}

struct Writer {
    client: Client,
    prefix: String,
}

impl Requests for Writer {
    async fn send(&mut self, number: u64) -> bool {
        let name = format!("{}-{number}", self.prefix);
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "x".repeat(VALUE_BYTES)},
        });
        self.client.json(Call::new(Method::POST, "/api/v1/namespaces/default/configmaps").json(&body)).await.is_ok()
    }
}
