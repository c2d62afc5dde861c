//! Reflectors: complete, never going back, and surviving their masters.

use crate::fake::{Body, Call, FakeMaster, client, client_tls, eventually, json, stream};
use crate::{Client, Endpoints, Floor, Options, Reflector, Source};
use base::{Shutdown, Stopping};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A little cluster: objects by name with their revisions, a history, and open watches. Several fake
/// masters may show the same one.
#[derive(Default)]
struct World {
    revision: u64,
    objects: BTreeMap<String, u64>,
    history: Vec<(u64, Value)>,
    compacted: u64,
    watches: Vec<UnboundedSender<Bytes>>,
    lists: usize,
}

#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<World>>);

impl Cluster {
    fn put(&self, name: &str) {
        self.change(name, "MODIFIED");
    }

    fn delete(&self, name: &str) {
        self.change(name, "DELETED");
    }

    fn change(&self, name: &str, kind: &str) {
        let mut world = self.0.lock().unwrap();
        world.revision += 1;
        let revision = world.revision;
        if kind == "DELETED" {
            world.objects.remove(name);
        } else {
            world.objects.insert(name.to_owned(), revision);
        }
        let event = value!({"type": kind, "object": object(name, revision)});
        world.history.push((revision, event.clone()));
        world.watches.retain(|watch| watch.send(Bytes::from(format!("{event}\n"))).is_ok());
    }

    /// Forgets history and ends all watches, so that clients must list anew.
    fn compact(&self) {
        let mut world = self.0.lock().unwrap();
        world.revision += 1;
        world.compacted = world.revision;
        world.watches.clear();
    }

    fn lists(&self) -> usize {
        self.0.lock().unwrap().lists
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        let mut world = self.0.lock().unwrap();
        let Some((_, from)) = call.path.split_once("resourceVersion=") else {
            world.lists += 1;
            let items: Vec<Value> = world.objects.iter().map(|(name, revision)| object(name, *revision)).collect();
            let revision = world.revision.to_string();
            return json(200, &value!({"metadata": {"resourceVersion": revision}, "items": items}));
        };
        let from: u64 = from.parse().unwrap();
        if from < world.compacted {
            return json(410, &value!({"reason": "Expired"}));
        }
        let (sender, response) = stream();
        for (_, event) in world.history.iter().filter(|(revision, _)| *revision > from) {
            sender.send(Bytes::from(format!("{event}\n"))).unwrap();
        }
        world.watches.push(sender);
        response
    }

    async fn master(&self) -> FakeMaster {
        let cluster = self.clone();
        FakeMaster::start(move |call| Some(cluster.answer(&call))).await
    }
}

fn object(name: &str, revision: u64) -> Value {
    value!({"metadata": {"name": name, "namespace": "ns", "resourceVersion": revision.to_string()}})
}

fn mirror(masters: &[&FakeMaster], floor: Floor, stopping: &Stopping) -> Reflector<String> {
    mirror_by(client(masters), floor, stopping)
}

fn mirror_by(client: Client, floor: Floor, stopping: &Stopping) -> Reflector<String> {
    let source = Source { path: "/pods?fieldSelector=a".to_owned(), floor };
    Reflector::start(client, source, stopping, |object: Value| {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if name == "broken" { Err("it is broken") } else { Ok(name) }
    })
}

fn names(reflector: &Reflector<String>) -> Vec<String> {
    reflector.snapshot().objects.keys().cloned().collect()
}

#[tokio::test]
async fn a_mirror_follows_its_cluster() {
    let cluster = Cluster::default();
    cluster.put("a");
    let master = cluster.master().await;
    let floor = Floor::default();
    let reflector = mirror(&[&master], floor.clone(), &Stopping::never());
    assert!(reflector.synced().await);
    assert_eq!(names(&reflector), ["ns/a"]);
    let before = reflector.snapshot();
    let mut changes = reflector.subscribe();
    changes.mark_unchanged();
    cluster.put("b");
    changes.changed().await.unwrap();
    cluster.delete("a");
    eventually("the deletion arrives", || names(&reflector) == ["ns/b"]).await;
    assert_eq!(before.objects.len(), 1, "a snapshot changed under its reader");
    assert_eq!((reflector.snapshot().revision, floor.get()), (3, 3));
    assert!(reflector.get("ns/b").is_some() && reflector.last_contact().is_some());
    assert_eq!(cluster.lists(), 1);
}

#[tokio::test]
async fn a_frozen_master_costs_no_change_and_no_second_list() {
    let cluster = Cluster::default();
    cluster.put("a");
    let (one, two) = (cluster.master().await, cluster.master().await);
    let reflector = mirror(&[&one, &two], Floor::default(), &Stopping::never());
    assert!(reflector.synced().await);
    eventually("the watch is open", || one.calls().len() == 2).await;
    one.freeze();
    cluster.put("b");
    cluster.delete("a");
    eventually("the other master tells", || names(&reflector) == ["ns/b"]).await;
    assert_eq!(cluster.lists(), 1);
    let resumed = two.calls();
    assert!(resumed[0].path.ends_with("resourceVersion=1"), "{resumed:?}");
}

#[tokio::test]
async fn an_expired_revision_means_listing_anew() {
    let cluster = Cluster::default();
    cluster.put("a");
    let master = cluster.master().await;
    let reflector = mirror(&[&master], Floor::default(), &Stopping::never());
    assert!(reflector.synced().await);
    eventually("the watch is open", || master.calls().len() == 2).await;
    cluster.delete("a");
    cluster.put("b");
    cluster.compact();
    cluster.put("c");
    eventually("the new list is there", || names(&reflector) == ["ns/b", "ns/c"]).await;
    assert!(cluster.lists() >= 1);
}

#[tokio::test]
async fn an_older_cluster_is_not_believed() {
    let (wiped, real) = (Cluster::default(), Cluster::default());
    for name in ["a", "b", "c"] {
        real.put(name);
    }
    wiped.put("x");
    let (stale, current) = (wiped.master().await, real.master().await);
    let floor = Floor::new(3);
    let reflector = mirror(&[&stale, &current], floor.clone(), &Stopping::never());
    assert!(reflector.synced().await);
    assert_eq!(names(&reflector), ["ns/a", "ns/b", "ns/c"]);
    assert!(wiped.lists() >= 1, "the stale master was never asked");
    let alone = mirror(&[&stale], floor, &Stopping::never());
    eventually("the refusal is told", || alone.last_error().is_some_and(|error| error.contains("revision 1"))).await;
    assert!(!alone.snapshot().synced && alone.snapshot().objects.is_empty());
}

#[tokio::test]
async fn without_masters_the_last_state_stays() {
    let cluster = Cluster::default();
    cluster.put("a");
    let master = cluster.master().await;
    let options = Options { call_deadline: Duration::from_millis(500), ..Options::default() };
    let endpoints = Endpoints::in_order([master.address.clone()]).unwrap();
    let client = Client::with_options(endpoints, client_tls(), options);
    let reflector = mirror_by(client, Floor::default(), &Stopping::never());
    assert!(reflector.synced().await);
    master.kill().await;
    eventually("the trouble is told", || reflector.last_error().is_some()).await;
    assert_eq!(names(&reflector), ["ns/a"]);
}

#[tokio::test]
async fn an_object_that_is_not_understood_keeps_its_last_state() {
    let cluster = Cluster::default();
    cluster.put("a");
    let master = cluster.master().await;
    let reflector = mirror(&[&master], Floor::default(), &Stopping::never());
    assert!(reflector.synced().await);
    cluster.put("broken");
    cluster.put("z");
    eventually("later objects arrive", || names(&reflector) == ["ns/a", "ns/z"]).await;
}

#[tokio::test]
async fn mirroring_ends_with_its_scope_or_its_last_reader() {
    let cluster = Cluster::default();
    let master = cluster.master().await;
    let scope = Shutdown::new();
    let reflector = mirror(&[&master], Floor::default(), &scope.stopping());
    assert!(reflector.synced().await);
    let watching = || !cluster.0.lock().unwrap().watches.is_empty();
    eventually("the watch is open", watching).await;
    drop(reflector.clone());
    drop(reflector);
    eventually("the watch is closed", || {
        cluster.put("tick");
        !watching()
    })
    .await;
    scope.trigger();
    let frozen = FakeMaster::ready("frozen").await;
    frozen.freeze();
    let never = mirror(&[&frozen], Floor::default(), &scope.stopping());
    let synced = tokio::time::timeout(Duration::from_secs(5), never.synced()).await;
    assert_eq!(synced, Ok(false));
}
