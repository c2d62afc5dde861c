//! Everything in a history that ties a revision to one key and value, whoever saw it.

use std::fmt;

use crate::history::{Answer, Call, Event, History, Listing, Operation, Watching};

/// Who saw a fact.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// A read, or an acknowledged write.
    Operation(&'a Operation),
    /// A list.
    Listing(&'a Listing),
    /// A watcher.
    Event(&'a Watching, &'a Event),
}

/// At this revision this key took this value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact<'a> {
    pub(super) revision: u64,
    pub(super) key: &'a str,
    /// `None`: the key was deleted.
    pub(super) value: Option<u64>,
    /// Since when it was known to somebody, in nanoseconds.
    pub(super) known: u64,
    pub(super) source: Source<'a>,
}

impl Fact<'_> {
    /// Whether both say the same.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.revision, self.key, self.value) == (other.revision, other.key, other.value)
    }

    /// Whether it is an acknowledged write.
    pub(super) fn acknowledged(&self) -> bool {
        matches!(self.source, Source::Operation(operation) if operation.written().is_some())
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => operation.fmt(formatter),
            Self::Listing(listing) => listing.fmt(formatter),
            Self::Event(watching, event) => write!(formatter, "watcher {}, {event}", watching.name),
        }
    }
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)?;
        match (self.source, self.value) {
            (Source::Listing(_), Some(value)) => {
                write!(formatter, ", {} is {value} at revision {}", self.key, self.revision)
            }
            _ => Ok(()),
        }
    }
}

/// All facts: acknowledged writes and reads first, then events, then lists.
pub(super) fn facts(history: &History) -> Vec<Fact<'_>> {
    let operations = history.operations.iter().filter_map(of_operation);
    let events = history.watches.iter().flat_map(|watching| {
        watching.events.iter().map(move |event| Fact {
            revision: event.revision,
            key: &event.key,
            value: event.value,
            known: event.received,
            source: Source::Event(watching, event),
        })
    });
    let items = history.listings.iter().flat_map(|listing| {
        listing.items.iter().map(move |(key, (value, revision))| Fact {
            revision: *revision,
            key,
            value: Some(*value),
            known: listing.returned,
            source: Source::Listing(listing),
        })
    });
    operations.chain(events).chain(items).collect()
}

fn of_operation(operation: &Operation) -> Option<Fact<'_>> {
    let (revision, value) = match (&operation.call, &operation.answer) {
        (Call::Read, Answer::Found { value, revision }) => (*revision, Some(*value)),
        (call, Answer::Done { revision: revision @ 1.. }) => (*revision, call.value()),
        _ => return None,
    };
    let known = operation.returned;
    Some(Fact { revision, key: &operation.key, value, known, source: Source::Operation(operation) })
}
