//! Server-side apply: a configuration says what its manager wants, and takes responsibility for those fields.
//!
//! The semantics are upstream's (`structured-merge-diff/merge`, `apimachinery/pkg/util/managedfields`). Unlike upstream,
//! which answers 500, a configuration that does not fit its kind is 400.

use serde_json::{Map, Value};

use super::check_depth;
use super::shape::{Shape, skeleton_of};
use super::typed::{Diff, check, compare, field_set, merge, remove, with_parents};
use crate::canonical::canonicalize;
use crate::fields_v1::{FieldSet, Step, show};
use crate::managed::{self, Entry, MANAGER_BYTES_MAX};
use crate::{Cause, Kind, Status};

/// The annotation in which client-side apply keeps its last configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager for which the server keeps [`LAST_APPLIED`] and client-side ownership in step; upstream's exception.
const KUBECTL: &str = "kubectl";

/// Who owns what an object had before its first apply, when nobody kept book.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies the configuration `applied` to `live` (`None` creates) for `manager`; gives the object in canonical
/// form with its new `managedFields`, not yet defaulted. `force` takes fields that others own. `now` is RFC 3339.
///
/// The live object's resource version is kept unless the configuration names one, which is then a precondition for the
/// caller to check (here only when the live value still carries its own).
///
/// # Errors
/// 422 without a usable manager name; 400 when the configuration is of another version or kind, carries `managedFields`,
/// or does not fit the kind (a quantity that does not parse among others); 409 with a cause per field when others own it and `force` is not set.
pub fn apply(
    kind: &Kind,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    now: &str,
    subresource: Option<&str>,
) -> Result<Value, Status> {
    check_manager(manager)?;
    check_configuration(kind, applied)?;
    let Some(shape) = Shape::of_kind(kind) else {
        return Err(Status::internal(format!("{} is not in the field table", kind.message)));
    };
    let mut configuration = applied.clone();
    if let (Some(part), Some(map)) = (managed::ignored(kind, subresource), configuration.as_object_mut()) {
        map.remove(part);
    }
    let errors = check(shape, &configuration);
    if !errors.is_empty() {
        return Err(misfit(kind, &configuration, &errors));
    }
    check_revision(kind, live, &configuration)?;

    let mut entries = live.map(|live| managed::decode_stored(&live["metadata"]["managedFields"])).unwrap_or_default();
    let bare = match live {
        Some(live) => managed::without_entries(live),
        None => skeleton_of(shape, &configuration),
    };
    if let (true, Some(_)) = (entries.is_empty(), live) {
        let fields = compare(shape, &skeleton_of(shape, &bare), &bare).changed();
        entries.push(Entry {
            manager: BEFORE_FIRST_APPLY.into(),
            applied: false,
            api_version: kind.api_version(),
            time: Some(now.to_owned()),
            subresource: subresource.unwrap_or_default().to_owned(),
            fields: managed::strip(fields),
        });
    }
    let request = Request { kind, shape, live: &bare, configuration: &configuration, manager, now, subresource };
    let (mut merged, entries) = match request.carry_out(entries.clone(), force) {
        Ok(done) => done,
        Err(Refusal::Conflicts(conflicts)) if manager == KUBECTL => {
            // Fields that client-side apply set to what they still are go over without a fight.
            let allowed = request.owned_by_client_side_apply();
            let left: Vec<Conflict> = conflicts.into_iter().filter(|(_, path)| !allowed.has(path)).collect();
            if !left.is_empty() {
                return Err(conflict(&left));
            }
            request.carry_out(entries, true).map_err(Refusal::into_status)?
        }
        Err(refusal) => return Err(refusal.into_status()),
    };
    if manager == KUBECTL {
        renew_last_applied(&mut merged, applied);
    }
    managed::put(&mut merged, entries);
    Ok(merged)
}

fn check_manager(manager: &str) -> Result<(), Status> {
    let (reason, message) = if manager.is_empty() {
        ("FieldValueRequired", "Required value: is required for apply patch".to_owned())
    } else if manager.len() > MANAGER_BYTES_MAX {
        ("FieldValueTooLong", format!("Too long: may not be more than {MANAGER_BYTES_MAX} bytes"))
    } else if manager.chars().any(char::is_control) {
        ("FieldValueInvalid", format!("Invalid value: {manager:?}: should only contain printable characters"))
    } else {
        return Ok(());
    };
    Err(Status::invalid(
        "meta.k8s.io",
        "PatchOptions",
        "",
        vec![Cause { reason: reason.into(), message, field: "fieldManager".into() }],
    ))
}

fn check_configuration(kind: &Kind, applied: &Value) -> Result<(), Status> {
    let Value::Object(_) = applied else {
        return Err(Status::bad_request("error decoding YAML: an applied configuration is an object"));
    };
    check_depth(applied)?;
    let text = |key: &str| applied.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") != kind.api_version() {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            text("apiVersion"),
            kind.api_version()
        )));
    }
    if text("kind") != kind.kind {
        return Err(Status::bad_request(format!(
            "Incorrect kind specified in apply patch. Specified patch kind: {}, expected: {}",
            text("kind"),
            kind.kind
        )));
    }
    if applied.get("metadata").and_then(|metadata| metadata.get("managedFields")).is_some_and(|given| !given.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

fn misfit(kind: &Kind, configuration: &Value, errors: &[String]) -> Status {
    let metadata = configuration.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str).unwrap_or_default();
    let list = match errors {
        [one] => one.clone(),
        many => format!("errors:\n{}", many.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n")),
    };
    Status::bad_request(format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {list}",
        text("namespace"),
        text("name"),
        kind.api_version(),
        kind.kind
    ))
}

fn check_revision(kind: &Kind, live: Option<&Value>, configuration: &Value) -> Result<(), Status> {
    let revision = |object: &Value| {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get("resourceVersion"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match (live.and_then(revision), revision(configuration)) {
        (Some(is), Some(wanted)) if is != wanted => Err(Status::conflict(
            &kind.group,
            &kind.plural,
            configuration["metadata"]["name"].as_str().unwrap_or_default(),
            "the object has been modified; please apply your changes to the latest version and try again",
        )),
        _ => Ok(()),
    }
}

/// A manager as messages name it, and a path that it owns.
type Conflict = (String, Vec<Step>);

/// Why an apply cannot be carried out.
enum Refusal {
    Conflicts(Vec<Conflict>),
    Status(Status),
}

impl Refusal {
    fn into_status(self) -> Status {
        match self {
            Self::Conflicts(conflicts) => conflict(&conflicts),
            Self::Status(status) => status,
        }
    }
}

struct Request<'a> {
    kind: &'a Kind,
    shape: Shape<'a>,
    live: &'a Value,
    configuration: &'a Value,
    manager: &'a str,
    now: &'a str,
    subresource: Option<&'a str>,
}

impl Request<'_> {
    /// Merges, drops what the manager no longer wants, and settles who owns what.
    fn carry_out(&self, mut entries: Vec<Entry>, force: bool) -> Result<(Value, Vec<Entry>), Refusal> {
        let shape = self.shape;
        let mut mine = Entry {
            manager: self.manager.to_owned(),
            applied: true,
            api_version: self.kind.api_version(),
            time: Some(self.now.to_owned()),
            subresource: self.subresource.unwrap_or_default().to_owned(),
            fields: managed::without_ignored(self.kind, self.subresource, field_set(shape, self.configuration)),
        };
        let last = entries.iter().position(|entry| entry.is_same_manager(&mine)).map(|at| entries.remove(at));
        let mut merged = merge(shape, self.live, self.configuration);
        if let Some(last) = &last {
            merged = prune(shape, &merged, &last.fields, &entries, &mine.fields);
            // Empty lists and structs of the configuration are nobody's fields, and yet asked for.
            merged = merge(shape, &merged, self.configuration);
        }
        // A schema may allow nulls.
        if self.kind.custom.is_none() {
            drop_nulls(&mut merged);
        }
        let asked = compare(shape, self.live, &merged);
        canonicalize(self.kind, &mut merged).map_err(Refusal::Status)?;
        let diff = settle(asked, compare(shape, self.live, &merged));
        if !force {
            let changed = diff.changed();
            let mut conflicts: Vec<Conflict> = entries
                .iter()
                .flat_map(|entry| {
                    let paths = entry.fields.intersection(&changed).paths();
                    paths.into_iter().map(|path| (entry.shown(), path))
                })
                .collect();
            if !conflicts.is_empty() {
                conflicts.sort();
                return Err(Refusal::Conflicts(conflicts));
            }
        }
        managed::release(&mut entries, &diff);
        mine.fields = managed::strip(mine.fields);
        if let Some(last) = last {
            let nothing_new = last.fields == mine.fields
                && last.api_version == mine.api_version
                && diff.changed().is_empty()
                && diff.removed.is_empty();
            if nothing_new {
                mine.time = last.time;
            }
        }
        entries.push(mine);
        Ok((merged, entries))
    }

    /// Fields of the last client-side configuration that the live object still has with the same value.
    fn owned_by_client_side_apply(&self) -> FieldSet {
        let annotation = self.live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
        let Ok(last) = serde_json::from_str::<Value>(annotation) else { return FieldSet::default() };
        if last["apiVersion"] != Value::String(self.kind.api_version()) {
            return FieldSet::default();
        }
        let shape = self.shape;
        let diff = compare(shape, &last, self.live);
        field_set(shape, &last).difference(&diff.changed()).difference(&diff.removed)
    }
}

/// What really changes: of what was asked for, that which the canonical form does not undo (`1000m` is no change of `1`,
/// an explicit zero no change of an absent field, but of another value it is).
fn settle(asked: Diff, canonical: Diff) -> Diff {
    let touched = canonical.changed().union(&canonical.removed);
    Diff {
        added: asked.added.intersection(&touched),
        modified: asked.modified.intersection(&touched),
        removed: canonical.removed,
    }
}

/// Takes away what the manager applied last time, not this time, and nobody else owns.
fn prune(shape: Shape<'_>, merged: &Value, last: &FieldSet, others: &[Entry], mine: &FieldSet) -> Value {
    let empty = || Value::Object(Map::new());
    let last = with_parents(shape, last);
    let pruned = remove(shape, merged, &last).unwrap_or_else(empty);
    let mut owned = mine.clone();
    for other in others {
        owned.extend(&other.fields);
    }
    let owned = with_parents(shape, &owned);
    let set = |value: &Value| with_parents(shape, &field_set(shape, value));
    let all = set(merged);
    // Back what others own …
    let pruned = remove(shape, merged, &all.difference(&set(&pruned).union(&owned))).unwrap_or_else(empty);
    // … and what nobody ever owned.
    remove(shape, merged, &all.difference(&set(&pruned)).intersection(&last)).unwrap_or_else(empty)
}

/// 409, in upstream's words.
fn conflict(conflicts: &[Conflict]) -> Status {
    let message = match conflicts {
        [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {}", show(path)),
        many => {
            let mut lines = Vec::new();
            let mut current = None;
            for (manager, path) in many {
                if current != Some(manager) {
                    lines.push(format!("conflicts with {manager}:"));
                    current = Some(manager);
                }
                lines.push(format!("- {}", show(path)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let mut status = Status::new(409, "Conflict", message);
    for (manager, path) in conflicts {
        status = status.because("FieldManagerConflict", format!("conflict with {manager}"), &show(path));
    }
    status
}

/// Keeps the annotation of client-side apply true, so that the user may go back to it.
fn renew_last_applied(merged: &mut Value, applied: &Value) {
    let annotation = merged
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(|annotations| annotations.get_mut(LAST_APPLIED))
        .filter(|annotation| annotation.as_str().is_some_and(|text| !text.is_empty()));
    let Some(annotation) = annotation else { return };
    let mut configuration = applied.clone();
    if let Some(annotations) = configuration
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    *annotation = Value::String(format!("{configuration}\n"));
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, below| !below.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
