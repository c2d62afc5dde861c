//! `/portforward`: connections to the ports of a pod, made by the agent of its node.

use hyper::upgrade::OnUpgrade;
use objects::Status;
use tokio::sync::OwnedSemaphorePermit;

use super::upgrade;
use crate::agent_proxy::Found;
use crate::reply::Response;
use crate::route::Target;
use crate::router::Call;
use crate::write;

/// Answers 101 and joins the streams. Which ports are meant is said within them, or by `ports` where a WebSocket carries no SPDY.
///
/// # Errors
/// 404 when there is no such pod, 400 when it has no node, and as [`upgrade::join`].
pub async fn port_forward(
    call: &Call,
    target: &Target,
    permit: OwnedSemaphorePermit,
    upgrading: OnUpgrade,
) -> Result<Response, Status> {
    let (_, pod) = write::read(call, target).await?;
    let found = Found::whole(call, target, &pod)?;
    upgrade::join(call, &found, "portForward", &["ports"], permit, upgrading).await
}
