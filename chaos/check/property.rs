//! The checkers against many made-up histories: right ones pass, spoiled ones do not, and the fast search agrees with a
//! plain one.

use std::collections::HashMap;

use super::simulation::{Plan, Random, simulate};
use super::{STATES_MAX, Verdict, all, linear, lists, revisions, watch};
use crate::history::{Answer, Call, History, Operation};

/// A value that nobody draws.
const STRAY: u64 = 1_000_000_000;

fn plan(seed: u64) -> Plan {
    Plan { seed, keys: 3 + seed % 4, clients: 2 + (seed % 9) as u32, calls: 300, unknown: (seed % 5) * 8 }
}

#[test]
fn what_is_right_holds() {
    for seed in 0..150 {
        let verdict = all(&simulate(plan(seed)));
        assert!(verdict.holds(), "seed {seed}: {verdict}");
    }
}

/// A checker, as a function that tells whether it found a violation.
type Catches = fn(&History) -> bool;
/// Spoils one place of a history for certain; false when the history offers none.
type Spoil = fn(&mut History, &mut Random) -> bool;

fn by_linear(history: &History) -> bool {
    matches!(linear(history, STATES_MAX), Verdict::Violated(_))
}

fn by_revisions(history: &History) -> bool {
    !revisions(history).is_empty()
}

fn by_watch(history: &History) -> bool {
    matches!(watch(history), Verdict::Violated(_))
}

fn by_lists(history: &History) -> bool {
    matches!(lists(history), Verdict::Violated(_))
}

#[test]
fn what_is_spoiled_is_caught() {
    let spoils: [(&str, Spoil, Catches); 12] = [
        ("stale read", stale_read, by_linear),
        ("stale read", stale_read, by_revisions),
        ("stray value", stray_value, by_linear),
        ("lost key", lost_key, by_linear),
        ("denied write", denied_write, by_linear),
        ("moved revision", moved_revision, by_revisions),
        ("old revision", old_revision, by_revisions),
        ("missing event", missing_event, by_watch),
        ("swapped events", swapped_events, by_watch),
        ("repeated event", repeated_event, by_watch),
        ("mixed list", mixed_list, by_lists),
        ("stale list", stale_list, by_revisions),
    ];
    for (name, spoil, catches) in spoils {
        let mut spoiled = 0;
        for seed in 0..60 {
            let mut history = simulate(plan(seed));
            if spoil(&mut history, &mut Random(seed ^ STRAY)) {
                spoiled += 1;
                assert!(catches(&history), "{name}, seed {seed}");
                assert!(!all(&history).holds(), "{name}, seed {seed}");
            }
        }
        assert!(spoiled >= 20, "{name}: only {spoiled} histories could be spoiled");
    }
}

/// Places of operations of which this is true.
fn places(history: &History, of: impl Fn(&Operation) -> bool) -> Vec<usize> {
    (0..history.operations.len()).filter(|place| of(&history.operations[*place])).collect()
}

fn is_found(one: &Operation) -> bool {
    matches!(one.answer, Answer::Found { .. })
}

/// A read of what was overwritten, for certain, before the read began.
fn stale_read(history: &mut History, random: &mut Random) -> bool {
    let (all, mut pairs) = (&history.operations, Vec::new());
    let writes: Vec<&Operation> =
        all.iter().filter(|one| one.written().is_some() && one.call.value().is_some()).collect();
    for place in places(history, is_found) {
        let read = &all[place];
        let before = |one: &&&Operation| one.key == read.key && one.returned < read.invoked;
        for new in writes.iter().filter(before) {
            let old = writes.iter().find(|old| old.key == read.key && old.returned < new.invoked);
            pairs.extend(old.map(|old| (place, old.call.value(), old.written())));
        }
    }
    let Some(&(place, Some(value), Some(revision))) = random.pick(&pairs) else { return false };
    history.operations[place].answer = Answer::Found { value, revision };
    true
}

fn stray_value(history: &mut History, random: &mut Random) -> bool {
    let Some(place) = random.pick(&places(history, is_found)).copied() else { return false };
    history.operations[place].answer = Answer::Found { value: STRAY, revision: STRAY };
    true
}

/// A key that is not found, though it was created and nobody can have deleted it.
fn lost_key(history: &mut History, random: &mut Random) -> bool {
    let all = &history.operations;
    let lost = |read: &Operation| {
        let key = || all.iter().filter(|one| one.key == read.key);
        let deleted =
            key().any(|one| one.call == Call::Delete && one.may_have_happened() && one.invoked < read.returned);
        is_found(read) && !deleted && key().any(|one| one.written().is_some() && one.returned < read.invoked)
    };
    let Some(place) = random.pick(&places(history, lost)).copied() else { return false };
    history.operations[place].answer = Answer::Absent;
    true
}

/// A write whose value was read, answered as failed.
fn denied_write(history: &mut History, random: &mut Random) -> bool {
    let read = |value: u64| {
        let found = |one: &Operation| matches!(one.answer, Answer::Found { value: found, .. } if found == value);
        history.operations.iter().any(found)
    };
    let denied = |one: &Operation| one.call.value().is_some_and(read);
    let Some(place) = random.pick(&places(history, denied)).copied() else { return false };
    history.operations[place].answer = Answer::Failed;
    true
}

/// A read that shows the right value at another revision than its writer was told.
fn moved_revision(history: &mut History, random: &mut Random) -> bool {
    let told: HashMap<u64, u64> =
        history.operations.iter().filter_map(|one| Some((one.call.value()?, one.written()?))).collect();
    let moved = |one: &Operation| matches!(one.answer, Answer::Found { value, .. } if told.contains_key(&value));
    let Some(place) = random.pick(&places(history, moved)).copied() else { return false };
    if let Answer::Found { revision, .. } = &mut history.operations[place].answer {
        *revision += 1;
    }
    true
}

/// A write that gets the revision of one that was acknowledged before it began.
fn old_revision(history: &mut History, random: &mut Random) -> bool {
    let all = &history.operations;
    let first = |new: &Operation| all.iter().find(|old| old.written().is_some() && old.returned < new.invoked);
    let later = places(history, |one| one.written().is_some() && first(one).is_some());
    let Some(place) = random.pick(&later).copied() else { return false };
    let Some(revision) = first(&all[place]).and_then(Operation::written) else { return false };
    history.operations[place].answer = Answer::Done { revision };
    true
}

fn missing_event(history: &mut History, random: &mut Random) -> bool {
    // The third watcher's range is the first one's beginning, so each can stand witness against the other.
    let watching = &mut history.watches[if random.percent(50) { 0 } else { 2 }];
    let inside = watching.events.iter().filter(|event| event.revision <= watching.until).count();
    let told: Vec<u64> = history.operations.iter().filter_map(Operation::written).collect();
    let known = |place: &usize| told.contains(&watching.events[*place].revision);
    let Some(place) = random.pick(&(0..inside).filter(known).collect::<Vec<_>>()).copied() else { return false };
    watching.events.remove(place);
    true
}

fn swapped_events(history: &mut History, random: &mut Random) -> bool {
    let events = &mut history.watches[random.below(3) as usize].events;
    if events.len() < 2 {
        return false;
    }
    let place = random.below(events.len() as u64 - 1) as usize;
    events.swap(place, place + 1);
    true
}

fn repeated_event(history: &mut History, random: &mut Random) -> bool {
    let events = &mut history.watches[random.below(3) as usize].events;
    let place = random.below(events.len() as u64 + 1) as usize;
    let Some(event) = events.get(place).cloned() else { return false };
    events.insert(place + random.below(2) as usize, event);
    true
}

/// A list in which one key is as it was earlier.
fn mixed_list(history: &mut History, random: &mut Random) -> bool {
    let events = history.watches[0].events.clone();
    let mut older = Vec::new();
    for (place, listing) in history.listings.iter().enumerate() {
        for (key, (_, revision)) in &listing.items {
            let before = events.iter().rfind(|event| event.key == *key && event.revision < *revision);
            older.extend(before.map(|event| (place, event)));
        }
    }
    let Some((place, event)) = random.pick(&older).copied() else { return false };
    let items = &mut history.listings[place].items;
    match event.value {
        Some(value) => items.insert(event.key.clone(), (value, event.revision)),
        None => items.remove(&event.key),
    };
    true
}

/// A list from before an acknowledged write.
fn stale_list(history: &mut History, random: &mut Random) -> bool {
    let mut older = Vec::new();
    for (place, listing) in history.listings.iter().enumerate() {
        let before = history.operations.iter().filter(|one| one.returned < listing.invoked);
        older.extend(before.filter_map(Operation::written).max().map(|revision| (place, revision - 1)));
    }
    let Some((place, revision)) = random.pick(&older).copied() else { return false };
    history.listings[place].revision = revision;
    true
}

/// Whether some order explains all answers: every order and every choice of unknown operations is tried.
fn plainly_linear(open: &[&Operation], state: Option<u64>) -> bool {
    let certain = |one: &&&Operation| !matches!(one.answer, Answer::Unknown);
    let Some(horizon) = open.iter().filter(certain).map(|one| one.returned).min() else { return true };
    (0..open.len()).filter(|place| open[*place].invoked <= horizon).any(|place| {
        let one = open[place];
        let (answer, after) = match (&one.call, state) {
            (Call::Read, Some(value)) => (Answer::Found { value, revision: value }, state),
            (Call::Create { .. }, Some(_)) => (Answer::Refused, state),
            (Call::Create { value }, None) => (Answer::Done { revision: *value }, Some(*value)),
            (_, None) => (Answer::Absent, state),
            (Call::Compare { expected, .. }, Some(value)) if *expected != value => (Answer::Refused, state),
            (Call::Write { value } | Call::Compare { value, .. }, Some(_)) => {
                (Answer::Done { revision: *value }, Some(*value))
            }
            (Call::Delete, Some(_)) => (Answer::Done { revision: 0 }, None),
        };
        let rest = || [&open[..place], &open[place + 1..]].concat();
        (answer == one.answer || one.answer == Answer::Unknown) && plainly_linear(&rest(), after)
    })
}

/// Few operations on one key, with answers that are only sometimes right.
fn guesses(random: &mut Random) -> Vec<Operation> {
    let (count, mut clock) = (3 + random.below(5), 0);
    let mut operations: Vec<Operation> = Vec::new();
    for number in 1..=count {
        clock += random.below(4);
        let met = 1 + random.below(count);
        let call = match random.below(8) {
            0..3 => Call::Read,
            3 => Call::Create { value: number },
            4 => Call::Write { value: number },
            5 | 6 => Call::Compare { expected: met, value: number },
            _ => Call::Delete,
        };
        let value = call.value().unwrap_or(0);
        let answer = match (&call, random.below(10)) {
            (Call::Read, 0..8) => Answer::Found { value: met, revision: met },
            (Call::Read, _) => Answer::Absent,
            (_, 0..=3) => Answer::Unknown,
            (Call::Create { .. } | Call::Compare { .. }, 4) => Answer::Refused,
            (Call::Write { .. } | Call::Compare { .. } | Call::Delete, 5) => Answer::Absent,
            _ => Answer::Done { revision: value },
        };
        let (key, returned) = ("a".to_owned(), clock + random.below(12));
        operations.push(Operation { client: number as u32, master: 0, key, call, invoked: clock, returned, answer });
    }
    operations
}

/// A right history of one key in which one answer was replaced by that of another call of its kind.
fn near_misses(random: &mut Random) -> Vec<Operation> {
    let seed = random.below(u64::MAX);
    let mut operations = simulate(Plan { seed, keys: 1, clients: 4, calls: 11, unknown: 30 }).operations;
    let place = random.below(operations.len() as u64) as usize;
    let kind = operations[place].call.name();
    let others: Vec<Answer> =
        operations.iter().filter(|one| one.call.name() == kind).map(|one| one.answer.clone()).collect();
    operations[place].answer = random.pick(&others).cloned().unwrap_or(Answer::Unknown);
    operations
}

/// The plain search does not know revisions.
fn without_revisions(mut operations: Vec<Operation>) -> Vec<Operation> {
    operations.retain(|one| one.answer != Answer::Failed);
    for operation in &mut operations {
        let written = operation.call.value().unwrap_or(0);
        match &mut operation.answer {
            Answer::Found { value, revision } => *revision = *value,
            Answer::Done { revision } => *revision = written,
            _ => {}
        }
    }
    operations
}

#[test]
fn the_fast_search_agrees_with_the_plain_one() {
    let kinds: [fn(&mut Random) -> Vec<Operation>; 2] = [guesses, near_misses];
    for (kind, rounds) in kinds.into_iter().zip([20_000, 4_000]) {
        let mut random = Random(7);
        let mut counts = [0_usize; 2];
        for _ in 0..rounds {
            let operations = kind(&mut random);
            let plain = without_revisions(operations.clone());
            let plainly = plainly_linear(&plain.iter().collect::<Vec<_>>(), None);
            let history = History { operations, ..History::default() };
            let verdict = linear(&history, STATES_MAX);
            assert_eq!(verdict.holds(), plainly, "{verdict}\n{history:#?}");
            assert!(plainly || matches!(verdict, Verdict::Violated(_)));
            counts[usize::from(plainly)] += 1;
        }
        assert!(counts.iter().all(|count| *count > rounds / 20), "too one-sided to mean something: {counts:?}");
    }
}
