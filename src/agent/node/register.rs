//! Keeping the Node object in the cluster, and true: made when it is missing, its status written when it changes, when the
//! cluster has given the node up, and every few minutes.

use super::describe::{Facts, is_given_up};
use crate::context::Context;
use crate::limits::{NODE_STATUS_INTERVAL, STATUS_DEADLINE, WRITE_PAUSE};
use base::{Backoff, Stopping};
use client::{Call, Error, Floor, PatchKind, Reflector, Source};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// Keeps the Node until `stopping`; `uid` learns the Node's uid.
pub(crate) async fn register(
    context: Arc<Context>,
    facts: Facts,
    floor: Floor,
    uid: watch::Sender<Option<String>>,
    stopping: Stopping,
) {
    let path = format!("/api/v1/nodes?fieldSelector=metadata.name%3D{}", facts.options.node);
    let source = Source { path, floor };
    let reflector =
        Reflector::start((*context.client).clone(), source, &stopping, Ok::<Value, std::convert::Infallible>);
    let (mut changes, mut looks) = (reflector.subscribe(), context.observer.subscribe());
    let mut pause = Backoff::doubling(WRITE_PAUSE.0, WRITE_PAUSE.1);
    let mut written: Option<(Instant, Option<String>)> = None;
    loop {
        let trouble = context.observer.look().trouble.clone();
        let seen = reflector.get(&facts.options.node);
        let missing = reflector.snapshot().synced && seen.is_none();
        let given_up = seen.as_deref().is_some_and(is_given_up) && trouble.is_none();
        let due = written.as_ref().is_none_or(|(at, told)| *told != trouble || at.elapsed() >= NODE_STATUS_INTERVAL);
        if due || missing || given_up {
            match stopping.unless(write(&context, &facts, trouble.as_deref())).await {
                None => return,
                Some(Ok(node)) => {
                    pause.reset();
                    let found = node["metadata"]["uid"].as_str().map(str::to_owned);
                    uid.send_if_modified(|known| {
                        let news = *known != found;
                        *known = found;
                        news
                    });
                    if written.is_none() {
                        tracing::info!(node = facts.options.node, "the node is registered");
                    }
                    written = Some((Instant::now(), trouble));
                    // The mirror shows our own write only later; until then it is not asked.
                    if (missing || given_up) && !stopping.sleep(WRITE_PAUSE.0).await {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the node could not be registered; trying again");
                    if stopping.unless(pause.wait()).await.is_none() {
                        return;
                    }
                    continue;
                }
            }
        }
        tokio::select! {
            () = stopping.stopped() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = looks.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(NODE_STATUS_INTERVAL) => {}
        }
    }
}

async fn write(context: &Context, facts: &Facts, trouble: Option<&str>) -> Result<Value, Error> {
    let path = format!("/api/v1/nodes/{}", facts.options.node);
    let node = match context.client.get(&path).await {
        Ok(node) => node,
        Err(error) if error.is_not_found() => match context.client.create("/api/v1/nodes", &facts.node()).await {
            Err(error) if error.is_already_exists() || error.is_unknown() => context.client.get(&path).await?,
            outcome => outcome?,
        },
        Err(error) => return Err(error),
    };
    let lacks = facts.labels().into_iter().any(|(key, value)| node["metadata"]["labels"][key] != value);
    if lacks {
        let patch = json!({"metadata": {"labels": facts.labels()}});
        context.client.patch(&path, PatchKind::Merge, &patch).await?;
    }
    let status = facts.status(&node["status"], trouble, base::clock::now());
    let patch = json!({"metadata": {"uid": node["metadata"]["uid"]}, "status": status});
    let call = Call::new(Method::PATCH, format!("{path}/status"))
        .body("application/merge-patch+json", patch.to_string())
        .deadline(STATUS_DEADLINE)
        .repeatable();
    context.client.json(call).await
}
