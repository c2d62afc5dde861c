//! Answers: JSON bodies, statuses, objects in the form that the client accepts.

use std::io;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use objects::{Kind, Status};
use serde_json::{Value, json};
use state::Stored;

use crate::negotiate::Form;
use crate::router::Call;
use crate::table;

/// A response's body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A response.
pub type Response = http::Response<Body>;

/// Most warnings in one response, and bytes of one; headers have limits of their own at clients.
const WARNINGS_MAX: usize = 32;
const WARNING_BYTES_MAX: usize = 256;

/// A body of bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response of any media type.
pub fn of(code: u16, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A JSON response.
pub fn json(code: u16, bytes: impl Into<Bytes>) -> Response {
    of(code, "application/json", bytes)
}

/// A JSON response of a value.
pub fn value(code: u16, value: &Value) -> Response {
    json(code, value.to_string())
}

/// A refusal.
pub fn status(status: &Status) -> Response {
    let mut response = value(status.code, &status.to_value());
    if status.details.retry_after_seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(status.details.retry_after_seconds));
    }
    response
}

/// The Status of success that answers deletions and virtual writes.
pub fn success(code: u16, kind: &Kind, name: &str, uid: &str) -> Response {
    let mut details = json!({"name": name, "kind": kind.plural});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    if !uid.is_empty() {
        details["uid"] = json!(uid);
    }
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    value(code, &body)
}

/// One object, in the form that the client accepts.
///
/// # Errors
/// 400 for table options that do not exist, 500 when the stored bytes are damaged.
pub fn object(call: &Call, kind: &Kind, code: u16, stored: &Stored) -> Result<Response, Status> {
    let bytes = match call.form {
        Form::Object if !kind.shows_what_is_stored() => shown(kind, stored)?.to_string().into(),
        Form::Object if stored.revision.0 == 0 => stored.object.bytes().clone(),
        Form::Object => stored.to_json(),
        Form::Metadata(version) => partial(version, &damaged(stored.to_value())?).to_string().into(),
        Form::Table(version) => {
            let include = table::Include::parse(&call.query)?;
            let rows = vec![table::row(kind, &damaged(stored.to_value())?, include, version)];
            let meta = json!({"resourceVersion": stored.revision.to_string()});
            table::table(kind, version, meta, rows, true).to_string().into()
        }
    };
    Ok(json(code, bytes))
}

/// An object in the form of the kind that is asked for.
///
/// # Errors
/// 500 when the stored bytes are damaged.
pub fn shown(kind: &Kind, stored: &Stored) -> Result<Value, Status> {
    let mut value = damaged(stored.to_value())?;
    kind.from_stored(&mut value);
    Ok(value)
}

/// The metadata of an object as an object of its own.
pub fn partial(version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"],
    })
}

/// Stored bytes that do not parse are the server's fault.
pub fn damaged<T>(result: Result<T, objects::Error>) -> Result<T, Status> {
    result.map_err(Status::internal)
}

/// Adds `Warning` headers, as RFC 7234 and clients want them.
pub fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        let mut text = String::new();
        for letter in warning.chars().filter(|letter| !letter.is_control()) {
            if text.len() > WARNING_BYTES_MAX {
                break;
            }
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            response.headers_mut().append(HeaderName::from_static("warning"), header);
        }
    }
    response
}
