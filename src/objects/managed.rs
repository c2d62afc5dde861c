//! Who set which field: `metadata.managedFields` of objects that are created, updated and patched.
//!
//! The semantics are upstream's (`apimachinery/pkg/util/managedfields`): a write takes the fields it changes from all
//! others, fields that vanish are nobody's, and an object whose bookkeeping was given up is not tracked again until
//! something is applied to it. Entries of any served version count as being of the same shape. What apply does with this
//! is in `patch`.

use serde_json::{Map, Value};

use crate::fields_v1::FieldSet;
use crate::patch::{Diff, Shape, compare, overlay, skeleton_of};
use crate::{Cause, Kind, Status};

/// Longest manager name, in bytes; upstream's limit.
pub const MANAGER_BYTES_MAX: usize = 128;

/// Most entries of operation Update; beyond, the oldest are folded into one, as upstream does.
pub const UPDATE_ENTRIES_MAX: usize = 10;

/// Manager of the folded entries.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// One entry: what one manager set by one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    /// Operation Apply, else Update.
    pub(crate) applied: bool,
    pub(crate) api_version: String,
    /// RFC 3339, to the second.
    pub(crate) time: Option<String>,
    /// Empty for the main resource.
    pub(crate) subresource: String,
    pub(crate) fields: FieldSet,
}

impl Entry {
    /// Whether the entries are one: an applier keeps its entry across versions, an updater has one per version.
    pub(crate) fn is_same_manager(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    /// As conflicts name the manager: `"kubectl-client-side-apply" using apps/v1`.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// Records in `new.metadata.managedFields` what `manager` did: `old` is the object as it was (`None` for a creation), `new`
/// the object as it will be, in canonical form. `now` is RFC 3339. A `subresource` is named without a slash.
///
/// Entries that the request itself carries replace those of `old` (a client may hand fields over, as kubectl does when it
/// migrates to server-side apply); an empty list, or one empty entry, gives the bookkeeping up. Requests to a subresource
/// cannot do either. Nothing is recorded, and no time moves, when nothing changed.
///
/// # Errors
/// 422 when the request carries entries that cannot be read.
pub fn update(
    kind: &Kind,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    now: &str,
    subresource: Option<&str>,
) -> Result<(), Status> {
    let given = take(new);
    let stored = old.map(|old| &old["metadata"]["managedFields"]).unwrap_or(&Value::Null);
    let given = if subresource.is_some() { None } else { given };
    let mut entries = match given.as_ref() {
        Some(given) if is_reset(given) => Vec::new(),
        Some(given) => {
            let entries = decode(given).map_err(|(path, error)| refused(kind, new, &path, &error))?;
            if entries.is_empty() { decode_stored(stored) } else { entries }
        }
        None => decode_stored(stored),
    };
    if entries.is_empty() && old.is_some() {
        return Ok(());
    }
    let Some(shape) = Shape::of_kind(kind) else { return Ok(()) };
    let mut before = skeleton_of(shape, new);
    if let Some(old) = old {
        before = overlay(shape, &before, &without_entries(old));
    }
    let diff = compare(shape, &before, new);
    release(&mut entries, &diff);
    let mine = strip(without_ignored(kind, subresource, diff.changed()));
    if !mine.is_empty() {
        take_over(
            &mut entries,
            Entry {
                manager: manager.to_owned(),
                applied: false,
                api_version: kind.api_version(),
                time: Some(now.to_owned()),
                subresource: subresource.unwrap_or_default().to_owned(),
                fields: mine,
            },
        );
    }
    fold_oldest(&mut entries);
    put(new, entries);
    Ok(())
}

/// The manager that a request without `fieldManager` has: its User-Agent up to the first slash, printable characters
/// only, at most [`MANAGER_BYTES_MAX`] bytes.
pub fn manager_from_user_agent(agent: &str) -> String {
    let mut name = String::new();
    for letter in agent.split('/').next().unwrap_or_default().chars() {
        if letter.is_control() {
            continue;
        }
        if name.len() + letter.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        name.push(letter);
    }
    name
}

/// Takes the entries out of an object; null and absent are the same.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields").filter(|entries| !entries.is_null())
}

/// A copy without entries.
pub(crate) fn without_entries(object: &Value) -> Value {
    let mut bare = object.clone();
    take(&mut bare);
    bare
}

/// Writes the entries in upstream's order: by operation, time, manager, version, subresource; none leaves nothing.
pub(crate) fn put(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let Some(map) = object.as_object_mut() else { return };
    if entries.is_empty() {
        return;
    }
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| {
            (
                !entry.applied,
                entry.time.clone().unwrap_or_default(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let list = entries.iter().map(encode).collect();
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

fn encode(entry: &Entry) -> Value {
    let mut map = Map::new();
    let operation = if entry.applied { "Apply" } else { "Update" };
    for (key, text) in [
        ("manager", entry.manager.as_str()),
        ("operation", operation),
        ("apiVersion", entry.api_version.as_str()),
        ("time", entry.time.as_deref().unwrap_or_default()),
        ("fieldsType", "FieldsV1"),
        ("subresource", entry.subresource.as_str()),
    ] {
        if !text.is_empty() {
            map.insert(key.into(), Value::String(text.into()));
        }
    }
    map.insert("fieldsV1".into(), entry.fields.encode());
    Value::Object(map)
}

/// Reads entries.
///
/// # Errors
/// The path of the field that is wrong, and upstream's reason.
pub(crate) fn decode(list: &Value) -> Result<Vec<Entry>, (String, String)> {
    const PATH: &str = "metadata.managedFields";
    let items = match list {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        _ => return Err((PATH.into(), "must be a list".into())),
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let fault = |key: &str, reason: String| (format!("{PATH}[{at}]{key}"), reason);
        let applied = match text("operation").as_str() {
            "Apply" => true,
            "Update" => false,
            _ => return Err(fault(".operation", "must be `Apply` or `Update`".into())),
        };
        if text("apiVersion").is_empty() {
            return Err(fault(".apiVersion", "apiVersion must not be empty".into()));
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(fault(".fieldsType", "must be `FieldsV1`".into()));
        }
        if text("manager").len() > MANAGER_BYTES_MAX {
            return Err(fault(".manager", format!("may not be more than {MANAGER_BYTES_MAX} bytes")));
        }
        let fields = match item.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(value) => {
                FieldSet::decode(value).map_err(|error| fault(".fieldsV1", format!("error decoding set: {error}")))?
            }
        };
        let entry = Entry {
            manager: text("manager"),
            applied,
            api_version: text("apiVersion"),
            time: Some(text("time")).filter(|time| !time.is_empty()),
            subresource: text("subresource"),
            fields,
        };
        match entries.iter_mut().find(|other| other.is_same_manager(&entry)) {
            Some(other) => other.fields.extend(&entry.fields),
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

/// Entries of a stored object: what cannot be read counts as none, so that no object gets stuck.
pub(crate) fn decode_stored(list: &Value) -> Vec<Entry> {
    decode(list).unwrap_or_default()
}

fn is_reset(list: &Value) -> bool {
    match list.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(|entry| entry.values().all(Value::is_null)),
        _ => false,
    }
}

fn refused(kind: &Kind, object: &Value, path: &str, reason: &str) -> Status {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Status::invalid(
        &kind.group,
        &kind.kind,
        name,
        vec![Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {reason}"),
            field: path.into(),
        }],
    )
}

/// Takes what changed or vanished from everybody.
pub(crate) fn release(entries: &mut Vec<Entry>, diff: &Diff) {
    let lost = diff.changed().union(&diff.removed);
    for entry in entries.iter_mut() {
        entry.fields = entry.fields.difference(&lost);
    }
    entries.retain(|entry| !entry.fields.is_empty());
}

/// Adds fields to the entry of a manager, or the entry itself.
fn take_over(entries: &mut Vec<Entry>, mine: Entry) {
    match entries.iter_mut().find(|entry| entry.is_same_manager(&mine)) {
        Some(entry) => {
            entry.fields.extend(&mine.fields);
            entry.time = mine.time;
        }
        None => entries.push(mine),
    }
}

/// Without the fields that are never anybody's; upstream's list.
pub(crate) fn strip(mut set: FieldSet) -> FieldSet {
    const METADATA: &[&str] = &[
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut nobodys = FieldSet::default();
    for key in ["apiVersion", "kind", "metadata"] {
        nobodys.insert(&[format!("f:{key}")]);
    }
    for key in METADATA {
        nobodys.insert(&["f:metadata".into(), format!("f:{key}")]);
    }
    set = set.difference(&nobodys);
    set
}

/// The part of an object that a write to a (sub)resource cannot change, and so cannot own.
pub(crate) fn ignored(kind: &Kind, subresource: Option<&str>) -> Option<&'static str> {
    match subresource {
        None if kind.has_status => Some("status"),
        Some("status") => Some("spec"),
        _ => None,
    }
}

/// Without the fields that a write to the (sub)resource cannot own.
pub(crate) fn without_ignored(kind: &Kind, subresource: Option<&str>, set: FieldSet) -> FieldSet {
    match ignored(kind, subresource) {
        Some(key) => set.without(&format!("f:{key}")),
        None => set,
    }
}

/// Folds the oldest updaters of a version into one entry while there are more than [`UPDATE_ENTRIES_MAX`].
fn fold_oldest(entries: &mut Vec<Entry>) {
    let count = |entries: &[Entry]| entries.iter().filter(|entry| !entry.applied).count();
    while count(entries) > UPDATE_ENTRIES_MAX {
        let mut oldest: Vec<usize> = (0..entries.len()).filter(|&at| !entries[at].applied).collect();
        oldest.sort_by_key(|&at| {
            let entry = &entries[at];
            (entry.time.clone().unwrap_or_default(), entry.manager.clone(), entry.subresource.clone())
        });
        // The oldest that has a younger one of its version to be folded with.
        let pair = oldest.iter().enumerate().find_map(|(place, &first)| {
            let version = &entries[first].api_version;
            oldest[place + 1..].iter().find(|&&at| entries[at].api_version == *version).map(|&second| (first, second))
        });
        let Some((first, second)) = pair else { return };
        let mut folded = entries[first].clone();
        folded.fields.extend(&entries[second].fields);
        folded.manager = ANCIENT_CHANGES.into();
        folded.subresource = String::new();
        folded.time = entries[second].time.clone();
        entries.remove(first.max(second));
        entries.remove(first.min(second));
        take_over(entries, folded);
    }
}

#[cfg(test)]
#[path = "managed_tests.rs"]
mod tests;
