//! Lists: each shows one moment, that of its own revision.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::facts;
use super::timeline::Timeline;
use super::{Findings, Verdict};
use crate::history::{History, Listing};

/// Keys shown of a wrong list.
const KEYS_SHOWN: usize = 5;

/// Value and revision of each key.
type State = BTreeMap<String, (u64, u64)>;

/// Compares each list with the replay of the merged watch history up to its revision: keys, values and revisions. Lists
/// that no watcher covers from the beginning on make the verdict undecided.
pub fn lists(history: &History) -> Verdict {
    let mut listings: Vec<&Listing> = history.listings.iter().collect();
    if listings.is_empty() {
        return Verdict::Holds;
    }
    listings.sort_by_key(|listing| listing.revision);
    let timeline = Timeline::of(history);
    let Some((from, until)) = timeline.beginning(&facts(history)) else {
        return Verdict::Undecided("lists: no watcher began before the first change".to_owned());
    };
    let mut findings = Findings::default();
    let (mut state, mut events, mut unseen) = (State::new(), timeline.events.iter().peekable(), 0);
    for listing in listings {
        if !(from..=until).contains(&listing.revision) {
            unseen += 1;
            continue;
        }
        while let Some((revision, (_, event))) = events.next_if(|(revision, _)| **revision <= listing.revision) {
            match event.value {
                Some(value) => drop(state.insert(event.key.clone(), (value, *revision))),
                None => drop(state.remove(&event.key)),
            }
        }
        if listing.items != state {
            findings.add("list", || explain(listing, &state, &timeline));
        }
    }
    let doubt = match unseen {
        0 => Verdict::Holds,
        _ => Verdict::Undecided(format!(
            "lists: {unseen} lists are outside the revisions {from} to {until} that were watched"
        )),
    };
    Verdict::from(findings.list()).and(doubt)
}

fn explain(listing: &Listing, state: &State, timeline: &Timeline<'_>) -> (String, Vec<String>) {
    let keys: BTreeSet<&String> = listing.items.keys().chain(state.keys()).collect();
    let wrong: Vec<&String> = keys.into_iter().filter(|key| listing.items.get(*key) != state.get(*key)).collect();
    let text = format!(
        "the list at revision {} differs from the watched history in {} keys, of which it shows {}",
        listing.revision,
        wrong.len(),
        if wrong.len() == listing.items.len().max(state.len()) { "none right" } else { "the rest right" }
    );
    let mut excerpt = vec![listing.to_string()];
    for key in wrong.iter().take(KEYS_SHOWN) {
        let shown = listing.items.get(*key);
        let when = shown
            .map_or_else(|| "not shown".to_owned(), |(value, revision)| lifetime(key, *value, *revision, timeline));
        let right = state.get(*key);
        let right = right.map_or("absent".to_owned(), |(value, revision)| format!("{value} at revision {revision}"));
        excerpt.push(format!("{key}: {when}; at revision {} it is {right}", listing.revision));
    }
    (text, excerpt)
}

/// From when to when the history holds what a list shows.
fn lifetime(key: &str, value: u64, revision: u64, timeline: &Timeline<'_>) -> String {
    let shown = format!("shown as {value} at revision {revision}");
    match timeline.events.get(&revision) {
        Some((_, event)) if event.key == key && event.value == Some(value) => {
            let end = timeline.events.range(revision + 1..).find(|(_, (_, event))| event.key == key);
            let end = end.map_or("the end".to_owned(), |(end, _)| end.to_string());
            format!("{shown}, which holds from revision {revision} to {end}")
        }
        _ => format!("{shown}, which the history does not know"),
    }
}
