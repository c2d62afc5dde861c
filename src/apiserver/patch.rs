//! PATCH: JSON patch, merge patch, strategic merge patch, server-side apply.

use objects::canonical::{self, Warning};
use objects::{Cause, Kind, Status, patch};
use serde_json::Value;

use crate::errors::{self, invalid_option};
use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::{self, Call};
use crate::write::{self, ATTEMPTS_MAX, FieldValidation, Replacement, WriteOptions, Written};
use crate::{body, create, yaml};

/// Longest part of a patch that an error quotes.
const QUOTED_MAX: usize = 256;

/// A patch, read as far as that needs no object.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902, as bytes.
    Json(Vec<u8>),
    /// RFC 7386.
    Merge(Value),
    /// Merge by the kind's keys.
    Strategic(Value),
    /// Server-side apply, with `force`.
    Apply(Value, bool),
}

impl Patch {
    /// Reads a patch by its content type, with what was odd about it.
    ///
    /// # Errors
    /// 415 for other content types, 400 for bodies that do not decode, 422 for `force` outside of apply.
    pub fn read(call: &Call, bytes: &[u8]) -> Result<(Self, Vec<Warning>), Status> {
        let force = call.query.flag("force")?;
        let parsed = || {
            canonical::parse(bytes)
                .map_err(|reason| Status::bad_request(format!("the patch does not decode: {reason}")))
        };
        let media = body::media_type(&call.headers);
        if media != "application/apply-patch+yaml" && force.is_some() {
            let message = "Forbidden: may not be specified for non-apply patch".to_owned();
            return Err(invalid_option("PatchOptions", "force", "FieldValueForbidden", message));
        }
        match media.as_str() {
            "application/json-patch+json" => Ok((Self::Json(bytes.to_vec()), Vec::new())),
            "application/merge-patch+json" => parsed().map(|(value, odd)| (Self::Merge(value), odd)),
            "application/strategic-merge-patch+json" => parsed().map(|(value, odd)| (Self::Strategic(value), odd)),
            "application/apply-patch+yaml" => {
                let force = force.unwrap_or(false);
                // Clients send JSON here as well; only its reader sees repeated keys.
                if bytes.trim_ascii_start().starts_with(b"{")
                    && let Ok((value, odd)) = canonical::parse(bytes)
                {
                    return Ok((Self::Apply(value, force), odd));
                }
                Ok((Self::Apply(yaml::parse(bytes)?, force), Vec::new()))
            }
            _ => Err(body::unsupported(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                 application/apply-patch+yaml",
            )),
        }
    }

    /// Refuses what needs a table of fields for a kind that has none.
    ///
    /// # Errors
    /// 415 for a strategic merge patch of a custom resource.
    pub fn suits(&self, kind: &Kind) -> Result<(), Status> {
        match self {
            Self::Strategic(_) if kind.custom.is_some() => Err(body::unsupported(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
            _ => Ok(()),
        }
    }

    /// The changed object.
    fn apply_to(&self, kind: &Kind, old: &Value, manager: &str, subresource: Option<&str>) -> Result<Value, Status> {
        match self {
            Self::Json(bytes) => patch::json(old, bytes),
            Self::Merge(value) => patch::merge(old, value),
            Self::Strategic(value) => patch::strategic(kind, old, value),
            Self::Apply(value, force) => {
                patch::apply(kind, Some(old), value, manager, *force, &write::now(), subresource)
            }
        }
    }
}

/// Answers a PATCH.
///
/// # Errors
/// 404 when there is no such object (apply creates it), 409 for conflicts, 400, 415 and 422 for patches that make no sense
/// or whose result may not be stored.
pub async fn patch(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = WriteOptions::parse(call, "PatchOptions")?;
    let (patch, odd) = Patch::read(call, bytes)?;
    patch.suits(&target.kind)?;
    let applies = matches!(patch, Patch::Apply(..));
    if applies && !options.manager_named {
        let message = "Required value: is required for apply patch".to_owned();
        return Err(invalid_option("PatchOptions", "fieldManager", "FieldValueRequired", message));
    }
    let kind: &Kind = &target.kind;
    let subresource = target.subresource.as_deref();
    if let Patch::Apply(value, _) = &patch {
        fits(target, value)?;
    }
    for _ in 0..ATTEMPTS_MAX {
        let (old, mut old_value) = match write::read(call, target).await {
            Err(status) if status.code == 404 && applies && subresource.is_none() => {
                match create_by_apply(call, target, &options, &patch, &odd).await {
                    // Somebody else created it meanwhile: then it is there to be changed.
                    Err(status) if status.reason == "AlreadyExists" => continue,
                    outcome => return outcome,
                }
            }
            outcome => outcome?,
        };
        kind.from_stored(&mut old_value);
        let changed = patch.apply_to(kind, &old_value, &options.manager, subresource)?;
        let named = changed["metadata"]["resourceVersion"] != old_value["metadata"]["resourceVersion"];
        if named && write::revision_in(&changed)?.is_some() {
            return Err(errors::modified(&old.key));
        }
        let (changed, warnings) = decoded(kind, &options, &patch, changed, &odd, bytes)?;
        write::forget_revision(&mut old_value);
        let replacement = Replacement { old: &old, old_value: &old_value, new: changed, subresource, track: !applies };
        match write::replace(call, target, &options, replacement).await? {
            Written::Done(stored) => {
                return Ok(reply::warn(reply::object(call, kind, 200, &stored)?, &warnings));
            }
            Written::Again => {}
        }
    }
    Err(write::contended(target))
}

async fn create_by_apply(
    call: &Call,
    target: &Target,
    options: &WriteOptions,
    patch: &Patch,
    odd: &[Warning],
) -> Result<Response, Status> {
    let Patch::Apply(value, force) = patch else { return Err(target.not_found()) };
    if write::revision_in(value)?.is_some() {
        return Err(errors::modified(&target.key()));
    }
    // To patch is not to create, although apply does either.
    router::authorize_creation(call, target).await?;
    let made = objects::patch::apply(&target.kind, None, value, &options.manager, *force, &write::now(), None)?;
    let (mut made, warnings) = decoded(&target.kind, options, patch, made, odd, &[])?;
    made["metadata"]["name"] = Value::String(target.name.clone().unwrap_or_default());
    let stored = create::store(call, target, options, made, false).await?;
    Ok(reply::warn(reply::object(call, &target.kind, 201, &stored)?, &warnings))
}

/// An applied configuration must be of the object in the path.
fn fits(target: &Target, value: &Value) -> Result<(), Status> {
    let given = value["metadata"]["name"].as_str().unwrap_or("");
    let wanted = target.name.as_deref().unwrap_or("");
    if !given.is_empty() && given != wanted {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({wanted})"
        )));
    }
    Ok(())
}

/// Checks the types of the result, and judges unknown and repeated fields.
fn decoded(
    kind: &Kind,
    options: &WriteOptions,
    patch: &Patch,
    value: Value,
    odd: &[Warning],
    bytes: &[u8],
) -> Result<(Value, Vec<String>), Status> {
    let (value, found) = match (canonical::decode_value(kind, value), patch) {
        (Ok(decoded), _) => decoded,
        (Err(status), Patch::Apply(..)) => return Err(status),
        // Upstream calls a patch whose result does not decode invalid.
        (Err(status), _) => return Err(unprocessable(kind, bytes, &status.message)),
    };
    let warnings: Vec<Warning> = odd.iter().cloned().chain(found).collect();
    match (options.validation, patch) {
        (FieldValidation::Strict, Patch::Apply(..)) => {}
        (FieldValidation::Strict, _) if !warnings.is_empty() => {
            let list: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            return Err(unprocessable(kind, bytes, &format!("strict decoding error: {}", list.join(", "))));
        }
        _ => {}
    }
    let warnings = options.judge(kind, &warnings)?;
    Ok((value, warnings))
}

fn unprocessable(kind: &Kind, bytes: &[u8], why: &str) -> Status {
    // What is patched into a Secret stays out of messages, which end up in logs.
    let quoted = if kind.group.is_empty() && kind.kind == "Secret" {
        "(hidden)".to_owned()
    } else {
        String::from_utf8_lossy(bytes).chars().take(QUOTED_MAX).collect()
    };
    let cause = Cause {
        reason: "FieldValueInvalid".into(),
        message: format!("Invalid value: {quoted:?}: {why}"),
        field: "patch".into(),
    };
    Status::invalid("", "", "", vec![cause])
}
