//! A limit on log lines that strangers can cause, so that nobody fills a disk by knocking at a door.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long lines are counted before the count begins again.
const WINDOW: Duration = Duration::from_secs(1);
/// Lines a second where nothing else is said: enough to see who knocks, a few hundred bytes each.
const LINES_PER_SECOND: u32 = 5;

/// At most so many lines a second. Each kind of line has a limit of its own, so that a flood of one hides no other.
#[derive(Debug)]
pub struct LogLimit {
    per_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogLimit {
    /// A limit of `per_second` lines.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::default() }
    }

    /// Writes a line by calling `write`, unless there were enough of them within this second. `write` gets the number of
    /// lines left out since the last one that was written; `None` when there were none.
    pub fn line(&self, write: impl FnOnce(Option<u64>)) {
        let room = self.window.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now(), self.per_second);
        // Writing may be slow: the lock is not held meanwhile.
        if let Some(left_out) = room {
            write((left_out > 0).then_some(left_out));
        }
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new(LINES_PER_SECOND)
    }
}

impl Window {
    /// Whether a line may be written at `now`, and how many were left out before it. Pure but for its own counts.
    fn admit(&mut self, now: Instant, per_second: u32) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            (self.began, self.written) = (Some(now), 0);
        }
        if self.written >= per_second {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_the_rest_is_counted() {
        let (mut window, start) = (Window::default(), Instant::now());
        let seen: Vec<Option<u64>> = (0..6).map(|_| window.admit(start, 3)).collect();
        assert_eq!(seen, [Some(0), Some(0), Some(0), None, None, None]);
        let later = start + WINDOW / 2;
        assert_eq!(window.admit(later, 3), None, "the second is not over");
        let next = start + WINDOW;
        assert_eq!(window.admit(next, 3), Some(4), "the next line says what is missing");
        assert_eq!((window.admit(next, 3), window.admit(next, 3), window.admit(next, 3)), (Some(0), Some(0), None));
        let much_later = next + WINDOW * 100;
        assert_eq!(window.admit(much_later, 3), Some(1), "a count is kept until there is a line to carry it");
    }

    #[test]
    fn a_line_carries_the_count_only_when_there_is_one() {
        let limit = LogLimit::new(2);
        let mut lines = Vec::new();
        for _ in 0..10 {
            limit.line(|left_out| lines.push(left_out));
        }
        // Slow machines may see a second end in between; then a line more carries the count.
        assert!(lines.starts_with(&[None, None]) && lines.len() < 10, "{lines:?}");
        LogLimit::new(0).line(|_| panic!("no lines are wanted"));
    }
}
