//! The node's Lease: what tools and operators of other makers look at to see that a node lives.

use crate::context::Context;
use crate::limits::{LEASE_INTERVAL, LEASE_SECONDS};
use base::Stopping;
use client::{Call, Error};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

const FOLDER: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Renews the Lease until `stopping`.
pub(crate) async fn renew(context: Arc<Context>, mut uid: watch::Receiver<Option<String>>, stopping: Stopping) {
    // The Lease belongs to the Node, so it is made after it.
    if !matches!(stopping.unless(uid.wait_for(Option::is_some)).await, Some(Ok(_))) {
        return;
    }
    loop {
        let owner = uid.borrow().clone().unwrap_or_default();
        match stopping.unless(write(&context, &owner)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "the lease was not renewed"),
        }
        if !stopping.sleep(LEASE_INTERVAL).await {
            return;
        }
    }
}

async fn write(context: &Context, owner: &str) -> Result<(), Error> {
    let node = &context.options.node;
    let now = objects::time::format_micro(base::clock::now());
    let patch = json!({"spec": {"holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}});
    let call = Call::new(Method::PATCH, format!("{FOLDER}/{node}"))
        .body("application/merge-patch+json", patch.to_string())
        .deadline(LEASE_INTERVAL)
        .repeatable();
    match context.client.json(call).await {
        Err(error) if error.is_not_found() => {
            context.client.create(FOLDER, &lease(node, owner, &patch)).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

fn lease(node: &str, owner: &str, patch: &Value) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node,
            "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner}],
        },
        "spec": patch["spec"],
    })
}
