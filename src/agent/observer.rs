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
use tokio::sync::{Notify, watch};

/// What one look at the engine found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Requests up to this number are answered by this look.
    pub covers: u64,
    /// The pods, by uid.
    pub pods: BTreeMap<String, (PodRef, Observed)>,
    /// Why the engine did not answer last; the pods are those of the look before then.
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

    /// Looks, without end.
    pub async fn run(&self, runtime: &dyn Runtime) {
        let mut events = runtime.events();
        let mut pause = Backoff::doubling(RELIST_PAUSE.0, RELIST_PAUSE.1);
        loop {
            let covers = self.asked.load(Ordering::SeqCst);
            match runtime.list().await {
                Ok(listing) => {
                    pause.reset();
                    let covers = covers.max(1);
                    self.looks.send_replace(Arc::new(Look { covers, pods: Observed::group(listing), trouble: None }));
                }
                Err(error) => {
                    tracing::warn!(%error, "the container engine cannot be looked at");
                    let last = self.look();
                    let look = Look { covers: last.covers, pods: last.pods.clone(), trouble: Some(error.to_string()) };
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
