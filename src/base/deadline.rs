//! A deadline for any future, with an error that says what was waited for.

use std::future::Future;
use std::time::Duration;

/// Something did not finish within its deadline. Whether its effect happened is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} did not finish within {after:?}")]
pub struct Elapsed {
    /// What was being done, as a noun phrase ("connecting to 10.0.0.1:6443").
    pub what: String,
    /// How long it was given.
    pub after: Duration,
}

/// Runs `future` for at most `duration`.
///
/// # Errors
/// [`Elapsed`] when time runs out; `future` is dropped then, at the point where it last waited.
pub async fn within<T>(
    duration: Duration,
    what: impl Into<String>,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match tokio::time::timeout(duration, future).await {
        Ok(value) => Ok(value),
        Err(_) => Err(Elapsed { what: what.into(), after: duration }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_what_it_waited_for() {
        let waited = Duration::from_millis(5);
        let outcome = within(waited, "an answer", std::future::pending::<()>()).await;
        let elapsed = outcome.unwrap_err();
        assert_eq!(elapsed.to_string(), "an answer did not finish within 5ms");
        assert_eq!(within(waited, "nothing", async { 7 }).await, Ok(7));
    }
}
