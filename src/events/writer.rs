//! The queue between those who tell and the store.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Backoff, Stopping, task};
use objects::{Key, Object, kind};
use state::{Change, Precondition, Refusal, State};
use std::time::Duration;
use store::Duty;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Note;
use crate::spam::Spam;

/// Notes that wait to be written; beyond it the newest are dropped.
const QUEUE_MAX: usize = 4096;
/// Notes written in one transaction.
const BATCH_MAX: usize = 128;
/// Times that a batch is tried before it is dropped: events are not worth a queue that never empties.
const ATTEMPTS_MAX: u32 = 3;

/// Takes notes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Note>,
}

/// A recorder whose notes are written by a task of its own, until `stopping` or until the tenure ends.
///
/// Must be called within a tokio runtime.
pub fn recorder(duty: Duty, stopping: Stopping) -> Recorder {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    task::spawn("events", async move {
        stopping.unless(write_all(duty, receiver)).await;
    });
    Recorder { sender }
}

impl Recorder {
    /// A recorder that writes nothing, and the other end of it.
    pub fn to_channel(capacity: usize) -> (Self, mpsc::Receiver<Note>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender }, receiver)
    }

    /// Takes a note. When the queue is full, or the tenure is over, the note is dropped.
    pub fn record(&self, note: Note) {
        if let Err(mpsc::error::TrySendError::Full(note)) = self.sender.try_send(note) {
            tracing::debug!(reason = %note.reason, "an event was dropped: too many wait");
        }
    }
}

async fn write_all(duty: Duty, mut receiver: mpsc::Receiver<Note>) {
    let mut spam = Spam::default();
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let now = Instant::now();
        let mut by_namespace: HashMap<String, HashMap<Note, i64>> = HashMap::new();
        for note in batch.drain(..).filter(|note| spam.admit(&note.regarding.uid, note.component, now)) {
            *by_namespace.entry(note.namespace().to_owned()).or_default().entry(note).or_default() += 1;
        }
        for (namespace, notes) in by_namespace {
            if write(&duty, &namespace, &notes).await == Outcome::Over {
                return;
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Over,
}

async fn write(duty: &Duty, namespace: &str, notes: &HashMap<Note, i64>) -> Outcome {
    let mut backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 0..ATTEMPTS_MAX {
        let (preconditions, changes) = transaction(&duty.current(), namespace, notes);
        if changes.is_empty() {
            return Outcome::Done;
        }
        match duty.transact(preconditions, changes).await {
            Ok(_) => return Outcome::Done,
            Err(store::Error::Refused(Refusal::Fenced(_))) => return Outcome::Over,
            // No events are made in a namespace that is going or gone.
            Err(store::Error::Refused(Refusal::Terminating(_) | Refusal::NotFound(_))) => return Outcome::Done,
            Err(error) => {
                tracing::debug!(%error, namespace, "events were not written");
                backoff.wait().await;
            }
        }
    }
    Outcome::Done
}

fn transaction(state: &State, namespace: &str, notes: &HashMap<Note, i64>) -> (Vec<Precondition>, Vec<Change>) {
    let mut preconditions = vec![Precondition::Active(Key::new("namespaces", "", namespace))];
    let mut changes = Vec::new();
    let Some(kind) = kind::by_kind("v1", "Event") else {
        return (preconditions, changes);
    };
    for (note, times) in notes {
        let key = note.key();
        let known = state.get(&key);
        let value = known.and_then(|stored| serde_json::from_slice(stored.object.bytes()).ok());
        let mut event = note.event(value.as_ref(), *times, base::clock::now(), &base::random::uid());
        if objects::canonical::canonicalize(kind, &mut event).is_err() {
            continue;
        }
        if let Ok(object) = Object::new(kind, &event) {
            preconditions.push(match known {
                Some(stored) => Precondition::Unchanged { key: key.clone(), revision: stored.revision },
                None => Precondition::Absent(key.clone()),
            });
            changes.push(Change::Put { key, object: Arc::new(object) });
        }
    }
    (preconditions, changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::tests::note;
    use serde_json::Value;
    use state::{Command, Origin, RequestId, Transaction};

    fn apply(state: &mut State, id: u128, (preconditions, changes): (Vec<Precondition>, Vec<Change>)) {
        let transaction =
            Transaction { id: RequestId(id), origin: Origin::Client("t".into()), at_ms: 0, preconditions, changes };
        let applied = state.apply(id as u64, &Command::Transact(vec![transaction])).unwrap();
        applied.answers[0].clone().unwrap();
    }

    #[test]
    fn repeated_notes_count_up_in_one_event() {
        let mut state = State::default();
        let kind = kind::by_kind("v1", "Namespace").unwrap();
        let namespace =
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "n"}});
        let object = Arc::new(Object::new(kind, &namespace).unwrap());
        apply(&mut state, 1, (vec![], vec![Change::Put { key: Key::new("namespaces", "", "default"), object }]));
        let notes = HashMap::from([(note("a", "m"), 2), (note("b", "m"), 1)]);
        let first = transaction(&state, "default", &notes);
        apply(&mut state, 2, first);
        let second = transaction(&state, "default", &notes);
        apply(&mut state, 3, second);
        let mut counts: Vec<i64> = state
            .list(&"events".into())
            .map(|stored| serde_json::from_slice::<Value>(stored.object.bytes()).unwrap()["count"].as_i64().unwrap())
            .collect();
        counts.sort();
        assert_eq!(counts, [2, 4]);
    }

    #[test]
    fn a_full_queue_drops_and_does_not_wait() {
        let (recorder, mut receiver) = Recorder::to_channel(1);
        recorder.record(note("a", "m"));
        recorder.record(note("b", "m"));
        assert_eq!(receiver.try_recv().unwrap(), note("a", "m"));
        assert!(receiver.try_recv().is_err());
    }
}
