//! UPDATE: PUT of a whole object, of its status, or of a namespace's finalizers.

use objects::Status;

use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::write::{self, ATTEMPTS_MAX, Replacement, WriteOptions, Written};
use crate::{body, errors};

/// Answers a PUT.
///
/// # Errors
/// 400 for bodies that do not fit the path, 404 when there is no such object, 409 when it is newer than the body's resource
/// version, 422 for what may not be stored.
pub async fn update(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = WriteOptions::parse(call, "UpdateOptions")?;
    let (value, warnings) = body::object(&target.kind, &call.headers, bytes)?;
    let warnings = options.judge(&target.kind, &warnings)?;
    let given = write::revision_in(&value)?;
    let subresource = target.subresource.as_deref();
    for _ in 0..ATTEMPTS_MAX {
        let (old, mut old_value) = write::read(call, target).await?;
        if given.is_some_and(|given| given != old.revision.0) {
            return Err(errors::modified(&old.key));
        }
        write::forget_revision(&mut old_value);
        let replacement =
            Replacement { old: &old, old_value: &old_value, new: value.clone(), subresource, track: true };
        match write::replace(call, target, &options, replacement).await? {
            Written::Done(stored) => {
                return Ok(reply::warn(reply::object(call, &target.kind, 200, &stored)?, &warnings));
            }
            Written::Again if given.is_some() => return Err(errors::modified(&old.key)),
            Written::Again => {}
        }
    }
    Err(write::contended(target))
}
