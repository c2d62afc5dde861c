//! Orderly shutdown: one side triggers, any number of tasks wait, and scopes nest.

use crate::Error;
use std::future::Future;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The side that ends a scope. Triggering it also ends every scope made inside it. Clones trigger
/// the same scope; dropping one triggers nothing.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

/// Ends a scope when it is dropped, by [`Shutdown::trigger_on_drop`].
#[derive(Debug)]
pub struct TriggerOnDrop {
    scope: Shutdown,
}

/// The side that waits for a scope to end. Cheap to clone: hand one to each task.
#[derive(Debug, Clone)]
pub struct Stopping {
    token: CancellationToken,
}

impl Shutdown {
    /// A new outermost scope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the scope and all scopes within it. Repeating it changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the scope has ended, by its own trigger or an outer one.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// A waiter for this scope.
    pub fn stopping(&self) -> Stopping {
        Stopping { token: self.token.clone() }
    }

    /// A guard that ends the scope when it is dropped, for work that must not outlive its owner.
    #[must_use]
    pub fn trigger_on_drop(self) -> TriggerOnDrop {
        TriggerOnDrop { scope: self }
    }

    /// A scope within this one: it ends with this one or alone.
    pub fn child(&self) -> Shutdown {
        Shutdown { token: self.token.child_token() }
    }
}

impl TriggerOnDrop {
    /// A waiter for the scope.
    pub fn stopping(&self) -> Stopping {
        self.scope.stopping()
    }
}

impl Drop for TriggerOnDrop {
    fn drop(&mut self) {
        self.scope.trigger();
    }
}

impl Stopping {
    /// A waiter whose scope never ends, for callers that have no shutdown of their own.
    pub fn never() -> Self {
        Shutdown::new().stopping()
    }

    /// Whether the scope has ended.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the scope ends.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// As [`stopped`](Self::stopped), as a future that borrows nothing.
    pub fn into_stopped(self) -> WaitForCancellationFutureOwned {
        self.token.cancelled_owned()
    }

    /// Runs `future` unless the scope ends first: `None` means that it ended, and `future` is dropped.
    pub async fn unless<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            value = future => Some(value),
        }
    }

    /// Sleeps; false means that the scope ended meanwhile.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.unless(tokio::time::sleep(duration)).await.is_some()
    }

    /// A scope within the awaited one, which the caller may end alone.
    pub fn child(&self) -> Shutdown {
        Shutdown { token: self.token.child_token() }
    }
}

/// The termination signals of this process, caught from the moment of creation on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Starts to catch SIGTERM and SIGINT; from here on they no longer end the process by themselves.
///
/// # Errors
/// [`Error::Signals`] when the operating system refuses the handlers.
pub fn signals() -> Result<Signals, Error> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate()).map_err(Error::Signals)?,
        interrupt: signal(SignalKind::interrupt()).map_err(Error::Signals)?,
    })
}

impl Signals {
    /// Waits for the next signal and names it. Callers await it a second time to let an impatient
    /// operator cut an orderly shutdown short.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_scope_ends_alone_or_with_its_parent() {
        let outer = Shutdown::new();
        let (first, second) = (outer.child(), outer.stopping().child());
        first.trigger();
        assert!(first.is_triggered() && !second.is_triggered() && !outer.is_triggered());
        outer.trigger();
        second.stopping().stopped().await;
        assert!(second.stopping().is_stopping());
    }

    #[tokio::test]
    async fn work_is_dropped_when_the_scope_ends() {
        let scope = Shutdown::new();
        assert_eq!(scope.stopping().unless(async { 1 }).await, Some(1));
        assert!(scope.stopping().sleep(Duration::from_millis(1)).await);
        scope.trigger();
        assert_eq!(scope.stopping().unless(std::future::pending::<()>()).await, None);
        assert!(!scope.stopping().sleep(Duration::from_secs(3600)).await);
        scope.stopping().into_stopped().await;
    }

    #[tokio::test]
    async fn a_guard_ends_its_scope() {
        let guard = Shutdown::new().trigger_on_drop();
        let stopping = guard.stopping();
        assert!(!stopping.is_stopping());
        drop(guard);
        stopping.stopped().await;
    }
}
