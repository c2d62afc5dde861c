//! A client that writes without pause and notes when each write was accepted: the longest silence is the gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Call, Client};
use http::Method;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long one attempt may take before the next is made, as an impatient client would.
const ATTEMPT: Duration = Duration::from_millis(1_000);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// One write that was acknowledged.
#[derive(Debug, Clone)]
pub struct Written {
    /// Name of the ConfigMap.
    pub name: String,
    /// When its attempt began.
    pub began: Instant,
    /// When it was acknowledged.
    pub acknowledged: Instant,
}

/// Writes in the background until it is stopped.
pub struct Probe {
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    written: Arc<Mutex<Vec<Written>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Probe {
    /// Starts writing ConfigMaps `PREFIX-N` into the namespace `default`.
    pub fn start(client: Client, prefix: &str) -> Self {
        let (stop, failures) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(write(client, prefix.to_owned(), stop.clone(), failures.clone(), written.clone()));
        Self { stop, failures, written, task }
    }

    /// How many attempts have failed so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// How many writes have been acknowledged so far.
    pub async fn count(&self) -> usize {
        self.written.lock().await.len()
    }

    /// The first acknowledgement of an attempt that began after `since`; waits for it.
    ///
    /// # Errors
    /// [`crate::Error::Late`] when there is none in time.
    pub async fn first_after(&self, since: Instant, patience: Duration) -> Result<Duration, crate::Error> {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.written.lock().await.iter().rev().take_while(|one| one.began > since).last().cloned();
            if let Some(first) = found {
                return Ok(first.acknowledged - since);
            }
            if Instant::now() > deadline {
                let what = "a write after the fault".to_owned();
                return Err(crate::Error::Late { what, seconds: patience.as_secs(), detail: String::new() });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Stops, and returns what was acknowledged and how many attempts failed.
    pub async fn finish(self) -> (Vec<Written>, u64) {
        self.stop.store(true, Ordering::SeqCst);
        // A writer that panicked has been reported by the runtime; what it wrote before counts.
        let _ = self.task.await;
        let written = std::mem::take(&mut *self.written.lock().await);
        (written, self.failures.load(Ordering::SeqCst))
    }
}

/// The longest time between two acknowledgements.
pub fn longest(written: &[Written]) -> Duration {
    written.windows(2).map(|pair| pair[1].acknowledged - pair[0].acknowledged).max().unwrap_or_default()
}

async fn write(
    client: Client,
    prefix: String,
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    written: Arc<Mutex<Vec<Written>>>,
) {
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let name = format!("{prefix}-{number}");
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": "1"}});
        let began = Instant::now();
        let call = Call::new(Method::POST, "/api/v1/namespaces/default/configmaps").json(&body).deadline(ATTEMPT);
        match client.json(call).await {
            Ok(_) => written.lock().await.push(Written { name, began, acknowledged: Instant::now() }),
            Err(_) => {
                failures.fetch_add(1, Ordering::SeqCst);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
