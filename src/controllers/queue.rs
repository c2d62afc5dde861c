//! A work queue: each key at most once, never twice at the same time, later when asked, and slower the more it fails.
//!
//! Pure: the time is an argument. Follows upstream's `client-go/util/workqueue`.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use objects::Key;
use tokio::time::Instant;

/// Delay after the first failure of a key; doubles with each further one.
const DELAY_MIN: Duration = Duration::from_millis(5);
/// No key waits longer than this for its next attempt.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Keys that wait, now or for later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<Key>,
    /// Keys in `ready`.
    waiting: HashSet<Key>,
    /// Keys being worked on, and whether they were added meanwhile.
    active: HashMap<Key, bool>,
    later: BTreeSet<(Instant, Key)>,
    /// When each key of `later` is due.
    due: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    /// Adds a key that is to be worked on now.
    pub fn add(&mut self, key: Key) {
        if let Some(again) = self.active.get_mut(&key) {
            *again = true;
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Adds a key that is to be worked on at `at`; an earlier date stands.
    pub fn add_at(&mut self, key: Key, at: Instant) {
        if let Some(known) = self.due.get(&key).copied() {
            if known <= at {
                return;
            }
            self.later.remove(&(known, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    /// The next key; it counts as being worked on until [`Queue::done`] or [`Queue::failed`].
    pub fn take(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.active.insert(key.clone(), false);
        Some(key)
    }

    /// The work on a key succeeded.
    pub fn done(&mut self, key: Key) {
        self.failures.remove(&key);
        if self.active.remove(&key) == Some(true) {
            self.add(key);
        }
    }

    /// The work on a key failed: it comes again after a delay.
    pub fn failed(&mut self, key: Key, now: Instant) {
        self.active.remove(&key);
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = DELAY_MIN.saturating_mul(1 << (*failures).min(20)).min(DELAY_MAX);
        *failures += 1;
        self.add_at(key, now + delay);
    }

    /// Makes keys whose time has come ready.
    pub fn advance(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.due.remove(&key);
            self.add(key);
        }
    }

    /// When the next key becomes ready by itself.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("pods", "d", name)
    }

    #[test]
    fn a_key_waits_once_and_is_never_worked_on_twice_at_once() {
        let mut queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.add(key(name));
        }
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(key("a")), Some(key("b")), None));
        queue.add(key("a"));
        assert_eq!(queue.take(), None);
        queue.done(key("b"));
        queue.done(key("a"));
        assert_eq!((queue.take(), queue.take()), (Some(key("a")), None));
    }

    #[test]
    fn failures_delay_more_and_more_and_success_forgets_them() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..16 {
            queue.add(key("a"));
            queue.take();
            queue.failed(key("a"), now);
            let due = queue.next_due().unwrap();
            delays.push((due - now).as_millis());
            now = due;
            queue.advance(now);
            queue.take();
            queue.active.clear();
        }
        assert_eq!(delays[..4], [5, 10, 20, 40]);
        assert_eq!(*delays.last().unwrap(), 30_000);
        queue.add(key("a"));
        queue.take();
        queue.done(key("a"));
        queue.add(key("a"));
        queue.take();
        queue.failed(key("a"), now);
        assert_eq!(queue.next_due(), Some(now + DELAY_MIN));
    }

    #[test]
    fn of_two_dates_the_earlier_stands() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add_at(key("a"), now + Duration::from_secs(5));
        queue.add_at(key("a"), now + Duration::from_secs(1));
        queue.add_at(key("a"), now + Duration::from_secs(3));
        queue.advance(now + Duration::from_secs(2));
        assert_eq!((queue.take(), queue.next_due()), (Some(key("a")), None));
    }
}
