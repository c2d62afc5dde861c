//! Calls: which master answers, what is repeated, and what an error says.

use crate::fake::{FakeMaster, client, client_tls, json, server_tls_of};
use crate::{Call, Client, Endpoints, Error, Options, PatchKind};
use http::Method;
use identity::Authority;
use serde_json::json as value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Longer than any failover, shorter than a test's patience.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn calls_share_one_connection_to_one_master() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let calls = (0..20).map(|number| {
        let client = client.clone();
        async move { client.get(&format!("/{number}")).await.unwrap() }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer["master"], "one");
    }
    assert_eq!((one.connections(), one.calls().len(), two.calls().len()), (1, 20, 0));
}

#[tokio::test]
async fn a_dead_master_is_passed_over() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    assert_eq!(client.get("/x").await.unwrap()["master"], "one");
    one.kill().await;
    // Nothing was sent, so even a write may go elsewhere.
    assert_eq!(client.create("/x", &value!({})).await.unwrap()["master"], "two");
    assert_eq!(client.get("/x").await.unwrap()["master"], "two");
    assert_eq!(client.endpoints().current(), two.address);
}

#[tokio::test]
async fn a_frozen_master_is_noticed_within_seconds() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    client.get("/x").await.unwrap();
    one.freeze();
    let started = Instant::now();
    assert_eq!(client.get("/x").await.unwrap()["master"], "two");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(client.get("/x").await.unwrap()["master"], "two");
    assert!(started.elapsed() < Duration::from_secs(1), "the choice did not stick");
}

#[tokio::test]
async fn a_master_frozen_before_the_first_call_is_noticed_too() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    one.freeze();
    let client = client(&[&one, &two]);
    assert_eq!(client.create("/x", &value!({})).await.unwrap()["master"], "two");
    let view = client.endpoints().view();
    assert!(view.switched_because.unwrap().contains("does not answer"));
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_not_repeated() {
    let (one, two) = (FakeMaster::start(|_| None).await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let call = Call::new(Method::POST, "/x?dry=1").json(&value!({"a": 1})).deadline(Duration::from_millis(300));
    let error = client.json(call.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Unknown { what, .. } if what == "POST /x"), "{error}");
    assert_eq!((one.calls().len(), two.calls().len()), (1, 0));
    assert_eq!(one.calls()[0].body, "{\"a\":1}");
    // The master is under suspicion now: the next call goes elsewhere.
    assert_eq!(client.json(call.deadline(SOON)).await.unwrap()["master"], "two");
}

#[tokio::test]
async fn a_write_cut_off_by_a_freeze_is_unknown_unless_repeatable() {
    for repeatable in [false, true] {
        let (one, two) = (FakeMaster::start(|_| None).await, FakeMaster::ready("two").await);
        let client = client(&[&one, &two]);
        let call = Call::new(Method::PUT, "/x").json(&value!({})).deadline(SOON);
        let call = if repeatable { call.repeatable() } else { call };
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.json(call).await }
        });
        crate::fake::eventually("the call arrives", || one.calls().len() == 1).await;
        one.freeze();
        let outcome = asking.await.unwrap();
        if repeatable {
            assert_eq!(outcome.unwrap()["master"], "two");
        } else {
            assert!(outcome.unwrap_err().is_unknown());
            assert_eq!(two.calls().len(), 0);
        }
    }
}

#[tokio::test]
async fn reads_go_elsewhere_when_a_master_is_unavailable_and_writes_are_told() {
    let busy = |_| Some(json(503, &value!({"kind": "Status", "reason": "ServiceUnavailable", "message": "no leader"})));
    let (one, two) = (FakeMaster::start(busy).await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let error = client.create("/x", &value!({})).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no leader"), "{error}");
    assert_eq!(client.get("/x").await.unwrap()["master"], "two");
}

#[tokio::test]
async fn when_all_are_unavailable_their_own_words_are_returned() {
    let busy = |_| Some(json(503, &value!({"message": "the quorum is lost"})));
    let one = FakeMaster::start(busy).await;
    let error = client(&[&one]).json(Call::get("/x").deadline(Duration::from_millis(700))).await.unwrap_err();
    assert!(error.to_string().contains("the quorum is lost"), "{error}");
    assert!(one.calls().len() > 1, "it was not tried again");
}

#[tokio::test]
async fn unreachable_masters_are_named_with_their_faults() {
    let (dead, foreign) = (
        FakeMaster::ready("dead").await,
        FakeMaster::start_with(server_tls_of(&Authority::generate("other").unwrap()), |_| None).await,
    );
    let client = client(&[&dead, &foreign]);
    let dead_address = dead.address.to_string();
    dead.kill().await;
    let call = Call::new(Method::POST, "/x").deadline(Duration::from_millis(500));
    let Err(Error::Unreachable { reasons, .. }) = client.request(call).await else { panic!("it was reached") };
    assert!(reasons.contains(&dead_address) && reasons.contains("refused"), "{reasons}");
    assert!(reasons.contains("another authority"), "{reasons}");
    assert_eq!(foreign.calls().len(), 0);
}

#[tokio::test]
async fn refusals_are_decoded_and_not_repeated() {
    let refusing =
        |_| Some(json(404, &value!({"kind": "Status", "reason": "NotFound", "message": "pods \"a\" not found"})));
    let one = FakeMaster::start(refusing).await;
    let client = client(&[&one]);
    assert!(client.get("/x").await.unwrap_err().is_not_found());
    assert!(client.delete("/x", Some(&value!({"gracePeriodSeconds": 0}))).await.unwrap_err().is_not_found());
    assert!(client.patch("/x", PatchKind::Apply, &value!({})).await.unwrap_err().is_not_found());
    let methods: Vec<String> = one.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(methods, ["GET", "DELETE", "PATCH"]);
}

#[tokio::test]
async fn throttled_calls_come_back_when_asked_to() {
    let count = AtomicUsize::new(0);
    let one = FakeMaster::start(move |_| {
        Some(if count.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut response = json(429, &value!({"message": "slow down"}));
            response.headers_mut().insert("retry-after", "0".parse().unwrap());
            response
        } else {
            json(201, &value!({"ok": true}))
        })
    })
    .await;
    assert_eq!(client(&[&one]).create("/x", &value!({})).await.unwrap()["ok"], true);
    assert_eq!(one.calls().len(), 2);
}

#[tokio::test]
async fn lists_are_joined_from_their_pages() {
    let one = FakeMaster::start(|call| {
        let page = if call.path.contains("continue=a%2Fb") {
            value!({"metadata": {"resourceVersion": "7"}, "items": [3]})
        } else {
            value!({"metadata": {"resourceVersion": "7", "continue": "a/b", "remainingItemCount": 1}, "items": [1, 2]})
        };
        Some(json(200, &page))
    })
    .await;
    let list = client(&[&one]).list("/pods?labelSelector=a").await.unwrap();
    assert_eq!(list, value!({"metadata": {"resourceVersion": "7"}, "items": [1, 2, 3]}));
    assert!(one.calls()[0].path.starts_with("/pods?labelSelector=a&limit="));
}

#[tokio::test]
async fn answers_have_a_limit() {
    let one = FakeMaster::start(|_| Some(json(200, &value!({"data": "x".repeat(5000)})))).await;
    let endpoints = Endpoints::in_order([one.address.clone()]).unwrap();
    let options = Options { answer_bytes_max: 1000, ..Options::default() };
    let client = Client::with_options(endpoints, client_tls(), options);
    let error = client.get("/x").await.unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    assert_eq!(one.calls().len(), 1);
}

#[tokio::test]
async fn one_master_can_be_asked_alone() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let response = client.request_to(&two.address, Call::get("/x")).await.unwrap();
    assert_eq!(response.json("").unwrap()["master"], "two");
    let address = one.address.clone();
    one.kill().await;
    let outcome = client.request_to(&address, Call::get("/x").deadline(SOON)).await;
    assert!(matches!(outcome, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn a_master_that_gave_up_waiting_leaves_a_write_unknown() {
    let late = |_| Some(json(504, &value!({"reason": "Timeout", "message": "no quorum in time"})));
    let (one, two) = (FakeMaster::start(late).await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let error = client.create("/x", &value!({})).await.unwrap_err();
    assert!(error.is_unknown() && !error.is_transient());
    assert_eq!(client.get("/x").await.unwrap()["master"], "two");
}

#[tokio::test]
async fn a_guarded_update_is_repeated_and_a_blind_one_is_not() {
    let (one, two) = (FakeMaster::start(|_| None).await, FakeMaster::ready("two").await);
    let client = client(&[&one, &two]);
    let guarded = tokio::spawn({
        let client = client.clone();
        async move { client.update("/x", &value!({"metadata": {"resourceVersion": "7"}})).await }
    });
    let blind = tokio::spawn(async move { client.update("/x", &value!({"metadata": {}})).await });
    crate::fake::eventually("both calls arrive", || one.calls().len() == 2).await;
    one.kill().await;
    assert_eq!(guarded.await.unwrap().unwrap()["master"], "two");
    assert!(blind.await.unwrap().unwrap_err().is_unknown());
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_after_reconnecting() {
    let one = FakeMaster::ready("one").await;
    let client = client(&[&one]);
    client.get("/x").await.unwrap();
    client.reconnect();
    client.get("/x").await.unwrap();
    assert_eq!(one.connections(), 2);
}

#[tokio::test]
async fn http_1_is_spoken_where_it_must_be() {
    let one = {
        let mut tls = (*crate::fake::server_tls()).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        FakeMaster::start_with(std::sync::Arc::new(tls), |call| Some(json(200, &value!({"path": call.path})))).await
    };
    let client = client(&[&one]);
    for _ in 0..2 {
        assert_eq!(client.get("/x?y").await.unwrap()["path"], "/x?y");
    }
}
