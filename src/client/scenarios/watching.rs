//! Watches: events, their ends, and masters that freeze in the middle.

use crate::fake::{FakeMaster, client, eventually, json, stream};
use crate::{Error, EventKind, Watch, WatchEvent};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json as value;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

/// A master that answers every watch with a stream, and the senders into these.
async fn streaming() -> (FakeMaster, std::sync::Arc<Mutex<Vec<UnboundedSender<Bytes>>>>) {
    let senders = std::sync::Arc::new(Mutex::new(Vec::new()));
    let kept = senders.clone();
    let master = FakeMaster::start(move |_| {
        let (sender, response) = stream();
        kept.lock().unwrap().push(sender);
        Some(response)
    })
    .await;
    (master, senders)
}

fn send(sender: &UnboundedSender<Bytes>, text: &str) {
    sender.send(Bytes::copy_from_slice(text.as_bytes())).unwrap();
}

async fn next(watch: &mut Watch) -> Option<Result<WatchEvent, Error>> {
    tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("the watch hangs")
}

#[tokio::test]
async fn events_arrive_as_they_happen() {
    let (master, senders) = streaming().await;
    let mut watch = client(&[&master]).watch("/pods", Some("5")).await.unwrap();
    assert_eq!(watch.master(), &master.address);
    assert!(master.calls()[0].path.ends_with("&resourceVersion=5"));
    let sender = senders.lock().unwrap().pop().unwrap();
    send(&sender, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resource");
    send(&sender, "Version\":\"6\"}}}\n\n{\"type\":\"BOOKMARK\",\"object\":{}}\n");
    let event = next(&mut watch).await.unwrap().unwrap();
    assert_eq!((event.kind, event.revision()), (EventKind::Added, Some(6)));
    assert_eq!(next(&mut watch).await.unwrap().unwrap().kind, EventKind::Bookmark);
    send(&sender, "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\"}}\n");
    assert!(next(&mut watch).await.unwrap().unwrap_err().is_expired());
    assert!(next(&mut watch).await.is_none());
}

#[tokio::test]
async fn an_orderly_end_is_no_error_and_a_torn_one_is() {
    let (master, senders) = streaming().await;
    let client = client(&[&master]);
    let watch = client.watch("/pods?x=y", None).await.unwrap();
    senders.lock().unwrap().clear();
    assert_eq!(watch.into_stream().count().await, 0);
    let mut watch = client.watch("/pods", None).await.unwrap();
    send(&senders.lock().unwrap().pop().unwrap(), "{\"type\":");
    assert!(matches!(next(&mut watch).await, Some(Err(Error::WatchBroken(_)))));
    let mut watch = client.watch("/pods", None).await.unwrap();
    send(&senders.lock().unwrap().pop().unwrap(), "nonsense\n");
    assert!(matches!(next(&mut watch).await, Some(Err(Error::Answer { .. }))));
}

#[tokio::test]
async fn a_frozen_master_ends_its_watches_within_seconds() {
    let ((one, senders), (two, _)) = (streaming().await, streaming().await);
    let client = client(&[&one, &two]);
    let mut watch = client.watch("/pods", None).await.unwrap();
    send(&senders.lock().unwrap()[0], "{\"type\":\"ADDED\",\"object\":{}}\n");
    next(&mut watch).await.unwrap().unwrap();
    one.freeze();
    let started = Instant::now();
    let outcome = next(&mut watch).await;
    assert!(matches!(outcome, Some(Err(Error::WatchBroken(_)))), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(client.watch("/pods", None).await.unwrap().master(), &two.address);
}

#[tokio::test]
async fn a_dead_master_ends_its_watches_at_once() {
    let ((one, senders), (two, _)) = (streaming().await, streaming().await);
    let client = client(&[&one, &two]);
    let mut watch = client.watch("/pods", None).await.unwrap();
    let _open = senders.lock().unwrap()[0].clone();
    one.kill().await;
    assert!(matches!(next(&mut watch).await, Some(Err(Error::WatchBroken(_)))));
    assert_eq!(client.endpoints().current(), two.address);
}

#[tokio::test]
async fn refusals_reach_the_caller_except_unavailability() {
    let gone = |_| Some(json(410, &value!({"reason": "Expired", "message": "too old"})));
    let one = FakeMaster::start(gone).await;
    assert!(client(&[&one]).watch("/pods", Some("1")).await.unwrap_err().is_expired());
    let busy = FakeMaster::start(|_| Some(json(503, &value!({})))).await;
    let (two, _) = streaming().await;
    let watch = client(&[&busy, &two]).watch("/pods", Some("1")).await.unwrap();
    assert_eq!(watch.master(), &two.address);
}

#[tokio::test]
async fn dropping_a_watch_frees_the_server() {
    let (master, senders) = streaming().await;
    let client = client(&[&master]);
    let watch = client.watch("/pods", None).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    drop(watch);
    eventually("the server learns of the end", || {
        // A closed stream is found when something is written to it.
        let _ = sender.send(Bytes::from_static(b"\n"));
        sender.is_closed()
    })
    .await;
}
