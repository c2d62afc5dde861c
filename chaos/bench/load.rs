//! Closed-loop load: each client sends its next request when the last one is answered.

use std::future::Future;
use std::time::Duration;

use chaos::Error;
use tokio::time::Instant;

/// What one measurement gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Acknowledged requests per second.
    pub rate: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile of latency.
    pub p99_ms: f64,
    /// Requests that failed.
    pub failed: u64,
}

impl Outcome {
    /// The outcome with the median rate.
    pub fn median(all: &[Self]) -> Self {
        let mut sorted = all.to_vec();
        sorted.sort_by(|left, right| left.rate.total_cmp(&right.rate));
        let failed = all.iter().map(|one| one.failed).sum();
        sorted.get(sorted.len() / 2).map_or_else(Self::default, |one| Self { failed, ..*one })
    }
}

/// One client's request, by number; true when it was acknowledged.
pub trait Requests: Send + 'static {
    /// Sends request `number` and waits for its answer.
    fn send(&mut self, number: u64) -> impl Future<Output = bool> + Send;
}

/// Drives all clients for a while.
pub async fn drive<R: Requests>(clients: Vec<R>, duration: Duration) -> Result<Outcome, Error> {
    let began = Instant::now();
    let running: Vec<_> = clients.into_iter().map(|client| tokio::spawn(one(client, began + duration))).collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for task in running {
        let (mut own, own_failed) =
            task.await.map_err(|error| Error::Answer(format!("a client has ended: {error}")))?;
        latencies.append(&mut own);
        failed += own_failed;
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |part: f64| {
        let at = (part * latencies.len().saturating_sub(1) as f64) as usize;
        latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    };
    Ok(Outcome { rate: latencies.len() as f64 / seconds, p50_ms: quantile(0.5), p99_ms: quantile(0.99), failed })
}

async fn one<R: Requests>(mut client: R, end: Instant) -> (Vec<Duration>, u64) {
    let (mut latencies, mut failed) = (Vec::new(), 0);
    let mut number = 0;
    while Instant::now() < end {
        let began = Instant::now();
        if client.send(number).await {
            latencies.push(began.elapsed());
        } else {
            failed += 1;
        }
        number += 1;
    }
    (latencies, failed)
}
