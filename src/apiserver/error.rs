//! Why the API server as a whole ends. What single requests meet is a `Status`.

/// The API server cannot go on. Not retryable within the process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener does not accept connections any more.
    #[error("cannot accept connections on the API port: {0}; restart this master")]
    Accept(#[source] std::io::Error),
}
