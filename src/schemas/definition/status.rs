//! The status of a definition: which names it has got, whether it is served, how far its removal is.
//!
//! Follows upstream's `pkg/controller/{status,establish,nonstructuralschema,finalizer}`. Upstream establishes a definition
//! some time after its names were accepted, because its servers learn of it one by one; here every master serves what
//! its replicated state holds, so one decision does both.

use std::collections::BTreeSet;

use objects::Kind;
use serde_json::{Map, Value, json};

use super::{list, texts};
use crate::Schema;
use crate::place::Place;
use crate::schema::structural;

/// The finalizer that keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Names of one group that a definition cannot have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Plurals, singulars and short names.
    resources: BTreeSet<String>,
    /// Kinds and kinds of lists.
    kinds: BTreeSet<String>,
}

impl Claims {
    /// What the other definitions of `definition`'s group have been given, and what built-in kinds of the group have.
    pub fn beside<'a>(
        definition: &Value,
        others: impl IntoIterator<Item = &'a Value>,
        built_in: impl IntoIterator<Item = &'a Kind>,
    ) -> Self {
        let (group, name) = (&definition["spec"]["group"], &definition["metadata"]["name"]);
        let mut claims = Self::default();
        for other in others {
            if other["spec"]["group"] != *group || other["metadata"]["name"] == *name {
                continue;
            }
            let names = &other["status"]["acceptedNames"];
            for key in ["plural", "singular"] {
                claims.resources.extend(names[key].as_str().map(str::to_owned));
            }
            claims.resources.extend(texts(&names["shortNames"]));
            for key in ["kind", "listKind"] {
                claims.kinds.extend(names[key].as_str().map(str::to_owned));
            }
        }
        for kind in built_in {
            if *group == *kind.group {
                claims.resources.extend([kind.plural.clone(), kind.singular.clone()]);
                claims.resources.extend(kind.short_names.iter().cloned());
                claims.kinds.extend([kind.kind.clone(), format!("{}List", kind.kind)]);
            }
        }
        claims.resources.remove("");
        claims.kinds.remove("");
        claims
    }
}

/// Decides a definition's status: accepted names, and the conditions NamesAccepted, Established and NonStructuralSchema.
/// `now` is RFC 3339. Gives the new status, or `None` when it is what it is.
///
/// A definition that was established stays so, under the names it was given, even if it asks for others in vain.
pub fn settle(definition: &Value, claims: &Claims, now: &str) -> Option<Value> {
    let mut status = definition["status"].as_object().cloned().unwrap_or_default();
    let (accepted, refusal) = accept(&definition["spec"]["names"], &definition["status"]["acceptedNames"], claims);
    status.insert("acceptedNames".into(), accepted);
    let names = match &refusal {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, message)) => ("False", *reason, message.clone()),
    };
    set(&mut status, "NamesAccepted", names, now);
    if !is_established(definition) {
        let established = match refusal {
            None => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
            Some(_) => ("False", "NotAccepted", "not all names are accepted"),
        };
        set(&mut status, "Established", (established.0, established.1, established.2.to_owned()), now);
    }
    match non_structural(definition) {
        Some(condition) => set(&mut status, "NonStructuralSchema", condition, now),
        None => {
            if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
                conditions.retain(|condition| condition["type"] != "NonStructuralSchema");
            }
        }
    }
    let status = Value::Object(status);
    (status != definition["status"]).then_some(status)
}

/// Gives each name that is free or had already; the last refusal is the one that is told.
fn accept(wanted: &Value, had: &Value, claims: &Claims) -> (Value, Option<(&'static str, String)>) {
    let mut accepted = had.as_object().cloned().unwrap_or_default();
    let mut refusal = None;
    let taken = |name: &str, had: &Value, used: &BTreeSet<String>| *had != *name && used.contains(name);
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (key, reason, used) in [
        ("plural", "PluralConflict", &claims.resources),
        ("singular", "SingularConflict", &claims.resources),
        ("shortNames", "ShortNamesConflict", &claims.resources),
        ("kind", "KindConflict", &claims.kinds),
        ("listKind", "ListKindConflict", &claims.kinds),
    ] {
        let names = match &wanted[key] {
            Value::Array(_) => texts(&wanted[key]),
            one => one.as_str().map(str::to_owned).into_iter().collect(),
        };
        let kept = list(&had[key]);
        let refused: Vec<String> = names
            .iter()
            .filter(|name| taken(name, &had[key], used) && !kept.iter().any(|kept| *kept == name.as_str()))
            .map(|name| in_use(name))
            .collect();
        match refused.as_slice() {
            [] => put(&mut accepted, key, &wanted[key]),
            [one] => refusal = Some((reason, one.clone())),
            many => refusal = Some((reason, format!("[{}]", many.join(", ")))),
        }
    }
    put(&mut accepted, "categories", &wanted["categories"]);
    (Value::Object(accepted), refusal)
}

fn put(map: &mut Map<String, Value>, key: &str, value: &Value) {
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.into(), value.clone());
    }
}

/// Only definitions from before structural schemas were demanded have this condition.
fn non_structural(definition: &Value) -> Option<(&'static str, &'static str, String)> {
    let mut causes = Vec::new();
    for (at, version) in list(&definition["spec"]["versions"]).iter().enumerate() {
        let raw = &version["schema"]["openAPIV3Schema"];
        if raw.is_null() {
            continue;
        }
        match Schema::parse(raw) {
            Ok(schema) => {
                let place = format!("spec.versions[{at}].schema.openAPIV3Schema");
                causes.extend(structural::check(&schema, &Place::at(&place)));
            }
            Err(error) => {
                let name = version["name"].as_str().unwrap_or_default();
                let message = format!("failed to check validation schema for version {name}: {error}");
                return Some(("Unknown", "StructuralError", message));
            }
        }
    }
    let texts: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    match texts.as_slice() {
        [] => None,
        [one] => Some(("True", "Violations", one.clone())),
        many => Some(("True", "Violations", format!("[{}]", many.join(", ")))),
    }
}

/// Whether a definition is served, and so cannot change what its objects are stored by.
pub fn is_established(definition: &Value) -> bool {
    let conditions = list(&definition["status"]["conditions"]);
    conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// How far the removal of a definition's objects is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It has begun.
    InProgress,
    /// It could not be carried on, and why.
    Failed(String),
    /// No object is left.
    Done,
    /// There never was one.
    NeverEstablished,
}

/// Marks a definition whose deletion was asked for: the finalizer that waits for its objects, and the condition
/// Terminating. The deletion time is set by the caller, as for every kind.
pub fn begin_removal(definition: &mut Value, now: &str) {
    if let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut) {
        let finalizers = metadata.entry("finalizers").or_insert(Value::Null);
        if finalizers.is_null() {
            *finalizers = json!([]);
        }
        if let Some(finalizers) = finalizers.as_array_mut()
            && !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER)
        {
            finalizers.push(json!(CLEANUP_FINALIZER));
        }
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon".to_owned();
    terminating(definition, ("True", "InstanceDeletionPending", message), now);
}

/// Records a step of a removal; the last one takes the finalizer away.
pub fn removal(definition: &mut Value, step: &Removal, now: &str) {
    let (status, reason, message) = match step {
        Removal::InProgress => {
            ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress".to_owned())
        }
        Removal::Failed(why) => ("True", "InstanceDeletionFailed", format!("could not issue all deletes: {why}")),
        Removal::Done => ("False", "InstanceDeletionCompleted", "removed all instances".to_owned()),
        Removal::NeverEstablished => ("False", "NeverEstablished", "resource was never established".to_owned()),
    };
    terminating(definition, (status, reason, message), now);
    if matches!(step, Removal::Done | Removal::NeverEstablished)
        && let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut)
    {
        finalizers.retain(|finalizer| finalizer != CLEANUP_FINALIZER);
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

fn terminating(definition: &mut Value, condition: (&str, &str, String), now: &str) {
    let mut status = definition["status"].as_object().cloned().unwrap_or_default();
    set(&mut status, "Terminating", condition, now);
    definition["status"] = Value::Object(status);
}

/// Sets a condition. Its time moves when its status does.
fn set(status: &mut Map<String, Value>, ty: &str, condition: (&str, &str, String), now: &str) {
    let conditions = status.entry("conditions").or_insert(Value::Null);
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let (value, reason, message) = condition;
    let old = conditions.iter().position(|condition| condition["type"] == ty);
    let since = match old.map(|at| &conditions[at]) {
        Some(old) if old["status"] == value && old["lastTransitionTime"].is_string() => {
            old["lastTransitionTime"].clone()
        }
        _ => json!(now),
    };
    let new = json!({"type": ty, "status": value, "reason": reason, "message": message, "lastTransitionTime": since});
    match old {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}
