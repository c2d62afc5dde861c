//! Watches: every watcher sees every change once, in order, and all see the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::facts::{Fact, Source, facts};
use super::timeline::Timeline;
use super::{Findings, Verdict};
use crate::history::{Answer, Call, Event, History, Operation, Watching};

/// Checks each watcher's order and completeness, that all watchers, answers and lists agree, and that every event has a
/// cause. Acknowledged writes that no watcher covers make the verdict undecided.
pub fn watch(history: &History) -> Verdict {
    let facts = facts(history);
    let timeline = Timeline::of(history);
    let mut findings = Findings::default();
    let truth = truth(&facts);
    let beginning = timeline.beginning(&facts);
    for watching in &history.watches {
        in_order(watching, &mut findings);
        complete(watching, &truth, &mut findings);
        for refusal in &watching.expired {
            findings.add("watch-expired", || {
                (format!("watcher {} could not resume: {refusal}", watching.name), Vec::new())
            });
        }
    }
    causes(history, &timeline, &mut findings);
    chains(history, &timeline, beginning.is_some(), &mut findings);
    if let Some((_, until)) = beginning {
        untold(history, &timeline, until, &mut findings);
    }
    let outside =
        facts.iter().filter(|fact| fact.acknowledged() && timeline.range(fact.revision).is_none()).collect::<Vec<_>>();
    let doubt = outside.first().map_or(Verdict::Holds, |first| {
        Verdict::Undecided(format!("watch: {} acknowledged writes were not watched, such as: {first}", outside.len()))
    });
    Verdict::from(findings.list()).and(doubt)
}

/// For each revision what is said of it, each meaning once: acknowledged writes before watchers before readers.
fn truth<'a>(facts: &'a [Fact<'a>]) -> BTreeMap<u64, Vec<&'a Fact<'a>>> {
    let rank = |fact: &Fact<'_>| match fact.source {
        Source::Operation(_) if fact.acknowledged() => 0,
        Source::Event(..) => 1,
        Source::Operation(_) | Source::Listing(_) => 2,
    };
    let mut ranked: Vec<&Fact<'_>> = facts.iter().collect();
    ranked.sort_by_key(|fact| (fact.revision, rank(fact)));
    let mut truth: BTreeMap<u64, Vec<&Fact<'_>>> = BTreeMap::new();
    for fact in ranked {
        let said = truth.entry(fact.revision).or_default();
        if !said.iter().any(|other| other.agrees(fact)) {
            said.push(fact);
        }
    }
    truth
}

/// Revisions grow from event to event, and none is from before the watch.
fn in_order(watching: &Watching, findings: &mut Findings) {
    let name = &watching.name;
    for pair in watching.events.windows(2) {
        let (rule, what) = match pair[1].revision {
            revision if revision > pair[0].revision => continue,
            revision if revision == pair[0].revision => ("watch-duplicate", "received one revision twice"),
            _ => ("watch-order", "went back in time"),
        };
        findings.add(rule, || (format!("watcher {name} {what}"), pair.iter().map(Event::to_string).collect()));
    }
    for event in watching.events.iter().filter(|event| event.revision <= watching.from) {
        findings.add("watch-outside", || {
            let text =
                format!("watcher {name} asked for what came after revision {} and got something older", watching.from);
            (text, vec![event.to_string()])
        });
    }
}

/// What is true in a watcher's range was seen by it, and as it is.
fn complete(watching: &Watching, truth: &BTreeMap<u64, Vec<&Fact<'_>>>, findings: &mut Findings) {
    let name = &watching.name;
    let seen: HashMap<u64, &Event> = watching.events.iter().map(|event| (event.revision, event)).collect();
    if watching.from >= watching.until {
        return;
    }
    for (revision, said) in truth.range(watching.from + 1..=watching.until) {
        if let Some(event) = seen.get(revision) {
            said.iter().for_each(|fact| same(name, event, fact, findings));
            continue;
        }
        let fact = said[0];
        findings.add("watch-gap", || {
            let text = format!(
                "watcher {name} has seen everything from revision {} to {}, but not revision {revision} of {}",
                watching.from, watching.until, fact.key
            );
            let before =
                watching.events.iter().filter(|event| event.revision < *revision).max_by_key(|event| event.revision);
            let after =
                watching.events.iter().filter(|event| event.revision > *revision).min_by_key(|event| event.revision);
            let around = before.into_iter().chain(after).map(|event| format!("watcher {name}, {event}"));
            (text, [fact.to_string()].into_iter().chain(around).collect())
        });
    }
}

/// A watcher and somebody else know one revision alike.
fn same(name: &str, event: &Event, fact: &Fact<'_>, findings: &mut Findings) {
    if (event.key.as_str(), event.value) == (fact.key, fact.value) {
        return;
    }
    let (rule, whom) = match fact.source {
        Source::Event(..) => ("watch-disagreement", "another watcher"),
        Source::Operation(_) if fact.acknowledged() => ("watch-contradiction", "the writer"),
        Source::Operation(_) | Source::Listing(_) => ("watch-contradiction", "a reader"),
    };
    findings.add(rule, || {
        let text = format!("watcher {name} and {whom} know revision {} differently", event.revision);
        (text, vec![format!("watcher {name}, {event}"), fact.to_string()])
    });
}

/// Every event was attempted, before it was seen, and happened once.
fn causes(history: &History, timeline: &Timeline<'_>, findings: &mut Findings) {
    let attempts = attempts(history);
    let mut deletions: HashMap<&str, (usize, usize)> = HashMap::new();
    for operation in history.operations.iter().filter(|one| one.call == Call::Delete && one.may_have_happened()) {
        deletions.entry(&operation.key).or_default().0 += 1;
    }
    let mut first_of: HashMap<u64, &Event> = HashMap::new();
    for (watching, event) in timeline.events.values() {
        let shown = || format!("watcher {}, {event}", watching.name);
        let Some(value) = event.value else {
            deletions.entry(&event.key).or_default().1 += 1;
            continue;
        };
        if let Some(first) = first_of.insert(value, event) {
            findings
                .add("watch-twice", || (format!("value {value} was written twice"), vec![first.to_string(), shown()]));
        }
        let attempt = attempts.get(&value).copied();
        let wrong = match attempt {
            None => "nobody tried to write",
            Some(attempt) if attempt.key != event.key => "was meant for another key",
            Some(attempt) if attempt.answer == Answer::Failed => "was answered with failure",
            Some(attempt) if !attempt.may_have_happened() => "was refused",
            Some(attempt) if attempt.invoked > event.received => "was received before it was written",
            Some(_) => continue,
        };
        findings.add("watch-invented", || {
            let text = format!("an event of {} shows value {value}: it {wrong}", event.key);
            (text, [shown()].into_iter().chain(attempt.map(ToString::to_string)).collect())
        });
    }
    let mut deletions: Vec<_> = deletions.into_iter().filter(|(_, (tried, seen))| seen > tried).collect();
    deletions.sort_unstable();
    for (key, (tried, seen)) in deletions {
        findings.add("watch-invented", || {
            (format!("{key} was deleted {seen} times, but only {tried} deletions can have happened"), Vec::new())
        });
    }
}

/// Each event of a key follows from the one before it: a create from absence, a comparison from the value it expected.
fn chains(history: &History, timeline: &Timeline<'_>, from_beginning: bool, findings: &mut Findings) {
    let attempts = attempts(history);
    // Of each key the latest event, and the complete range that it lies in.
    let mut latest: HashMap<&str, (usize, &Event)> = HashMap::new();
    for (watching, event) in timeline.events.values() {
        let Some(range) = timeline.range(event.revision) else { continue };
        let before = latest.insert(&event.key, (range, event)).filter(|(other, _)| *other == range);
        let state = match before {
            Some((_, before)) => before.value,
            None if range == 0 && from_beginning => None,
            None => continue,
        };
        let call = event.value.and_then(|value| attempts.get(&value)).map(|attempt| &attempt.call);
        let follows = match call {
            Some(Call::Create { .. }) => state.is_none(),
            Some(Call::Compare { expected, .. }) => state == Some(*expected),
            Some(_) => state.is_some(),
            // A deletion; a value that nobody tried to write is reported as such.
            None => event.value.is_some() || state.is_some(),
        };
        if !follows {
            findings.add("watch-chain", || {
                let cause = call.map_or("deletion".to_owned(), ToString::to_string);
                let state = state.map_or("absent".to_owned(), |value| format!("{value}"));
                let text = format!("{} was {state} when the event of this took effect: {cause}", event.key);
                let before = before.map(|(_, before)| before.to_string());
                (text, before.into_iter().chain([format!("watcher {}, {event}", watching.name)]).collect())
            });
        }
    }
}

/// Acknowledged writes whose revision the client did not learn are events too, once something newer is in the range.
fn untold(history: &History, timeline: &Timeline<'_>, until: u64, findings: &mut Findings) {
    let written = history.operations.iter().filter_map(|one| Some((one.written()?, one.invoked)));
    let listed = history.listings.iter().map(|listing| (listing.revision, listing.invoked));
    let in_range = written.chain(listed).filter(|(revision, _)| *revision <= until);
    let Some(latest) = in_range.map(|(_, invoked)| invoked).max() else { return };
    let events = || timeline.events.range(..=until).map(|(_, (_, event))| *event);
    let values: HashSet<u64> = events().filter_map(|event| event.value).collect();
    let mut deletions: BTreeMap<&str, (Vec<&Operation>, usize)> = BTreeMap::new();
    for operation in history.operations.iter().filter(|one| one.returned < latest) {
        let acknowledged = matches!(operation.answer, Answer::Done { .. });
        match operation.call.value() {
            None if acknowledged => deletions.entry(&operation.key).or_default().0.push(operation),
            Some(value) if acknowledged && operation.written().is_none() && !values.contains(&value) => {
                findings.add("watch-gap", || {
                    (format!("no watcher saw an acknowledged write of {}", operation.key), vec![operation.to_string()])
                });
            }
            _ => {}
        }
    }
    for event in events().filter(|event| event.value.is_none()) {
        deletions.entry(&event.key).or_default().1 += 1;
    }
    for (key, (acknowledged, seen)) in deletions {
        if seen < acknowledged.len() {
            findings.add("watch-gap", || {
                let text = format!("{} deletions of {key} were acknowledged, {seen} were seen", acknowledged.len());
                (text, acknowledged.iter().map(ToString::to_string).collect())
            });
        }
    }
}

fn attempts(history: &History) -> HashMap<u64, &Operation> {
    history.operations.iter().filter_map(|one| Some((one.call.value()?, one))).collect()
}
