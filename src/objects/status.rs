//! The Kubernetes Status: the one form in which the API says that something went wrong.
//!
//! Codes, reasons and message texts follow upstream's `apimachinery/pkg/api/errors/errors.go`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One reason among several, as `details.causes` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Machine-readable, as `FieldValueInvalid`.
    pub reason: String,
    /// For people, as `Invalid value: "-": must be …`.
    pub message: String,
    /// Path of the field, as `spec.containers[0].image`; empty when no field is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// A failed request, with everything that a client may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, as `NotFound`; may be empty.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// What the request was about; boxed because most statuses are moved about, few are read.
    pub details: Box<Details>,
}

/// What a failed request was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Object name.
    pub name: String,
    /// API group.
    pub group: String,
    /// Plural resource (upstream puts the resource into `kind` for most errors, the kind for validation).
    pub kind: String,
    /// Object uid.
    pub uid: String,
    /// Single reasons.
    pub causes: Vec<Cause>,
    /// After how many seconds the client should try again; 0 means not said.
    pub retry_after_seconds: u32,
}

impl std::fmt::Display for Status {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    /// A status with a code, a reason and a message, about nothing in particular.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: Box::default() }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: who are you?
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about `plural.group` `name`.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let resource = crate::Resource::new(group, plural);
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(group, plural, name)
    }

    /// 404: no such object.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let resource = crate::Resource::new(group, plural);
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(group, plural, name)
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let resource = crate::Resource::new(group, plural);
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists")).about(group, plural, name)
    }

    /// 409: the object changed under the writer.
    pub fn conflict(group: &str, plural: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let resource = crate::Resource::new(group, plural);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
            .about(group, plural, name)
    }

    /// 422: fields that do not pass validation. `kind` is the kind, as upstream has it for this reason only.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let shown: Vec<String> = causes
            .iter()
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
        let list = match shown.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut status =
            Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {list}")).about(group, kind, name);
        status.details.causes = causes;
        status
    }

    /// 410: the revision is older than the kept history.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 500: our fault.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 503: cannot now, may soon.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut status = Self::new(503, "ServiceUnavailable", message);
        status.details.retry_after_seconds = 1;
        status
    }

    /// 504: no answer in time; whether a write took place is not known.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// Says what the status is about.
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.details.group = group.into();
        self.details.kind = kind.into();
        self.details.name = name.into();
        self
    }

    /// Adds one cause.
    pub fn because(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        self.details.causes.push(Cause { reason: reason.into(), message: message.into(), field: field.into() });
        self
    }

    /// The JSON body.
    pub fn to_value(&self) -> Value {
        let mut details = serde_json::Map::new();
        for (key, text) in [
            ("name", &self.details.name),
            ("group", &self.details.group),
            ("kind", &self.details.kind),
            ("uid", &self.details.uid),
        ] {
            if !text.is_empty() {
                details.insert(key.into(), Value::String(text.clone()));
            }
        }
        if !self.details.causes.is_empty() {
            details.insert("causes".into(), json!(self.details.causes));
        }
        if self.details.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".into(), json!(self.details.retry_after_seconds));
        }
        let mut body = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = Value::String(self.reason.clone());
        }
        if !details.is_empty() {
            body["details"] = Value::Object(details);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(Status::not_found("", "pods", "x").message, "pods \"x\" not found");
        assert_eq!(Status::already_exists("apps", "deployments", "x").message, "deployments.apps \"x\" already exists");
        let invalid = Status::invalid(
            "",
            "Pod",
            "x",
            vec![Cause {
                reason: "FieldValueRequired".into(),
                message: "Required value".into(),
                field: "spec.containers".into(),
            }],
        );
        assert_eq!(invalid.message, "Pod \"x\" is invalid: spec.containers: Required value");
        assert_eq!(invalid.to_value()["details"]["causes"][0]["field"], "spec.containers");
    }
}
