//! A container's output over HTTP.

use super::query::Query;
use super::{Served, Target, find, of_runtime, refuse};
use crate::context::Context;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures::StreamExt;
use objects::Status;
use runtime::LogOptions;

/// What is taken from the end of a log as last words, as upstream has it.
const TAIL: (u64, usize) = (80, 2048);

pub(super) async fn answer(State(served): State<Served>, target: Target, RawQuery(query): RawQuery) -> Response {
    let place = match served.place() {
        Ok(place) => place,
        Err(status) => return refuse(&status),
    };
    match open(&served.context, &target, &query.unwrap_or_default()).await {
        Err(status) => refuse(&status),
        Ok(output) => {
            let bytes = output.map(move |item| {
                // The place is kept as long as the answer is read.
                let _ = &place;
                item.map(|output| output.bytes).map_err(std::io::Error::other)
            });
            let mut response = Response::new(Body::from_stream(bytes));
            let plain = http::HeaderValue::from_static("text/plain");
            response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
            response
        }
    }
}

async fn open(context: &Context, target: &Target, query: &str) -> Result<runtime::OutputStream, Status> {
    let query = Query::parse(query);
    let Path((_, name, container)) = target;
    let options = options(&query, base::clock::now()).map_err(Status::bad_request)?;
    let (_, instances) = find(context, target)?;
    let instance = if query.is(&["previous"]) {
        instances.get(1).ok_or_else(|| {
            Status::bad_request(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"))
        })?
    } else {
        instances.first().filter(|it| !matches!(it.state, runtime::State::Created)).ok_or_else(|| {
            Status::bad_request(format!(
                "container \"{container}\" in pod \"{name}\" is waiting to start: ContainerCreating"
            ))
        })?
    };
    context.runtime.logs(&instance.id, options).await.map_err(|error| of_runtime(&error))
}

fn options(query: &Query, now: jiff::Timestamp) -> Result<LogOptions, String> {
    let since = match (query.number::<i64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => Some(crate::pod::backoff::later(now, -seconds.max(0))),
        (None, Some(text)) => Some(text.parse().map_err(|_| format!("sinceTime: {text:?} is not a time"))?),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.is(&["follow"]),
        tail: query.number("tailLines")?,
        since,
        timestamps: query.is(&["timestamps"]),
        limit_bytes: query.number("limitBytes")?,
    })
}

/// The end of an ended container's output, for last words.
pub(crate) async fn tail(context: &Context, id: &str) -> String {
    let options = LogOptions { tail: Some(TAIL.0), ..LogOptions::default() };
    let Ok(mut output) = context.runtime.logs(id, options).await else { return String::new() };
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        bytes.extend_from_slice(&piece.bytes);
        let excess = bytes.len().saturating_sub(TAIL.1);
        bytes.drain(..excess);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::fixtures::at;

    #[test]
    fn options_are_read_and_checked() {
        let read = |text: &str| options(&Query::parse(text), at(100));
        let all = read("follow=true&tailLines=5&sinceSeconds=10&timestamps=1&limitBytes=9").unwrap();
        assert!(all.follow && all.timestamps);
        assert_eq!((all.tail, all.limit_bytes, all.since), (Some(5), Some(9), Some(at(90))));
        assert_eq!(read("sinceTime=2027-01-15T08:00:00Z").unwrap().since, Some(at(0)));
        assert!(read("tailLines=-1").is_err() && read("sinceTime=yesterday").is_err());
    }
}
