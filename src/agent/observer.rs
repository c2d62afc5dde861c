//! What the engine shows, looked at once for all workers: on every event, on demand, and every few seconds in case an event
//! was lost. A worker that changed something waits for a look that began afterwards, or it would act on what was.

use crate::limits::{RELIST_INTERVAL, RELIST_PAUSE};
use crate::pod::memory::Observed;
use base::Backoff;
use futures::StreamExt;
use runtime::{PodRef, Runtime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// What one look at the engine found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Requests up to this number are answered by this look.
    pub covers: u64,
    /// The pods, by uid.
    pub pods: BTreeMap<String, (PodRef, Observed)>,
    /// Why the engine has not answered for a while; the pods are those of the last look that succeeded.
    pub trouble: Option<String>,
}

/// Looks at the engine.
#[derive(Debug)]
pub(crate) struct Observer {
    asked: AtomicU64,
    wake: Notify,
    looks: watch::Sender<Arc<Look>>,
}

impl Observer {
    pub fn new() -> Self {
        Self { asked: AtomicU64::new(0), wake: Notify::new(), looks: watch::Sender::new(Arc::default()) }
    }

    /// Asks for a look; the answer is the first one whose `covers` is at least the returned number.
    pub fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        number
    }

    /// The last look.
    pub fn look(&self) -> Arc<Look> {
        self.looks.borrow().clone()
    }

    /// Wakes at every look.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Look>> {
        self.looks.subscribe()
    }

    /// Looks, without end; an engine that gives no list for `patience` is in trouble.
    pub async fn run(&self, runtime: &dyn Runtime, patience: Duration) {
        let mut events = runtime.events();
        let mut pause = Backoff::doubling(RELIST_PAUSE.0, RELIST_PAUSE.1);
        let mut answered = None;
        loop {
            let covers = self.asked.load(Ordering::SeqCst);
            match runtime.list().await {
                Ok(listing) => {
                    pause.reset();
                    answered = Some(Instant::now());
                    let covers = covers.max(1);
                    self.looks.send_replace(Arc::new(Look { covers, pods: Observed::group(listing), trouble: None }));
                }
                Err(error) => {
                    tracing::warn!(%error, "the container engine cannot be looked at");
                    let trouble = is_down(answered, Instant::now(), patience).then(|| error.to_string());
                    let last = self.look();
                    let look = Look { covers: last.covers, pods: last.pods.clone(), trouble };
                    self.looks.send_replace(Arc::new(look));
                    pause.wait().await;
                    continue;
                }
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some(_) = events.next() => {}
                () = tokio::time::sleep(RELIST_INTERVAL) => {}
            }
        }
    }
}

/// Whether an engine that does not answer now counts as down: it answered last too long ago, or never.
fn is_down(answered: Option<Instant>, now: Instant, patience: Duration) -> bool {
    answered.is_none_or(|last| now.saturating_duration_since(last) >= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_down_when_it_was_silent_for_long_or_never_answered() {
        let (last, patience) = (Instant::now(), Duration::from_secs(30));
        assert!(is_down(None, last, patience));
        assert!(!is_down(Some(last), last, patience));
        assert!(!is_down(Some(last), last + patience / 2, patience));
        assert!(is_down(Some(last), last + patience, patience));
    }
}
