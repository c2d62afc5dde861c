//! `/exec` and `/attach`: a program in a container, and whoever talks to it.

use hyper::upgrade::OnUpgrade;
use objects::Status;
use tokio::sync::OwnedSemaphorePermit;

use super::upgrade;
use crate::agent_proxy::Found;
use crate::reply::Response;
use crate::route::Target;
use crate::router::Call;
use crate::write;

/// Parameters that the agent understands.
const PASSED: [&str; 5] = ["command", "stdin", "stdout", "stderr", "tty"];

/// Answers 101 and joins the streams.
///
/// # Errors
/// 404 when there is no such pod, 400 when nothing can be run in it, and as [`upgrade::join`].
pub async fn exec(
    call: &Call,
    target: &Target,
    action: &'static str,
    permit: OwnedSemaphorePermit,
    upgrading: OnUpgrade,
) -> Result<Response, Status> {
    let (_, pod) = write::read(call, target).await?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        let what = if action == "exec" { "exec into" } else { "attach to" };
        return Err(Status::bad_request(format!(
            "cannot {what} a container in a completed pod; current phase is {phase}"
        )));
    }
    let found = Found::of(call, target, &pod)?;
    if action == "exec" && call.query.get("command").is_none() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    upgrade::join(call, &found, action, &PASSED, permit, upgrading).await
}
