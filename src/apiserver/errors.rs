//! From what went wrong below to the Status that clients know.

use objects::{Key, Resource, Status};
use state::Refusal;
use store::Error;

use crate::custom_kinds::definitions;

/// The Status for an error of the store, met while `key` was written or read.
pub fn status(error: Error, key: &Key) -> Status {
    match error {
        Error::Refused(refusal) => refused(refusal, key),
        Error::Unavailable(reason) => Status::unavailable(format!("the cluster cannot answer now: {reason}")),
        Error::Unknown(reason) => Status::timeout(format!(
            "the write was sent, and no answer came in time; it may or may not have taken place: {reason}"
        )),
        Error::Compacted { asked, compacted } => too_old(asked.0, compacted.0),
        Error::Future { asked, have } => too_large(asked.0, have.0),
        Error::TooLarge { size, max } => Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: the write has {size} bytes, at most {max} are taken"),
        ),
    }
}

/// The Status for an error of a read of a whole resource.
pub fn read(error: Error, resource: &Resource) -> Status {
    status(error, &Key::new(resource.clone(), "", ""))
}

fn refused(refusal: Refusal, key: &Key) -> Status {
    match refusal {
        Refusal::AlreadyExists(of) => Status::already_exists(of.resource.group(), of.resource.plural(), &of.name),
        // Nothing is created without its definition.
        Refusal::NotFound(of) | Refusal::Reborn { key: of, .. } if of.resource == definitions() && of != *key => {
            Status::no_such_path()
        }
        Refusal::NotFound(of) => Status::not_found(of.resource.group(), of.resource.plural(), &of.name),
        Refusal::Changed { key, .. } => modified(&key),
        Refusal::Reborn { key: of, found } => Status::conflict(
            of.resource.group(),
            of.resource.plural(),
            &of.name,
            format!("Precondition failed: the object now has UID {found}"),
        ),
        Refusal::Terminating(of) if of.resource.as_str() == "namespaces" && of != *key => terminating(key, &of.name),
        Refusal::Terminating(of) if of.resource == definitions() && of != *key => {
            let message = "create not allowed while custom resource definition is terminating";
            Status::new(405, "MethodNotAllowed", message)
        }
        Refusal::Terminating(of) => {
            Status::conflict(of.resource.group(), of.resource.plural(), &of.name, "the object is being deleted")
        }
        Refusal::Fenced(_) => Status::unavailable("the leader has changed, try again"),
    }
}

/// 409: the object changed under the writer, in upstream's words.
pub fn modified(key: &Key) -> Status {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Status::conflict(key.resource.group(), key.resource.plural(), &key.name, why)
}

/// 403: nothing is created in a namespace that is being deleted.
pub fn terminating(key: &Key, namespace: &str) -> Status {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    Status::forbidden(key.resource.group(), key.resource.plural(), &key.name, why).because(
        "NamespaceTerminating",
        format!("namespace {namespace} is being terminated"),
        "metadata.namespace",
    )
}

/// 410: history does not reach back that far.
pub fn too_old(asked: u64, compacted: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({})", compacted + 1))
}

/// 504: this master has not got there yet.
pub fn too_large(asked: u64, have: u64) -> Status {
    let mut status = Status::timeout(format!("Timeout: Too large resource version: {asked}, current: {have}")).because(
        "ResourceVersionTooLarge",
        "Too large resource version",
        "",
    );
    status.details.retry_after_seconds = 1;
    status
}

/// 405: the path exists, the method does not.
pub fn method_not_allowed() -> Status {
    Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

/// 429: try again soon.
pub fn too_many() -> Status {
    let mut status = Status::new(429, "TooManyRequests", "too many requests, please try again later");
    status.details.retry_after_seconds = 1;
    status
}

/// 422 for one parameter of `options` (as `ListOptions`).
pub fn invalid_option(options: &str, field: &str, reason: &str, message: String) -> Status {
    let cause = objects::Cause { reason: reason.into(), message, field: field.into() };
    Status::invalid("meta.k8s.io", options, "", vec![cause])
}
