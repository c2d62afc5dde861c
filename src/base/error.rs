//! What can go wrong while a process is being set up.

/// Errors of process set-up. None is worth a retry: each means that the process was started wrongly
/// or that the operating system refuses a basic service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter given by the operator does not parse.
    #[error("log filter {filter:?} is not valid: {reason}; use for example \"info\" or \"info,consensus=debug\"")]
    LogFilter {
        /// The filter as it was given.
        filter: String,
        /// What the parser disliked.
        reason: String,
    },
    /// The log format given by the operator is neither `text` nor `json`.
    #[error("log format {0:?} is not known; use \"text\" or \"json\"")]
    LogFormat(String),
    /// A subscriber had already been installed in this process.
    #[error("telemetry was set up twice in one process")]
    TelemetryTwice,
    /// A handler for SIGTERM or SIGINT could not be installed.
    #[error("cannot listen for termination signals: {0}")]
    Signals(#[source] std::io::Error),
}
