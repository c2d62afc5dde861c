//! Request bodies: read within a limit, decoded by their content type.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use objects::canonical::{self, Warning};
use objects::{Kind, Status, protobuf};
use serde_json::Value;

use crate::yaml;

/// A request's body, whatever it comes from.
pub type Incoming = UnsyncBoxBody<Bytes, std::io::Error>;

/// What encoding a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf envelope.
    Protobuf,
}

/// Reads a whole body of at most `max` bytes.
///
/// # Errors
/// 413 when it is longer, 400 when the client breaks off.
pub async fn read(body: Incoming, max: usize) -> Result<Bytes, Status> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {max}")))
        }
        Err(_) => Err(Status::bad_request("the request body ended early")),
    }
}

/// The media type of the body, without parameters and in lower case; empty when none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    given.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The encoding that the content type names; JSON when there is none.
///
/// # Errors
/// 415 for any other.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    match media_type(headers).as_str() {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Encoding::Protobuf),
        _ => Err(unsupported("application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

/// 415 that names what would be accepted.
pub fn unsupported(accepted: &str) -> Status {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(415, "UnsupportedMediaType", message)
}

/// Reads a body as an object of `kind`, with what was odd about it.
///
/// # Errors
/// 400 for bodies that do not decode as that kind, 415 for content types that are not known.
pub fn object(kind: &Kind, headers: &HeaderMap, bytes: &[u8]) -> Result<(Value, Vec<Warning>), Status> {
    match encoding(headers)? {
        Encoding::Protobuf if kind.custom.is_some() => Err(unsupported("application/json, application/yaml")),
        Encoding::Json => canonical::decode(kind, bytes),
        Encoding::Yaml => canonical::decode_value(kind, yaml::parse(bytes)?),
        Encoding::Protobuf => {
            let (value, mut odd) = protobuf::decode(bytes)?;
            let (value, more) = canonical::decode_value(kind, value)?;
            odd.extend(more);
            Ok((value, odd))
        }
    }
}

/// Reads a body as any value, for options and the bodies of subresources; an empty body is null.
///
/// # Errors
/// As [`object`].
pub fn value(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Status> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    match encoding(headers)? {
        Encoding::Json => canonical::parse(bytes)
            .map(|(value, _)| value)
            .map_err(|reason| Status::bad_request(format!("the body does not decode: {reason}"))),
        Encoding::Yaml => yaml::parse(bytes),
        Encoding::Protobuf => Ok(protobuf::decode(bytes)?.0),
    }
}

/// Reads the body of a subresource or of a kind that is only asked: a value of one kind and API version.
///
/// # Errors
/// As [`object`]; 400 for another kind.
pub fn of_kind(
    headers: &HeaderMap,
    bytes: &[u8],
    message: &str,
    api_version: &str,
    kind: &str,
) -> Result<Value, Status> {
    let value = value(headers, bytes)?;
    let given = |key: &str| value[key].as_str().unwrap_or("").to_owned();
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    let other = (!given_kind.is_empty() && given_kind != kind)
        || (!given_version.is_empty() && given_version != api_version)
        || !value.is_object();
    if other {
        return Err(Status::bad_request(format!("the object provided is unrecognized (must be of type {kind})")));
    }
    canonical::check_message(message, &value)?;
    Ok(value)
}
