//! The machine against small scripts, and against its own rows.

use std::sync::Arc;

use objects::{Key, Object, Resource, kind};
use serde_json::json;

use crate::*;

fn object(name: &str, data: &str) -> Arc<Object> {
    let kind = kind::by_kind("v1", "ConfigMap").expect("served");
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": data},
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
    });
    Arc::new(Object::new(kind, &value).expect("object"))
}

fn key(name: &str) -> Key {
    Key::new("configmaps", "d", name)
}

fn put(name: &str, data: &str) -> Change {
    Change::Put { key: key(name), object: object(name, data) }
}

fn delete(name: &str) -> Change {
    Change::Delete { key: key(name) }
}

fn transaction(id: u128, preconditions: Vec<Precondition>, changes: Vec<Change>) -> Transaction {
    Transaction {
        id: RequestId(id),
        origin: Origin::Client("t".into()),
        at_ms: 1000 + id as u64,
        preconditions,
        changes,
    }
}

fn apply(state: &mut State, index: u64, transactions: Vec<Transaction>) -> Applied {
    let command = Command::Transact(transactions);
    let command = Command::decode(&command.encode().expect("encodes")).expect("decodes");
    state.apply(index, &command).expect("applies")
}

/// A state of some changes: creates a, b; updates a twice; deletes b.
fn lived() -> State {
    let mut state = State::default();
    apply(&mut state, 1, vec![transaction(1, vec![], vec![put("a", "1"), put("b", "1")])]);
    apply(
        &mut state,
        2,
        vec![transaction(2, vec![], vec![put("a", "2")]), transaction(3, vec![], vec![put("a", "3")])],
    );
    apply(&mut state, 3, vec![transaction(4, vec![], vec![delete("b")])]);
    state
}

fn reloaded(state: &State) -> State {
    State::load(state.rows().map(|row| row.expect("row"))).expect("loads")
}

fn shown(state: &State) -> String {
    let resource = Resource::from("configmaps");
    let objects: Vec<String> = state.list(&resource).map(|stored| format!("{stored:?}")).collect();
    let events: Vec<String> = state
        .events_after(&resource, state.compacted())
        .map(|events| {
            events
                .map(|event| {
                    format!("{event:?} was {:?} json {}", event.previous, String::from_utf8_lossy(event.json()))
                })
                .collect()
        })
        .unwrap_or_default();
    format!("{} {} {:?} {objects:?} {events:#?}", state.revision(), state.compacted(), state.chain())
}

#[test]
fn each_change_has_a_revision_of_its_own() {
    let state = lived();
    assert_eq!(state.revision(), Revision(5));
    assert_eq!(state.get(&key("a")).map(|stored| (stored.created, stored.revision)), Some((Revision(1), Revision(4))));
    assert!(state.get(&key("b")).is_none());
    let events: Vec<String> = state
        .events_after(&"configmaps".into(), Revision(0))
        .expect("kept")
        .map(|event| format!("{event:?}"))
        .collect();
    assert_eq!(
        events,
        [
            "Created configmaps/d/a@1",
            "Created configmaps/d/b@2",
            "Updated configmaps/d/a@3",
            "Updated configmaps/d/a@4",
            "Deleted configmaps/d/b@5",
        ]
    );
}

#[test]
fn rows_make_the_same_state() {
    let mut state = lived();
    assert_eq!(shown(&state), shown(&reloaded(&state)));
    state.apply(4, &Command::Compact { until: Revision(3) }).expect("applies");
    assert_eq!(shown(&state), shown(&reloaded(&state)));
}

#[test]
fn writes_make_the_same_rows_as_a_snapshot() {
    let mut state = State::default();
    let mut disk = std::collections::BTreeMap::new();
    let steps = [
        Command::Lead { master: 1, incarnation: 9 },
        Command::Transact(vec![transaction(1, vec![], vec![put("a", "1"), put("b", "1")])]),
        Command::Transact(vec![transaction(2, vec![], vec![put("a", "2"), delete("b")])]),
        Command::Compact { until: Revision(2) },
    ];
    for (index, command) in steps.iter().enumerate() {
        for write in state.apply(index as u64, command).expect("applies").writes {
            match write {
                Write::Put(row) => disk.insert((row.table, row.key), row.value),
                Write::Delete { table, key } => disk.remove(&(table, key)),
            };
        }
    }
    let snapshot: std::collections::BTreeMap<_, _> =
        state.rows().map(|row| row.expect("row")).map(|row| ((row.table, row.key), row.value)).collect();
    assert_eq!(disk, snapshot);
}

#[test]
fn preconditions_refuse_the_whole_transaction() {
    let absent = |name| Precondition::Absent(key(name));
    let unchanged = |name, revision| Precondition::Unchanged { key: key(name), revision: Revision(revision) };
    let exists = |name, uid: Option<&str>| Precondition::Exists { key: key(name), uid: uid.map(Into::into) };
    let cases = [
        (absent("a"), Err(Refusal::AlreadyExists(key("a")))),
        (absent("b"), Ok(())),
        (unchanged("a", 4), Ok(())),
        (unchanged("a", 3), Err(Refusal::Changed { key: key("a"), found: Revision(4) })),
        (unchanged("b", 2), Err(Refusal::NotFound(key("b")))),
        (exists("a", Some("uid-a")), Ok(())),
        (exists("a", Some("old")), Err(Refusal::Reborn { key: key("a"), found: "uid-a".into() })),
        (exists("a", None), Ok(())),
        (Precondition::Active(key("a")), Ok(())),
        (Precondition::Active(key("z")), Err(Refusal::NotFound(key("z")))),
    ];
    for (precondition, expected) in cases {
        let mut state = lived();
        let shown = format!("{precondition:?}");
        let applied =
            apply(&mut state, 9, vec![transaction(9, vec![precondition], vec![put("x", "1"), put("y", "1")])]);
        assert_eq!(applied.answers[0].clone().map(|_| ()), expected, "{shown}");
        assert_eq!(state.get(&key("x")).is_some(), expected.is_ok(), "{shown}");
    }
}

#[test]
fn a_repeat_gets_the_first_answer_and_is_not_done_twice() {
    let mut state = lived();
    let create = transaction(7, vec![Precondition::Absent(key("c"))], vec![put("c", "1")]);
    let first = apply(&mut state, 5, vec![create.clone()]).answers;
    let mut state = reloaded(&state);
    let again = apply(&mut state, 6, vec![create]);
    assert_eq!((first.len(), &first), (1, &again.answers));
    assert!(again.events.is_empty());
    assert_eq!(state.revision(), Revision(6));
}

#[test]
fn a_write_that_changes_nothing_gets_no_revision() {
    let mut state = lived();
    let applied = apply(&mut state, 5, vec![transaction(8, vec![], vec![put("a", "3")])]);
    assert_eq!(applied.answers[0].as_ref().expect("committed").revision(), Revision(4));
    assert_eq!(state.revision(), Revision(5));
}

#[test]
fn deleting_what_is_not_there_refuses_all() {
    let mut state = lived();
    let applied = apply(&mut state, 5, vec![transaction(8, vec![], vec![put("z", "1"), delete("z"), delete("z")])]);
    assert_eq!(applied.answers[0], Err(Refusal::NotFound(key("z"))));
    assert_eq!(state.revision(), Revision(5));
}

#[test]
fn an_old_tenure_is_fenced() {
    let mut state = State::default();
    let duty =
        |id, token| Transaction { origin: Origin::Duty(Token(token)), ..transaction(id, vec![], vec![put("a", "1")]) };
    assert_eq!(apply(&mut state, 1, vec![duty(1, 1)]).answers[0], Err(Refusal::Fenced(Token(1))));
    state.apply(2, &Command::Lead { master: 1, incarnation: 5 }).expect("applies");
    assert!(apply(&mut state, 3, vec![duty(2, 2)]).answers[0].is_ok());
    state.apply(4, &Command::Lead { master: 1, incarnation: 6 }).expect("applies");
    assert_eq!(apply(&mut state, 5, vec![duty(3, 2)]).answers[0], Err(Refusal::Fenced(Token(2))));
    assert!(apply(&mut state, 6, vec![duty(4, 4)]).answers[0].is_ok());
}

#[test]
fn the_past_can_be_read_until_it_is_compacted() {
    let mut state = lived();
    let resource = Resource::from("configmaps");
    let names = |state: &State| -> Vec<String> { state.list(&resource).map(|stored| format!("{stored:?}")).collect() };
    let now = names(&state);
    assert_eq!(names(&state.at(&resource, Revision(2)).expect("kept")), ["configmaps/d/a@1", "configmaps/d/b@2"]);
    assert_eq!(names(&state.at(&resource, Revision(1)).expect("kept")), ["configmaps/d/a@1"]);
    assert!(state.at(&resource, Revision(6)).is_none());
    state.apply(4, &Command::Compact { until: Revision(2) }).expect("applies");
    assert!(state.at(&resource, Revision(1)).is_none());
    assert!(state.events_after(&resource, Revision(1)).is_none());
    assert_eq!(state.events_after(&resource, Revision(2)).expect("kept").count(), 3);
    assert_eq!(names(&state), now);
}

#[test]
fn history_is_bounded_by_age_bytes_and_number() {
    let state = lived();
    let limits = HistoryLimits { age_ms_max: 1_000_000, bytes_max: u64::MAX, events_max: usize::MAX };
    assert_eq!(state.compaction_due(2_000, limits), None);
    assert_eq!(state.compaction_due(1_002 + 1_000_000, limits), Some(Revision(2)));
    assert_eq!(state.compaction_due(2_000, HistoryLimits { events_max: 2, ..limits }), Some(Revision(3)));
    assert_eq!(state.compaction_due(2_000, HistoryLimits { bytes_max: 0, ..limits }), Some(Revision(5)));
}

#[test]
fn damage_and_newer_formats_are_told_apart() {
    assert!(matches!(Command::decode(&[]), Err(Error::Damaged { .. })));
    assert!(matches!(Command::decode(&[9, 0]), Err(Error::Format { found: 9, known: 1, .. })));
    assert!(matches!(Command::decode(&[1, 0, 255]), Err(Error::Damaged { .. })));
    let mut rows: Vec<Row> = lived().rows().map(|row| row.expect("row")).collect();
    rows.retain(|row| row.table != Table::Objects);
    assert!(matches!(State::load(rows.into_iter()), Err(Error::Damaged { .. })));
}
