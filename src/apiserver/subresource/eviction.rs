//! `/eviction`: a deletion that may be refused to keep a workload available. Disruption budgets are not served yet, so
//! nothing refuses it today.

use objects::Status;
use objects::lifecycle::DeleteOptions;
use serde_json::json;

use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::{body, delete, write};

/// Answers an Eviction.
///
/// # Errors
/// 404 when there is no such pod, 409 when its preconditions do not hold, 400 and 422 for evictions that make no sense.
pub async fn evict(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let dry_run = write::dry_run(&call.query, "CreateOptions")?;
    let eviction = body::of_kind(&call.headers, bytes, "k8s.io.api.policy.v1.Eviction", "policy/v1", "Eviction")?;
    let name = target.name.as_deref().unwrap_or("");
    let given = eviction["metadata"]["name"].as_str().unwrap_or("");
    if !given.is_empty() && given != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = DeleteOptions::from_value(&eviction["deleteOptions"])?;
    options.dry_run |= dry_run;
    delete::remove(call, target, &options).await?;
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(reply::value(201, &done))
}
