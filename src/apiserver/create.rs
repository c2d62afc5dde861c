//! CREATE.

use std::sync::Arc;
use std::time::Duration;

use ::admission::Ledger;
use base::Backoff;
use objects::{Key, Kind, Object, Status, canonical, defaulting, lifecycle, managed};
use serde_json::{Value, json};
use state::{Change, Precondition, Refusal, Revision, State, Stored};
use store::Error;
use tokio::time::Instant;

use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::write::{self, WriteOptions};
use crate::{accounts, admission, allocation, body, custom_kinds, definitions, errors, escalation};

/// How often another random suffix is drawn when the name is taken; upstream's.
const NAMES_MAX: usize = 8;
/// Length of the random end of generated names; upstream's.
const SUFFIX_LENGTH: usize = 5;
/// Pauses of a creation whose quota others charge at the same time: about one commit, up to the commits of a crowd.
const RIVALS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Answers a POST to a collection.
///
/// # Errors
/// 400 for bodies that do not fit the path, 422 for what may not be stored, 404 and 403 for namespaces that are missing or
/// ending, 409 when the name is taken.
pub async fn create(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = WriteOptions::parse(call, "CreateOptions")?;
    let (value, warnings) = body::object(&target.kind, &call.headers, bytes)?;
    let warnings = options.judge(&target.kind, &warnings)?;
    if write::revision_in(&value)?.is_some() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let stored = store(call, target, &options, value, true).await?;
    let response = reply::object(call, &target.kind, 201, &stored)?;
    Ok(reply::warn(response, &warnings))
}

/// Stores a decoded object; `track` says whether its fields get an owner here (apply has done it already).
///
/// # Errors
/// As [`create`].
pub async fn store(
    call: &Call,
    target: &Target,
    options: &WriteOptions,
    mut value: Value,
    track: bool,
) -> Result<Arc<Stored>, Status> {
    let kind: &Kind = &target.kind;
    place(target, &mut value)?;
    canonical::canonicalize(kind, &mut value)?;
    accounts::admit(call, target, &mut value).await?;
    let generated = value["metadata"]["name"].as_str().unwrap_or("").is_empty();
    let mut attempts = NAMES_MAX;
    let mut state = admission::state(call, target).await?;
    let (mut rivals, patience) = (Backoff::doubling(RIVALS.0, RIVALS.1), call.patience());
    loop {
        attempts -= 1;
        let (mut object, ledger) = prepare(call, target, options, value.clone(), track, &state).await?;
        let beside = allocation::of_new(call, target, &mut object).await?;
        let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
        let key = Key::new(kind.resource(), &target.namespace, &name);
        let object = Arc::new(reply::damaged(Object::new(target.kind.stored(), &object))?);
        let (mut preconditions, mut changes) = reply::damaged(ledger.into_parts())?;
        if kind.namespaced {
            preconditions.push(Precondition::Active(Key::new("namespaces", "", &target.namespace)));
        }
        if let Some(custom) = &kind.custom {
            // A definition that goes takes its objects along: none may come meanwhile, nor under another of its name.
            let (name, uid) = custom.definition();
            let definition = Key::new(custom_kinds::definitions(), "", name);
            preconditions.push(Precondition::Exists { key: definition.clone(), uid: Some(uid.into()) });
            preconditions.push(Precondition::Active(definition));
        }
        preconditions.push(Precondition::Absent(key.clone()));
        preconditions.extend(beside.preconditions);
        changes.extend(beside.changes);
        changes.push(Change::Put { key: key.clone(), object: Arc::clone(&object) });
        match write::commit(call, preconditions, changes, options.dry_run).await {
            Ok(revision) => {
                let revision = revision.unwrap_or(Revision(0));
                return Ok(Arc::new(Stored::new(key, object, revision, revision)));
            }
            Err(Error::Refused(refusal)) if allocation::is_outrun(&refusal, &key) => {
                if attempts == 0 {
                    return Err(errors::too_many());
                }
            }
            Err(Error::Refused(Refusal::AlreadyExists(_))) if attempts > 0 && generated => {}
            Err(error) if write::outcharged(&error) && Instant::now() < patience => {
                attempts += 1;
                rivals.wait().await;
                state = admission::fresh(call, target).await?;
            }
            Err(error) => return Err(errors::status(error, &key)),
        }
    }
}

/// Puts the object where the path says, unless it says otherwise itself.
fn place(target: &Target, value: &mut Value) -> Result<(), Status> {
    let given = value["metadata"]["namespace"].as_str().unwrap_or("");
    if !given.is_empty() && given != target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if value["metadata"].is_null() {
        value["metadata"] = json!({});
    }
    if target.kind.namespaced {
        value["metadata"]["namespace"] = json!(target.namespace);
    }
    Ok(())
}

/// The object as it is stored, once more for each drawn name.
async fn prepare(
    call: &Call,
    target: &Target,
    options: &WriteOptions,
    mut value: Value,
    track: bool,
    state: &State,
) -> Result<(Value, Ledger), Status> {
    let kind = target.kind.stored();
    let now = write::now();
    if !target.kind.is_stored() {
        // What came in another form is checked and kept in the stored one.
        defaulting::apply(&target.kind, &mut value);
        target.kind.to_stored(&mut value);
        canonical::canonicalize(kind, &mut value)?;
    }
    defaulting::apply(kind, &mut value);
    definitions::default(kind, &mut value);
    lifecycle::prepare_create(kind, &mut value, &base::random::uid(), &now, &base::random::suffix(SUFFIX_LENGTH))?;
    definitions::begin(kind, &mut value);
    defaulting::admission_defaults(kind, &mut value);
    canonical::canonicalize(kind, &mut value)?;
    escalation::check(call, target, None, &value)?;
    if track {
        managed::update(kind, None, &mut value, &options.manager, &now, None)?;
    }
    // What admission writes is nobody's field.
    let write = admission::Write { call, target, state, old: None, subresource: None, dry_run: options.dry_run };
    write.mutate(&mut value)?;
    canonical::canonicalize(kind, &mut value)?;
    write::check(kind, value["metadata"]["name"].as_str().unwrap_or(""), definitions::judge_new(kind, &value).await?)?;
    let ledger = write.validate(&value)?;
    Ok((value, ledger))
}
