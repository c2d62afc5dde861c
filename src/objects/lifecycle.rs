//! What a write means: the rules that hold for every writer, API client and controller alike.
//!
//! Pure: the clock, uids and random suffixes are arguments, so a decision made here can be replayed. Defaults come from
//! `defaulting`, judgement from `validation`; whether the write happens at all is decided by the store's preconditions.

mod delete;

use serde_json::{Map, Value, json};

pub use delete::{DeleteOptions, Deletion, Preconditions, Propagation, after_update, prepare_delete};

use crate::{Kind, Status};

/// Length of a generated name: upstream cuts the prefix so that the whole stays a DNS label.
const GENERATED_NAME_MAX: usize = 63;

/// Makes `value` what is stored when a client creates it.
///
/// Generates the name (`generateName` cut to fit, plus `suffix`, five lower-case alphanumerics), sets the uid, creation
/// time (`now`, RFC 3339 to the second) and generation 1, drops what only the server writes, and gives
/// the object the status that its kind starts with. Follows `registry/rest/create.go` and the kinds' strategies.
///
/// # Errors
/// 422 when there is neither a name nor a prefix for one.
pub fn prepare_create(kind: &Kind, value: &mut Value, uid: &str, now: &str, suffix: &str) -> Result<(), Status> {
    let metadata = metadata_of(value);
    for key in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.remove(key);
    }
    if text(metadata, "name").is_empty() {
        let prefix = text(metadata, "generateName").to_owned();
        if prefix.is_empty() {
            let cause = crate::validation::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(&kind.group, &kind.kind, "", vec![cause]));
        }
        let mut cut = prefix.len().min(GENERATED_NAME_MAX.saturating_sub(suffix.len()));
        while !prefix.is_char_boundary(cut) {
            cut -= 1;
        }
        metadata.insert("name".into(), Value::String(format!("{}{suffix}", &prefix[..cut])));
    }
    metadata.insert("uid".into(), Value::String(uid.into()));
    metadata.insert("creationTimestamp".into(), Value::String(now.into()));
    if kind.counts_generation {
        metadata.insert("generation".into(), Value::from(1));
    }
    match kind.declared.begin {
        _ if kind.custom.is_some() => kind.custom.iter().for_each(|custom| custom.begin(value)),
        Some(begin) => begin(value),
        None if kind.has_status => value["status"] = json!({}),
        None => {}
    }
    Ok(())
}

/// Makes `new` what is stored when it replaces `old`, and says whether that changes anything worth a revision.
///
/// Keeps what no client may change (uid, creation and deletion times), keeps the status on main writes and everything
/// but the status on status writes, and counts the generation. `subresource` is the last part of the URL: `status`,
/// `finalize`, `scale`, `binding`, `ephemeralcontainers`, `approval`, …. Follows `registry/rest/update.go` and the kinds' strategies.
///
/// # Errors
/// 400 for another name or namespace, 409 for another uid, 422 for finalizers added while the object is being deleted.
pub fn prepare_update(kind: &Kind, old: &Value, new: &mut Value, subresource: Option<&str>) -> Result<bool, Status> {
    same_object(kind, old, new)?;
    match subresource {
        Some("status") => keep_all_but_status(kind, old, new),
        Some("binding" | "eviction") => {}
        Some("finalize") => keep(old, new, "status"),
        Some("ephemeralcontainers") => keep_all_but(old, new, "spec", "ephemeralContainers"),
        Some("approval") => keep_all_but(old, new, "status", "conditions"),
        _ => {
            if kind.has_status {
                keep(old, new, "status");
            }
            if let Some(keep) = kind.declared.keep {
                keep(old, new);
            }
        }
    }
    let old_metadata = &old["metadata"];
    let metadata = metadata_of(new);
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        set_or_remove(metadata, key, old_metadata[key].clone());
    }
    metadata.remove("selfLink");
    if old_metadata["deletionTimestamp"].is_string() {
        no_new_finalizers(kind, old_metadata, metadata)?;
    }
    if kind.counts_generation && spec_differs(kind, old, new) {
        let generation = old_metadata["generation"].as_i64().unwrap_or(0) + 1;
        metadata_of(new).insert("generation".into(), Value::from(generation));
    }
    Ok(differs(old, new))
}

/// Whether two values differ in more than the resource version and the times of managed fields: only then does a write
/// get a revision.
pub fn differs(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old != new;
    };
    let rest = |map: &Map<String, Value>| map.iter().filter(|(key, _)| *key != "metadata").count();
    if rest(old) != rest(new) || old.iter().any(|(key, value)| key != "metadata" && new.get(key) != Some(value)) {
        return true;
    }
    let plain = |map: &Map<String, Value>| {
        let mut metadata = map.get("metadata").cloned().unwrap_or_default();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("resourceVersion");
            if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
                for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                    entry.remove("time");
                }
            }
        }
        metadata
    };
    plain(old) != plain(new)
}

fn same_object(kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
    let given = |key: &str| new["metadata"][key].as_str().unwrap_or("");
    let stored = |key: &str| old["metadata"][key].as_str().unwrap_or("");
    let differs = |key: &str| !given(key).is_empty() && given(key) != stored(key);
    if differs("name") {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            given("name"),
            stored("name"),
        )));
    }
    if differs("namespace") {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({}) does not match the namespace on the request ({})",
            given("namespace"),
            stored("namespace"),
        )));
    }
    if differs("uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            given("uid"),
            stored("uid")
        );
        return Err(Status::conflict(&kind.group, &kind.plural, stored("name"), why));
    }
    Ok(())
}

/// A status write takes the status and the metadata that upstream's strategies let through.
fn keep_all_but_status(kind: &Kind, old: &Value, new: &mut Value) {
    let status = new.get("status").cloned();
    let metadata = new.get("metadata").cloned().unwrap_or_default();
    *new = old.clone();
    let map = ensure_object(new);
    set_or_remove(map, "status", status.unwrap_or_default());
    map.insert("metadata".into(), metadata);
    let metadata = metadata_of(new);
    for key in kind.declared.status_keeps {
        set_or_remove(metadata, key, old["metadata"][*key].clone());
    }
    if let Some(keep) = kind.declared.keep_status {
        keep(old, new);
    }
}

/// Some fields are changed through a door of their own, which lets nothing else through.
fn keep_all_but(old: &Value, new: &mut Value, outer: &str, inner: &str) {
    let given = new[outer][inner].clone();
    let managers = new["metadata"]["managedFields"].clone();
    *new = old.clone();
    set_or_remove(ensure_map(new, outer), inner, given);
    if !managers.is_null() {
        metadata_of(new).insert("managedFields".into(), managers);
    }
}

fn no_new_finalizers(kind: &Kind, old: &Value, new: &Map<String, Value>) -> Result<(), Status> {
    let before = strings(&old["finalizers"]);
    let added: Vec<&str> = new
        .get("finalizers")
        .map(strings)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
    let cause = crate::validation::forbidden(
        "metadata.finalizers",
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            list.join(", ")
        ),
    );
    Err(Status::invalid(&kind.group, &kind.kind, old["name"].as_str().unwrap_or(""), vec![cause]))
}

fn spec_differs(kind: &Kind, old: &Value, new: &Value) -> bool {
    // Where the status of a custom resource has no door of its own, it is a field as any other.
    let all = kind.custom.is_some() && !kind.has_status;
    let counted =
        |key: &&String| !matches!(key.as_str(), "metadata" | "apiVersion" | "kind") && (all || *key != "status");
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|map| map.keys().filter(counted).cloned().collect()).unwrap_or_default()
    };
    let (before, after) = (keys(old), keys(new));
    before != after || before.iter().any(|key| old[key] != new[key])
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn keep(old: &Value, new: &mut Value, key: &str) {
    set_or_remove(ensure_object(new), key, old[key].clone());
}

pub(crate) fn set_or_remove(map: &mut Map<String, Value>, key: &str, value: Value) {
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value);
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or("")
}

fn metadata_of(value: &mut Value) -> &mut Map<String, Value> {
    ensure_map(value, "metadata")
}

pub(crate) fn ensure_map<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let slot = ensure_object(value).entry(key).or_insert_with(|| Value::Object(Map::new()));
    ensure_object(slot)
}

/// Whatever is no object becomes an empty one: decoding has refused such values long before.
fn ensure_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object just above")
}

#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
mod tests;
