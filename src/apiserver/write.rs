//! What all writes share: their options, how a new form of an object is checked, and how it is committed.

use std::sync::Arc;

use ::admission::Ledger;
use http::header::USER_AGENT;
use objects::canonical::{self, Warning};
use objects::{Cause, Key, Kind, Object, Status, defaulting, lifecycle, managed, time};
use serde_json::Value;
use state::{Change, Origin, Precondition, Refusal, Revision, State, Stored};
use store::{Error, Store};

use crate::admission::Write;
use crate::allocation;
use crate::definitions;
use crate::errors::{self, invalid_option};
use crate::query::Query;
use crate::reply;
use crate::route::Target;
use crate::router::Call;

/// How often a write that names no version is tried again when others write the same object; upstream's patch has five.
pub const ATTEMPTS_MAX: usize = 8;

/// What to do about fields that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// Tell; the default.
    Warn,
    /// Refuse.
    Strict,
}

/// The options of a write, from its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// Who manages the written fields; the client's program when it does not say.
    pub manager: String,
    /// Whether the client said who manages them.
    pub manager_named: bool,
    /// What to do about unknown fields.
    pub validation: FieldValidation,
}

impl WriteOptions {
    /// Reads the options; `name` is that of upstream's type, as `CreateOptions`.
    ///
    /// # Errors
    /// 422 for values that do not exist.
    pub fn parse(call: &Call, name: &str) -> Result<Self, Status> {
        let unsupported = |field: &str, given: &str, supported: &str| {
            let message = format!("Unsupported value: {given:?}: supported values: {supported}");
            invalid_option(name, field, "FieldValueNotSupported", message)
        };
        let validation = match call.query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => return Err(unsupported("fieldValidation", other, "\"Ignore\", \"Strict\", \"Warn\"")),
        };
        let given = call.query.get("fieldManager");
        if let Some(manager) = given {
            if manager.len() > managed::MANAGER_BYTES_MAX {
                let message = format!("Too long: may not be more than {} bytes", managed::MANAGER_BYTES_MAX);
                return Err(invalid_option(name, "fieldManager", "FieldValueTooLong", message));
            }
            if manager.chars().any(char::is_control) {
                let message = format!("Invalid value: {manager:?}: should only contain printable characters");
                return Err(invalid_option(name, "fieldManager", "FieldValueInvalid", message));
            }
        }
        let agent = call.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let manager = match given {
            Some(manager) => manager.to_owned(),
            None => Some(managed::manager_from_user_agent(agent))
                .filter(|name| !name.is_empty())
                .unwrap_or("unknown".into()),
        };
        Ok(Self { dry_run: dry_run(&call.query, name)?, manager, manager_named: given.is_some(), validation })
    }

    /// The warnings to send for a body's oddities.
    ///
    /// # Errors
    /// 400 when they are to be refused.
    pub fn judge(&self, kind: &Kind, warnings: &[Warning]) -> Result<Vec<String>, Status> {
        match self.validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(warnings.iter().map(Warning::to_string).collect()),
            FieldValidation::Strict => canonical::strict(kind, warnings).map_or(Ok(Vec::new()), Err),
        }
    }
}

/// Whether `dryRun=All` is asked for.
///
/// # Errors
/// 422 for any other value.
pub fn dry_run(query: &Query, options: &str) -> Result<bool, Status> {
    let mut dry = false;
    for value in query.all("dryRun").filter(|value| !value.is_empty()) {
        if value != "All" {
            let message = format!("Unsupported value: {value:?}: supported values: \"All\"");
            return Err(invalid_option(options, "dryRun", "FieldValueNotSupported", message));
        }
        dry = true;
    }
    Ok(dry)
}

/// The current time as objects carry it.
pub fn now() -> String {
    time::format(base::clock::now())
}

/// The resource version that a body names; `None` when it names none, or `0`.
///
/// # Errors
/// 400 when it is no number.
pub fn revision_in(value: &Value) -> Result<Option<u64>, Status> {
    match value["metadata"]["resourceVersion"].as_str() {
        None | Some("" | "0") => Ok(None),
        Some(text) => crate::revision::number(text).map(Some),
    }
}

/// Takes the resource version out of a value: it is not part of what is stored.
pub fn forget_revision(value: &mut Value) {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
}

/// What a write came to.
pub enum Written {
    /// It is done, or nothing was to be done; the object as it stands.
    Done(Arc<Stored>),
    /// Somebody else was faster: read again and decide again.
    Again,
}

/// A new form of an object that exists.
pub struct Replacement<'a> {
    /// The object as it was read.
    pub old: &'a Arc<Stored>,
    /// The same as a value, without resource version.
    pub old_value: &'a Value,
    /// What it is to become.
    pub new: Value,
    /// Through which subresource.
    pub subresource: Option<&'a str>,
    /// Whether ownership of fields is recorded here (apply has done it already).
    pub track: bool,
}

/// Checks and commits a new form of an object.
///
/// # Errors
/// 422 when it may not be stored, 400 and 409 for what contradicts the stored object, and what the store refuses.
pub async fn replace(
    call: &Call,
    target: &Target,
    options: &WriteOptions,
    replacement: Replacement<'_>,
) -> Result<Written, Status> {
    let Replacement { old, old_value, mut new, subresource, track } = replacement;
    let kind = target.kind.stored();
    forget_revision(&mut new);
    canonical::canonicalize(&target.kind, &mut new)?;
    // What came in another form is checked and kept in the stored one.
    let converted;
    let old_value = if target.kind.is_stored() {
        old_value
    } else {
        defaulting::apply(&target.kind, &mut new);
        target.kind.to_stored(&mut new);
        canonical::canonicalize(kind, &mut new)?;
        let mut value = reply::damaged(old.to_value())?;
        forget_revision(&mut value);
        converted = value;
        &converted
    };
    defaulting::apply(kind, &mut new);
    definitions::default(kind, &mut new);
    canonical::canonicalize(kind, &mut new)?;
    lifecycle::prepare_update(kind, old_value, &mut new, subresource)?;
    definitions::change(kind, old_value, &mut new, subresource);
    crate::escalation::check(call, target, Some(old_value), &new)?;
    if track {
        managed::update(kind, Some(old_value), &mut new, &options.manager, &now(), subresource)?;
    }
    // At least as new as what was read.
    let state = call.api.store.current();
    let write = Write { call, target, state: &state, old: Some(old_value), subresource, dry_run: options.dry_run };
    write.mutate(&mut new)?;
    canonical::canonicalize(kind, &mut new)?;
    let causes = definitions::judge_change(kind, old_value, &new, subresource).await?;
    check(kind, &old.key.name, causes)?;
    let ledger = write.validate(&new)?;
    store_change(call, target, options.dry_run, old, old_value, &new, ledger).await
}

/// Commits a form that has been checked.
///
/// # Errors
/// What the store refuses.
pub async fn store_change(
    call: &Call,
    target: &Target,
    dry_run: bool,
    old: &Arc<Stored>,
    old_value: &Value,
    new: &Value,
    ledger: Ledger,
) -> Result<Written, Status> {
    // A write that changes nothing still brings a custom resource into the version in which it is to be stored.
    let settled = match &target.kind.custom {
        Some(custom) => reply::damaged(old.to_value())?["apiVersion"] == custom.stored_version(),
        None => true,
    };
    if settled && !lifecycle::differs(old_value, new) {
        return Ok(Written::Done(Arc::clone(old)));
    }
    let (key, ends) = (old.key.clone(), lifecycle::after_update(target.kind.stored(), new));
    let charges = reply::damaged(ledger.into_parts())?;
    for _ in 0..ATTEMPTS_MAX {
        let (completed, beside) = allocation::of_change(call, target, old_value, new, ends)?;
        let new = completed.as_ref().unwrap_or(new);
        let object = Arc::new(reply::damaged(Object::new(target.kind.stored(), new))?);
        let (mut preconditions, mut changes) = charges.clone();
        changes.extend(beside.changes);
        changes.push(if ends {
            Change::Delete { key: key.clone() }
        } else {
            Change::Put { key: key.clone(), object: Arc::clone(&object) }
        });
        preconditions.push(Precondition::Unchanged { key: key.clone(), revision: old.revision });
        preconditions.extend(beside.preconditions);
        let revision = match commit(call, preconditions, changes, dry_run).await {
            Ok(revision) => revision.unwrap_or(old.revision),
            Err(Error::Refused(refusal)) if allocation::is_outrun(&refusal, &key) => continue,
            Err(Error::Refused(Refusal::Changed { .. })) => return Ok(Written::Again),
            Err(error) if outcharged(&error) => return Ok(Written::Again),
            Err(error) => return Err(errors::status(error, &key)),
        };
        return Ok(Written::Done(Arc::new(Stored::new(key, object, old.created, revision))));
    }
    Err(contended(target))
}

/// Whether a transaction was refused because somebody else has charged, or removed, a quota that it charges.
pub fn outcharged(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::Changed { key, .. } | Refusal::NotFound(key))
        if key.resource.as_str() == "resourcequotas")
}

/// 422 when there are causes.
///
/// # Errors
/// The causes.
pub fn check(kind: &Kind, name: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&kind.group, &kind.kind, name, causes)) }
}

/// Sends a transaction, or only checks its size and its preconditions; `None` then.
///
/// # Errors
/// What the store refuses.
pub async fn commit(
    call: &Call,
    preconditions: Vec<Precondition>,
    changes: Vec<Change>,
    dry_run: bool,
) -> Result<Option<Revision>, Error> {
    if dry_run {
        let tried = Store::prepare(origin(call), preconditions, changes)?;
        let state = call.api.store.fresh(call.patience()).await?;
        tried.preconditions.iter().try_for_each(|precondition| holds(&state, precondition))?;
        return Ok(None);
    }
    let done = call.api.store.transact(origin(call), preconditions, changes, call.patience()).await?;
    Ok(Some(done.revision()))
}

/// Who proposes, for the log.
pub fn origin(call: &Call) -> Origin {
    match (&call.impersonated_by, call.caller.node()) {
        (Some(by), _) => Origin::Client(format!("{} impersonated by {by}", call.caller.user).into()),
        (None, Some(node)) => Origin::Node(node.into()),
        (None, None) => Origin::Client(call.caller.user.as_str().into()),
    }
}

/// The state machine's own check, for writes that are only tried.
fn holds(state: &State, precondition: &Precondition) -> Result<(), Refusal> {
    let find = |key: &Key| state.get(key).ok_or_else(|| Refusal::NotFound(key.clone()));
    match precondition {
        Precondition::Absent(key) if state.get(key).is_some() => Err(Refusal::AlreadyExists(key.clone())),
        Precondition::Absent(_) => Ok(()),
        Precondition::Unchanged { key, revision } => {
            let found = find(key)?.revision;
            if found == *revision { Ok(()) } else { Err(Refusal::Changed { key: key.clone(), found }) }
        }
        Precondition::Exists { key, uid } => {
            let found = &find(key)?.face().uid;
            match uid {
                Some(uid) if uid != found => Err(Refusal::Reborn { key: key.clone(), found: found.clone() }),
                _ => Ok(()),
            }
        }
        Precondition::Active(key) if find(key)?.face().deleting => Err(Refusal::Terminating(key.clone())),
        Precondition::Active(_) => Ok(()),
    }
}

/// The object as it stands now, and as a value with its resource version.
///
/// # Errors
/// 404 when there is none, 503 without a quorum.
pub async fn read(call: &Call, target: &Target) -> Result<(Arc<Stored>, Value), Status> {
    let key = target.key();
    let state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &key))?;
    let stored = Arc::clone(state.get(&key).ok_or_else(|| target.not_found())?);
    let mut value = reply::damaged(stored.to_value())?;
    if target.kind.custom.is_some() {
        target.kind.from_stored(&mut value);
    }
    Ok((stored, value))
}

/// 409 after too many attempts.
pub fn contended(target: &Target) -> Status {
    errors::modified(&target.key())
}
