//! Saying "I am here" every second, to whichever master listens. The answer lists the masters, so that an agent learns of
//! new ones long before it needs them.

use crate::context::Context;
use crate::limits::HEARTBEAT_DEADLINE;
use base::Stopping;
use client::{Address, Call};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// Beats until `stopping`.
pub(crate) async fn beat(context: Arc<Context>, mut uid: watch::Receiver<Option<String>>, stopping: Stopping) {
    let mut ticks = tokio::time::interval(context.options.heartbeat);
    // A machine that slept must not make up for lost beats.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.stopped() => return,
            _ = ticks.tick() => {}
            // The first beat follows registration at once.
            Ok(()) = uid.changed() => {}
        }
        let own = uid.borrow_and_update().clone().unwrap_or_default();
        let body = json!({"node": context.options.node, "uid": own});
        if stopping.unless(one(&context, &body)).await.is_none() {
            return;
        }
    }
}

/// One heartbeat: to the current master, and at once to the next one if it fails.
async fn one(context: &Context, body: &Value) {
    let endpoints = context.client.endpoints();
    for master in endpoints.candidates() {
        let call = Call::new(Method::POST, "/barque/v1/heartbeat").json(body).deadline(HEARTBEAT_DEADLINE).repeatable();
        match context.client.request_to(&master, call).await {
            Ok(response) if response.status.is_success() => {
                endpoints.succeeded(&master);
                let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
                learn(context, &masters_of(&answer)).await;
                return;
            }
            Ok(response) if response.status == StatusCode::SERVICE_UNAVAILABLE || response.status.is_server_error() => {
                endpoints.failed(&master, &format!("it answered a heartbeat with {}", response.status));
            }
            Ok(response) => {
                // A refusal is no failure of the master: another would refuse too.
                tracing::warn!(%master, status = %response.status, "a heartbeat was refused");
                return;
            }
            Err(error) => endpoints.failed(&master, &error.to_string()),
        }
    }
    tracing::warn!("no master took the heartbeat");
}

/// Takes in the cluster's list of masters, and keeps it.
async fn learn(context: &Context, masters: &[Address]) {
    let endpoints = context.client.endpoints();
    if masters.is_empty() || endpoints.addresses() == masters {
        return;
    }
    if let Err(error) = endpoints.replace(masters.iter().cloned()) {
        tracing::warn!(%error, "the cluster's list of masters is not usable");
        return;
    }
    let (disk, kept) = (context.disk.clone(), endpoints.snapshot());
    let keeping =
        tokio::task::spawn_blocking(move || if disk.masters() == kept { Ok(()) } else { disk.keep_masters(&kept) });
    if let Ok(Err(error)) = keeping.await {
        tracing::warn!(%error, "the list of masters could not be kept");
    }
}

/// The masters in an answer: addresses, or objects with one. Anything that does not parse makes the list unusable as a whole.
fn masters_of(answer: &Value) -> Vec<Address> {
    let text = |entry: &Value| -> Option<String> {
        let found = entry.as_str().or_else(|| ["url", "api", "address"].iter().find_map(|key| entry[*key].as_str()))?;
        Some(found.to_owned())
    };
    let list = answer["masters"].as_array().into_iter().flatten();
    let parsed: Option<Vec<Address>> = list.map(|entry| text(entry)?.parse().ok()).collect();
    parsed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_masters_are_read_as_a_whole() {
        let count = |answer: Value| masters_of(&answer).len();
        assert_eq!(count(json!({"masters": ["https://a:1", "b:2"]})), 2);
        assert_eq!(count(json!({"masters": [{"name": "m", "url": "https://a:1"}]})), 1);
        assert_eq!(count(json!({"masters": ["https://a:1", 7]})), 0);
        assert_eq!(count(json!({})), 0);
    }
}
