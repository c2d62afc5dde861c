//! One call to the API and its answer, as plain values.

use crate::limits::QUOTE_CHARS_MAX;
use crate::{Address, Error};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// What to ask of the cluster. `Debug` leaves out the body and the headers, which may hold secrets.
#[derive(Clone)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) deadline: Option<Duration>,
    pub(crate) repeatable: bool,
}

impl Call {
    /// A call of `method` on `path`, which starts with `/` and may carry a query. Calls that only
    /// read are repeated on other masters as the deadline allows; others only if nothing was sent.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = method.is_safe();
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), deadline: None, repeatable }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sends `body` as `content_type`.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Sends `value` as JSON.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets how long the call may take altogether, with every attempt; otherwise the client's own bound
    /// holds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Declares that it may be repeated when the outcome of an attempt is not known: because a
    /// precondition makes the second one fail (a PUT with a `resourceVersion`, a DELETE with a UID), or
    /// because its caller owns what it writes (a node its status).
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Method and path, without the query, for messages.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }
}

/// How a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Kubernetes' own, with merge keys.
    Strategic,
    /// Server-side apply; the path needs `fieldManager`.
    Apply,
}

impl PatchKind {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// What the cluster answered, whatever the status code. `Debug` leaves out the body, which may hold
/// secrets.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The master that answered.
    pub master: Address,
}

impl Response {
    /// The body as JSON, or what the cluster refused with.
    ///
    /// # Errors
    /// [`Error::Api`] for any status but 2xx, [`Error::Answer`] when the body is not JSON.
    pub fn json(&self, what: &str) -> Result<Value, Error> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Answer { what: what.to_owned(), reason: format!("it is not JSON: {error}") })
    }

    /// The answer as an error: decodes the Status that Kubernetes APIs refuse with, and quotes what is
    /// none.
    pub fn refusal(&self) -> Error {
        let status: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| status.get(name).and_then(Value::as_str).map(str::to_owned);
        let phrase = || self.status.canonical_reason().unwrap_or("Unknown").replace(' ', "");
        let quote = || {
            let body = String::from_utf8_lossy(&self.body);
            let quoted: String = body.trim().chars().take(QUOTE_CHARS_MAX).collect();
            if quoted.is_empty() { "the server gave no explanation".to_owned() } else { quoted }
        };
        Error::Api {
            code: self.status.as_u16(),
            reason: text("reason").filter(|reason| !reason.is_empty()).unwrap_or_else(phrase),
            message: text("message").filter(|message| !message.is_empty()).unwrap_or_else(quote),
            retry_after: self.retry_after(),
        }
    }

    /// The `Retry-After` header, in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("master", &self.master)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An error from a Status object, as a watch sends one.
pub(crate) fn status_error(status: &Value) -> Error {
    let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let reason = text("reason");
    let expired = reason == "Expired" || reason == "Gone";
    Error::Api {
        code: code.unwrap_or(if expired { 410 } else { 500 }),
        reason,
        message: text("message"),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> Response {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("3"))]);
        let master = "m:1".parse().unwrap();
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            master,
        }
    }

    #[test]
    fn a_status_becomes_an_error() {
        let body = r#"{"kind":"Status","code":409,"reason":"AlreadyExists","message":"pods \"a\" already exists"}"#;
        let error = response(409, body).json("POST /x").unwrap_err();
        assert!(error.is_already_exists() && !error.is_conflict());
        assert_eq!(error.to_string(), "pods \"a\" already exists (409 AlreadyExists)");
    }

    #[test]
    fn anything_else_is_quoted() {
        let error = response(503, "upstream is away").refusal();
        assert!(error.is_transient());
        let Error::Api { reason, message, retry_after, .. } = error else { panic!("{error}") };
        assert_eq!((reason.as_str(), message.as_str()), ("ServiceUnavailable", "upstream is away"));
        assert_eq!(retry_after, Some(Duration::from_secs(3)));
        assert!(response(500, "").refusal().to_string().contains("no explanation"));
        assert!(matches!(response(200, "<html>").json("GET /x"), Err(Error::Answer { .. })));
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let call = Call::get("/x").json(&serde_json::json!({"token": "hush"}));
        let shown = format!("{call:?} {:?}", response(200, "hush"));
        assert!(shown.contains("/x") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_watch_status_without_a_code_is_understood() {
        let gone = serde_json::json!({"kind": "Status", "reason": "Expired", "message": "too old"});
        assert!(status_error(&gone).is_expired());
        assert_eq!(status_error(&Value::Null).code(), Some(500));
    }
}
