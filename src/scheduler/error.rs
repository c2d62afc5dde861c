//! What can keep a decision from being written.

/// Why a pod's binding or its refusal was not written. Always retryable: the loop reads anew and plans anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused, or could not.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The pod's bytes do not make a pod.
    #[error(transparent)]
    Object(#[from] objects::Error),
    /// The pod could not be brought into the stored form.
    #[error("the pod cannot be written: {0}")]
    Form(String),
}
