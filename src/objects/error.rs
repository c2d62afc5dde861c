//! What can be wrong with an object, independent of who sent it.

/// Why a value is not a usable Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not JSON, or not an object. Never retryable: the sender has to send something else.
    #[error("the object is not valid JSON: {0}")]
    Malformed(String),
    /// A field that every stored object has is missing.
    #[error("the object has no {0}")]
    Missing(&'static str),
    /// The stored bytes do not decode into the typed view of their kind.
    #[error("the stored {resource} {name} does not decode as {view}: {reason}")]
    Untyped {
        /// Resource of the object, as `deployments.apps`.
        resource: String,
        /// Namespace and name.
        name: String,
        /// Rust type asked for.
        view: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Text that is no quantity, or one too large to mean anything. Never retryable.
    #[error("{text:?} is not a quantity: {reason}")]
    Quantity {
        /// The text as it came, cut short.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Text that is no RFC 3339 time. Never retryable.
    #[error("parsing time {0:?} as \"2006-01-02T15:04:05Z07:00\": write it as RFC 3339")]
    Time(String),
}
