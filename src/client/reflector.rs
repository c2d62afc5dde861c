//! A list of objects mirrored from the cluster: listed once, then kept up to date by a watch that
//! resumes on another master when one fails.
//!
//! The mirror never goes back: answers older than the highest revision seen are refused, and while
//! no master is reachable the last state stays. Whether it may be acted upon is the reader's decision
//! ([`Reflector::last_contact`]).

use crate::client::Client;
use crate::watch::revision_of;
use crate::{Address, Error, EventKind, WatchEvent};
use base::shutdown::TriggerOnDrop;
use base::{Backoff, Stopping};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The pause after a failure grows from the first to the second: soon enough for a change of leader,
/// slow enough not to burden a cluster in trouble.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// A watch that lasted this long worked, even if it brought nothing.
const WATCH_LIFE_GOOD: Duration = Duration::from_secs(5);

/// The highest revision that a process has seen, shared by all its reflectors. Kept over restarts by
/// its owner.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    revision: Arc<AtomicU64>,
}

impl Floor {
    /// Starts from a kept revision; 0 when nothing was seen yet.
    pub fn new(revision: u64) -> Self {
        Self { revision: Arc::new(AtomicU64::new(revision)) }
    }

    /// The highest revision seen.
    pub fn get(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Notes that `revision` was seen.
    pub fn raise(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::SeqCst);
    }
}

/// What to mirror.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path of a collection with its selectors, as in `/api/v1/pods?fieldSelector=…`.
    pub path: String,
    /// The shared floor.
    pub floor: Floor,
}

/// Objects by `namespace/name`, or by `name` alone where there is no namespace.
pub type Objects<T> = BTreeMap<String, Arc<T>>;

/// The mirror at one moment.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// The revision up to which it is complete.
    pub revision: u64,
    /// Whether it was ever listed; before that it is empty and means nothing.
    pub synced: bool,
    /// The objects.
    pub objects: Arc<Objects<T>>,
}

/// A mirrored list. Clones show the same mirror; when the last is dropped, mirroring ends.
#[derive(Debug)]
pub struct Reflector<T> {
    mirror: Arc<Mirror<T>>,
    end: Arc<TriggerOnDrop>,
}

#[derive(Debug)]
struct Mirror<T> {
    state: RwLock<State<T>>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct State<T> {
    revision: u64,
    synced: bool,
    objects: Arc<Objects<T>>,
    last_contact: Option<Instant>,
    last_error: Option<String>,
}

/// Where the mirroring stands.
enum Phase {
    /// Nothing can be resumed: list.
    Listing,
    /// Complete up to this revision: watch from it.
    Watching(u64),
}

impl<T> Clone for Reflector<T> {
    fn clone(&self) -> Self {
        Self { mirror: self.mirror.clone(), end: self.end.clone() }
    }
}

impl<T: Send + Sync + 'static> Reflector<T> {
    /// Starts to mirror `source` until `stopping`. `decode` turns an object into what the mirror
    /// holds; an object that it refuses is reported in the log, and its last good state stays.
    pub fn start<E: Display>(
        client: Client,
        source: Source,
        stopping: &Stopping,
        decode: impl Fn(Value) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        let end = stopping.child().trigger_on_drop();
        let mirror = Arc::new(Mirror {
            state: RwLock::new(State {
                revision: 0,
                synced: false,
                objects: Arc::default(),
                last_contact: None,
                last_error: None,
            }),
            version: watch::Sender::new(0),
        });
        let decode = move |object: Value| decode(object).map_err(|error| error.to_string());
        let worker = Worker { client, source, mirror: mirror.clone(), decode };
        let stopped = end.stopping();
        base::task::spawn(format!("reflector {}", worker.source.path), async move {
            stopped.unless(worker.run()).await;
        });
        Self { mirror, end: Arc::new(end) }
    }

    /// The mirror now. Cheap; it does not change under the reader.
    pub fn snapshot(&self) -> Snapshot<T> {
        let state = self.mirror.read();
        Snapshot { revision: state.revision, synced: state.synced, objects: state.objects.clone() }
    }

    /// One object, by `namespace/name` or `name`.
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.mirror.read().objects.get(key).cloned()
    }

    /// Wakes after every change; many changes may wake once.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.mirror.version.subscribe()
    }

    /// Waits until the first list has arrived; false when mirroring ended before.
    pub async fn synced(&self) -> bool {
        let mut changes = self.subscribe();
        while !self.mirror.read().synced {
            if self.end.stopping().unless(changes.changed()).await.is_none() {
                return false;
            }
        }
        true
    }

    /// When a master last said anything about this list.
    pub fn last_contact(&self) -> Option<Instant> {
        self.mirror.read().last_contact
    }

    /// What went wrong last, until something goes well again.
    pub fn last_error(&self) -> Option<String> {
        self.mirror.read().last_error.clone()
    }
}

struct Worker<T, D> {
    client: Client,
    source: Source,
    mirror: Arc<Mirror<T>>,
    decode: D,
}

impl<T, D> Worker<T, D>
where
    T: Send + Sync + 'static,
    D: Fn(Value) -> Result<T, String> + Send + Sync,
{
    async fn run(self) {
        let mut phase = Phase::Listing;
        let mut pause = Backoff::doubling(PAUSE.0, PAUSE.1);
        loop {
            let started = Instant::now();
            let outcome = match phase {
                Phase::Listing => self.list().await.map(|revision| phase = Phase::Watching(revision)),
                Phase::Watching(from) => {
                    let mut reached = from;
                    let outcome = self.watch(&mut reached).await;
                    phase = match &outcome {
                        Err(error) if error.is_expired() || matches!(error, Error::Stale { .. }) => Phase::Listing,
                        _ => Phase::Watching(reached),
                    };
                    // A server that ends every watch at once must not be asked without pause.
                    if reached > from || started.elapsed() > WATCH_LIFE_GOOD {
                        pause.reset();
                    } else {
                        pause.wait().await;
                    }
                    outcome
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(path = %self.source.path, %error, "mirroring is interrupted");
                self.mirror.write().last_error = Some(error.to_string());
                if matches!(phase, Phase::Listing) {
                    pause.wait().await;
                }
            }
        }
    }

    async fn list(&self) -> Result<u64, Error> {
        let (mut list, master) = self.client.list_and_master(&self.source.path).await?;
        let unusable =
            |reason: &str| Error::Answer { what: format!("GET {}", self.source.path), reason: reason.to_owned() };
        let revision = revision_of(&list).ok_or_else(|| unusable("the list has no numeric resourceVersion"))?;
        self.check_floor(revision, &master)?;
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
            return Err(unusable("it is not a list"));
        };
        let before = self.mirror.read().objects.clone();
        let mut objects = Objects::new();
        for item in items {
            let Some(key) = key_of(&item) else { return Err(unusable("an object has no name")) };
            match (self.decode)(item) {
                Ok(object) => {
                    objects.insert(key, Arc::new(object));
                }
                Err(reason) => {
                    tracing::warn!(path = %self.source.path, key, reason, "an object cannot be understood");
                    if let Some(last) = before.get(&key) {
                        objects.insert(key, last.clone());
                    }
                }
            }
        }
        self.source.floor.raise(revision);
        self.mirror.change(|state| {
            state.revision = revision;
            state.synced = true;
            state.objects = Arc::new(objects);
        });
        Ok(revision)
    }

    /// Follows the changes after `reached` and moves it along.
    async fn watch(&self, reached: &mut u64) -> Result<(), Error> {
        let mut watch = self.client.watch(&self.source.path, Some(&reached.to_string())).await?;
        {
            let mut state = self.mirror.write();
            state.last_contact = Some(Instant::now());
            state.last_error = None;
        }
        while let Some(event) = watch.next().await {
            let event = event?;
            let revision = event.revision().unwrap_or(*reached);
            if revision < *reached {
                // Going on would lose changes or bring back what is gone.
                let error = Error::Stale { found: revision, floor: *reached };
                self.client.endpoints().failed(watch.master(), &error.to_string());
                return Err(error);
            }
            self.apply(event, revision);
            *reached = revision;
            self.source.floor.raise(revision);
        }
        Ok(())
    }

    fn apply(&self, event: WatchEvent, revision: u64) {
        let Some(key) = key_of(&event.object).filter(|_| event.kind != EventKind::Bookmark) else {
            let mut state = self.mirror.write();
            state.revision = revision;
            state.last_contact = Some(Instant::now());
            return;
        };
        if event.kind == EventKind::Deleted {
            self.mirror.change(|state| {
                state.revision = revision;
                Arc::make_mut(&mut state.objects).remove(&key);
            });
            return;
        }
        match (self.decode)(event.object) {
            Ok(object) => self.mirror.change(|state| {
                state.revision = revision;
                Arc::make_mut(&mut state.objects).insert(key, Arc::new(object));
            }),
            Err(reason) => {
                tracing::warn!(path = %self.source.path, key, reason, "an object cannot be understood");
                self.mirror.write().revision = revision;
            }
        }
    }

    fn check_floor(&self, revision: u64, master: &Address) -> Result<(), Error> {
        let floor = self.source.floor.get().max(self.mirror.read().revision);
        if revision >= floor {
            return Ok(());
        }
        let error = Error::Stale { found: revision, floor };
        tracing::warn!(path = %self.source.path, %master, found = revision, floor, "an answer is older than what was seen");
        self.client.endpoints().failed(master, &error.to_string());
        Err(error)
    }
}

impl<T> Mirror<T> {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let mut state = self.write();
        change(&mut state);
        state.last_contact = Some(Instant::now());
        drop(state);
        self.version.send_modify(|version| *version += 1);
    }
}

fn key_of(object: &Value) -> Option<String> {
    let name = object.pointer("/metadata/name")?.as_str()?;
    Some(match object.pointer("/metadata/namespace").and_then(Value::as_str) {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    })
}
