//! Coverage: enough has happened for the other rules to mean something.

use super::Finding;
use crate::history::{Answer, Call, History, Operation};

/// The least that a campaign must have done. Zero asks for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Reads that were answered, also with "absent".
    pub reads: usize,
    /// Acknowledged creates.
    pub creates: usize,
    /// Acknowledged writes without a precondition.
    pub writes: usize,
    /// Acknowledged writes with a precondition.
    pub compares: usize,
    /// Acknowledged deletes.
    pub deletes: usize,
    /// Lists.
    pub listings: usize,
    /// Watchers.
    pub watches: usize,
    /// Events of each watcher.
    pub events: usize,
}

/// Tells what a campaign has done too little of.
pub fn coverage(history: &History, wanted: &Wanted) -> Vec<Finding> {
    let done = |operation: &&Operation| match operation.answer {
        Answer::Found { .. } | Answer::Done { .. } => true,
        Answer::Absent => operation.call == Call::Read,
        Answer::Refused | Answer::Failed | Answer::Unknown => false,
    };
    let count = |name: &str| history.operations.iter().filter(done).filter(|one| one.call.name() == name).count();
    let counts = [
        ("answered reads".to_owned(), count("read"), wanted.reads),
        ("acknowledged creates".to_owned(), count("create"), wanted.creates),
        ("acknowledged writes".to_owned(), count("write"), wanted.writes),
        ("acknowledged compares".to_owned(), count("compare"), wanted.compares),
        ("acknowledged deletes".to_owned(), count("delete"), wanted.deletes),
        ("lists".to_owned(), history.listings.len(), wanted.listings),
        ("watchers".to_owned(), history.watches.len(), wanted.watches),
    ];
    let events = history
        .watches
        .iter()
        .map(|watching| (format!("events of watcher {}", watching.name), watching.events.len(), wanted.events));
    let too_few = |(what, count, wanted): (String, usize, usize)| {
        let text = format!("{count} {what}, where at least {wanted} are needed for the campaign to count");
        (count < wanted).then_some(Finding { rule: "coverage", text, excerpt: Vec::new() })
    };
    counts.into_iter().chain(events).filter_map(too_few).collect()
}
