//! The recent past: every change as an event, for watches, old reads and pages of long lists.
//!
//! On disk history is an undo log: a row holds only what a revision *replaced*. What it *wrote* is the object itself, or
//! what the next change of that object replaced, so that a create costs its bytes once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use imbl::OrdMap;
use objects::{Key, Resource};
use serde::{Deserialize, Serialize};

use crate::rows::{self, ObjectRow};
use crate::{Error, Revision, Row, Stored, Table, Write, command};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It did not exist before.
    Created,
    /// It has new content.
    Updated,
    /// It is gone; the event's object is the last sight of it.
    Deleted,
}

/// One change of one object. Immutable and shared by every watcher.
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When it was proposed, milliseconds since the epoch.
    pub at_ms: u64,
    /// The object after the change; for a deletion the last content, at the revision of the deletion.
    pub current: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
    json: OnceLock<Bytes>,
}

impl Event {
    pub(crate) fn new(kind: EventKind, at_ms: u64, current: Arc<Stored>, previous: Option<Arc<Stored>>) -> Self {
        Self { kind, at_ms, current, previous, json: OnceLock::new() }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        self.current.revision
    }

    /// The object's name.
    pub fn key(&self) -> &Key {
        &self.current.key
    }

    /// The object after the change as JSON, made once and shared by all watchers.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| self.current.to_json())
    }

    /// What the event counts for in the bound on history: the bytes that only history keeps alive, and a row's overhead.
    fn weight(&self) -> u64 {
        let kept = self.previous.as_ref().map_or(0, |previous| previous.object.bytes().len());
        kept as u64 + 256
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {:?}", self.kind, self.current)
    }
}

/// How much history is kept. Whichever bound is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLimits {
    /// How long a change stays readable, in milliseconds.
    pub age_ms_max: u64,
    /// How many bytes of replaced objects are kept.
    pub bytes_max: u64,
    /// How many changes are kept.
    pub events_max: usize,
}

impl Default for HistoryLimits {
    /// Five minutes as etcd under upstream's API server, or 64 MiB, or 200,000 changes: a watch that was away longer relists.
    fn default() -> Self {
        Self { age_ms_max: 300_000, bytes_max: 64 << 20, events_max: 200_000 }
    }
}

#[derive(Serialize, Deserialize)]
struct HistoryRow {
    at_ms: u64,
    key: Key,
    deleted: bool,
    previous: Option<ObjectRow>,
}

/// Events by resource and revision, and by revision alone for compaction.
#[derive(Clone, Default)]
pub(crate) struct History {
    by_resource: OrdMap<Resource, OrdMap<Revision, Arc<Event>>>,
    order: OrdMap<Revision, Resource>,
    weight: u64,
    /// The newest revision that is no longer known.
    pub compacted: Revision,
}

impl History {
    /// Records an event and says which row keeps it.
    pub fn record(&mut self, event: Arc<Event>) -> Result<Write, Error> {
        let row = HistoryRow {
            at_ms: event.at_ms,
            key: event.key().clone(),
            deleted: event.kind == EventKind::Deleted,
            previous: event.previous.as_deref().map(ObjectRow::of),
        };
        let value = command::encode(rows::FORMAT, "a history row", &row)?;
        let write = Write::Put(Row { table: Table::History, key: row_key(event.revision()), value });
        self.insert(event);
        Ok(write)
    }

    fn insert(&mut self, event: Arc<Event>) {
        self.weight += event.weight();
        let resource = event.key().resource.clone();
        self.order.insert(event.revision(), resource.clone());
        self.by_resource.entry(resource).or_default().insert(event.revision(), event);
    }

    /// Events of one resource after a revision, oldest first.
    pub fn after(&self, resource: &Resource, revision: Revision) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let from = Revision(revision.0.saturating_add(1));
        self.by_resource.get(resource).into_iter().flat_map(move |events| events.range(from..).map(|(_, event)| event))
    }

    /// Forgets all up to and including `until`, and says which rows go.
    pub fn compact(&mut self, until: Revision) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some((revision, resource)) = self.order.get_min().cloned() {
            if revision > until {
                break;
            }
            self.order.remove(&revision);
            if let Some(events) = self.by_resource.get_mut(&resource)
                && let Some(event) = events.remove(&revision)
            {
                self.weight -= event.weight();
            }
            writes.push(Write::Delete { table: Table::History, key: row_key(revision) });
        }
        self.compacted = self.compacted.max(until);
        writes
    }

    /// The newest revision that a bound wants forgotten.
    pub fn due(&self, now_ms: u64, limits: HistoryLimits) -> Option<Revision> {
        let mut weight = self.weight;
        let mut count = self.order.len();
        let mut due = None;
        for (revision, resource) in &self.order {
            let event = self.by_resource.get(resource)?.get(revision)?;
            let old = event.at_ms.saturating_add(limits.age_ms_max) < now_ms;
            if !old && weight <= limits.bytes_max && count <= limits.events_max {
                break;
            }
            weight -= event.weight();
            count -= 1;
            due = Some(*revision);
        }
        due
    }

    /// The rows that keep this history.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + '_ {
        self.order.iter().filter_map(|(revision, resource)| {
            let event = self.by_resource.get(resource)?.get(revision)?;
            let row = HistoryRow {
                at_ms: event.at_ms,
                key: event.key().clone(),
                deleted: event.kind == EventKind::Deleted,
                previous: event.previous.as_deref().map(ObjectRow::of),
            };
            Some(command::encode(rows::FORMAT, "a history row", &row).map(|value| Row {
                table: Table::History,
                key: row_key(*revision),
                value,
            }))
        })
    }

    /// Rebuilds events from their undo rows and the objects as they are now.
    pub fn load(rows: Vec<(Vec<u8>, Vec<u8>)>, objects: &OrdMap<Key, Arc<Stored>>) -> Result<Self, Error> {
        let mut history = Self::default();
        // Newest first: what an event wrote is what the next newer event of the same object replaced.
        let mut newer: HashMap<Key, Option<Arc<Stored>>> = HashMap::new();
        let mut undo = rows;
        undo.sort_by(|left, right| right.0.cmp(&left.0));
        let damaged = |reason: &str| Error::Damaged { what: "a history row", reason: reason.into() };
        for (key, value) in undo {
            let revision =
                key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged("its key is short"))?;
            let revision = Revision(revision);
            let row: HistoryRow = command::decode(rows::FORMAT, "a history row", &value)?;
            let previous = row.previous.map(|row| Arc::new(row.into_stored()));
            let after = newer.get(&row.key).cloned().unwrap_or_else(|| objects.get(&row.key).cloned());
            let (kind, current) = match (row.deleted, &previous, after) {
                (true, Some(last), _) => (
                    EventKind::Deleted,
                    Arc::new(Stored::new(last.key.clone(), Arc::clone(&last.object), last.created, revision)),
                ),
                (false, Some(_), Some(after)) => (EventKind::Updated, after),
                (false, None, Some(after)) => (EventKind::Created, after),
                _ => return Err(damaged("it names an object that no row holds")),
            };
            if current.revision != revision {
                return Err(damaged("its object has another revision"));
            }
            newer.insert(row.key, previous.clone());
            history.insert(Arc::new(Event::new(kind, row.at_ms, current, previous)));
        }
        Ok(history)
    }

    /// Number of changes kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Bytes that the bound counts.
    pub fn weight(&self) -> u64 {
        self.weight
    }
}

fn row_key(revision: Revision) -> Vec<u8> {
    revision.0.to_be_bytes().to_vec()
}
