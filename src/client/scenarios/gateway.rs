//! The gateway: where connections lead, and how they end when a master does.

use crate::fake::{FakeMaster, client_tls, eventually, json, server_tls, stream};
use crate::gateway::{Gateway, Health, Options, Refresh, from_cluster};
use crate::{Address, Client, Endpoints};
use base::Shutdown;
use futures::FutureExt;
use serde_json::json as value;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

struct Running {
    gateway: Gateway,
    endpoints: Endpoints,
    address: Address,
    scope: Shutdown,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scope.trigger();
    }
}

fn options() -> Options {
    Options {
        probe_interval: Duration::from_millis(50),
        probe_deadline: Duration::from_millis(400),
        ..Options::default()
    }
}

async fn start(masters: &[&FakeMaster], options: Options) -> Running {
    let endpoints = Endpoints::in_order(masters.iter().map(|master| master.address.clone())).unwrap();
    start_to(endpoints, options).await
}

async fn start_to(endpoints: Endpoints, options: Options) -> Running {
    let gateway = Gateway::with_options(endpoints.clone(), client_tls(), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let scope = Shutdown::new();
    let (serving, stopping) = (gateway.clone(), scope.stopping());
    tokio::spawn(async move { serving.serve(listener, stopping).await });
    Running { gateway, endpoints, address, scope }
}

impl Running {
    fn client(&self) -> Client {
        Client::new(Endpoints::in_order([self.address.clone()]).unwrap(), client_tls())
    }

    fn health(&self, master: &Address) -> Health {
        self.gateway.view().masters.into_iter().find(|view| &view.url == master).unwrap().health
    }

    async fn all_ready(&self) {
        let ready = || self.gateway.view().masters.iter().all(|master| matches!(master.health, Health::Ready { .. }));
        eventually("all masters are ready", ready).await;
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect((self.address.host(), self.address.port())).await.unwrap()
    }
}

/// What the first call through the gateway is answered by.
async fn led_to(running: &Running) -> String {
    running.client().get("/x").await.unwrap()["master"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn connections_lead_to_one_ready_master() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let running = start(&[&one, &two], options()).await;
    running.all_ready().await;
    let first = led_to(&running).await;
    for _ in 0..3 {
        assert_eq!(led_to(&running).await, first);
    }
    let view = serde_json::to_value(running.gateway.view()).unwrap();
    assert_eq!(view["masters"][0]["state"], "ready");
    assert!(view["current"].as_str().is_some());
}

/// A master that says it leads while its name is in `leads`.
async fn leading(name: &'static str, leads: &Arc<Mutex<&'static str>>) -> FakeMaster {
    let leads = Arc::clone(leads);
    let answer = move |call: crate::fake::Call| {
        let mut answer = json(200, &value!({"master": name}));
        if call.path == "/readyz" && *leads.lock().unwrap() == name {
            answer.headers_mut().insert("barque-leads", http::HeaderValue::from_static("true"));
        }
        Some(answer)
    };
    FakeMaster::start(answer).await
}

#[tokio::test]
async fn new_connections_follow_the_lead() {
    let leads = Arc::new(Mutex::new("two"));
    let (one, two) = (leading("one", &leads).await, leading("two", &leads).await);
    let running = start(&[&one, &two], options()).await;
    let current = |master: &FakeMaster| running.gateway.view().current.as_ref() == Some(&master.address);
    eventually("the leader is chosen", || current(&two)).await;
    let open = running.client();
    assert_eq!(open.get("/x").await.unwrap()["master"], "two");
    *leads.lock().unwrap() = "one";
    eventually("the new leader is chosen", || current(&one)).await;
    assert_eq!(led_to(&running).await, "one");
    assert_eq!(open.get("/x").await.unwrap()["master"], "two", "an open connection to a ready master stays");
    let because = running.gateway.view().switched_because.unwrap();
    assert!(because.contains("leads"), "{because}");
}

/// Two misses of a probe are a long time for clients; a new leader is the sooner sign.
#[tokio::test]
async fn a_frozen_leader_is_given_up_once_another_one_leads() {
    let leads = Arc::new(Mutex::new("one"));
    let (one, two) = (leading("one", &leads).await, leading("two", &leads).await);
    // No miss counts within this test.
    let patient = Options { probe_deadline: Duration::from_secs(60), ..options() };
    let running = start(&[&one, &two], patient).await;
    let current = |master: &FakeMaster| running.gateway.view().current.as_ref() == Some(&master.address);
    eventually("the leader is chosen", || current(&one)).await;
    let mut open = running.connect().await;
    eventually("the connection is led on", || one.connections() > 1).await;
    one.freeze();
    *leads.lock().unwrap() = "two";
    let outcome = tokio::time::timeout(Duration::from_secs(10), open.read_u8()).await.unwrap();
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(matches!(running.health(&one.address), Health::Down { .. }));
    eventually("the new leader is chosen", || current(&two)).await;
}

#[tokio::test]
async fn a_frozen_master_loses_its_connections_by_reset() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let running = start(&[&one, &two], options()).await;
    running.all_ready().await;
    let current = running.gateway.view().current.unwrap();
    let (frozen, other) = if current == one.address { (&one, "two") } else { (&two, "one") };
    let mut open = running.connect().await;
    let used = || running.gateway.view().masters.iter().any(|master| master.connections == 1);
    eventually("the connection is led on", used).await;
    frozen.freeze();
    let started = Instant::now();
    let outcome = tokio::time::timeout(Duration::from_secs(10), open.read_u8()).await.unwrap();
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(matches!(running.health(&frozen.address), Health::Down { .. }));
    assert_eq!(led_to(&running).await, other);
    assert!(running.gateway.view().switched_because.is_some());
    eventually("it is no longer counted", || !used()).await;
}

#[tokio::test]
async fn a_call_in_flight_is_told_when_its_master_freezes() {
    let slow = |name: &'static str| {
        move |call: crate::fake::Call| (call.path != "/slow").then(|| json(200, &value!({"master": name})))
    };
    let (one, two) = (FakeMaster::start(slow("one")).await, FakeMaster::start(slow("two")).await);
    let running = start(&[&one, &two], options()).await;
    running.all_ready().await;
    let client = running.client();
    let asking = tokio::spawn(async move { client.create("/slow", &value!({})).await });
    let asked = |master: &FakeMaster| master.calls().iter().any(|call| call.path == "/slow");
    eventually("the call arrives", || asked(&one) || asked(&two)).await;
    if asked(&one) {
        one.freeze()
    } else {
        two.freeze()
    }
    let outcome = tokio::time::timeout(Duration::from_secs(5), asking).await.unwrap().unwrap();
    assert!(outcome.unwrap_err().is_unknown());
}

#[tokio::test]
async fn a_dead_master_is_left_and_found_again() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let running = start(&[&one, &two], options()).await;
    running.all_ready().await;
    let address = one.address.clone();
    one.kill().await;
    eventually("its death is noticed", || matches!(running.health(&address), Health::Down { .. })).await;
    assert_eq!(led_to(&running).await, "two");
    let listener = TcpListener::bind((address.host(), address.port())).await.unwrap();
    let back = FakeMaster::start_on(listener, server_tls(), |_| Some(json(200, &value!({"master": "back"}))));
    eventually("its return is noticed", || matches!(running.health(&back.address), Health::Ready { .. })).await;
    assert_eq!(led_to(&running).await, "two", "a return is no reason to move");
}

#[tokio::test]
async fn a_draining_master_keeps_its_connections_and_gets_no_new_ones() {
    let draining = Arc::new(AtomicBool::new(false));
    let flag = draining.clone();
    let senders = Arc::new(Mutex::new(Vec::new()));
    let kept = senders.clone();
    let one = FakeMaster::start(move |call| {
        Some(match call.path.as_str() {
            "/readyz" if flag.load(Ordering::SeqCst) => json(503, &value!("draining")),
            path if path.contains("watch") => {
                let (sender, response) = stream();
                kept.lock().unwrap().push(sender);
                response
            }
            _ => json(200, &value!({"master": "one"})),
        })
    })
    .await;
    let running = start(&[&one], options()).await;
    running.all_ready().await;
    let two = FakeMaster::ready("two").await;
    let client = running.client();
    let mut watch = client.watch("/pods", None).await.unwrap();
    running.endpoints.replace([one.address.clone(), two.address.clone()]).unwrap();
    eventually("the new master is ready", || running.gateway.view().masters.len() == 2).await;
    running.all_ready().await;
    draining.store(true, Ordering::SeqCst);
    eventually("draining is noticed", || matches!(running.health(&one.address), Health::NotReady { .. })).await;
    assert_eq!(led_to(&running).await, "two");
    let event = bytes::Bytes::from_static(b"{\"type\":\"ADDED\",\"object\":{}}\n");
    senders.lock().unwrap()[0].send(event).unwrap();
    let event = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap();
    assert!(event.unwrap().is_ok(), "the old connection must live on");
}

#[tokio::test]
async fn without_any_master_connections_are_refused_in_time() {
    let one = FakeMaster::ready("one").await;
    let running = start(&[&one], Options { wait_max: Duration::from_millis(300), ..options() }).await;
    running.all_ready().await;
    one.kill().await;
    let mut connection = running.connect().await;
    let outcome = tokio::time::timeout(Duration::from_secs(10), connection.read_u8()).await.unwrap();
    assert!(matches!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn the_list_of_masters_is_refreshed() {
    let (one, two) = (FakeMaster::ready("one").await, FakeMaster::ready("two").await);
    let list = vec![two.address.clone()];
    let refresh: Refresh = Arc::new(move || {
        let list = list.clone();
        async move { Some(list) }.boxed()
    });
    let refresh_interval = Duration::from_millis(50);
    let running = start(&[&one], Options { refresh: Some(refresh), refresh_interval, ..options() }).await;
    let moved = || running.gateway.view().masters.iter().all(|master| master.url == two.address);
    eventually("the list is taken over", moved).await;
    running.all_ready().await;
    assert_eq!(led_to(&running).await, "two");
}

#[tokio::test]
async fn the_list_of_masters_is_asked_of_the_cluster() {
    let status = Arc::new(Mutex::new(value!({"members": []})));
    let told = status.clone();
    let one = FakeMaster::start(move |call| {
        Some(match call.path.as_str() {
            "/barque/v1/status" => json(200, &told.lock().unwrap()),
            _ => json(200, &value!({"master": "one"})),
        })
    })
    .await;
    let two = FakeMaster::ready("two").await;
    // As `barque gateway` does it: one list, for what is passed on and for what it asks itself.
    let endpoints = Endpoints::in_order([one.address.clone()]).unwrap();
    let refresh = Some(from_cluster(Client::new(endpoints.clone(), client_tls())));
    let refresh_interval = Duration::from_millis(300);
    let running = start_to(endpoints, Options { refresh, refresh_interval, ..options() }).await;
    let asked = || one.calls().iter().filter(|call| call.path == "/barque/v1/status").count();
    let known = || running.endpoints.addresses();
    eventually("the cluster is asked", || asked() >= 2).await;
    assert_eq!(known(), std::slice::from_ref(&one.address), "a list that names nobody changes nothing");
    // The cluster knows the first by another address, which leads nowhere from here.
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Address::from(listener.local_addr().unwrap())
    };
    *status.lock().unwrap() = value!({"members": [{"api": closed.to_string()}, {"api": two.address.to_string()}]});
    let all = [closed, two.address.clone(), one.address.clone()];
    eventually("the list is taken over, and who was given stays", || known() == all).await;
    eventually("the new one is ready", || matches!(running.health(&two.address), Health::Ready { .. })).await;
    one.kill().await;
    assert_eq!(led_to(&running).await, "two");
}

#[tokio::test]
async fn connections_are_limited() {
    let one = FakeMaster::ready("one").await;
    let running = start(&[&one], Options { connections_max: 1, ..options() }).await;
    running.all_ready().await;
    let first = running.connect().await;
    let counted = |count| move |running: &Running| running.gateway.view().masters[0].connections == count;
    eventually("the first is led on", || counted(1)(&running)).await;
    let mut second = running.connect().await;
    let outcome = tokio::time::timeout(Duration::from_secs(5), second.read_u8()).await.unwrap();
    assert!(outcome.is_err(), "the second must be refused");
    drop(first);
    eventually("the first is gone", || counted(0)(&running)).await;
    assert_eq!(led_to(&running).await, "one");
}

#[tokio::test]
async fn stopping_ends_what_is_open() {
    let one = FakeMaster::ready("one").await;
    let running = start(&[&one], options()).await;
    running.all_ready().await;
    let mut open = running.connect().await;
    eventually("it is led on", || running.gateway.view().masters[0].connections == 1).await;
    running.scope.trigger();
    let outcome = tokio::time::timeout(Duration::from_secs(5), open.read_u8()).await.unwrap();
    assert!(outcome.is_err());
    let refused = async {
        while TcpStream::connect((running.address.host(), running.address.port())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("the port must be free again");
}
