//! Histories written down in few words, for tests.
//!
//! Times are milliseconds. A line is one of
//! `KEY read FROM-UNTIL found VALUE REVISION`, `KEY create VALUE FROM-UNTIL done REVISION`,
//! `KEY compare EXPECTED VALUE FROM-UNTIL refused`, `list FROM-UNTIL at REVISION KEY=VALUE@REVISION …` and
//! `watch NAME FROM-UNTIL REVISION:KEY=VALUE …`, where `gone` is the value of a deletion and `expired` a refusal.

use super::Verdict;
use crate::history::{Answer, Call, Event, History, Listing, Operation, Watching};

/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;
/// When events are received unless `!MILLISECONDS` says otherwise: after everything else.
const LATE: u64 = 1_000_000 * MILLISECOND;

/// A name, a history by its lines, and the rules that it breaks, in the order of their names.
pub(super) type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

/// The broken rules, each once; `None` when the verdict is undecided.
pub(super) fn broken(verdict: &Verdict) -> Option<Vec<&'static str>> {
    let mut rules: Vec<_> = verdict.findings().iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    (!matches!(verdict, Verdict::Undecided(_))).then_some(rules)
}

/// Asserts that each history breaks its rules and no other.
///
/// # Panics
/// When it does not.
pub(super) fn check(cases: &[Case], judge: impl Fn(&History) -> Verdict) {
    for (name, lines, expected) in cases {
        let verdict = judge(&history(lines));
        assert_eq!(broken(&verdict).as_deref(), Some(*expected), "{name}: {verdict}");
    }
}

/// Reads a history. Each line is another client's.
///
/// # Panics
/// When it cannot be read: a fault of the test.
pub(super) fn history(lines: &[&str]) -> History {
    let mut history = History::default();
    for (client, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (client, first) = (client as u32 + 1, words.next().expect("a word"));
        match first {
            "list" => history.listings.push(listing(client, words)),
            "watch" => history.watches.push(watching(words)),
            key => history.operations.push(operation(client, key, words)),
        }
    }
    history
}

fn number(word: Option<&str>) -> u64 {
    let word = word.expect("a number");
    word.parse().unwrap_or_else(|_| panic!("{word} is not a number"))
}

fn span(word: Option<&str>) -> (u64, u64) {
    let (from, until) = word.and_then(|word| word.split_once('-')).expect("FROM-UNTIL");
    (number(Some(from)), number(Some(until)))
}

fn operation<'a>(client: u32, key: &str, mut words: impl Iterator<Item = &'a str>) -> Operation {
    let call = match words.next().expect("a call") {
        "read" => Call::Read,
        "create" => Call::Create { value: number(words.next()) },
        "write" => Call::Write { value: number(words.next()) },
        "compare" => Call::Compare { expected: number(words.next()), value: number(words.next()) },
        "delete" => Call::Delete,
        other => panic!("{other} is not a call"),
    };
    let (invoked, returned) = span(words.next());
    let answer = match words.next().expect("an answer") {
        "found" => Answer::Found { value: number(words.next()), revision: number(words.next()) },
        "done" => Answer::Done { revision: number(words.next()) },
        "absent" => Answer::Absent,
        "refused" => Answer::Refused,
        "failed" => Answer::Failed,
        "unknown" => Answer::Unknown,
        other => panic!("{other} is not an answer"),
    };
    let (invoked, returned) = (invoked * MILLISECOND, returned * MILLISECOND);
    Operation { client, master: 0, key: key.to_owned(), call, invoked, returned, answer }
}

fn listing<'a>(client: u32, mut words: impl Iterator<Item = &'a str>) -> Listing {
    let (invoked, returned) = span(words.next());
    assert_eq!(words.next(), Some("at"));
    let revision = number(words.next());
    let item = |word: &str| {
        let (key, value) = word.split_once('=').expect("KEY=VALUE@REVISION");
        let (value, revision) = value.split_once('@').expect("VALUE@REVISION");
        (key.to_owned(), (number(Some(value)), number(Some(revision))))
    };
    let (invoked, returned) = (invoked * MILLISECOND, returned * MILLISECOND);
    Listing { client, master: 0, invoked, returned, revision, items: words.map(item).collect() }
}

fn watching<'a>(mut words: impl Iterator<Item = &'a str>) -> Watching {
    let name = words.next().expect("a name").to_owned();
    let (from, until) = span(words.next());
    let (mut events, mut expired) = (Vec::new(), Vec::new());
    for word in words {
        if word == "expired" {
            expired.push("410".to_owned());
            continue;
        }
        let (word, received) =
            word.split_once('!').map_or((word, LATE), |(word, time)| (word, number(Some(time)) * MILLISECOND));
        let (revision, change) = word.split_once(':').expect("REVISION:KEY=VALUE");
        let (key, value) = change.split_once('=').expect("KEY=VALUE");
        let value = (value != "gone").then(|| number(Some(value)));
        events.push(Event { revision: number(Some(revision)), key: key.to_owned(), value, received });
    }
    Watching { name, master: 0, from, until, events, expired }
}
