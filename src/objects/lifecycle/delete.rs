//! What DELETE does: graceful deletion of pods, finalizers, propagation, namespaces.
//!
//! Follows `apiserver/pkg/registry/rest/delete.go`, `registry/generic/registry/store.go`, and the strategies of pods and
//! namespaces.

use serde_json::{Map, Value, json};

use super::{ensure_map, metadata_of, strings};
use crate::kinds::Ending;
use crate::{Kind, Status, time};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Grace of a pod that names none; defaulting writes it into every pod, so this is for damaged ones only.
const POD_GRACE_SECONDS: i64 = 30;

/// What a client asks of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// `gracePeriodSeconds`; `None` leaves it to the kind.
    pub grace: Option<i64>,
    /// `propagationPolicy`; `None` leaves it to finalizers already there, then to the kind (background).
    pub propagation: Option<Propagation>,
    /// What must hold of the object.
    pub preconditions: Preconditions,
    /// The old form of `propagationPolicy`.
    pub orphan_dependents: Option<bool>,
    /// Whether nothing is to be written (`dryRun: All`).
    pub dry_run: bool,
}

/// What happens to the objects that name the deleted one as their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They live on.
    Orphan,
    /// The owner goes at once, they follow.
    Background,
    /// They go first, the owner waits.
    Foreground,
}

/// What must hold of an object for a delete to take place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's resource version; the caller compares it, because values do not hold it.
    pub resource_version: Option<String>,
}

/// What a deletion comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// The object goes now.
    Remove,
    /// The object stays for now, changed into this.
    Update(Value),
    /// The object is on its way already, and the request changes nothing.
    Nothing,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` body; null and the empty object are no options at all.
    ///
    /// # Errors
    /// 400 for values of the wrong type and objects of another kind, 422 for options that contradict each other or do not
    /// exist.
    pub fn from_value(value: &Value) -> Result<Self, Status> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let kind = value["kind"].as_str().unwrap_or("");
        if !matches!(kind, "" | "DeleteOptions") {
            // Otherwise an object sent by mistake would delete with no options at all.
            return Err(Status::bad_request(format!(
                "kind: {kind:?}: decoded object cannot be converted to DeleteOptions"
            )));
        }
        crate::canonical::check_message("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions", value)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            grace: value["gracePeriodSeconds"].as_i64(),
            propagation: match value["propagationPolicy"].as_str() {
                None => None,
                Some(policy) => Some(propagation(policy)?),
            },
            preconditions: Preconditions {
                uid: text(&value["preconditions"]["uid"]),
                resource_version: text(&value["preconditions"]["resourceVersion"]),
            },
            orphan_dependents: value["orphanDependents"].as_bool(),
            dry_run: dry_run(strings(&value["dryRun"]).into_iter())?,
        }
        .checked()
    }

    /// Reads the query parameters of a DELETE without a body; parameters that are no options are ignored.
    ///
    /// # Errors
    /// 400 for numbers and booleans that are none, 422 as for [`Self::from_value`].
    pub fn from_query<'a>(query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Status> {
        let mut options = Self::default();
        for (key, value) in query {
            let malformed = || Status::bad_request(format!("the query parameter {key}={value:?} does not parse"));
            match key {
                "gracePeriodSeconds" => options.grace = Some(value.parse().map_err(|_| malformed())?),
                "propagationPolicy" if !value.is_empty() => options.propagation = Some(propagation(value)?),
                "orphanDependents" => options.orphan_dependents = Some(value.parse().map_err(|_| malformed())?),
                "dryRun" => options.dry_run = dry_run([value].into_iter())?,
                _ => {}
            }
        }
        options.checked()
    }

    fn checked(self) -> Result<Self, Status> {
        if self.orphan_dependents.is_some() && self.propagation.is_some() {
            let policy = self.propagation.map_or("", Propagation::as_str);
            return Err(invalid(
                "propagationPolicy",
                "FieldValueInvalid",
                format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set"),
            ));
        }
        Ok(self)
    }
}

impl Propagation {
    /// As `DeleteOptions` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "Orphan",
            Self::Background => "Background",
            Self::Foreground => "Foreground",
        }
    }
}

fn propagation(text: &str) -> Result<Propagation, Status> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => Err(invalid(
            "propagationPolicy",
            "FieldValueNotSupported",
            format!("Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""),
        )),
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            let message = format!("Unsupported value: {value:?}: supported values: \"All\"");
            return Err(invalid("dryRun", "FieldValueNotSupported", message));
        }
        dry = true;
    }
    Ok(dry)
}

fn invalid(field: &str, reason: &str, message: String) -> Status {
    let cause = crate::Cause { reason: reason.into(), message, field: field.into() };
    Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![cause])
}

/// Decides what a DELETE of `old` comes to at `now` (RFC 3339 to the second).
///
/// # Errors
/// 409 when the object has another uid than the options ask for; 400 when `now` is no time.
pub fn prepare_delete(kind: &Kind, old: &Value, options: &DeleteOptions, now: &str) -> Result<Deletion, Status> {
    let metadata = &old["metadata"];
    let uid = metadata["uid"].as_str().unwrap_or("");
    if let Some(wanted) = options.preconditions.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(Status::conflict(&kind.group, &kind.plural, metadata["name"].as_str().unwrap_or(""), why));
    }
    let mut new = old.clone();
    let ending = kind.declared.ending;
    if ending == Ending::OnceFinalized && !strings(&old["spec"]["finalizers"]).is_empty() {
        return Ok(terminate_namespace(kind, old, new, options, now));
    }
    if ending == Ending::AfterGrace {
        match graceful(old, &mut new, options, now)? {
            Grace::Pending => return Ok(Deletion::Nothing),
            Grace::Seconds(seconds) => {
                let held = set_finalizers(kind, &mut new, options);
                return Ok(if seconds > 0 || held { changed(old, new) } else { Deletion::Remove });
            }
            Grace::Over => {}
        }
    }
    if !set_finalizers(kind, &mut new, options) {
        return Ok(Deletion::Remove);
    }
    mark(kind, &mut new, now);
    Ok(changed(old, new))
}

/// Whether an updated object is to be removed at once: it is being deleted, nothing holds it, and its grace is over.
///
/// A pod in its grace stays, finalizers or not: its node's agent ends it with a DELETE of grace 0.
pub fn after_update(kind: &Kind, value: &Value) -> bool {
    let metadata = &value["metadata"];
    let held = kind.declared.ending == Ending::OnceFinalized && !strings(&value["spec"]["finalizers"]).is_empty();
    metadata["deletionTimestamp"].is_string()
        && strings(&metadata["finalizers"]).is_empty()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held
}

/// How far the graceful deletion of a pod is.
enum Grace {
    /// Under way, and the request does not shorten it.
    Pending,
    /// Now set to this many seconds.
    Seconds(i64),
    /// Ended before: only finalizers hold the pod.
    Over,
}

fn graceful(old: &Value, new: &mut Value, options: &DeleteOptions, now: &str) -> Result<Grace, Status> {
    let metadata = &old["metadata"];
    let bad_time = |error: crate::Error| Status::bad_request(error.to_string());
    if let Some(deadline) = metadata["deletionTimestamp"].as_str() {
        let current = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if current == 0 {
            return Ok(Grace::Over);
        }
        // Only a shorter grace may be given, and a negative one means "as short as possible".
        let Some(period) =
            options.grace.map(|period| if period < 0 { 1 } else { period }).filter(|period| *period < current)
        else {
            return Ok(Grace::Pending);
        };
        let deadline = time::plus_seconds(deadline, period - current).map_err(bad_time)?;
        set_deadline(new, &deadline, period);
        return Ok(Grace::Seconds(period));
    }
    let unscheduled = old["spec"]["nodeName"].as_str().unwrap_or("").is_empty();
    let over = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let period = match options.grace.or_else(|| old["spec"]["terminationGracePeriodSeconds"].as_i64()) {
        _ if unscheduled || over => 0,
        Some(period) if period < 0 => 1,
        Some(period) => period,
        None => POD_GRACE_SECONDS,
    };
    set_deadline(new, &time::plus_seconds(now, period).map_err(bad_time)?, period);
    count_generation(new);
    Ok(Grace::Seconds(period))
}

fn set_deadline(value: &mut Value, deadline: &str, seconds: i64) {
    let metadata = metadata_of(value);
    metadata.insert("deletionTimestamp".into(), json!(deadline));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(seconds));
}

/// The first step of a deletion is a change of its own, so that controllers that look at generations see it.
fn count_generation(value: &mut Value) {
    let metadata = metadata_of(value);
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0) {
        metadata.insert("generation".into(), json!(generation + 1));
    }
}

/// Marks an object of a kind without grace, which finalizers hold.
fn mark(kind: &Kind, value: &mut Value, now: &str) {
    let metadata = metadata_of(value);
    let deadline = metadata.get("deletionTimestamp").and_then(Value::as_str).map(str::to_owned);
    if deadline.is_none() && kind.counts_generation {
        count_generation(value);
    }
    let later = |deadline: &str| match (time::parse(deadline), time::parse(now)) {
        (Ok(deadline), Ok(now)) => deadline > now,
        _ => true,
    };
    let metadata = metadata_of(value);
    if deadline.is_none_or(|deadline| later(&deadline)) {
        metadata.insert("deletionTimestamp".into(), json!(now));
    }
    metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
}

/// Adds and removes the finalizers of garbage collection as the options ask; says whether any finalizer is left.
fn set_finalizers(kind: &Kind, value: &mut Value, options: &DeleteOptions) -> bool {
    let metadata = metadata_of(value);
    let present: Vec<String> =
        metadata.get("finalizers").map(strings).unwrap_or_default().into_iter().map(str::to_owned).collect();
    let has = |name: &str| present.iter().any(|finalizer| finalizer == name);
    let (orphan, foreground) = match (options.propagation, options.orphan_dependents) {
        (Some(policy), _) => (policy == Propagation::Orphan, policy == Propagation::Foreground),
        (None, Some(orphan)) => (orphan, false),
        (None, None) => (has(ORPHAN) || (kind.declared.orphans && !has(FOREGROUND)), has(FOREGROUND)),
    };
    let mut finalizers: Vec<String> =
        present.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
    if orphan {
        finalizers.push(ORPHAN.into());
    }
    if foreground {
        finalizers.push(FOREGROUND.into());
    }
    let held = !finalizers.is_empty();
    let mut before = present;
    before.sort();
    let mut after = finalizers.clone();
    after.sort();
    if before != after {
        replace_finalizers(metadata, finalizers);
    }
    held
}

fn replace_finalizers(metadata: &mut Map<String, Value>, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

/// A namespace ends in two steps: it is emptied while `Terminating`, then /finalize lets it go.
fn terminate_namespace(kind: &Kind, old: &Value, mut new: Value, options: &DeleteOptions, now: &str) -> Deletion {
    if !old["metadata"]["deletionTimestamp"].is_string() {
        mark(kind, &mut new, now);
        // Namespaces have no grace upstream.
        metadata_of(&mut new).remove("deletionGracePeriodSeconds");
        set_finalizers(kind, &mut new, options);
    }
    ensure_map(&mut new, "status").insert("phase".into(), json!("Terminating"));
    changed(old, new)
}

fn changed(old: &Value, new: Value) -> Deletion {
    if *old == new { Deletion::Nothing } else { Deletion::Update(new) }
}
