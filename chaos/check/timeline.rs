//! The watchers' events as one history, and where that history is known to be complete.

use std::collections::BTreeMap;

use super::facts::Fact;
use crate::history::{Event, History, Watching};

/// What all watchers together saw.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    /// For each revision the event, and the watcher that received it first.
    pub(super) events: BTreeMap<u64, (&'a Watching, &'a Event)>,
    /// Ranges `(from, until]` in which no event is missing, in order and apart from each other.
    ranges: Vec<(u64, u64)>,
}

impl<'a> Timeline<'a> {
    /// Merges the watchers of a history. Where they disagree, which `watch` reports, one of them is believed.
    pub(super) fn of(history: &'a History) -> Self {
        let mut events: BTreeMap<u64, (&Watching, &Event)> = BTreeMap::new();
        for watching in &history.watches {
            for event in &watching.events {
                let first = events.entry(event.revision).or_insert((watching, event));
                if event.received < first.1.received {
                    *first = (watching, event);
                }
            }
        }
        let mut ends: Vec<(u64, u64)> = history.watches.iter().map(|one| (one.from, one.until)).collect();
        ends.retain(|(from, until)| from <= until);
        ends.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (from, until) in ends {
            match ranges.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => ranges.push((from, until)),
            }
        }
        Self { events, ranges }
    }

    /// Number of the complete range that holds this revision.
    pub(super) fn range(&self, revision: u64) -> Option<usize> {
        self.ranges.iter().position(|(from, until)| *from < revision && revision <= *until)
    }

    /// The first complete range, when it begins before every fact: it then begins with no key at all.
    pub(super) fn beginning(&self, facts: &[Fact<'_>]) -> Option<(u64, u64)> {
        let first = *self.ranges.first()?;
        facts.iter().all(|fact| fact.revision > first.0).then_some(first)
    }
}
