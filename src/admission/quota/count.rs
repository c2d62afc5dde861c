//! Counting anew what the objects of a namespace use.

use std::collections::BTreeSet;

use jiff::Timestamp;
use objects::quantity::Quantity;
use objects::{Kind, Resource, kind};
use serde_json::{Value, json};
use state::{Event, EventKind, State, Stored};

use super::usage::{fits_scopes, overdue_at, resource_of, usage};
use super::{add, amounts, spelled, value_of};
use crate::pod::Amounts;

/// What a quota's status should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The status.
    pub status: Value,
    /// When time alone changes it: a pod's deletion will be overdue.
    pub again_at: Option<Timestamp>,
}

/// Counts everything that a quota is about. Exact for this very state: a writer who demands that the quota be unchanged since
/// then loses no charge.
pub fn counted(state: &State, namespace: &str, quota: &Value, now: Timestamp) -> Counted {
    let hard = amounts(&quota["spec"]["hard"]);
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    let mut again_at: Option<Timestamp> = None;
    let resources: BTreeSet<Resource> =
        hard.keys().map(|name| resource_of(name)).filter(|resource| resource.as_str() != "events").collect();
    for resource in resources {
        let declared = kind::by_resource(&resource);
        let scoped = !quota["spec"]["scopes"].is_null() || !quota["spec"]["scopeSelector"].is_null();
        let names: Vec<&String> = hard.keys().filter(|name| resource_of(name) == resource).collect();
        let count = format!("count/{resource}");
        if names.iter().all(|name| **name == count) && !scoped {
            let number = state.list_in(&resource, namespace).count();
            used.insert(count, Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX)));
            continue;
        }
        let Some(kind) = declared else { continue };
        for object in state.list_in(&resource, namespace).filter_map(|stored| value_of(stored)) {
            if !fits_scopes(quota, kind, &object) {
                continue;
            }
            let mut one = usage(kind, &object, now);
            one.retain(|name, _| hard.contains_key(name));
            add(&mut used, &one);
            if let Some(at) = overdue_at(&object).filter(|at| *at >= now) {
                again_at = Some(again_at.map_or(at, |known| known.min(at)));
            }
        }
    }
    Counted { status: json!({"hard": spelled(&hard), "used": spelled(&used)}), again_at }
}

/// Whether a change may have given something back. What asks for more was charged when it was written.
pub fn needs_count(kind: &Kind, event: &Event) -> bool {
    match event.kind {
        EventKind::Deleted => true,
        EventKind::Created => false,
        EventKind::Updated => match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Pod") => event.previous.as_ref().is_some_and(|before| {
                let (old, new) = (before.face(), event.current.face());
                old.deleting != new.deleting
                    || old.generation != new.generation
                    || old.field("status.phase") != new.field("status.phase")
            }),
            ("", "Service" | "PersistentVolumeClaim") => true,
            ("", "ResourceQuota") => !only_charged(event),
            _ => false,
        },
    }
}

/// Whether nothing but a charge, or a count, has happened to a quota; whoever writes a status by hand shows in its managers.
fn only_charged(event: &Event) -> bool {
    let rest = |stored: Option<&Stored>| {
        let mut value = stored.and_then(value_of)?;
        if let Some(status) = value["status"].as_object_mut() {
            status.remove("used");
        }
        Some(value)
    };
    let before = rest(event.previous.as_deref());
    before.is_some() && before == rest(Some(&event.current))
}

/// Whether an event of a quota may let through what it refused before.
pub fn eases(event: &Event) -> bool {
    let value = |stored: Option<&Stored>| stored.and_then(value_of).unwrap_or_default();
    let (old, new) = (value(event.previous.as_deref()), value(Some(&event.current)));
    let part = |value: &Value, field: &str| amounts(&value["status"][field]);
    let (used, hard) = (part(&new, "used"), part(&new, "hard"));
    let less = part(&old, "used").iter().any(|(name, before)| used.get(name).is_none_or(|now| now < before));
    let more = part(&old, "hard").iter().any(|(name, before)| hard.get(name).is_none_or(|now| now > before));
    event.kind == EventKind::Deleted || event.kind == EventKind::Updated && (less || more)
}
