//! Admission: what is done to an object, and asked of it, beyond what it is itself: by its namespace, by classes, by quotas.
//!
//! Upstream's default plug-ins, each in a file of its own, in upstream's order and words. Pure: they read a [`State`] and
//! decide; whoever writes (the API server for its callers, controllers for themselves) calls [`mutate`] on what is to be
//! stored, has it validated, calls [`validate`], and [`charge`]s it to the quotas of its namespace last, in the same
//! transaction. Creates, updates, patches, applies, subresources and dry runs take this one path.

mod classes;
mod limits;
mod pod;
mod policies;
mod priority;
pub mod quota;
mod security;

#[cfg(test)]
mod cases;

use std::collections::BTreeMap;

use jiff::Timestamp;
use objects::{Key, Kind, Status};
use serde_json::Value;
use state::{State, Stored};

pub use quota::Ledger;

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It is replaced, whole or through a subresource.
    Update,
    /// It is deleted, at once or in the end.
    Delete,
    /// A stream is opened to it.
    Connect,
}

/// Who writes, for rules that ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// What tells users of one name apart; empty where nothing does.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// One write, as admission sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What the cluster knows.
    pub state: &'a State,
    /// The kind of the object, in its stored form.
    pub kind: &'a Kind,
    /// What is done.
    pub operation: Operation,
    /// The object's name; empty where it says that itself.
    pub name: &'a str,
    /// The object's namespace; empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Through which subresource; empty for the object itself.
    pub subresource: &'a str,
    /// What is replaced; `None` for what is new.
    pub old: Option<&'a Value>,
    /// Who writes.
    pub user: &'a User,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// The time by the writer's clock.
    pub now: Timestamp,
}

impl Request<'_> {
    /// Whether the object is of this kind.
    fn is(&self, group: &str, kind: &str) -> bool {
        self.kind.group == group && self.kind.kind == kind
    }

    /// Whether a whole object of this kind is new.
    fn creates(&self, group: &str, kind: &str) -> bool {
        self.operation == Operation::Create && self.subresource.is_empty() && self.is(group, kind)
    }

    /// 403 about the object.
    fn forbidden(&self, object: &Value, why: impl std::fmt::Display) -> Status {
        Status::forbidden(&self.kind.group, &self.kind.plural, self.name_of(object), why)
    }

    /// The name of what is written.
    fn name_of<'b>(&'b self, object: &'b Value) -> &'b str {
        if self.name.is_empty() { text(&object["metadata"]["name"]) } else { self.name }
    }

    /// The namespace of the object, where there is one.
    fn home(&self) -> Option<&Stored> {
        self.state.get(&Key::new("namespaces", "", self.namespace)).map(|stored| &**stored)
    }
}

/// Whether what is known of the cluster matters so much for objects of this kind that a write of one should read it afresh.
pub fn looks_closely(kind: &Kind) -> bool {
    security::has_pods(kind) || (kind.group.is_empty() && kind.kind == "PersistentVolumeClaim")
}

/// Writes into an object what the cluster says about objects like it. Doing it twice changes nothing.
///
/// # Errors
/// 403 in upstream's words: for classes that do not exist, and for values that contradict what a class says.
pub fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    limits::mutate(request, object);
    priority::mutate(request, object)?;
    classes::storage(request, object);
    classes::runtime(request, object)?;
    classes::ingress(request, object);
    Ok(())
}

/// Judges an object that is itself valid; what its writer should be told although it is let through.
///
/// # Errors
/// 403 in upstream's words; 422 for labels of a namespace that make no sense.
pub fn validate(request: &Request<'_>, object: &Value) -> Result<Vec<String>, Status> {
    let mut warnings = Vec::new();
    limits::validate(request, object)?;
    security::validate(request, object, &mut warnings)?;
    priority::validate(request, object)?;
    classes::validate(request, object)?;
    policies::compiles(request, object)?;
    policies::validate(request, object, &mut warnings)?;
    if request.subresource.is_empty()
        && let Some(warning) = request.kind.stored_only()
    {
        warnings.push(warning);
    }
    Ok(warnings)
}

/// Asks only the cluster's own policies: about a deletion (then `object` is null and `request.old` is what goes), about a stream,
/// and about what is done through a subresource that has objects of its own, as a Binding; what its writer should be told
/// although it is let through.
///
/// # Errors
/// What a policy refuses, with the code that it chose.
pub fn ask(request: &Request<'_>, object: &Value) -> Result<Vec<String>, Status> {
    let mut warnings = Vec::new();
    policies::validate(request, object, &mut warnings)?;
    Ok(warnings)
}

/// Charges an object to the quotas of its namespace; the ledger holds what that changes, for the writer's transaction.
///
/// # Errors
/// 403 in upstream's words when a quota does not allow it, or asks for amounts that the object does not say.
pub fn charge(request: &Request<'_>, object: &Value, ledger: &mut Ledger) -> Result<(), Status> {
    quota::charge(request, object, ledger)
}

/// The objects of a resource as values; what does not parse is passed over.
fn values<'a>(state: &'a State, resource: &str, namespace: &str) -> impl Iterator<Item = Value> + use<'a> {
    state.list_in(&resource.into(), namespace).filter_map(|stored| value_of(stored))
}

/// A stored object as a value.
fn value_of(stored: &Stored) -> Option<Value> {
    serde_json::from_slice(stored.object.bytes()).ok()
}

/// An object without a namespace, by resource and name.
fn named(state: &State, resource: &str, name: &str) -> Option<Value> {
    state.get(&Key::new(resource, "", name)).and_then(|stored| value_of(stored))
}

/// The objects of a list, none where there is no list.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text, empty where there is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Several messages as upstream joins them.
fn joined(messages: &[String]) -> String {
    match messages {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
