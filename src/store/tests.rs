//! The door against a proposer that applies at once.

use std::sync::Arc;
use std::time::Duration;

use objects::{Key, Object, kind};
use serde_json::json;
use state::{Change, Command, Origin, Precondition, Refusal, Revision};
use tokio::time::Instant;

use crate::testing::Direct;
use crate::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn put(store: &Store, resource: &str, name: &str, preconditions: Vec<Precondition>) -> Result<Revision, Error> {
    let config_map = kind::by_kind("v1", "ConfigMap").expect("served");
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
        {"name": name, "namespace": "d", "uid": format!("{}", store.current().revision())}});
    let object = Arc::new(Object::new(config_map, &value).expect("object"));
    let changes = vec![Change::Put { key: Key::new(resource, "d", name), object }];
    store.transact(Origin::Client("t".into()), preconditions, changes, soon()).await.map(|done| done.revision())
}

#[tokio::test]
async fn a_watch_sees_each_change_of_its_resource_once_and_in_order() {
    let (store, _) = Direct::start();
    put(&store, "configmaps", "a", vec![]).await.unwrap();
    let mut watch = store.watch("configmaps", Revision(0));
    put(&store, "secrets", "x", vec![]).await.unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for number in 0..50 {
            put(&writer, "configmaps", &format!("n{number}"), vec![]).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 51 {
        let events = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("in time").unwrap();
        seen.extend(events.iter().map(|event| event.revision().0));
    }
    writing.await.unwrap();
    let expected: Vec<u64> = std::iter::once(1).chain(3..53).collect();
    assert_eq!(seen, expected);
    assert!(watch.ready().unwrap().is_empty());
    assert_eq!(watch.position(), Revision(52));
}

#[tokio::test]
async fn a_burst_comes_in_batches_without_a_gap() {
    let (store, _) = Direct::start();
    for number in 0..1_200 {
        put(&store, "configmaps", &format!("n{number}"), vec![]).await.unwrap();
    }
    let mut watch = store.watch("configmaps", Revision(0));
    let sizes: Vec<usize> = std::iter::from_fn(|| Some(watch.ready().unwrap().len())).take(4).collect();
    assert_eq!(sizes, [500, 500, 200, 0]);
}

#[tokio::test]
async fn a_watch_from_forgotten_history_says_so() {
    let (store, direct) = Direct::start();
    for name in ["a", "b", "c"] {
        put(&store, "configmaps", name, vec![]).await.unwrap();
    }
    let mut state = direct.replica.current();
    state.apply(99, &Command::Compact { until: Revision(2) }).unwrap();
    let mut waiting = store.watch("configmaps", Revision(1));
    direct.replica.replace(state);
    let compacted = Error::Compacted { asked: Revision(1), compacted: Revision(2) };
    assert_eq!(waiting.next().await.unwrap_err(), compacted);
    assert_eq!(store.watch("configmaps", Revision(2)).ready().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revision_of_the_future_is_waited_for_and_then_refused() {
    let (store, _) = Direct::start();
    let refused = store.not_older_than(Revision(1), soon()).await.map(|state| state.revision());
    assert_eq!(refused, Err(Error::Future { asked: Revision(1), have: Revision(0) }));
    let reader = store.clone();
    let reading =
        tokio::spawn(async move { reader.not_older_than(Revision(1), soon()).await.map(|state| state.revision()) });
    tokio::task::yield_now().await;
    put(&store, "configmaps", "a", vec![]).await.unwrap();
    assert_eq!(reading.await.unwrap(), Ok(Revision(1)));
}

#[tokio::test]
async fn a_refusal_names_the_object() {
    let (store, _) = Direct::start();
    put(&store, "configmaps", "a", vec![]).await.unwrap();
    let key = Key::new("configmaps", "d", "a");
    let refused = put(&store, "configmaps", "a", vec![Precondition::Absent(key.clone())]).await;
    assert_eq!(refused, Err(Error::Refused(Refusal::AlreadyExists(key))));
}

#[tokio::test(start_paused = true)]
async fn silence_counts_from_the_last_beat_of_this_incarnation() {
    let liveness = Liveness::default();
    let silence = |uid| liveness.silence("n", uid, Instant::now()).as_secs();
    tokio::time::advance(Duration::from_secs(3)).await;
    liveness.beat(Beat { node: "n".into(), uid: "1".into() });
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!((silence("1"), silence("2")), (2, 5));
    liveness.renew();
    assert_eq!((silence("1"), silence("2")), (0, 0));
    assert!(!liveness.heard("n", "1"));
}
