//! What a chaos campaign records: every operation, every list and every watch event, with their times.
//!
//! All times are nanoseconds since the start of the campaign, read from one monotonic clock. Every attempt to write
//! draws a value that no other attempt of the campaign uses, so a value names the attempt that wrote it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client asked of one key, a ConfigMap that is absent at first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// GET.
    Read,
    /// POST: done when the key is absent, refused when it is present.
    Create {
        /// The value to write.
        value: u64,
    },
    /// PUT without a precondition: done when the key is present, [`Answer::Absent`] when it is not.
    Write {
        /// The value to write.
        value: u64,
    },
    /// PUT with the resourceVersion of `expected`: done when that is the present value, refused at any other value.
    Compare {
        /// The value that the client has read.
        expected: u64,
        /// The value to write.
        value: u64,
    },
    /// DELETE: done when the key is present, [`Answer::Absent`] when it is not.
    Delete,
}

impl Call {
    /// The call's name, as tables show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create { .. } => "create",
            Self::Write { .. } => "write",
            Self::Compare { .. } => "compare",
            Self::Delete => "delete",
        }
    }

    /// The value that it would write.
    pub fn value(&self) -> Option<u64> {
        match self {
            Self::Create { value } | Self::Write { value } | Self::Compare { value, .. } => Some(*value),
            Self::Read | Self::Delete => None,
        }
    }
}

/// What a client knows about the outcome of its call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A read found this.
    Found {
        /// The value.
        value: u64,
        /// The resourceVersion that came with it.
        revision: u64,
    },
    /// The key did not exist.
    Absent,
    /// The write took effect.
    Done {
        /// Its revision; 0 when the client did not learn it. For a deletion that of the deletion itself, never that of
        /// what was deleted.
        revision: u64,
    },
    /// A precondition did not hold; nothing was written.
    Refused,
    /// It certainly has not happened and never will.
    Failed,
    /// It may take effect once at any time after its invocation, also after `returned`, or never.
    Unknown,
}

/// One call of one client, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which client; it makes one call at a time.
    pub client: u32,
    /// Which master it spoke to.
    pub master: usize,
    /// The key.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When the call was made, in nanoseconds.
    pub invoked: u64,
    /// When the answer came or the client gave up, in nanoseconds.
    pub returned: u64,
    /// The outcome.
    pub answer: Answer,
}

impl Operation {
    /// The revision of an acknowledged write, when the client learned it.
    pub fn written(&self) -> Option<u64> {
        match self.answer {
            Answer::Done { revision } if revision > 0 => Some(revision),
            _ => None,
        }
    }

    /// Whether the write was acknowledged or may have happened unseen.
    pub fn may_have_happened(&self) -> bool {
        self.call != Call::Read && matches!(self.answer, Answer::Done { .. } | Answer::Unknown)
    }
}

/// One list of all keys of the campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which client.
    pub client: u32,
    /// Which master it spoke to.
    pub master: usize,
    /// When the call was made, in nanoseconds.
    pub invoked: u64,
    /// When the last page was there, in nanoseconds.
    pub returned: u64,
    /// The list's own resourceVersion.
    pub revision: u64,
    /// Value and revision of each key.
    pub items: BTreeMap<String, (u64, u64)>,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// The key that changed.
    pub key: String,
    /// The new value; `None` when the key was deleted.
    pub value: Option<u64>,
    /// When the watcher received it, in nanoseconds.
    pub received: u64,
}

/// Everything that one watcher saw, over all its connections.
///
/// At least one watcher of a campaign begins before the first operation: the lists are checked against what the
/// watchers saw since then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// The watcher's name.
    pub name: String,
    /// The master that it began with.
    pub master: usize,
    /// It saw what came after this revision.
    pub from: u64,
    /// It has seen everything up to this revision: that of the last bookmark, or of the quiet cluster at the end.
    pub until: u64,
    /// The events, in the order in which they were received.
    pub events: Vec<Event>,
    /// Each refusal to resume. The watchers never lag far enough to deserve one.
    pub expired: Vec<String>,
}

/// The record of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Operations of all clients, in any order.
    pub operations: Vec<Operation>,
    /// Lists of all clients, in any order.
    pub listings: Vec<Listing>,
    /// One entry for each watcher.
    pub watches: Vec<Watching>,
}

/// Shows nanoseconds as milliseconds.
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole microseconds: what is shorter decides nothing.
        write!(formatter, "{}.{:03}", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read | Self::Delete => formatter.write_str(self.name()),
            Self::Create { value } | Self::Write { value } => write!(formatter, "{} {value}", self.name()),
            Self::Compare { expected, value } => write!(formatter, "compare {expected} and write {value}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { value, revision } => write!(formatter, "found {value} at revision {revision}"),
            Self::Absent => formatter.write_str("absent"),
            Self::Done { revision: 0 } => formatter.write_str("done, revision not told"),
            Self::Done { revision } => write!(formatter, "done at revision {revision}"),
            Self::Refused => formatter.write_str("refused"),
            Self::Failed => formatter.write_str("failed"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, master, key, call, invoked, returned, answer } = self;
        let (invoked, returned) = (Milliseconds(*invoked), Milliseconds(*returned));
        write!(formatter, "{invoked} to {returned} ms, client {client}, master {master}: {call} of {key}: {answer}")
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, master, invoked, returned, revision, items } = self;
        let (invoked, returned, count) = (Milliseconds(*invoked), Milliseconds(*returned), items.len());
        write!(
            formatter,
            "{invoked} to {returned} ms, client {client}, master {master}: list: {count} keys at revision {revision}"
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = Milliseconds(self.received);
        match self.value {
            Some(value) => write!(formatter, "{received} ms: revision {}: {} is {value}", self.revision, self.key),
            None => write!(formatter, "{received} ms: revision {}: {} is deleted", self.revision, self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_its_file() {
        let answer = Answer::Found { value: 7, revision: 9 };
        let call = Call::Compare { expected: 1, value: 2 };
        let read = |call, answer| Operation {
            client: 1,
            master: 2,
            key: "a".into(),
            call,
            invoked: 1_500_000,
            returned: 2_000_400,
            answer,
        };
        let history = History {
            operations: vec![read(Call::Read, answer), read(call, Answer::Unknown)],
            listings: vec![Listing {
                client: 0,
                master: 0,
                invoked: 0,
                returned: 1,
                revision: 9,
                items: [("a".to_owned(), (7, 9))].into(),
            }],
            watches: vec![Watching {
                name: "first".into(),
                master: 0,
                from: 1,
                until: 9,
                events: vec![Event { revision: 9, key: "a".into(), value: None, received: 3 }],
                expired: vec!["410".into()],
            }],
        };
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        let shown = history.operations[1].to_string();
        assert_eq!(shown, "1.500 to 2.000 ms, client 1, master 2: compare 1 and write 2 of a: unknown");
    }
}
