//! GET of one object.

use objects::Status;

use crate::reply::{self, Response};
use crate::revision;
use crate::route::Target;
use crate::router::Call;

/// Answers with the object, its bytes as they are stored.
///
/// # Errors
/// 404 when there is none; what `revision::state` refuses.
pub async fn get(call: &Call, target: &Target) -> Result<Response, Status> {
    let key = target.key();
    let state = revision::state(call, revision::of_get(&call.query)?, &key.resource).await?;
    let stored = state.get(&key).ok_or_else(|| target.not_found())?;
    reply::object(call, &target.kind, 200, stored)
}
