//! The state and its one way to change.

use std::sync::Arc;

use imbl::OrdMap;
use objects::{Key, Resource};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::command::{self, Change, Command, Committed, Origin, Precondition, Refusal, Token, Transaction};
use crate::history::{Event, EventKind, History, HistoryLimits};
use crate::requests::{Answer, Requests};
use crate::rows::{self, ObjectRow, Row, Table, Write};
use crate::{Error, Revision, Stored};

/// Who leads, as the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// Log index of the "I lead" entry.
    pub token: Token,
    /// Raft id of the master.
    pub master: u64,
    /// The process that leads.
    pub incarnation: u128,
}

/// All that a cluster knows, at one revision. Cloning is cheap: versions share their structure.
#[derive(Clone, Default)]
pub struct State {
    objects: OrdMap<Key, Arc<Stored>>,
    history: History,
    requests: Requests,
    revision: Revision,
    tenure: Option<Tenure>,
    chain: [u8; 32],
}

/// What applying one entry did.
#[derive(Debug, Default)]
pub struct Applied {
    /// The answer to each transaction of the entry, in order.
    pub answers: Vec<Answer>,
    /// What happened, in order of revision.
    pub events: Vec<Arc<Event>>,
    /// What has to reach the disk, in one batch with the entry's log id.
    pub writes: Vec<Write>,
}

/// The one row of [`Table::Machine`].
#[derive(Serialize, Deserialize)]
struct MachineRow {
    revision: Revision,
    compacted: Revision,
    tenure: Option<Tenure>,
    chain: [u8; 32],
}

const MACHINE_KEY: &[u8] = b"machine";

impl State {
    /// The revision of the newest change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The newest revision whose change is forgotten: what is older or equal cannot be watched from.
    pub fn compacted(&self) -> Revision {
        self.history.compacted
    }

    /// Who leads, as far as this state has heard.
    pub fn tenure(&self) -> Option<Tenure> {
        self.tenure
    }

    /// A hash over all changes ever made, in order. Masters at the same revision must show the same.
    pub fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// The object of this name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    /// All objects of a resource, in list order.
    pub fn list<'a>(&'a self, resource: &Resource) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        self.list_from(Key::new(resource.clone(), "", ""))
    }

    /// Objects of a resource in one namespace, in list order.
    pub fn list_in<'a>(
        &'a self,
        resource: &Resource,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let start = Key::new(resource.clone(), namespace, "");
        let namespace = Arc::clone(&start.namespace);
        self.list_from(start).take_while(move |stored| stored.key.namespace == namespace)
    }

    /// Objects of the resource of `start` whose key is `start` or later, in list order.
    pub fn list_from<'a>(&'a self, start: Key) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let resource = start.resource.clone();
        self.objects.range(start..).map(|(_, stored)| stored).take_while(move |stored| stored.key.resource == resource)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Number of changes that history keeps, and the bytes they hold.
    pub fn history_size(&self) -> (usize, u64) {
        (self.history.len(), self.history.weight())
    }

    /// Changes of a resource after a revision, oldest first; `None` when some of them are already forgotten.
    pub fn events_after(&self, resource: &Resource, revision: Revision) -> Option<impl Iterator<Item = &Arc<Event>>> {
        (revision >= self.history.compacted).then(|| self.history.after(resource, revision))
    }

    /// The state as it was at an older revision, as far as `resource` is concerned; `None` when that is forgotten, or
    /// lies in the future.
    ///
    /// Every master can answer this, so a page token works on each of them.
    pub fn at(&self, resource: &Resource, revision: Revision) -> Option<State> {
        if revision < self.history.compacted || revision > self.revision {
            return None;
        }
        let mut then = self.clone();
        for event in self.history.after(resource, revision).rev() {
            match &event.previous {
                Some(previous) => then.objects.insert(event.key().clone(), Arc::clone(previous)),
                None => then.objects.remove(event.key()),
            };
        }
        then.revision = revision;
        Some(then)
    }

    /// The newest revision that `limits` want forgotten now: what to put into [`Command::Compact`].
    pub fn compaction_due(&self, now_ms: u64, limits: HistoryLimits) -> Option<Revision> {
        self.history.due(now_ms, limits)
    }

    /// Applies one committed entry. The same entries in the same order give the same state everywhere.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a row cannot be encoded. The state is then half changed: the process must end.
    pub fn apply(&mut self, index: u64, command: &Command) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        match command {
            Command::Transact(transactions) => {
                for transaction in transactions {
                    let answer = match self.requests.answer(transaction.id) {
                        Some(known) => known.clone(),
                        None => {
                            let answer = self.transact(transaction, &mut applied)?;
                            applied.writes.extend(self.requests.record(transaction.id, transaction.at_ms, &answer)?);
                            answer
                        }
                    };
                    applied.answers.push(answer);
                }
            }
            Command::Lead { master, incarnation } => {
                self.tenure = Some(Tenure { token: Token(index), master: *master, incarnation: *incarnation });
            }
            Command::Compact { until } => applied.writes.extend(self.history.compact((*until).min(self.revision))),
        }
        applied.writes.push(Write::Put(self.machine_row()?));
        Ok(applied)
    }

    fn transact(&mut self, transaction: &Transaction, applied: &mut Applied) -> Result<Answer, Error> {
        if let Origin::Duty(token) = transaction.origin
            && self.tenure.is_none_or(|tenure| tenure.token != token)
        {
            return Ok(Err(Refusal::Fenced(token)));
        }
        for precondition in &transaction.preconditions {
            if let Err(refusal) = self.check(precondition) {
                return Ok(Err(refusal));
            }
        }
        // A later change may rest on an earlier one of the same transaction, so deletions are checked against both.
        for (position, change) in transaction.changes.iter().enumerate() {
            if let Change::Delete { key } = change {
                let before = transaction.changes[..position].iter().rev().find(|earlier| earlier.key() == key);
                let exists = match before {
                    Some(Change::Put { .. }) => true,
                    Some(Change::Delete { .. }) => false,
                    None => self.objects.contains_key(key),
                };
                if !exists {
                    return Ok(Err(Refusal::NotFound(key.clone())));
                }
            }
        }
        let mut revisions = Vec::with_capacity(transaction.changes.len());
        for change in &transaction.changes {
            revisions.push(self.change(change, transaction.at_ms, applied)?);
        }
        Ok(Ok(Committed { revisions }))
    }

    fn check(&self, precondition: &Precondition) -> Result<(), Refusal> {
        let find = |key: &Key| self.objects.get(key).ok_or_else(|| Refusal::NotFound(key.clone()));
        match precondition {
            Precondition::Absent(key) => match self.objects.get(key) {
                Some(_) => Err(Refusal::AlreadyExists(key.clone())),
                None => Ok(()),
            },
            Precondition::Unchanged { key, revision } => {
                let found = find(key)?.revision;
                if found == *revision { Ok(()) } else { Err(Refusal::Changed { key: key.clone(), found }) }
            }
            Precondition::Exists { key, uid } => {
                let found = &find(key)?.face().uid;
                match uid {
                    Some(uid) if uid != found => Err(Refusal::Reborn { key: key.clone(), found: found.clone() }),
                    _ => Ok(()),
                }
            }
            Precondition::Active(key) => {
                if find(key)?.face().deleting {
                    Err(Refusal::Terminating(key.clone()))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn change(&mut self, change: &Change, at_ms: u64, applied: &mut Applied) -> Result<Revision, Error> {
        let key = change.key();
        let previous = self.objects.get(key).cloned();
        let revision = Revision(self.revision.0 + 1);
        let (kind, current) = match (change, &previous) {
            (Change::Put { object, .. }, Some(previous)) if previous.object == *object => return Ok(previous.revision),
            (Change::Put { object, .. }, _) => {
                let created = previous.as_ref().map_or(revision, |previous| previous.created);
                let stored = Arc::new(Stored::new(key.clone(), Arc::clone(object), created, revision));
                let value = command::encode(rows::FORMAT, "an object row", &ObjectRow::of(&stored))?;
                applied.writes.push(Write::Put(Row { table: Table::Objects, key: rows::object_key(key), value }));
                self.objects.insert(key.clone(), Arc::clone(&stored));
                (if previous.is_some() { EventKind::Updated } else { EventKind::Created }, stored)
            }
            (Change::Delete { .. }, Some(previous)) => {
                applied.writes.push(Write::Delete { table: Table::Objects, key: rows::object_key(key) });
                self.objects.remove(key);
                let object = Arc::clone(&previous.object);
                (EventKind::Deleted, Arc::new(Stored::new(key.clone(), object, previous.created, revision)))
            }
            (Change::Delete { .. }, None) => return Ok(self.revision),
        };
        self.revision = revision;
        self.chain = link(&self.chain, kind, &current);
        let event = Arc::new(Event::new(kind, at_ms, current, previous));
        applied.writes.push(self.history.record(Arc::clone(&event))?);
        applied.events.push(event);
        Ok(revision)
    }

    fn machine_row(&self) -> Result<Row, Error> {
        let row = MachineRow {
            revision: self.revision,
            compacted: self.history.compacted,
            tenure: self.tenure,
            chain: self.chain,
        };
        let value = command::encode(rows::FORMAT, "the machine row", &row)?;
        Ok(Row { table: Table::Machine, key: MACHINE_KEY.to_vec(), value })
    }

    /// The whole state as rows, for a snapshot.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + '_ {
        let objects = self.objects.iter().map(|(key, stored)| {
            command::encode(rows::FORMAT, "an object row", &ObjectRow::of(stored)).map(|value| Row {
                table: Table::Objects,
                key: rows::object_key(key),
                value,
            })
        });
        objects
            .chain(self.history.rows())
            .chain(self.requests.rows())
            .chain(std::iter::once_with(|| self.machine_row()))
    }

    /// Rebuilds a state from its rows, in any order.
    ///
    /// # Errors
    /// [`Error::Format`] for rows of a newer release, [`Error::Damaged`] when rows do not decode or do not fit together.
    pub fn load(rows: impl Iterator<Item = Row>) -> Result<Self, Error> {
        let mut state = Self::default();
        let (mut history, mut requests) = (Vec::new(), Vec::new());
        let mut compacted = Revision::default();
        for row in rows {
            match row.table {
                Table::Objects => {
                    let stored = command::decode::<ObjectRow>(rows::FORMAT, "an object row", &row.value)?.into_stored();
                    state.objects.insert(stored.key.clone(), Arc::new(stored));
                }
                Table::History => history.push((row.key, row.value)),
                Table::Requests => requests.push((row.key, row.value)),
                Table::Machine => {
                    let machine: MachineRow = command::decode(rows::FORMAT, "the machine row", &row.value)?;
                    (state.revision, state.tenure, state.chain) = (machine.revision, machine.tenure, machine.chain);
                    compacted = machine.compacted;
                }
            }
        }
        state.history = History::load(history, &state.objects)?;
        state.history.compacted = compacted;
        state.requests = Requests::load(requests)?;
        Ok(state)
    }
}

/// The next link of the chain over all changes.
fn link(chain: &[u8; 32], kind: EventKind, current: &Stored) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(chain);
    hash.update([match kind {
        EventKind::Created => 0,
        EventKind::Updated => 1,
        EventKind::Deleted => 2,
    }]);
    hash.update(current.revision.0.to_be_bytes());
    hash.update(rows::object_key(&current.key));
    hash.update(current.object.bytes());
    hash.finalize().into()
}
