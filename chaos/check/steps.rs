//! One key's operations as steps of a machine with a small state, which `search` then puts in order.

use std::collections::HashMap;

use crate::history::{Answer, Call, Operation};

/// The key's state: [`ABSENT`], [`OTHER`], or 2 + the place of a value in [`Steps::values`].
pub(super) type State = u32;
/// There is no such key.
pub(super) const ABSENT: State = 0;
/// Some value that no answer depends on; all of them behave alike.
pub(super) const OTHER: State = 1;

/// What the state must be for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Needs {
    Absent,
    Present,
    Exactly(State),
    /// Present, with another value than this.
    Except(State),
}

impl Needs {
    /// Whether this state serves.
    pub(super) fn met(self, state: State) -> bool {
        match self {
            Self::Absent => state == ABSENT,
            Self::Present => state != ABSENT,
            Self::Exactly(wanted) => state == wanted,
            Self::Except(unwanted) => state != ABSENT && state != unwanted,
        }
    }
}

/// An operation that took effect at one moment from `from` to `until`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Its place among the key's operations.
    pub(super) operation: usize,
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) needs: Needs,
    /// The state after it; `None` when it changes nothing.
    pub(super) leaves: Option<State>,
    /// Where it is likely to stand; the greatest number when that is not known. Never trusted.
    pub(super) revision: u64,
}

/// One key's operations.
#[derive(Debug)]
pub(super) struct Steps {
    /// What has happened, by the start of its interval.
    pub(super) must: Vec<Step>,
    /// What may have happened. Each group holds operations with the same needs and the same effect, by their start:
    /// once invoked they are interchangeable, so only the number used of each group matters.
    pub(super) may: Vec<Vec<Step>>,
    /// Values on which some answer depends.
    pub(super) values: Vec<u64>,
}

impl Steps {
    /// The steps of one key's operations. Where `relaxed`, an answer is taken as unknown.
    pub(super) fn of(operations: &[&Operation], relaxed: &[bool]) -> Self {
        let seen = Seen::of(operations, relaxed);
        let mut must = Vec::new();
        let mut groups: HashMap<(Needs, State), Vec<Step>> = HashMap::new();
        for (operation, one) in operations.iter().enumerate() {
            let Some(knowledge) = Knowledge::of(one, relaxed[operation]) else { continue };
            let revision = one.written().unwrap_or(u64::MAX);
            let base = Step {
                operation,
                from: one.invoked,
                until: one.returned,
                needs: Needs::Absent,
                leaves: None,
                revision,
            };
            match (knowledge, seen.effect(&one.call)) {
                (Knowledge::Answered, effect) => {
                    if let Some((needs, leaves)) = seen.answered(one, effect) {
                        must.push(Step { needs, leaves, ..base });
                    }
                }
                (Knowledge::Open, Some((needs, leaves))) => {
                    let proof = one.call.value().and_then(|value| seen.proofs.get(&value));
                    let step = Step { needs, leaves: Some(leaves), until: u64::MAX, ..base };
                    match proof {
                        // Somebody met its value, so it has happened, and before that.
                        Some(&(until, revision)) => must.push(Step { until, revision, ..step }),
                        None => groups.entry((needs, leaves)).or_default().push(step),
                    }
                }
                (Knowledge::Open, None) => {}
            }
        }
        must.sort_by_key(|step| step.from);
        let mut may: Vec<Vec<Step>> = groups.into_values().collect();
        may.iter_mut().for_each(|group| group.sort_by_key(|step| step.from));
        may.sort_by_key(|group| group[0].operation);
        Self { must, may, values: seen.values }
    }
}

/// How much is known about an operation that plays a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    Answered,
    Open,
}

impl Knowledge {
    fn of(operation: &Operation, relaxed: bool) -> Option<Self> {
        match operation.answer {
            _ if relaxed => operation.may_have_happened().then_some(Self::Open),
            Answer::Failed => None,
            Answer::Unknown => operation.may_have_happened().then_some(Self::Open),
            _ => Some(Self::Answered),
        }
    }
}

/// Which values the answers speak of.
#[derive(Debug, Default)]
struct Seen {
    values: Vec<u64>,
    codes: HashMap<u64, State>,
    /// For each value that was certainly there: by when, and its revision where that is known.
    proofs: HashMap<u64, (u64, u64)>,
}

impl Seen {
    fn of(operations: &[&Operation], relaxed: &[bool]) -> Self {
        let mut seen = Self::default();
        let mut open = Vec::new();
        for (one, relaxed) in operations.iter().zip(relaxed) {
            match (&one.call, &one.answer, Knowledge::of(one, *relaxed)) {
                (Call::Read, Answer::Found { value, revision }, Some(_)) => {
                    seen.track(*value);
                    seen.prove(*value, one.returned, *revision);
                }
                (Call::Compare { expected, .. }, Answer::Done { .. }, Some(Knowledge::Answered)) => {
                    seen.track(*expected);
                    seen.prove(*expected, one.returned, u64::MAX);
                }
                (Call::Compare { expected, value }, _, Some(knowledge)) => {
                    seen.track(*expected);
                    if knowledge == Knowledge::Open {
                        open.push((*expected, *value));
                    }
                }
                _ => {}
            }
        }
        // A value that was there proves the comparison that wrote it, and that proves the value which it met.
        loop {
            let before = seen.proofs.clone();
            for (expected, value) in &open {
                if let Some(&(until, _)) = seen.proofs.get(value) {
                    seen.prove(*expected, until, u64::MAX);
                }
            }
            if before == seen.proofs {
                return seen;
            }
        }
    }

    fn track(&mut self, value: u64) {
        let next = self.values.len() as State + 2;
        if *self.codes.entry(value).or_insert(next) == next {
            self.values.push(value);
        }
    }

    fn prove(&mut self, value: u64, until: u64, revision: u64) {
        let proof = self.proofs.entry(value).or_insert((until, revision));
        *proof = (proof.0.min(until), proof.1.min(revision));
    }

    fn code(&self, value: u64) -> State {
        self.codes.get(&value).copied().unwrap_or(OTHER)
    }

    /// What the call needs and leaves when it takes effect.
    fn effect(&self, call: &Call) -> Option<(Needs, State)> {
        match *call {
            Call::Read => None,
            Call::Create { value } => Some((Needs::Absent, self.code(value))),
            Call::Write { value } => Some((Needs::Present, self.code(value))),
            Call::Compare { expected, value } => Some((Needs::Exactly(self.code(expected)), self.code(value))),
            Call::Delete => Some((Needs::Present, ABSENT)),
        }
    }

    /// What the answer tells about the state; nothing for answers that `unusable` refuses.
    fn answered(&self, operation: &Operation, effect: Option<(Needs, State)>) -> Option<(Needs, Option<State>)> {
        let needs = match (&operation.call, &operation.answer) {
            (_, Answer::Done { .. }) => return effect.map(|(needs, leaves)| (needs, Some(leaves))),
            (Call::Read, Answer::Found { value, .. }) => Needs::Exactly(self.code(*value)),
            (Call::Create { .. }, Answer::Refused) => Needs::Present,
            (Call::Compare { expected, .. }, Answer::Refused) => Needs::Except(self.code(*expected)),
            (Call::Create { .. }, _) => return None,
            (_, Answer::Absent) => Needs::Absent,
            _ => return None,
        };
        Some((needs, None))
    }
}
