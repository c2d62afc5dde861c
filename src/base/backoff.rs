//! Exponential back-off with jitter: how long to wait before the next attempt.

use crate::random;
use std::time::Duration;

/// The delays between attempts. Each is `factor` times the one before, up to `max`, and then
/// shortened at random by up to `jitter` (a fraction), so that many callers do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
    current: Duration,
    attempts: u32,
}

impl Backoff {
    /// A back-off that starts at `initial`, multiplies by `factor` (at least 1), stops growing at
    /// `max` and shortens every delay at random by at most `jitter` (0 to 1) of itself.
    pub fn new(initial: Duration, factor: f64, max: Duration, jitter: f64) -> Self {
        Self {
            initial: initial.min(max),
            factor: if factor.is_finite() { factor.max(1.0) } else { 1.0 },
            max,
            jitter: if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 },
            current: initial.min(max),
            attempts: 0,
        }
    }

    /// The usual shape: doubles from `initial` to `max`, half of each delay random.
    pub fn doubling(initial: Duration, max: Duration) -> Self {
        Self::new(initial, 2.0, max, 0.5)
    }

    /// The delay before the next attempt; the one after it will be longer.
    pub fn next_delay(&mut self) -> Duration {
        let full = self.current;
        let grown = self.current.as_secs_f64() * self.factor;
        self.current = Duration::try_from_secs_f64(grown).unwrap_or(self.max).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let shortest = Duration::try_from_secs_f64(full.as_secs_f64() * (1.0 - self.jitter)).unwrap_or(full);
        random::jitter(shortest..full)
    }

    /// How many delays were handed out since the start or the last [`reset`](Self::reset).
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.current = self.initial;
        self.attempts = 0;
    }

    /// Sleeps for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn delays_grow_to_the_maximum_and_start_over() {
        let mut backoff = Backoff::new(ms(100), 2.0, ms(500), 0.0);
        let delays: Vec<Duration> = (0..5).map(|_| backoff.next_delay()).collect();
        assert_eq!(delays, [ms(100), ms(200), ms(400), ms(500), ms(500)]);
        assert_eq!(backoff.attempts(), 5);
        backoff.reset();
        assert_eq!(backoff.next_delay(), ms(100));
        assert_eq!(backoff.attempts(), 1);
    }

    #[test]
    fn jitter_only_shortens() {
        let mut backoff = Backoff::new(ms(100), 1.0, ms(100), 0.3);
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(delay >= ms(70) && delay <= ms(100), "{delay:?}");
        }
    }

    #[test]
    fn odd_settings_do_no_harm() {
        let mut backoff = Backoff::new(ms(900), f64::NAN, ms(500), f64::INFINITY);
        assert_eq!(backoff.next_delay(), ms(500));
        let mut huge = Backoff::new(ms(1), f64::MAX, Duration::MAX, 0.0);
        assert_eq!(huge.next_delay(), ms(1));
        assert!(huge.next_delay() >= ms(1));
        assert!(huge.next_delay() >= ms(1));
    }
}
