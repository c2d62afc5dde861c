//! Each rule against small histories that keep it and that break it.

use super::script::{Case, broken, check, history};
use super::{Verdict, Wanted, all, coverage, linear, revisions, summary, watch};

/// A write that most histories begin with.
const CREATE: &str = "a create 1 0-1 done 5";

#[test]
fn revisions_only_grow() {
    let cases: &[Case] = &[
        (
            "growing",
            &["a create 1 0-1 done 5", "b create 2 2-3 done 6", "a read 4-5 found 1 5", "list 6-7 at 9 a=1@5"],
            &[],
        ),
        ("concurrent writes in any order", &["a create 1 0-9 done 6", "b create 2 1-8 done 5"], &[]),
        (
            "a concurrent read of what was before",
            &["a create 1 0-1 done 5", "a write 2 2-9 done 6", "a read 3-8 found 1 5"],
            &[],
        ),
        ("backwards", &["a create 1 0-1 done 6", "b create 2 2-3 done 5"], &["revision-backwards"]),
        ("backwards after a read", &["a read 0-1 found 1 6", "b create 2 2-3 done 5"], &["revision-backwards"]),
        ("backwards after a list", &["list 0-1 at 7", "b create 2 2-3 done 7"], &["revision-backwards"]),
        ("backwards after an event", &["watch w 0-9 7:a=1!1", "b create 2 2-3 done 6"], &["revision-backwards"]),
        ("one revision for two writes", &["a create 1 0-9 done 5", "b create 2 0-9 done 5"], &["revision-shared"]),
        ("one revision with two values", &["a create 1 0-9 done 5", "a read 0-9 found 2 5"], &["revision-shared"]),
        (
            "a deletion's revision is used again",
            &["a delete 0-9 done 5", "a create 1 0-9 done 5"],
            &["revision-shared"],
        ),
        ("one value at two revisions", &["a create 1 0-9 done 5", "a read 0-9 found 1 6"], &["value-moved"]),
        ("one value of two keys", &["a create 1 0-9 done 5", "list 0-9 at 7 b=1@6"], &["value-moved"]),
        ("stale read", &["a create 1 0-1 done 5", "a write 2 2-3 done 6", "a read 4-5 found 1 5"], &["stale-read"]),
        ("stale in a list", &["a create 1 0-1 done 5", "a write 2 2-3 done 6", "list 4-5 at 6 a=1@5"], &["stale-read"]),
        (
            "stale after an event",
            &["a create 1 0-1 done 5", "watch w 0-9 5:a=1 6:a=2!3", "a read 4-5 found 1 5"],
            &["stale-read"],
        ),
        ("a list from the past", &["a create 1 0-1 done 5", "list 2-3 at 4"], &["stale-list"]),
        ("lists go back", &["list 0-1 at 8", "list 2-3 at 7"], &["stale-list"]),
    ];
    check(cases, |history| revisions(history).into());
}

#[test]
fn watches_are_ordered_and_complete() {
    let cases: &[Case] = &[
        ("complete", &[CREATE, "a write 2 2-3 done 7", "a delete 4-5 done 9", "watch w 0-9 5:a=1 7:a=2 9:a=gone"], &[]),
        (
            "more than asked",
            &[CREATE, "a write 2 2-3 done 7", "watch w 0-5 5:a=1 7:a=2", "watch v 0-9 5:a=1 7:a=2"],
            &[],
        ),
        ("parts of one history", &[CREATE, "a write 2 2-3 done 7", "watch w 0-6 5:a=1", "watch v 6-9 7:a=2"], &[]),
        ("an unknown write seen once", &[CREATE, "a write 2 2-3 unknown", "watch w 0-9 5:a=1 7:a=2"], &[]),
        ("an unknown write not seen", &[CREATE, "a write 2 2-3 unknown", "watch w 0-9 5:a=1"], &[]),
        (
            "a deletion without a revision",
            &[CREATE, "a delete 2-3 done 0", "watch w 0-9 5:a=1 6:a=gone", "list 4-5 at 9"],
            &[],
        ),
        (
            "a deletion that nothing shows to be in the range",
            &[CREATE, "a delete 2-3 done 0", "watch w 0-9 5:a=1"],
            &[],
        ),
        (
            "nothing is known before a late watch",
            &["a create 1 0-1 unknown", "a read 0-1 found 1 5", "a write 2 2-3 done 6", "watch w 5-9 6:a=2"],
            &[],
        ),
        (
            "nothing is known of a gap between watches",
            &[
                CREATE,
                "a write 2 2-3 unknown",
                "a compare 2 3 4-5 done 8",
                "b create 4 0-1 unknown",
                "b write 5 2-3 done 9",
                "watch w 0-5 5:a=1",
                "watch v 7-9 8:a=3 9:b=5",
            ],
            &[],
        ),
        (
            "a chain over two watches without a gap",
            &[CREATE, "a create 2 2-3 unknown", "watch w 0-5 5:a=1", "watch v 5-9 8:a=2"],
            &["watch-chain"],
        ),
        ("gap", &[CREATE, "a write 2 2-3 done 7", "watch w 0-9 5:a=1"], &["watch-gap"]),
        (
            "gap that another watcher shows",
            &[CREATE, "a write 2 2-3 unknown", "watch w 0-9 5:a=1", "watch v 0-9 5:a=1 7:a=2"],
            &["watch-gap"],
        ),
        (
            "gap that a read shows",
            &[CREATE, "a write 2 2-3 unknown", "a read 4-5 found 2 7", "watch w 0-9 5:a=1"],
            &["watch-gap"],
        ),
        (
            "gap that a list shows",
            &[CREATE, "a write 2 2-3 unknown", "list 4-5 at 9 a=2@7", "watch w 0-9 5:a=1"],
            &["watch-gap"],
        ),
        (
            "a deletion of unknown revision is missing",
            &[CREATE, "a delete 2-3 done 0", "list 4-5 at 9", "watch w 0-9 5:a=1"],
            &["watch-gap"],
        ),
        (
            "a write of unknown revision is missing",
            &[CREATE, "a write 2 2-3 done 0", "list 4-5 at 9", "watch w 0-9 5:a=1"],
            &["watch-gap"],
        ),
        ("duplicate", &[CREATE, "watch w 0-9 5:a=1 5:a=1"], &["watch-duplicate"]),
        ("reordered", &[CREATE, "b create 2 2-3 done 6", "watch w 0-9 6:b=2 5:a=1"], &["watch-order"]),
        (
            "sent again after a reconnection",
            &[CREATE, "b create 2 2-3 done 6", "watch w 0-9 5:a=1 6:b=2 5:a=1 6:b=2"],
            &["watch-order"],
        ),
        (
            "older than asked for",
            &[CREATE, "b create 2 2-3 done 6", "watch w 5-9 5:a=1 6:b=2", "watch v 0-9 5:a=1 6:b=2"],
            &["watch-outside"],
        ),
        (
            "another value than written",
            &[CREATE, "a write 2 2-3 unknown", "watch w 0-9 5:a=2"],
            &["watch-chain", "watch-contradiction"],
        ),
        (
            "another value than read",
            &["a create 1 0-1 unknown", "a create 2 0-1 unknown", "a read 4-5 found 1 5", "watch w 0-9 5:a=2"],
            &["watch-contradiction"],
        ),
        (
            "watchers disagree",
            &["a create 1 0-1 unknown", "a create 2 0-1 unknown", "watch w 0-9 5:a=1", "watch v 0-9 5:a=2"],
            &["watch-disagreement"],
        ),
        ("never written", &[CREATE, "watch w 0-9 5:a=1 6:a=8"], &["watch-invented"]),
        ("failed and yet seen", &[CREATE, "a write 2 2-3 failed", "watch w 0-9 5:a=1 6:a=2"], &["watch-invented"]),
        (
            "refused and yet seen",
            &[CREATE, "a create 2 2-3 refused", "watch w 0-9 5:a=1 6:a=2"],
            &["watch-chain", "watch-invented"],
        ),
        ("of another key", &[CREATE, "b create 2 2-3 unknown", "watch w 0-9 5:a=1 6:c=2"], &["watch-invented"]),
        ("seen before it was written", &["a create 1 4-5 done 5", "watch w 0-9 5:a=1!3"], &["watch-invented"]),
        ("a deletion that nobody asked for", &[CREATE, "watch w 0-9 5:a=1 6:a=gone"], &["watch-invented"]),
        (
            "an unknown write seen twice",
            &[CREATE, "a write 2 2-3 unknown", "watch w 0-9 5:a=1 6:a=2 8:a=2"],
            &["watch-twice"],
        ),
        (
            "an unknown comparison seen twice",
            &[CREATE, "a compare 1 2 2-3 unknown", "a write 3 4-5 done 7", "watch w 0-9 5:a=1 6:a=2 7:a=3 8:a=2"],
            &["watch-chain", "watch-twice"],
        ),
        (
            "a comparison that met another value",
            &[CREATE, "a write 2 2-3 done 6", "a compare 1 3 4-5 done 7", "watch w 0-9 5:a=1 6:a=2 7:a=3"],
            &["watch-chain"],
        ),
        ("a create of what is there", &[CREATE, "a create 2 2-3 done 6", "watch w 0-9 5:a=1 6:a=2"], &["watch-chain"]),
        ("a write of what is not there", &["a write 2 2-3 done 6", "watch w 0-9 6:a=2"], &["watch-chain"]),
        ("refused to resume", &[CREATE, "watch w 0-9 5:a=1 expired"], &["watch-expired"]),
    ];
    check(cases, watch);
}

#[test]
fn lists_are_one_moment() {
    let (one, two, three) = ("a create 1 0-1 done 5", "b create 2 2-3 done 6", "a write 3 4-5 done 7");
    let whole = "watch w 0-9 5:a=1 6:b=2 7:a=3 8:b=gone";
    let wrong: &[&str] = &["list"];
    let cases: &[(&str, &str, &[&str])] = &[
        ("before everything", "list 0-9 at 4", &[]),
        ("in the middle", "list 0-9 at 6 a=1@5 b=2@6", &[]),
        ("at the end", "list 0-9 at 9 a=3@7", &[]),
        ("an old value beside a new one", "list 0-9 at 7 a=1@5 b=2@6", wrong),
        ("a new value beside an old one", "list 0-9 at 6 a=3@7 b=2@6", wrong),
        ("a key is missing", "list 0-9 at 6 a=1@5", wrong),
        ("a deleted key", "list 0-9 at 8 a=3@7 b=2@6", wrong),
        ("a key not there yet", "list 0-9 at 5 a=1@5 b=2@6", wrong),
        ("the wrong revision", "list 0-9 at 5 a=1@4", wrong),
        ("a key that never was", "list 0-9 at 5 a=1@5 c=4@3", wrong),
    ];
    for (name, list, expected) in cases {
        let verdict = super::lists(&history(&[one, two, three, whole, list]));
        assert_eq!(broken(&verdict).as_deref(), Some(*expected), "{name}: {verdict}");
    }
}

#[test]
fn what_cannot_be_judged_is_no_pass() {
    let cases: &[(&str, &[&str])] = &[
        ("nobody watched", &[CREATE]),
        ("a write outside of what was watched", &[CREATE, "watch w 0-4"]),
        ("a write before the watch", &[CREATE, "watch w 5-9"]),
        ("a list after the watch", &[CREATE, "watch w 0-5 5:a=1", "list 2-3 at 6 a=1@5"]),
        ("a list in a gap between watchers", &[CREATE, "watch w 0-5 5:a=1", "watch v 7-9", "list 2-3 at 6 a=1@5"]),
        ("a list, and no watch from the beginning", &["watch w 5-9", "list 2-3 at 6 a=1@5"]),
        ("a value drawn twice", &[CREATE, "a write 1 2-3 done 6", "watch w 0-9 5:a=1 6:a=1"]),
        ("an answer that the call cannot have", &["a read 0-1 refused"]),
        ("a read without a revision", &["a read 0-1 found 1 0"]),
        ("times turned round", &["a read 2-1 absent"]),
        ("a list without a revision", &["list 0-1 at 0"]),
    ];
    for (name, lines) in cases {
        let verdict = all(&history(lines));
        assert!(matches!(verdict, Verdict::Undecided(_)), "{name}: {verdict}");
    }
    let (lines, sixteen): (Vec<String>, _) =
        ((1..=6).map(|value| format!("a write {value} 2-9 done {value}")).collect(), 16);
    let lines: Vec<&str> =
        lines.iter().map(String::as_str).chain(["a create 7 0-1 done 7", "a read 10-11 absent"]).collect();
    assert!(matches!(linear(&history(&lines), sixteen), Verdict::Undecided(_)));
    assert!(matches!(linear(&history(&lines), 10_000), Verdict::Violated(_)));
}

#[test]
fn a_quiet_campaign_does_not_count() {
    let history = history(&["a create 1 0-1 done 5", "a read 2-3 absent", "a write 2 2-3 absent", "watch w 0-9 5:a=1"]);
    let least = Wanted { reads: 1, creates: 1, watches: 1, events: 1, ..Wanted::default() };
    assert_eq!(coverage(&history, &least), Vec::new());
    let wants = [
        Wanted { reads: 2, ..least },
        Wanted { creates: 2, ..least },
        Wanted { writes: 1, ..least },
        Wanted { compares: 1, ..least },
        Wanted { deletes: 1, ..least },
        Wanted { listings: 1, ..least },
        Wanted { watches: 2, ..least },
        Wanted { events: 2, ..least },
    ];
    for wanted in wants {
        assert_eq!(coverage(&history, &wanted).len(), 1, "{wanted:?}");
    }
}

#[test]
fn the_summary_counts_every_answer() {
    let history = history(&[
        "a create 1 0-1 done 5",
        "a create 2 0-1 refused",
        "a read 2-3 absent",
        "a delete 2-3 unknown",
        "list 1-2 at 5",
    ]);
    let rows: Vec<String> = summary(&history).iter().map(|row| row.join(" ")).collect();
    let expected = [
        "read 0 1 0 0 0 1",
        "create 1 0 1 0 0 2",
        "write 0 0 0 0 0 0",
        "compare 0 0 0 0 0 0",
        "delete 0 0 0 0 1 1",
        "list 1 0 0 0 0 1",
        "watch event 0 0 0 0 0 0",
    ];
    assert_eq!(rows, expected);
    assert!(rows.iter().all(|row| !row.is_empty()) && super::SUMMARY.len() == summary(&history)[0].len());
}
