//! Concurrent clients on every master: create, compare-and-set, overwrite, delete, read, list and watch, all recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Call as Request, Client, EventKind, WatchEvent};
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::history::{Answer, Call, Event, History, Listing, Operation, Watching};
use crate::{Error, Fleet};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const SELECTED: &str = "/api/v1/namespaces/default/configmaps?labelSelector=app%3Dchaos";
/// Clients that write and read single objects, for each master.
const CLIENTS: u32 = 3;
/// Keys that are worked on at a time.
const KEYS: u64 = 5;
/// Operations on a key until it is left for a new one; bounds the search of the checker.
const KEY_OPERATIONS: u64 = 80;
/// Deadline of one operation.
const ATTEMPT: Duration = Duration::from_millis(2_000);
/// Pause of a client between two operations, and of a lister.
const PAUSE: Duration = Duration::from_millis(25);
const LIST_PAUSE: Duration = Duration::from_millis(150);
/// How long a master may take to show something after a fault.
const FIRST_READ: Duration = Duration::from_secs(30);
/// After so many refusals a watch gives up.
const REFUSALS_MAX: usize = 3;
/// How long the last events may take to reach every watch.
const LAST_EVENTS: Duration = Duration::from_secs(30);

/// Clients at work.
pub struct Traffic {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    stop: AtomicBool,
    /// Watches end once they have seen this revision.
    last: tokio::sync::watch::Sender<u64>,
    values: AtomicU64,
    operations: AtomicU64,
    history: Mutex<History>,
    watches: Vec<Mutex<Watching>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    async fn recorded(&self) -> History {
        let mut history = std::mem::take(&mut *self.history.lock().await);
        for watch in &self.watches {
            history.watches.push(watch.lock().await.clone());
        }
        history
    }
}

impl Traffic {
    /// Starts clients on every master.
    pub async fn start(fleet: &Fleet, seed: u64) -> Result<Self, Error> {
        let first = fleet.client(0)?.json(Request::get(SELECTED)).await?;
        let from = revision_of(&first).unwrap_or(0);
        let watching = |master: usize| Watching {
            name: format!("watch of master {}", master + 1),
            master,
            from,
            until: from,
            events: Vec::new(),
            expired: Vec::new(),
        };
        let shared = Arc::new(Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            last: tokio::sync::watch::Sender::new(u64::MAX),
            values: AtomicU64::new(1),
            operations: AtomicU64::new(0),
            history: Mutex::new(History::default()),
            watches: (0..fleet.len()).map(|master| Mutex::new(watching(master))).collect(),
        });
        let (mut workers, mut watchers) = (Vec::new(), Vec::new());
        for master in 0..fleet.len() {
            for number in 0..CLIENTS {
                let id = u32::try_from(master).unwrap_or(0) * 100 + number;
                let worker = Worker {
                    shared: Arc::clone(&shared),
                    client: fleet.client(master)?,
                    master,
                    id,
                    random: StdRng::seed_from_u64(seed ^ (u64::from(id) << 32)),
                    seen: BTreeMap::new(),
                };
                workers.push(tokio::spawn(worker.work()));
            }
            let id = u32::try_from(master).unwrap_or(0) * 100 + 90;
            workers.push(tokio::spawn(list(Arc::clone(&shared), fleet.client(master)?, master, id)));
            watchers.push(tokio::spawn(watch(Arc::clone(&shared), fleet.client(master)?, master)));
        }
        Ok(Self { shared, workers, watchers })
    }

    /// Lists through each master until it has answered once: what it shows first after a fault. All are asked, so that what
    /// one of them shows is recorded also when another does not come back.
    pub async fn first_reads(&self, fleet: &Fleet) -> Result<(), Error> {
        let clients = (0..fleet.len()).map(|master| fleet.client(master)).collect::<Result<Vec<_>, _>>()?;
        let reads = clients.iter().enumerate().map(|(master, client)| {
            crate::fleet::wait("a first read", FIRST_READ, async move || {
                Ok(one_list(&self.shared, client, master, 900).await.then_some(()))
            })
        });
        futures::future::join_all(reads).await.into_iter().collect()
    }

    /// Lets every operation under way end, and starts no new one.
    pub async fn quiesce(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + 4 * ATTEMPT;
        while self.workers.iter().any(|worker| !worker.is_finished()) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends everything and returns what was recorded until then, which has no common end.
    pub async fn cut_off(self) -> History {
        // An operation that is under way may have happened: it has to be in the history.
        self.quiesce().await;
        for task in self.workers.into_iter().chain(self.watchers) {
            task.abort();
            // Cancelled, as wanted.
            let _ = task.await;
        }
        self.shared.recorded().await
    }

    /// Reads all once more through every master, waits until every watch has seen the last revision, and returns the
    /// history.
    pub async fn finish(self, fleet: &Fleet) -> Result<History, Error> {
        self.first_reads(fleet).await?;
        // A last write, so that there is an event at the end that every watch must see.
        let client = fleet.client(0)?;
        let name = "last".to_owned();
        let value = self.shared.values.fetch_add(1, Ordering::SeqCst);
        let invoked = self.shared.now();
        let made = client.json(Request::new(Method::POST, PATH).json(&body(&name, value, None))).await?;
        let last = revision_of(&made).ok_or_else(|| Error::Answer("a created object has no revision".into()))?;
        let operation = Operation {
            client: 900,
            master: 0,
            key: name,
            call: Call::Create { value },
            invoked,
            returned: self.shared.now(),
            answer: Answer::Done { revision: last },
        };
        self.shared.history.lock().await.operations.push(operation);
        self.shared.last.send_replace(last);
        let deadline = Instant::now() + LAST_EVENTS;
        for (watcher, place) in self.watchers.into_iter().zip(&self.shared.watches) {
            let abort = watcher.abort_handle();
            if tokio::time::timeout_at(deadline, watcher).await.is_err() {
                abort.abort();
                let mut watching = place.lock().await;
                let text = format!("at revision {} and not at {last} after {LAST_EVENTS:?}", watching.until);
                watching.expired.push(text);
            }
        }
        for worker in self.workers {
            // A worker that panicked has recorded what it did until then.
            let _ = worker.await;
        }
        Ok(self.shared.recorded().await)
    }
}

struct Worker {
    shared: Arc<Shared>,
    client: Client,
    master: usize,
    id: u32,
    random: StdRng,
    /// What this client has read last: value and revision by key.
    seen: BTreeMap<String, (u64, u64)>,
}

impl Worker {
    async fn work(mut self) {
        while !self.shared.stop.load(Ordering::SeqCst) {
            let number = self.shared.operations.fetch_add(1, Ordering::SeqCst);
            // A window of keys moves on slowly: each key is contended for a while and then left alone.
            let oldest = number / KEY_OPERATIONS;
            let key = format!("key-{}", oldest + self.random.random_range(0..KEYS));
            let value = self.shared.values.fetch_add(1, Ordering::SeqCst);
            let call = self.choose(&key, value);
            let invoked = self.shared.now();
            let answer = self.perform(&key, &call).await;
            let returned = self.shared.now();
            self.remember(&key, &call, &answer);
            let operation = Operation { client: self.id, master: self.master, key, call, invoked, returned, answer };
            self.shared.history.lock().await.operations.push(operation);
            tokio::time::sleep(self.random.random_range(Duration::ZERO..2 * PAUSE)).await;
        }
    }

    fn choose(&mut self, key: &str, value: u64) -> Call {
        match self.random.random_range(0..100) {
            0..30 => Call::Read,
            30..55 => Call::Create { value },
            55..65 => Call::Write { value },
            65..92 => match self.seen.get(key) {
                Some((expected, _)) => Call::Compare { expected: *expected, value },
                None => Call::Read,
            },
            _ => Call::Delete,
        }
    }

    async fn perform(&self, key: &str, call: &Call) -> Answer {
        let path = format!("{PATH}/{key}");
        let request = match call {
            Call::Read => Request::get(path),
            Call::Create { value } => Request::new(Method::POST, PATH).json(&body(key, *value, None)),
            Call::Write { value } => Request::new(Method::PUT, path).json(&body(key, *value, None)),
            Call::Compare { value, .. } => {
                let revision = self.seen.get(key).map(|(_, revision)| *revision);
                Request::new(Method::PUT, path).json(&body(key, *value, revision))
            }
            Call::Delete => Request::new(Method::DELETE, path),
        };
        let only = self.client.endpoints().current();
        // One attempt on one master: whatever the client library would repeat must not hide in one operation.
        let answered = self.client.request_to(&only, request.deadline(ATTEMPT)).await;
        let answered = answered.and_then(|response| response.json("an operation"));
        match (call, answered) {
            (Call::Read, Ok(object)) => match (value_of(&object), revision_of(&object)) {
                (Some(value), Some(revision)) => Answer::Found { value, revision },
                _ => Answer::Failed,
            },
            (Call::Delete, Ok(_)) => Answer::Done { revision: 0 },
            (_, Ok(object)) => Answer::Done { revision: revision_of(&object).unwrap_or(0) },
            (_, Err(error)) if error.is_not_found() => Answer::Absent,
            (_, Err(error)) if error.is_conflict() || error.is_already_exists() => Answer::Refused,
            (Call::Read, Err(_)) => Answer::Failed,
            (_, Err(error)) if error.is_transient() && !error.is_unknown() => Answer::Failed,
            // Everything that is not certainly "not done" may have been done.
            (_, Err(_)) => Answer::Unknown,
        }
    }

    fn remember(&mut self, key: &str, call: &Call, answer: &Answer) {
        match (call, answer) {
            (_, Answer::Found { value, revision }) => {
                self.seen.insert(key.to_owned(), (*value, *revision));
            }
            (
                Call::Create { value } | Call::Write { value } | Call::Compare { value, .. },
                Answer::Done { revision },
            ) if *revision > 0 => {
                self.seen.insert(key.to_owned(), (*value, *revision));
            }
            (_, Answer::Absent) => {
                self.seen.remove(key);
            }
            _ => {}
        }
        // Keys that the window has left are not met again.
        while self.seen.len() > 4 * usize::try_from(KEYS).unwrap_or(5) {
            self.seen.pop_first();
        }
    }
}

async fn list(shared: Arc<Shared>, client: Client, master: usize, id: u32) {
    while !shared.stop.load(Ordering::SeqCst) {
        one_list(&shared, &client, master, id).await;
        tokio::time::sleep(LIST_PAUSE).await;
    }
}

/// One list; whether it was answered.
async fn one_list(shared: &Shared, client: &Client, master: usize, id: u32) -> bool {
    let invoked = shared.now();
    let Ok(listed) = client.json(Request::get(SELECTED).deadline(ATTEMPT)).await else { return false };
    let returned = shared.now();
    let items = listed["items"].as_array().map_or(&[][..], Vec::as_slice);
    let items = items.iter().filter_map(|item| Some((name_of(item)?, (value_of(item)?, revision_of(item)?)))).collect();
    let Some(revision) = revision_of(&listed) else { return false };
    let listing = Listing { client: id, master, invoked, returned, revision, items };
    shared.history.lock().await.listings.push(listing);
    true
}

/// Follows one master's changes, from break to break, until the last revision was seen.
async fn watch(shared: Arc<Shared>, client: Client, master: usize) {
    let place = &shared.watches[master];
    let mut last = shared.last.subscribe();
    loop {
        let (from, refusals) = {
            let watching = place.lock().await;
            (watching.until, watching.expired.len())
        };
        // One refusal to resume is a finding already; a few more are not worth a longer list.
        if from >= *last.borrow_and_update() || refusals >= REFUSALS_MAX {
            return;
        }
        match client.watch(SELECTED, Some(&from.to_string())).await {
            Ok(mut open) => loop {
                let next = tokio::select! {
                    next = open.next() => next,
                    // Perhaps it has been seen already.
                    _ = last.changed() => break,
                };
                match next {
                    Some(Ok(event)) => note(&shared, place, &event).await,
                    Some(Err(error)) => {
                        refused(place, &error).await;
                        break;
                    }
                    None => break,
                }
                if place.lock().await.until >= *last.borrow() {
                    return;
                }
            },
            Err(error) => refused(place, &error).await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn note(shared: &Shared, place: &Mutex<Watching>, event: &WatchEvent) {
    let Some(revision) = event.revision() else { return };
    let mut watching = place.lock().await;
    if event.kind != EventKind::Bookmark
        && let Some(key) = name_of(&event.object)
    {
        let value = if event.kind == EventKind::Deleted { None } else { value_of(&event.object) };
        watching.events.push(Event { revision, key, value, received: shared.now() });
    }
    watching.until = watching.until.max(revision);
}

/// A break is no finding, an answer that the watch cannot go on from here is.
async fn refused(place: &Mutex<Watching>, error: &client::Error) {
    if error.is_expired() {
        place.lock().await.expired.push(error.to_string());
    }
}

fn body(key: &str, value: u64, revision: Option<u64>) -> Value {
    let mut body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key, "labels": {"app": "chaos"}},
        "data": {"value": value.to_string()},
    });
    if let Some(revision) = revision {
        body["metadata"]["resourceVersion"] = json!(revision.to_string());
    }
    body
}

fn name_of(object: &Value) -> Option<String> {
    object["metadata"]["name"].as_str().map(str::to_owned)
}

fn value_of(object: &Value) -> Option<u64> {
    object["data"]["value"].as_str()?.parse().ok()
}

fn revision_of(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}
