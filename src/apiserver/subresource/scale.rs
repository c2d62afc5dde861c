//! `/scale`: how many replicas, in one form for all kinds that have them.

use objects::selector::Labels;
use objects::{Kind, Status, canonical, patch};
use serde_json::{Value, json};
use state::Stored;

use crate::patch::Patch;
use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::{Call, Verb};
use crate::write::{self, ATTEMPTS_MAX, Replacement, WriteOptions, Written};
use crate::{body, errors, revision};

const MESSAGE: &str = "k8s.io.api.autoscaling.v1.Scale";
const API_VERSION: &str = "autoscaling/v1";

/// Answers a request to `/scale`.
///
/// # Errors
/// 404 when there is no such object, 400 and 422 for scales that make no sense, 409 when the object is newer than the
/// scale's resource version.
pub async fn answer(call: &Call, target: &Target, verb: Verb, bytes: &[u8]) -> Result<Response, Status> {
    if verb == Verb::Get {
        let key = target.key();
        let state = revision::state(call, revision::of_get(&call.query)?, &key.resource).await?;
        let stored = state.get(&key).ok_or_else(|| target.not_found())?;
        return Ok(reply::value(200, &scale_of(&target.kind, stored, &reply::shown(&target.kind, stored)?)?));
    }
    let options = WriteOptions::parse(call, if verb == Verb::Patch { "PatchOptions" } else { "UpdateOptions" })?;
    let change = if verb == Verb::Patch {
        let patch = Patch::read(call, bytes)?.0;
        patch.suits(&target.kind)?;
        Change::Patch(patch)
    } else {
        Change::Put(body::of_kind(&call.headers, bytes, MESSAGE, API_VERSION, "Scale")?)
    };
    for _ in 0..ATTEMPTS_MAX {
        let (old, mut old_value) = write::read(call, target).await?;
        let before = scale_of(&target.kind, &old, &old_value)?;
        let after = change.applied(&before)?;
        let replicas = check(&target.kind, &old, &after)?;
        if write::revision_in(&after)?.is_some_and(|given| given != old.revision.0) {
            return Err(errors::modified(&old.key));
        }
        write::forget_revision(&mut old_value);
        let mut new = old_value.clone();
        match &target.kind.custom {
            Some(custom) => custom.set_scale(&mut new, replicas).map_err(Status::bad_request)?,
            None => new["spec"]["replicas"] = json!(replicas),
        }
        let replacement = Replacement { old: &old, old_value: &old_value, new, subresource: None, track: true };
        match write::replace(call, target, &options, replacement).await? {
            Written::Done(stored) => {
                let shown = reply::shown(&target.kind, &stored)?;
                return Ok(reply::value(200, &scale_of(&target.kind, &stored, &shown)?));
            }
            Written::Again if matches!(change, Change::Put(_)) && write::revision_in(&after)?.is_some() => {
                return Err(errors::modified(&old.key));
            }
            Written::Again => {}
        }
    }
    Err(write::contended(target))
}

enum Change {
    Put(Value),
    Patch(Patch),
}

impl Change {
    fn applied(&self, before: &Value) -> Result<Value, Status> {
        let after = match self {
            Self::Put(scale) => scale.clone(),
            Self::Patch(Patch::Json(bytes)) => patch::json(before, bytes)?,
            // A Scale has no lists: both merges are the same.
            Self::Patch(Patch::Merge(value) | Patch::Strategic(value)) => patch::merge(before, value)?,
            Self::Patch(Patch::Apply(..)) => {
                return Err(body::unsupported("application/merge-patch+json, application/json-patch+json"));
            }
        };
        canonical::check_message(MESSAGE, &after)?;
        Ok(after)
    }
}

fn check(kind: &Kind, old: &Stored, scale: &Value) -> Result<i64, Status> {
    let name = &old.key.name;
    let given = scale["metadata"]["name"].as_str().unwrap_or("");
    if !given.is_empty() && *given != **name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let uid = scale["metadata"]["uid"].as_str().unwrap_or("");
    if !uid.is_empty() && *uid != *old.face().uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.face().uid);
        return Err(Status::conflict(&kind.group, &kind.plural, name, why));
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let why = objects::validation::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", name, vec![why]));
    }
    Ok(replicas)
}

fn scale_of(kind: &Kind, stored: &Stored, object: &Value) -> Result<Value, Status> {
    let mut metadata =
        json!({"name": &*stored.key.name, "namespace": &*stored.key.namespace, "uid": &*stored.face().uid});
    metadata["resourceVersion"] = json!(stored.revision.to_string());
    metadata["creationTimestamp"] = object["metadata"]["creationTimestamp"].clone();
    if let Some(custom) = &kind.custom {
        let replicas = custom.scale(object).map_err(Status::internal)?;
        let mut status = json!({"replicas": replicas.found});
        if !replicas.selector.is_empty() {
            status["selector"] = json!(replicas.selector);
        }
        return Ok(json!({
            "kind": "Scale", "apiVersion": API_VERSION, "metadata": metadata,
            "spec": {"replicas": replicas.wanted.unwrap_or(0)}, "status": status,
        }));
    }
    // The selector of a replication controller is a plain map of labels.
    let plain = stored.key.resource.group().is_empty();
    let selector = object["spec"]["selector"].clone();
    let selector = if plain { json!({ "matchLabels": selector }) } else { selector };
    let selector = Labels::from_value(&selector)?.to_text();
    Ok(json!({
        "kind": "Scale", "apiVersion": API_VERSION, "metadata": metadata,
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector},
    }))
}
