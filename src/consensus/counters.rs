//! Counters for metrics: cheap to raise from any thread.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the fsync histogram, in microseconds.
const BOUNDS_US: [u64; 16] = [
    100,
    250,
    500,
    1_000,
    2_000,
    3_000,
    5_000,
    7_500,
    10_000,
    15_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    u64::MAX,
];

/// What this master has done since its start.
#[derive(Debug, Default)]
pub struct Counters {
    fsyncs: [AtomicU64; 16],
    fsync_us: AtomicU64,
    /// Entries written to the log.
    pub entries: AtomicU64,
    /// Transactions that this master proposed as the leader.
    pub proposals: AtomicU64,
    /// Transactions handed to another leader.
    pub forwarded: AtomicU64,
    /// Candidacies.
    pub elections: AtomicU64,
    /// Rounds of asking before a candidacy that found a leader alive, or no quorum.
    pub elections_declined: AtomicU64,
    /// Tenures begun.
    pub tenures: AtomicU64,
    /// Snapshots built.
    pub snapshots_built: AtomicU64,
    /// Snapshots installed from a leader.
    pub snapshots_installed: AtomicU64,
    /// Questions for the read index.
    pub read_questions: AtomicU64,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts an fsync of the log.
    pub fn fsync(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len() - 1);
        count(&self.fsyncs[bucket]);
        self.fsync_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Upper bound of the fsync time that a share of all fsyncs stayed below, in microseconds; zero before the first.
    pub fn fsync_quantile_us(&self, share: f64) -> u64 {
        let counts = self.fsyncs.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        quantile(&counts, share)
    }

    /// In the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = [
            ("barque_raft_entries_total", "Entries written to the log.", read(&self.entries)),
            ("barque_raft_proposals_total", "Transactions proposed as the leader.", read(&self.proposals)),
            ("barque_raft_forwarded_total", "Transactions handed to another leader.", read(&self.forwarded)),
            ("barque_raft_elections_total", "Candidacies of this master.", read(&self.elections)),
            ("barque_raft_elections_declined_total", "Candidacies not begun.", read(&self.elections_declined)),
            ("barque_raft_tenures_total", "Tenures of this master.", read(&self.tenures)),
            ("barque_raft_snapshots_built_total", "Snapshots built.", read(&self.snapshots_built)),
            ("barque_raft_snapshots_installed_total", "Snapshots installed.", read(&self.snapshots_installed)),
            ("barque_raft_read_questions_total", "Questions for the read index.", read(&self.read_questions)),
        ];
        for (name, help, value) in counters {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let name = "barque_log_fsync_seconds";
        let _ = writeln!(text, "# HELP {name} Fsyncs of the log.\n# TYPE {name} histogram");
        let mut total = 0;
        for (bound, bucket) in BOUNDS_US.iter().zip(&self.fsyncs) {
            total += read(bucket);
            let bound = if *bound == u64::MAX {
                "+Inf".into()
            } else {
                Duration::from_micros(*bound).as_secs_f64().to_string()
            };
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let sum = Duration::from_micros(read(&self.fsync_us)).as_secs_f64();
        let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {total}");
        text
    }
}

fn quantile(counts: &[u64], share: f64) -> u64 {
    let total: u64 = counts.iter().sum();
    let mut seen = 0;
    for (bound, bucket) in BOUNDS_US.iter().zip(counts) {
        seen += bucket;
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below what a float holds exactly")]
        if total > 0 && seen as f64 >= total as f64 * share {
            return *bound;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_text() {
        let counters = Counters::default();
        assert_eq!(counters.fsync_quantile_us(0.5), 0);
        for _ in 0..98 {
            counters.fsync(Duration::from_micros(900));
        }
        counters.fsync(Duration::from_millis(40));
        counters.fsync(Duration::from_secs(9));
        assert_eq!((counters.fsync_quantile_us(0.5), counters.fsync_quantile_us(0.99)), (1_000, 50_000));
        let text = counters.render();
        assert!(text.contains("barque_log_fsync_seconds_bucket{le=\"+Inf\"} 100\n"), "{text}");
        assert!(text.contains("barque_log_fsync_seconds_bucket{le=\"0.001\"} 98\n"), "{text}");
    }
}
