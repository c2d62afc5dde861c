//! Linearizability: for each key there is one order of its operations, true to real time, that explains every answer.

use std::collections::{BTreeMap, HashMap};

use super::search::{Outcome, Stuck, search};
use super::steps::{ABSENT, OTHER, Steps};
use super::{Findings, Verdict, unusable};
use crate::history::{Answer, Call, History, Operation};

const RULE: &str = "linearizability";
/// States visited to see whether an operation matters to a violation.
const STATES_TO_EXPLAIN: u64 = 2_000;
/// Operations shown of the longest order that was found.
const ORDER_SHOWN: usize = 5;
/// Keys whose violation is explained in full.
const KEYS_EXPLAINED: usize = 10;

/// Judges each key for itself, visiting at most `states_max` states for each. Unknown operations may have happened at
/// any time after their invocation, or never.
pub fn linear(history: &History, states_max: u64) -> Verdict {
    if let Some(reason) = unusable(history) {
        return Verdict::Undecided(reason);
    }
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let attempts: HashMap<u64, &Operation> =
        history.operations.iter().filter_map(|one| Some((one.call.value()?, one))).collect();
    let (mut findings, mut given_up, mut broken) = (Findings::default(), Vec::new(), 0);
    for (key, mut operations) in keys {
        operations.sort_by_key(|operation| operation.invoked);
        let relaxed = vec![false; operations.len()];
        let steps = Steps::of(&operations, &relaxed);
        match search(&steps, states_max) {
            Outcome::Ordered => {}
            Outcome::GivenUp => given_up.push(key),
            Outcome::Stuck(stuck) => {
                broken += 1;
                let core = if broken <= KEYS_EXPLAINED { core(&operations) } else { Vec::new() };
                findings.add(RULE, || explain(&operations, &steps, &stuck, &core, &attempts));
            }
        }
    }
    let doubt = match given_up.len() {
        0 => Verdict::Holds,
        count => Verdict::Undecided(format!(
            "{RULE}: {count} keys need more than {states_max} states, the first is {}",
            given_up[0]
        )),
    };
    Verdict::from(findings.list()).and(doubt)
}

/// Operations that contradict each other already when all other answers are taken as unknown.
fn core<'a>(operations: &[&'a Operation]) -> Vec<&'a Operation> {
    let mut relaxed = vec![false; operations.len()];
    let mut chunk = operations.len();
    while chunk > 0 {
        // From the end: what came after a violation rarely belongs to it.
        for start in (0..operations.len()).step_by(chunk).rev() {
            let end = operations.len().min(start + chunk);
            let mut tried = relaxed.clone();
            tried[start..end].fill(true);
            let outcome = (tried != relaxed).then(|| search(&Steps::of(operations, &tried), STATES_TO_EXPLAIN));
            if let Some(Outcome::Stuck(_)) = outcome {
                relaxed = tried;
            }
        }
        chunk /= 2;
    }
    let matters = |place: usize| {
        let value = operations[place].call.value();
        let meets = |other: usize| !relaxed[other] && met(operations[other]) == value;
        // Whoever reads of a value wants to see where it came from.
        !relaxed[place] || (value.is_some() && (0..operations.len()).any(meets))
    };
    (0..operations.len()).filter(|place| matters(*place)).map(|place| operations[place]).collect()
}

fn explain(
    operations: &[&Operation],
    steps: &Steps,
    stuck: &Stuck,
    core: &[&Operation],
    attempts: &HashMap<u64, &Operation>,
) -> (String, Vec<String>) {
    let blocked = operations[stuck.blocked];
    let state = match stuck.state {
        ABSENT => "the key absent".to_owned(),
        OTHER => "a value that nobody read".to_owned(),
        code => format!("the value {}", steps.values[code as usize - 2]),
    };
    let text = format!(
        "no order of the operations on {} explains all answers: {} of {} fit and leave {state}, then this cannot: \
         {blocked}{}",
        blocked.key,
        stuck.placed,
        steps.must.len(),
        origin(blocked, attempts)
    );
    let mut excerpt = Vec::new();
    if !core.is_empty() {
        excerpt.push(format!("these {} of its {} operations contradict each other:", core.len(), operations.len()));
        excerpt.extend(core.iter().map(ToString::to_string));
    }
    let shown = stuck.order.len().saturating_sub(ORDER_SHOWN);
    if shown < stuck.order.len() {
        excerpt.push("the longest order that fits ends with:".to_owned());
        excerpt.extend(stuck.order[shown..].iter().map(|place| operations[*place].to_string()));
    }
    (text, excerpt)
}

/// The value that was there when the operation took effect, where its answer tells.
fn met(operation: &Operation) -> Option<u64> {
    match (&operation.call, &operation.answer) {
        (Call::Read, Answer::Found { value, .. }) => Some(*value),
        (Call::Compare { expected, .. }, Answer::Done { .. }) => Some(*expected),
        _ => None,
    }
}

/// What is odd about the value that an operation met.
fn origin(operation: &Operation, attempts: &HashMap<u64, &Operation>) -> String {
    let Some(met) = met(operation) else { return String::new() };
    match attempts.get(&met) {
        None => format!("; nobody ever tried to write {met}"),
        Some(attempt) if attempt.key != operation.key => format!("; {met} was written to {}", attempt.key),
        Some(attempt) if attempt.answer == Answer::Failed => format!("; the attempt to write {met} had failed"),
        Some(attempt) if attempt.invoked > operation.returned => format!("; {met} was only written later"),
        Some(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Case, check, history};
    use super::*;

    #[test]
    fn answers_need_an_order() {
        let wrong: &[&str] = &["linearizability"];
        let cases: &[Case] = &[
            ("nothing", &[], &[]),
            ("one after the other", &["a read 0-1 absent", "a create 1 2-3 done 1", "a read 4-5 found 1 1"], &[]),
            ("at the same time", &["a create 1 0-9 done 1", "a read 1-2 found 1 1", "a read 0-8 absent"], &[]),
            ("keys are apart", &["a create 1 0-1 done 1", "b read 2-3 absent", "b create 2 4-5 done 2"], &[]),
            (
                "all answers",
                &[
                    "a write 1 0-1 absent",
                    "a compare 1 2 2-3 absent",
                    "a delete 4-5 absent",
                    "a create 3 6-7 done 1",
                    "a create 4 8-9 refused",
                    "a compare 3 5 10-11 done 2",
                    "a compare 3 6 12-13 refused",
                    "a write 7 14-15 done 3",
                    "a delete 16-17 done 0",
                    "a read 18-19 absent",
                ],
                &[],
            ),
            ("what failed did not happen", &["a create 1 0-1 failed", "a read 2-3 absent"], &[]),
            ("what is unknown may not happen", &["a create 1 0-1 unknown", "a read 2-3 absent"], &[]),
            (
                "what is unknown may happen late",
                &["a create 1 0-1 unknown", "a read 2-3 absent", "a read 8-9 found 1 1", "a create 2 10-11 refused"],
                &[],
            ),
            (
                "an unseen write explains a refusal",
                &[
                    "a create 1 0-1 done 1",
                    "a write 2 2-3 unknown",
                    "a compare 1 3 4-5 refused",
                    "a delete 6-7 unknown",
                    "a create 4 8-9 done 4",
                ],
                &[],
            ),
            (
                "one way to a state uses up another operation than the other way",
                &[
                    "a create 1 0-1 done 1",
                    "a compare 1 2 2-3 unknown",
                    "a write 3 4-5 unknown",
                    "a compare 1 4 6-7 refused",
                    "a write 5 8-9 done 5",
                    "a compare 5 6 10-11 refused",
                ],
                &[],
            ),
            (
                "one way to a state uses up more than the other way",
                &[
                    "a create 1 0-1 done 1",
                    "a create 2 2-3 unknown",
                    "a delete 4-5 unknown",
                    "a delete 10-20 done 2",
                    "a write 3 10-20 done 3",
                    "a create 4 30-31 done 4",
                    "a read 40-41 absent",
                ],
                &[],
            ),
            ("equal times are concurrent", &["a create 1 0-5 done 1", "a read 5-6 absent"], &[]),
            ("stale read", &["a create 1 0-1 done 1", "a write 2 2-3 done 2", "a read 4-5 found 1 1"], wrong),
            (
                "reads go back",
                &["a create 1 0-1 done 1", "a write 2 2-9 done 2", "a read 3-4 found 2 2", "a read 5-6 found 1 1"],
                wrong,
            ),
            ("lost write", &["a create 1 0-1 done 1", "a read 2-3 absent"], wrong),
            (
                "acknowledged early",
                &["a create 1 0-1 done 1", "a write 2 2-3 done 2", "a read 4-5 found 1 1", "a read 6-7 found 2 2"],
                wrong,
            ),
            (
                "resurrected after it was overwritten",
                &[
                    "a create 1 0-1 done 1",
                    "a write 2 2-3 unknown",
                    "a read 4-5 found 2 2",
                    "a write 3 6-7 done 3",
                    "a read 8-9 found 2 2",
                ],
                wrong,
            ),
            ("deleted and back", &["a create 1 0-1 done 1", "a delete 2-3 done 0", "a read 4-5 found 1 1"], wrong),
            (
                "an unknown comparison that took effect twice",
                &[
                    "a create 1 0-1 done 1",
                    "a compare 1 2 2-3 unknown",
                    "a read 4-5 found 2 2",
                    "a write 3 6-7 done 3",
                    "a read 8-9 found 3 3",
                    "a read 10-11 found 2 4",
                ],
                wrong,
            ),
            (
                "an unknown create that took effect twice",
                &[
                    "a create 1 0-1 unknown",
                    "a read 2-3 found 1 1",
                    "a delete 4-5 done 0",
                    "a read 6-7 absent",
                    "a read 8-9 found 1 3",
                ],
                wrong,
            ),
            ("never written", &["a create 1 0-1 done 1", "a read 2-3 found 9 9"], wrong),
            ("of another key", &["a create 1 0-1 done 1", "b read 2-3 found 1 1"], wrong),
            ("failed and yet done", &["a create 1 0-1 failed", "a read 2-3 found 1 1"], wrong),
            ("read before it was written", &["a read 0-1 found 1 1", "a create 1 2-3 done 1"], wrong),
            ("read before an unknown attempt", &["a read 0-1 found 1 1", "a create 1 2-3 unknown"], wrong),
            ("two creates", &["a create 1 0-1 done 1", "a create 2 2-3 done 2"], wrong),
            (
                "two comparisons with one value",
                &["a create 1 0-1 done 1", "a compare 1 2 2-5 done 2", "a compare 1 3 2-5 done 3"],
                wrong,
            ),
            ("refused for nothing", &["a create 1 0-1 done 1", "a compare 1 2 2-3 refused"], wrong),
            ("create refused for nothing", &["a create 1 0-1 refused"], wrong),
            ("a deletion of nothing", &["a delete 0-1 done 0"], wrong),
            (
                "a chain of unknown comparisons without its first value",
                &[
                    "a create 1 0-1 done 1",
                    "a compare 1 2 2-3 unknown",
                    "a compare 2 3 4-5 unknown",
                    "a write 4 6-7 done 9",
                    "a compare 4 5 8-9 done 10",
                    "a read 10-11 found 3 11",
                ],
                wrong,
            ),
        ];
        check(cases, |history| linear(history, 10_000));
    }

    #[test]
    fn a_violation_is_explained_by_what_contradicts() {
        let noise = ["a read 0-1 absent", "a create 1 2-3 done 1", "a read 4-5 found 1 1", "a compare 1 2 6-7 done 2"];
        let wrong =
            ["a write 3 8-9 done 3", "a read 10-11 found 2 2", "a read 12-13 found 3 3", "a delete 14-15 done 0"];
        let verdict = linear(&history(&[noise, wrong].concat()), 10_000);
        let [finding] = verdict.findings() else { panic!("{verdict}") };
        assert_eq!(
            finding.to_string(),
            "linearizability: no order of the operations on a explains all answers: 5 of 8 fit and leave the value 3, then \
             this cannot: \
             10.000 to 11.000 ms, client 6, master 0: read of a: found 2 at revision 2\
             \n    these 3 of its 8 operations contradict each other:\
             \n    6.000 to 7.000 ms, client 4, master 0: compare 1 and write 2 of a: done at revision 2\
             \n    8.000 to 9.000 ms, client 5, master 0: write 3 of a: done at revision 3\
             \n    10.000 to 11.000 ms, client 6, master 0: read of a: found 2 at revision 2\
             \n    the longest order that fits ends with:\
             \n    0.000 to 1.000 ms, client 1, master 0: read of a: absent\
             \n    2.000 to 3.000 ms, client 2, master 0: create 1 of a: done at revision 1\
             \n    4.000 to 5.000 ms, client 3, master 0: read of a: found 1 at revision 1\
             \n    6.000 to 7.000 ms, client 4, master 0: compare 1 and write 2 of a: done at revision 2\
             \n    8.000 to 9.000 ms, client 5, master 0: write 3 of a: done at revision 3"
        );
    }

    #[test]
    fn many_findings_of_one_rule_are_counted() {
        let lines: Vec<String> = (0..30).map(|key| format!("k{key} delete 0-1 done 0")).collect();
        let verdict = linear(&history(&lines.iter().map(String::as_str).collect::<Vec<_>>()), 100);
        assert_eq!(verdict.findings().len(), 11);
        assert_eq!(verdict.findings().last().map(|finding| finding.text.as_str()), Some("and 20 more"));
    }
}
