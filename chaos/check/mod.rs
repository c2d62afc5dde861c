//! Judges a recorded campaign: pure functions from a [`History`] to what is wrong with it.
//!
//! Each rule is its own file. A history that cannot be judged is [`Verdict::Undecided`], which never counts as a pass.

mod coverage;
mod facts;
mod linear;
mod lists;
#[cfg(test)]
mod property;
mod revisions;
#[cfg(test)]
mod script;
mod search;
#[cfg(test)]
mod simulation;
mod steps;
#[cfg(test)]
mod tests;
mod timeline;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

pub use coverage::{Wanted, coverage};
pub use linear::linear;
pub use lists::lists;
pub use revisions::revisions;
pub use watch::watch;

use crate::history::{Answer, Call, History, Operation};

/// States of one key that [`all`] visits before it gives up; a usual key needs as many as it has operations.
pub const STATES_MAX: u64 = 500_000;
/// Findings of one rule that are told in full.
const FINDINGS_MAX: usize = 10;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The broken rule.
    pub rule: &'static str,
    /// What happened, in plain words.
    pub text: String,
    /// The lines of the history that show it.
    pub excerpt: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.rule, self.text)?;
        self.excerpt.iter().try_for_each(|line| write!(formatter, "\n    {line}"))
    }
}

/// What a checker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was recorded keeps the rule.
    Holds,
    /// Something broke it.
    Violated(Vec<Finding>),
    /// Nothing broke it as far as could be seen, but not everything could be seen, for this reason. Not a pass.
    Undecided(String),
}

impl Verdict {
    /// Whether everything held.
    pub fn holds(&self) -> bool {
        *self == Self::Holds
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Violated(findings) => findings,
            Self::Holds | Self::Undecided(_) => &[],
        }
    }

    /// Both verdicts as one: a violation outweighs a doubt, a doubt outweighs a pass.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Violated(mut one), Self::Violated(two)) => {
                one.extend(two);
                Self::Violated(one)
            }
            (violated @ Self::Violated(_), _) | (_, violated @ Self::Violated(_)) => violated,
            (Self::Undecided(one), Self::Undecided(two)) => Self::Undecided(format!("{one}; {two}")),
            (undecided @ Self::Undecided(_), _) | (_, undecided @ Self::Undecided(_)) => undecided,
            (Self::Holds, Self::Holds) => Self::Holds,
        }
    }
}

impl From<Vec<Finding>> for Verdict {
    fn from(findings: Vec<Finding>) -> Self {
        if findings.is_empty() { Self::Holds } else { Self::Violated(findings) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => formatter.write_str("holds"),
            Self::Undecided(reason) => write!(formatter, "undecided: {reason}"),
            Self::Violated(findings) => {
                formatter.write_str("violated")?;
                findings.iter().try_for_each(|finding| write!(formatter, "\n{finding}"))
            }
        }
    }
}

/// Every rule but [`coverage`], which needs to know what was wanted.
pub fn all(history: &History) -> Verdict {
    if let Some(reason) = unusable(history) {
        return Verdict::Undecided(reason);
    }
    linear(history, STATES_MAX).and(revisions(history).into()).and(watch(history)).and(lists(history))
}

/// Heading of the rows of [`summary`].
pub const SUMMARY: [&str; 7] = ["call", "done", "absent", "refused", "failed", "unknown", "all"];

/// How many calls of each kind had which outcome; one row for each kind.
pub fn summary(history: &History) -> Vec<Vec<String>> {
    let mut counts: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    for operation in &history.operations {
        let column = match operation.answer {
            Answer::Found { .. } | Answer::Done { .. } => 0,
            Answer::Absent => 1,
            Answer::Refused => 2,
            Answer::Failed => 3,
            Answer::Unknown => 4,
        };
        counts.entry(operation.call.name()).or_default()[column] += 1;
    }
    counts.entry("list").or_default()[0] = history.listings.len();
    counts.entry("watch event").or_default()[0] = history.watches.iter().map(|watching| watching.events.len()).sum();
    let order = ["read", "create", "write", "compare", "delete", "list", "watch event"];
    let row = |name: &str| {
        let count = counts.get(name).copied().unwrap_or_default();
        let cells = count.iter().chain([&count.iter().sum()]).map(usize::to_string).collect::<Vec<_>>();
        [vec![name.to_owned()], cells].concat()
    };
    order.into_iter().map(row).collect()
}

/// Why the record itself cannot be trusted: a fault of the recorder, not of the cluster.
fn unusable(history: &History) -> Option<String> {
    let mut attempts: HashMap<u64, &Operation> = HashMap::new();
    for operation in &history.operations {
        if operation.returned < operation.invoked {
            return Some(format!("an operation returned before it was invoked: {operation}"));
        }
        if !fits(operation) {
            return Some(format!("this call cannot have this answer: {operation}"));
        }
        if let Some(first) = operation.call.value().and_then(|value| attempts.insert(value, operation)) {
            return Some(format!("a value was drawn twice: {first}; {operation}"));
        }
    }
    let listing =
        history.listings.iter().find(|listing| listing.returned < listing.invoked || listing.revision == 0)?;
    Some(format!("a list without a revision or with impossible times: {listing}"))
}

/// Whether the model knows this answer to this call.
fn fits(operation: &Operation) -> bool {
    let answer = &operation.answer;
    match operation.call {
        _ if matches!(answer, Answer::Failed | Answer::Unknown) => true,
        Call::Read => matches!(answer, Answer::Found { revision: 1.., .. } | Answer::Absent),
        Call::Create { .. } => matches!(answer, Answer::Done { .. } | Answer::Refused),
        Call::Write { .. } | Call::Delete => matches!(answer, Answer::Done { .. } | Answer::Absent),
        Call::Compare { .. } => matches!(answer, Answer::Done { .. } | Answer::Refused | Answer::Absent),
    }
}

/// Collects findings, and only counts those of a rule that was broken often enough already.
#[derive(Debug, Default)]
struct Findings {
    told: Vec<Finding>,
    counts: BTreeMap<&'static str, usize>,
}

impl Findings {
    /// Adds a finding; the words are made only when they are told.
    fn add(&mut self, rule: &'static str, words: impl FnOnce() -> (String, Vec<String>)) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= FINDINGS_MAX {
            let (text, excerpt) = words();
            self.told.push(Finding { rule, text, excerpt });
        }
    }

    /// All that was told, and how much was not.
    fn list(mut self) -> Vec<Finding> {
        for (rule, count) in self.counts {
            if count > FINDINGS_MAX {
                let text = format!("and {} more", count - FINDINGS_MAX);
                self.told.push(Finding { rule, text, excerpt: Vec::new() });
            }
        }
        self.told
    }
}
