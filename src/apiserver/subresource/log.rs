//! `/log`: what a container wrote, streamed from the agent of its node.

use futures::StreamExt;
use http::Method;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use objects::{Cause, Status};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::agent_proxy::{self, Found};
use crate::query::Query;
use crate::reply::{self, Response};
use crate::route::Target;
use crate::router::Call;
use crate::write;

/// Parameters that the agent understands.
const PASSED: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Answers with the stream.
///
/// # Errors
/// 404 when there is no such pod, 400 when the container is not clear or has not started, 422 for options that make no
/// sense, 500 when the agent cannot be reached.
pub async fn log(call: &Call, target: &Target, permit: OwnedSemaphorePermit) -> Result<Response, Status> {
    check(&call.query)?;
    let (_, pod) = write::read(call, target).await?;
    let found = Found::of(call, target, &pod)?;
    started(&pod, &found.container, call.query.flag("previous")?.unwrap_or(false))?;
    let response = found.ask(Method::GET, "containerLogs", &PASSED, &[]).await?;
    if response.status() != 200 {
        return Err(agent_proxy::refusal(response).await);
    }
    let counted = call.api.metrics.longrunning();
    let stopped = call.api.stopping.clone().into_stopped();
    let frames = BodyStream::new(response.into_body()).take_until(Box::pin(stopped)).map(move |frame| {
        // The stream counts for as long as it is read.
        let _ = (&counted, &permit);
        frame.map_err(std::io::Error::other)
    });
    let mut answer = reply::of(200, "text/plain", Vec::new());
    *answer.body_mut() = StreamBody::new(frames).boxed_unsync();
    Ok(answer)
}

fn check(query: &Query) -> Result<(), Status> {
    let mut causes = Vec::new();
    let mut fault = |field: &str, message: String| {
        causes.push(Cause { reason: "FieldValueInvalid".into(), message, field: field.into() });
    };
    for (field, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        if let Some(number) = query.number(field)?.filter(|number| *number < least) {
            fault(field, format!("Invalid value: {number}: must be greater than or equal to {least}"));
        }
    }
    for field in ["follow", "timestamps"] {
        query.flag(field)?;
    }
    if let Some(text) = query.get("sinceTime") {
        objects::time::parse(text).map_err(|error| Status::bad_request(error.to_string()))?;
        if query.get("sinceSeconds").is_some() {
            fault("sinceSeconds", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".into());
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", "", causes)) }
}

/// A container that waits has written nothing yet.
fn started(pod: &Value, container: &str, previous: bool) -> Result<(), Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or("");
    let status = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten())
        .find(|status| status["name"] == container);
    let waits = |reason: &str| {
        let message = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}");
        Err(Status::bad_request(message))
    };
    match status {
        None => waits("ContainerCreating"),
        Some(status) if previous && status["lastState"]["terminated"].is_null() => Err(Status::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ))),
        Some(status) if status["state"]["waiting"].is_object() && status["lastState"]["terminated"].is_null() => {
            waits(status["state"]["waiting"]["reason"].as_str().unwrap_or("ContainerCreating"))
        }
        Some(_) => Ok(()),
    }
}
