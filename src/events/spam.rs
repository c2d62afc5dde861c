//! How many notes about one object are written: a token bucket each, as upstream's `tools/record/events_cache.go`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Notes about one object from one component that are written at once.
const BURST: f64 = 25.0;
/// After the burst, one note in this time.
const REFILL: Duration = Duration::from_secs(300);
/// Objects remembered; beyond it the table starts over, which only lets a few more notes through.
const OBJECTS_MAX: usize = 4096;

/// Who may still speak.
#[derive(Debug, Default)]
pub(crate) struct Spam {
    buckets: HashMap<(String, &'static str), (f64, Instant)>,
}

impl Spam {
    /// Whether a note about `uid` from `component` may be written at `now`; counts it.
    pub fn admit(&mut self, uid: &str, component: &'static str, now: Instant) -> bool {
        if self.buckets.len() >= OBJECTS_MAX {
            self.buckets.clear();
        }
        let (left, at) = self.buckets.entry((uid.to_owned(), component)).or_insert((BURST, now));
        let refilled = now.saturating_duration_since(*at).as_secs_f64() / REFILL.as_secs_f64();
        *left = (*left + refilled).min(BURST);
        *at = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_a_trickle() {
        let (mut spam, start) = (Spam::default(), Instant::now());
        let through = (0..100).filter(|_| spam.admit("u", "c", start)).count();
        assert_eq!(through, 25);
        assert!(spam.admit("other", "c", start));
        assert!(!spam.admit("u", "c", start + REFILL / 2));
        assert!(spam.admit("u", "c", start + REFILL));
    }
}
