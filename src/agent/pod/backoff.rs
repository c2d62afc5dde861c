//! How long to wait before something that failed is tried again: pure, on the wall clock that containers' times use.

use crate::limits::{CRASH_RESET_SECONDS, CRASH_SECONDS};
use jiff::{SignedDuration, Timestamp};

/// The trouble with one thing: what is wrong, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Why, as one word: `ErrImagePull`, `CreateContainerConfigError`.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// Failures in a row.
    pub attempts: u32,
    /// Not before this.
    pub retry_at: Timestamp,
}

impl Trouble {
    /// The trouble after one more failure at `now`, the delay doubling between these bounds in seconds.
    pub fn after(before: Option<&Trouble>, reason: &str, message: String, now: Timestamp, bounds: (i64, i64)) -> Self {
        let attempts = before.map_or(0, |trouble| trouble.attempts).saturating_add(1);
        Self { reason: reason.to_owned(), message, attempts, retry_at: later(now, doubled(bounds, attempts - 1)) }
    }

    /// Whether it may be tried again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.retry_at
    }
}

/// The back-off of a container that ends again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Crash {
    delay_seconds: i64,
    since: Option<Timestamp>,
}

impl Crash {
    /// When a container that ended at `finished` may start again; `now` or earlier means at once. The delay grows when
    /// [`Self::restarted`] is told of the start.
    pub fn restart_at(&self, finished: Timestamp, attempt: u32) -> Timestamp {
        match self.since {
            // After a restart of the agent nothing is remembered, but the number of starts says that it crashed before.
            None if attempt > 0 => later(finished, doubled(CRASH_SECONDS, attempt - 1)),
            None => finished,
            Some(since) if is_long(since, finished) => finished,
            Some(_) => later(finished, self.delay_seconds),
        }
    }

    /// Notes that a container that ended at `finished` starts again.
    pub fn restarted(&mut self, finished: Timestamp, attempt: u32, now: Timestamp) {
        let calm = self.since.is_some_and(|since| is_long(since, finished));
        self.delay_seconds = match self.since {
            Some(_) if !calm => (self.delay_seconds * 2).clamp(CRASH_SECONDS.0, CRASH_SECONDS.1),
            None if attempt > 0 => doubled(CRASH_SECONDS, attempt),
            _ => CRASH_SECONDS.0,
        };
        self.since = Some(now);
    }

    /// The present delay, for people.
    pub fn delay_seconds(&self, attempt: u32) -> i64 {
        if self.since.is_some() { self.delay_seconds } else { doubled(CRASH_SECONDS, attempt.saturating_sub(1)) }
    }
}

fn is_long(since: Timestamp, until: Timestamp) -> bool {
    until.duration_since(since).as_secs() > CRASH_RESET_SECONDS
}

fn doubled(bounds: (i64, i64), times: u32) -> i64 {
    bounds.0.saturating_mul(1_i64 << times.min(20)).min(bounds.1)
}

/// `seconds` after `time`.
pub(crate) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn crashes_double_up_to_five_minutes_and_calm_resets() {
        let mut crash = Crash::default();
        assert_eq!(crash.restart_at(at(5), 0), at(5), "the first crash costs nothing");
        let mut now = 5;
        let mut delays = Vec::new();
        for attempt in 0..8 {
            crash.restarted(at(now), attempt, at(now));
            now += 1;
            let next = crash.restart_at(at(now), attempt + 1);
            delays.push(next.duration_since(at(now)).as_secs());
            now += delays[delays.len() - 1];
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(crash.restart_at(at(now + 601), 9), at(now + 601));
        crash.restarted(at(now + 601), 9, at(now + 601));
        assert_eq!(crash.delay_seconds(9), 10);
    }

    #[test]
    fn a_restarted_agent_still_knows_that_it_crashes() {
        let mut crash = Crash::default();
        assert_eq!(crash.restart_at(at(0), 3), at(40));
        crash.restarted(at(0), 3, at(40));
        assert_eq!(crash.restart_at(at(41), 4), at(41 + 80));
    }

    #[test]
    fn trouble_grows() {
        let first = Trouble::after(None, "R", "m".into(), at(0), (10, 300));
        assert_eq!(first.retry_at, at(10));
        let second = Trouble::after(Some(&first), "R", "m".into(), at(10), (10, 300));
        assert_eq!((second.retry_at, second.attempts), (at(30), 2));
        assert!(!second.is_over(at(29)) && second.is_over(at(30)));
    }
}
