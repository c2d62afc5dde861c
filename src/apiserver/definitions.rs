//! What writes of CustomResourceDefinitions need beyond the generic path: `schemas` fills in, judges and marks them.

use objects::validation::{self, forbidden};
use objects::{Cause, Kind, Status};
use schemas::definition;
use serde_json::Value;

use crate::rules::CEL;

fn describes_kinds(kind: &Kind) -> bool {
    kind.kind == "CustomResourceDefinition" && kind.group == "apiextensions.k8s.io"
}

/// Fills in defaults.
pub fn default(kind: &Kind, value: &mut Value) {
    if describes_kinds(kind) {
        definition::default(value);
    }
}

/// Makes a new one what it starts with.
pub fn begin(kind: &Kind, value: &mut Value) {
    if describes_kinds(kind) {
        definition::prepare_create(value);
    }
}

/// Keeps of an old one what a write does not change.
pub fn change(kind: &Kind, old: &Value, new: &mut Value, subresource: Option<&str>) {
    if describes_kinds(kind) && subresource.is_none() {
        definition::prepare_update(old, new);
    }
}

/// Marks one whose deletion is asked for: it stays until its objects are gone.
pub fn end(kind: &Kind, value: &mut Value, now: &str) {
    if describes_kinds(kind) && !value["metadata"]["deletionTimestamp"].is_string() {
        definition::begin_removal(value, now);
    }
}

/// What is wrong with a new object of any kind.
///
/// # Errors
/// 500 when the judge itself fell over.
pub async fn judge_new(kind: &Kind, value: &Value) -> Result<Vec<Cause>, Status> {
    if !describes_kinds(kind) {
        return Ok(validation::create(kind, value));
    }
    let value = value.clone();
    aside(move || definition::create(&value, Some(CEL)).into_iter().chain(webhook(&value)).collect()).await
}

/// What is wrong with replacing an object of any kind by another.
///
/// # Errors
/// As [`judge_new`].
pub async fn judge_change(
    kind: &Kind,
    old: &Value,
    new: &Value,
    subresource: Option<&str>,
) -> Result<Vec<Cause>, Status> {
    if !describes_kinds(kind) {
        return Ok(validation::update(kind, old, new));
    }
    if subresource == Some("status") {
        return Ok(definition::update_status(old, new));
    }
    let (old, new) = (old.clone(), new.clone());
    aside(move || definition::update(&old, &new, Some(CEL)).into_iter().chain(webhook(&new)).collect()).await
}

/// Judges beside the threads that answer requests: large schemas with many rules take their time.
async fn aside(judge: impl FnOnce() -> Vec<Cause> + Send + 'static) -> Result<Vec<Cause>, Status> {
    tokio::task::spawn_blocking(judge).await.map_err(Status::internal)
}

/// What is stored is kept: a conversion that is never called would hand out objects of the wrong form.
fn webhook(value: &Value) -> Option<Cause> {
    (value["spec"]["conversion"]["strategy"] == "Webhook").then(|| {
        let detail = "this server does not call conversion webhooks yet: use strategy None, and versions that differ in \
                      nothing but what their schemas allow";
        forbidden("spec.conversion.strategy", detail)
    })
}
