//! What grows is cut: history is compacted, old events are deleted.

use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Ending, Shutdown, task};
use jiff::Timestamp;
use objects::{Key, time};
use serde::Deserialize;
use state::{Change, Precondition, State, Stored};
use tokio::time::Instant;

use crate::{Context, Error};

/// How often history is looked at: short against its age, long against its cost.
const COMPACT_EVERY: Duration = Duration::from_secs(5);
/// How often events are looked at; they are read one by one.
const EVENTS_EVERY: Duration = Duration::from_secs(300);
/// Events deleted in one transaction.
const BATCH: usize = 200;
/// How long a compaction may take before the next is tried.
const COMPACT_DEADLINE: Duration = Duration::from_secs(10);

/// Keeps the upkeep running until its tenure is over.
pub(crate) async fn supervise(context: Context, tenure: Shutdown) {
    let mut backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(30));
    loop {
        let (stopping, context) = (tenure.stopping(), context.clone());
        let task = task::spawn("upkeep", async move {
            stopping.unless(work(&context)).await;
        });
        match task.join().await {
            Ending::Finished | Ending::Aborted => break,
            Ending::Failed(_) | Ending::Panicked(_) => backoff.wait().await,
        }
    }
    tenure.trigger();
}

/// Returns only when the tenure is over.
async fn work(context: &Context) {
    let mut events_at = Instant::now();
    loop {
        if let Err(error) = compact(context).await {
            tracing::debug!(%error, "history was not compacted");
        }
        if Instant::now() >= events_at {
            match forget_events(context).await {
                Err(error) if error.is_fenced() => return,
                Err(error) => tracing::debug!(%error, "old events were not deleted"),
                Ok(()) => {}
            }
            events_at = Instant::now() + EVENTS_EVERY;
        }
        tokio::time::sleep(COMPACT_EVERY).await;
    }
}

async fn compact(context: &Context) -> Result<(), Error> {
    let now = u64::try_from(base::clock::millis()).unwrap_or(0);
    let Some(until) = context.duty.current().compaction_due(now, context.options.history) else {
        return Ok(());
    };
    let compaction = (context.options.compact)(until);
    match base::within(COMPACT_DEADLINE, "a compaction", compaction).await {
        Ok(outcome) => Ok(outcome?),
        Err(elapsed) => Err(store::Error::Unknown(elapsed.to_string()).into()),
    }
}

async fn forget_events(context: &Context) -> Result<(), Error> {
    let options = &context.options;
    let old = old_events(&context.duty.current(), base::clock::now(), options.event_ttl, options.events_max);
    for batch in old.chunks(BATCH) {
        match context.duty.transact(unchanged(batch), deletions(batch)).await.map_err(Error::from) {
            Ok(_) => {}
            // One of them was counted again meanwhile: the others go one by one.
            Err(error) if error.is_conflict() => {
                for one in batch {
                    let one = std::slice::from_ref(one);
                    match context.duty.transact(unchanged(one), deletions(one)).await.map_err(Error::from) {
                        Err(error) if !error.is_conflict() => return Err(error),
                        _ => {}
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unchanged(events: &[Arc<Stored>]) -> Vec<Precondition> {
    let one = |event: &Arc<Stored>| Precondition::Unchanged { key: event.key.clone(), revision: event.revision };
    events.iter().map(one).collect()
}

fn deletions(events: &[Arc<Stored>]) -> Vec<Change> {
    events.iter().map(|event| Change::Delete { key: event.key.clone() }).collect()
}

/// The times of an event; the rest of it is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    last_timestamp: Option<String>,
    event_time: Option<String>,
    series: Option<Series>,
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series {
    last_observed_time: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    creation_timestamp: Option<String>,
}

/// When an event was last seen; one without a time counts as ancient.
fn last_seen(event: &Stored) -> Timestamp {
    let times: Times = serde_json::from_slice(event.object.bytes()).unwrap_or_default();
    let series = times.series.and_then(|series| series.last_observed_time);
    [series, times.last_timestamp, times.event_time, times.metadata.creation_timestamp]
        .into_iter()
        .flatten()
        .find_map(|text| time::parse(&text).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Events that are older than `ttl`, and the oldest of those beyond `max`.
fn old_events(state: &State, now: Timestamp, ttl: Duration, max: usize) -> Vec<Arc<Stored>> {
    let start = Key::new("events", "", "");
    let mut all: Vec<(Timestamp, &Arc<Stored>)> =
        state.list_from(start).map(|event| (last_seen(event), event)).collect();
    all.sort_by_key(|(at, event)| (*at, event.revision));
    let surplus = all.len().saturating_sub(max);
    let limit = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let is_old = |at: Timestamp| now.as_second().saturating_sub(at.as_second()) >= limit;
    let old = all.iter().enumerate().filter(|(index, (at, _))| *index < surplus || is_old(*at));
    old.map(|(_, (_, event))| Arc::clone(event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, run};
    use objects::{Object, kind};
    use serde_json::{Value, json};
    use state::{Command, Origin, RequestId, Revision, Transaction};
    use std::sync::Mutex;
    use store::testing::Direct;
    use store::{Duty, Store};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    /// A proposed compaction, and the revision that the state had then.
    type Proposal = (Revision, Revision);

    /// All duties of a leader whose compactions are told, and then applied as consensus does it.
    struct Leader {
        store: Store,
        direct: Arc<Direct>,
        shutdown: Shutdown,
        /// What the next compactions fail with, the last one first.
        failures: Arc<Mutex<Vec<store::Error>>>,
    }

    impl Leader {
        fn new() -> Self {
            let (store, direct) = Direct::start();
            Self { store, direct, shutdown: Shutdown::new(), failures: Arc::default() }
        }

        fn write(&self, age: Duration, value: &Value) {
            let kind = kind::by_kind("v1", value["kind"].as_str().unwrap()).unwrap();
            let object = Arc::new(Object::new(kind, value).unwrap());
            let metadata = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(kind.resource(), metadata("namespace"), metadata("name"));
            let transaction = Transaction {
                id: RequestId(base::random::below(usize::MAX) as u128),
                origin: Origin::Client("t".into()),
                at_ms: (base::clock::millis() as u64) - age.as_millis() as u64,
                preconditions: vec![],
                changes: vec![Change::Put { key, object }],
            };
            assert!(self.direct.apply(&Command::Transact(vec![transaction])).answers[0].is_ok());
        }

        fn config_map(&self, name: &str, age: Duration) {
            let metadata = json!({"name": name, "namespace": "d", "uid": name});
            self.write(age, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}));
        }

        fn start(&self, change: impl FnOnce(&mut Options)) -> (JoinHandle<()>, mpsc::UnboundedReceiver<Proposal>) {
            let (told, proposals) = mpsc::unbounded_channel();
            let (direct, failures) = (Arc::clone(&self.direct), Arc::clone(&self.failures));
            let compact: crate::Compact = Arc::new(move |until| {
                let _ = told.send((until, direct.replica.current().revision()));
                let failure = failures.lock().unwrap().pop();
                if failure.is_none() {
                    direct.apply(&Command::Compact { until });
                }
                Box::pin(async { failure.map_or(Ok(()), Err) })
            });
            let mut options = Options::new("PEM", crate::tests::seal(), compact);
            change(&mut options);
            let duty = Duty::new(self.store.clone(), self.direct.lead(1));
            let liveness = Arc::clone(&self.direct.liveness);
            (tokio::spawn(run(duty, liveness, options, self.shutdown.stopping())), proposals)
        }

        /// Lets many rounds of upkeep pass, on a clock that jumps.
        async fn rest(&self) {
            tokio::time::sleep(COMPACT_EVERY * 20).await;
        }
    }

    /// The next proposal. Without a limit the clock would jump for ever where none comes.
    async fn next(proposals: &mut mpsc::UnboundedReceiver<Proposal>) -> Proposal {
        let next = tokio::time::timeout(COMPACT_EVERY * 20, proposals.recv()).await;
        next.expect("a compaction is due").expect("the duties run")
    }

    #[tokio::test(start_paused = true)]
    async fn history_is_forgotten_once_it_is_old_enough() {
        let leader = Leader::new();
        let minutes = |number: u64| Duration::from_secs(60 * number);
        for (name, age) in [("a", minutes(7)), ("b", minutes(6)), ("c", minutes(4)), ("d", minutes(0))] {
            leader.config_map(name, age);
        }
        let (running, mut proposals) = leader.start(|_| {});
        assert_eq!(next(&mut proposals).await.0, Revision(2), "what is older than five minutes");
        leader.rest().await;
        assert!(proposals.try_recv().is_err(), "nothing more is old enough");
        assert_eq!(leader.store.current().compacted(), Revision(2));
        leader.shutdown.trigger();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn history_is_forgotten_once_it_is_too_long_and_only_by_the_leader() {
        let leader = Leader::new();
        for name in ["a", "b", "c", "d"] {
            leader.config_map(name, Duration::ZERO);
        }
        // Two that fail in a row: each round tries anew.
        *leader.failures.lock().unwrap() = vec![store::Error::Unknown("lost".into()); 2];
        let (running, mut proposals) = leader.start(|options| options.history.events_max = 2);
        let first = next(&mut proposals).await;
        // What the controllers write at their start is history too.
        leader.rest().await;
        let mut all = vec![first];
        while let Ok(proposal) = proposals.try_recv() {
            all.push(proposal);
        }
        assert!(all.len() >= 3, "{all:?}");
        assert!(all.iter().all(|(until, now)| until.0 + 2 == now.0), "all but the last two: {all:?}");
        let quiet = leader.store.current().revision();
        assert_eq!(leader.store.current().compacted().0 + 2, quiet.0);
        leader.rest().await;
        assert!(proposals.try_recv().is_err(), "two are not too many");
        leader.config_map("e", Duration::ZERO);
        assert_eq!(next(&mut proposals).await, (Revision(quiet.0 - 1), Revision(quiet.0 + 1)));

        leader.direct.lead(2);
        // Wants to be given its service account, which shows whoever tries that the tenure is over.
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "uid": "n"}});
        leader.write(Duration::ZERO, &namespace);
        tokio::time::timeout(COMPACT_EVERY * 20, running).await.expect("it ends by itself").unwrap();
        let end = leader.store.current().compacted();
        leader.config_map("f", Duration::ZERO);
        leader.rest().await;
        assert_eq!(leader.store.current().compacted(), end);
    }

    #[tokio::test(start_paused = true)]
    async fn old_events_are_deleted() {
        let leader = Leader::new();
        for (name, age) in [("a", 3700), ("b", 10), ("c", 20), ("d", 30)] {
            let at = base::clock::now() - jiff::SignedDuration::from_secs(age);
            leader.write(
                Duration::ZERO,
                &json!({"apiVersion": "v1", "kind": "Event", "lastTimestamp": time::format(at),
                    "metadata": {"name": name, "namespace": "d", "uid": name}}),
            );
        }
        let (running, _proposals) = leader.start(|options| options.events_max = 2);
        leader.rest().await;
        let state = leader.store.current();
        let left: Vec<&str> = state.list_in(&"events".into(), "d").map(|event| &*event.key.name).collect();
        assert_eq!(left, ["b", "c"]);
        leader.shutdown.trigger();
        running.await.unwrap();
    }

    #[test]
    fn the_old_and_the_surplus_go() {
        let mut state = State::default();
        let kind = kind::by_kind("v1", "Event").unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (id, (name, age)) in [("a", 10), ("b", 4000), ("c", 20), ("d", 30), ("e", 3600)].into_iter().enumerate() {
            let at = Timestamp::from_second(1_800_000_000 - age).unwrap();
            let value = json!({"apiVersion": "v1", "kind": "Event", "lastTimestamp": time::format(at),
                "metadata": {"name": name, "namespace": "d", "uid": name}});
            let object = Arc::new(Object::new(kind, &value).unwrap());
            let changes = vec![Change::Put { key: Key::new("events", "d", name), object }];
            let origin = Origin::Client("t".into());
            let transaction =
                Transaction { id: RequestId(id as u128), origin, at_ms: 0, preconditions: vec![], changes };
            state.apply(id as u64 + 1, &Command::Transact(vec![transaction])).unwrap();
        }
        let names = |max: usize| -> Vec<String> {
            let old = old_events(&state, now, Duration::from_secs(3600), max);
            old.iter().map(|event| event.key.name.to_string()).collect()
        };
        assert_eq!(names(100), ["b", "e"]);
        assert_eq!(names(2), ["b", "e", "d"]);
    }
}
