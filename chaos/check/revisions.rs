//! Revisions: each names one change, and they only ever grow.

use std::collections::{HashMap, HashSet};

use super::facts::{Fact, Source, facts};
use super::{Finding, Findings};
use crate::history::History;

/// Checks that a revision belongs to one key and value and a value to one revision, that a write gets a newer revision
/// than all that was known when it began, that a list is no older than that, and that a read of a key is no older than
/// what was known of that key.
pub fn revisions(history: &History) -> Vec<Finding> {
    let facts = facts(history);
    let mut findings = Findings::default();
    one_meaning(&facts, &mut findings);
    let listed = history.listings.iter().map(|listing| (listing.returned, listing.revision, Source::Listing(listing)));
    let known = Known::of(facts.iter().map(|fact| (fact.known, fact.revision, fact.source)).chain(listed));
    for fact in facts.iter().filter(|fact| fact.acknowledged()) {
        let Source::Operation(operation) = fact.source else { continue };
        if let Some((newest, before)) = known.before(operation.invoked).filter(|(newest, _)| *newest >= fact.revision) {
            findings.add("revision-backwards", || {
                let text = format!(
                    "the write of {} got revision {}, though revision {newest} was known when it began",
                    fact.key, fact.revision
                );
                (text, vec![before.to_string(), fact.to_string()])
            });
        }
    }
    for listing in &history.listings {
        if let Some((newest, before)) = known.before(listing.invoked).filter(|(newest, _)| *newest > listing.revision) {
            findings.add("stale-list", || {
                let text = format!(
                    "a list shows revision {}, though revision {newest} was known when it began",
                    listing.revision
                );
                (text, vec![before.to_string(), listing.to_string()])
            });
        }
    }
    fresh_reads(&facts, &mut findings);
    findings.list()
}

/// A revision has one key and value, a value has one revision.
fn one_meaning(facts: &[Fact<'_>], findings: &mut Findings) {
    let (mut of_revision, mut of_value) = (HashMap::new(), HashMap::new());
    let mut told = HashSet::new();
    for fact in facts {
        let first: &Fact<'_> = of_revision.entry(fact.revision).or_insert(fact);
        if !first.agrees(fact) && told.insert((true, fact.revision)) {
            findings.add("revision-shared", || {
                (format!("revision {} has two meanings", fact.revision), vec![first.to_string(), fact.to_string()])
            });
        }
        let Some(value) = fact.value else { continue };
        let first: &Fact<'_> = of_value.entry(value).or_insert(fact);
        if !first.agrees(fact) && told.insert((false, value)) {
            findings.add("value-moved", || {
                let text = format!("value {value} of {} was seen at two places or revisions", first.key);
                (text, vec![first.to_string(), fact.to_string()])
            });
        }
    }
}

/// Whoever looks at a key finds what was known of it, or something newer.
fn fresh_reads(facts: &[Fact<'_>], findings: &mut Findings) {
    let mut keys: HashMap<&str, Vec<&Fact<'_>>> = HashMap::new();
    facts.iter().for_each(|fact| keys.entry(fact.key).or_default().push(fact));
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    for (key, facts) in keys {
        let known = Known::of(facts.iter().map(|fact| (fact.known, fact.revision, fact.source)));
        for fact in facts {
            let invoked = match fact.source {
                Source::Operation(operation) if !fact.acknowledged() => operation.invoked,
                Source::Listing(listing) => listing.invoked,
                Source::Operation(_) | Source::Event(..) => continue,
            };
            if let Some((newest, before)) = known.before(invoked).filter(|(newest, _)| *newest > fact.revision) {
                findings.add("stale-read", || {
                    let text = format!(
                        "{key} was read at revision {}, though its revision {newest} was known when the read began",
                        fact.revision
                    );
                    (text, vec![before.to_string(), fact.to_string()])
                });
            }
        }
    }
}

/// The newest revision that was known, as it grew over time.
struct Known<'a>(Vec<(u64, u64, Source<'a>)>);

impl<'a> Known<'a> {
    /// From times, revisions, and who knew.
    fn of(all: impl Iterator<Item = (u64, u64, Source<'a>)>) -> Self {
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(time, revision, _)| (*time, *revision));
        let mut newest = 0;
        all.retain(|(_, revision, _)| {
            let newer = *revision > newest;
            newest = newest.max(*revision);
            newer
        });
        Self(all)
    }

    /// The newest revision known before this time.
    fn before(&self, time: u64) -> Option<(u64, Source<'a>)> {
        let count = self.0.partition_point(|(known, ..)| *known < time);
        self.0[..count].last().map(|(_, revision, source)| (*revision, *source))
    }
}
