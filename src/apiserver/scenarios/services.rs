//! Services get addresses and node ports: each once, whichever master is asked, and back when they are no longer needed.

use std::collections::BTreeSet;

use super::rows::*;
use super::*;

const SERVICES: &str = "/api/v1/namespaces/d/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": "x"}}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

/// Names of all records: addresses, and ports of nodes.
fn records(world: &World) -> BTreeSet<String> {
    let state = world.direct.replica.current();
    let of = |resource: &str| state.list(&resource.into()).map(|one| one.key.name.to_string()).collect::<Vec<_>>();
    of("ipaddresses.networking.k8s.io").into_iter().chain(of("nodeports.barque")).collect()
}

/// What all services hold.
async fn held(world: &World) -> BTreeSet<String> {
    let services = world.get("/api/v1/services").await.expect(200);
    let goods = services["items"].as_array().unwrap().iter().flat_map(objects::allocation::held);
    goods.map(|good| good.key().name.to_string()).collect()
}

/// A second API server over the same store, as another master is.
fn beside(world: &World, options: Options) -> World {
    let api =
        Api::new(options, world.api.store.clone(), Arc::clone(&world.cluster) as Arc<dyn Cluster>, Stopping::never());
    World { api, direct: Arc::clone(&world.direct), cluster: Arc::clone(&world.cluster) }
}

/// So few addresses that two masters choose the same.
fn narrow() -> Options {
    Options { service_ranges: vec!["10.0.0.0/28".parse().unwrap()], node_ports: 30_000..=30_013, ..Options::default() }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let there = service(
        "there",
        json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}]}),
    );
    world.post(SERVICES, &there).await.expect(201);
    world.post(SERVICES, &service("plain", json!({}))).await.expect(201);
    let before = records(&world);
    let body = |spec: Value| service("x", spec).to_string();
    let plain = body(json!({}));
    let taken = body(json!({"clusterIP": "10.96.0.9"}));
    let outside = body(json!({"clusterIP": "192.0.2.1"}));
    let port = body(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}));
    let low = body(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 22}]}));
    let two = body(json!({"ipFamilyPolicy": "RequireDualStack"}));
    let moved = json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}).to_string();
    let greedy =
        json!({"spec": {"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}}).to_string();
    let path = format!("{SERVICES}/plain");
    let rows = vec![
        row(
            "POST",
            SERVICES,
            JSON,
            &taken,
            INVALID,
            "failed to allocate IP 10.96.0.9: provided IP is already allocated",
        ),
        row("POST", SERVICES, JSON, &outside, INVALID, "the provided IP (192.0.2.1) is not in the valid range"),
        row(
            "POST",
            SERVICES,
            JSON,
            &port,
            INVALID,
            "nodePort: Invalid value: 30080: provided port is already allocated",
        ),
        row("POST", SERVICES, JSON, &low, INVALID, "The range of valid ports is 30000-32767"),
        row("POST", SERVICES, JSON, &two, INVALID, "this cluster is not configured for dual-stack services"),
        row(
            "PATCH",
            &path,
            MERGE,
            &moved,
            INVALID,
            "spec.clusterIPs[0]: Invalid value: [\"10.96.0.77\"]: may not change once set",
        ),
        row("PATCH", &path, MERGE, &greedy, INVALID, "provided port is already allocated"),
        row("POST", "/api/v1/namespaces/none/services", JSON, &plain, NOT_FOUND, "namespaces \"none\" not found"),
    ];
    refuse(&world, rows).await;
    world.post(SERVICES, &service("plain", json!({}))).await.expect(409);
    assert_eq!(records(&world), before);
    assert_eq!(held(&world).await, before);
}

#[tokio::test]
async fn a_service_gets_keeps_and_gives_back() {
    let world = World::new().await;
    let dry =
        world.post(&format!("{SERVICES}?dryRun=All"), &service("a", json!({"type": "NodePort"}))).await.expect(201);
    assert!(dry["spec"]["clusterIP"].is_string() && records(&world).is_empty(), "{dry}");
    let made =
        world.post(&format!("{SERVICES}?fieldManager=m"), &service("a", json!({"type": "NodePort"}))).await.expect(201);
    let (address, port) =
        (made["spec"]["clusterIP"].as_str().unwrap(), made["spec"]["ports"][0]["nodePort"].to_string());
    assert!(address.starts_with("10.96."), "{made}");
    assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    assert_eq!(
        (&made["spec"]["ipFamilies"], &made["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    assert_eq!(records(&world), BTreeSet::from([address.to_owned(), port.clone()]));
    // What was given is nobody's field, so that an applied manifest without it takes nothing away.
    assert!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].get("f:clusterIP").is_none(), "{made}");
    assert_eq!(world.get(&format!("{SERVICES}/a")).await.expect(200), made);
    let record = world.get(&format!("{ADDRESSES}/{address}")).await.expect(200);
    assert_eq!(record["spec"]["parentRef"], json!({"resource": "services", "namespace": "d", "name": "a"}));
    assert_eq!(record["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");

    // As `kubectl replace` sends it, and server-side apply.
    let path = format!("{SERVICES}/a");
    let again =
        world.put(&path, &service("a", json!({"type": "NodePort", "selector": {"app": "y"}}))).await.expect(200);
    assert_eq!(
        (&again["spec"]["clusterIP"], again["spec"]["ports"][0]["nodePort"].to_string()),
        (&json!(address), port.clone())
    );
    let applied = format!("{path}?fieldManager=k&force=true");
    let again = world.patch(&applied, "apply-patch", &service("a", json!({"type": "NodePort"}))).await.expect(200);
    assert_eq!(
        (&again["spec"]["clusterIP"], again["spec"]["ports"][0]["nodePort"].to_string()),
        (&json!(address), port.clone())
    );

    // From type to type.
    let dry = json!({"spec": {"type": "ClusterIP"}});
    world.patch(&format!("{path}?dryRun=All"), "merge-patch", &dry).await.expect(200);
    assert_eq!(records(&world), BTreeSet::from([address.to_owned(), port]));
    let inside = world.patch(&path, "merge-patch", &json!({"spec": {"type": "ClusterIP"}})).await.expect(200);
    assert_eq!(
        (&inside["spec"]["clusterIP"], &inside["spec"]["ports"][0]["nodePort"]),
        (&json!(address), &Value::Null)
    );
    assert_eq!(records(&world), BTreeSet::from([address.to_owned()]));
    let balanced = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}});
    let balanced = world.patch(&path, "merge-patch", &balanced).await.expect(200);
    assert!(balanced["spec"]["healthCheckNodePort"].is_u64() && balanced["spec"]["ports"][0]["nodePort"].is_u64());
    assert_eq!((records(&world).len(), records(&world)), (3, held(&world).await));
    let named = json!({"spec": {"type": "ExternalName", "externalName": "a.example.com", "externalTrafficPolicy": null, "internalTrafficPolicy": null}});
    let named = world.patch(&path, "merge-patch", &named).await.expect(200);
    assert_eq!(
        (named["spec"].get("clusterIP"), named["spec"].get("ipFamilies"), records(&world).len()),
        (None, None, 0),
        "{named}"
    );
    let back = world
        .patch(&path, "merge-patch", &json!({"spec": {"type": "NodePort", "externalName": null}}))
        .await
        .expect(200);
    assert!(back["spec"]["clusterIP"].is_string());
    assert_eq!((records(&world).len(), records(&world)), (2, held(&world).await));

    world.delete(&format!("{path}?dryRun=All")).await.expect(200);
    assert_eq!(records(&world).len(), 2);
    world.delete(&path).await.expect(200);
    assert_eq!(records(&world), BTreeSet::new());

    // Held by a finalizer, it keeps what it has until the finalizer goes.
    let mut slow = service("slow", json!({}));
    slow["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(SERVICES, &slow).await.expect(201);
    world.delete(&format!("{SERVICES}/slow")).await.expect(200);
    assert_eq!(records(&world).len(), 1);
    world
        .patch(&format!("{SERVICES}/slow"), "merge-patch", &json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    assert_eq!(records(&world), BTreeSet::new());
    let headless = world.post(SERVICES, &service("h", json!({"clusterIP": "None"}))).await.expect(201);
    assert_eq!((&headless["spec"]["clusterIPs"], records(&world).len()), (&json!(["None"]), 0));
    world.delete(SERVICES).await.expect(200);
    assert_eq!(records(&world), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_masters_never_give_one_address_twice() {
    let first = World::with(narrow(), Stopping::never()).await;
    let second = beside(&first, narrow());
    // Fourteen addresses and fourteen ports for more services than that, asked for at both masters at once.
    let ask = |world: World, from: usize| async move {
        let mut made = 0;
        for number in from..from + 10 {
            let answer = world.post(SERVICES, &service(&format!("s{number}"), json!({"type": "NodePort"}))).await;
            match answer.code {
                201 => made += 1,
                code => assert!(code == 500 && answer.text.contains("range is full"), "{}", answer.text),
            }
        }
        made
    };
    let (one, other) = (beside(&first, narrow()), beside(&second, narrow()));
    let (one, other) = tokio::join!(tokio::spawn(ask(one, 0)), tokio::spawn(ask(other, 10)));
    assert_eq!(one.unwrap() + other.unwrap(), 14);
    assert_eq!((records(&first).len(), records(&first)), (28, held(&first).await));
    let services = first.get("/api/v1/services").await.expect(200);
    let addresses: BTreeSet<&str> =
        services["items"].as_array().unwrap().iter().map(|one| one["spec"]["clusterIP"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 14);
    // And back at both at once.
    let drop = |world: World, from: usize| async move {
        for number in from..from + 10 {
            let answer = world.delete(&format!("{SERVICES}/s{number}")).await;
            assert!(matches!(answer.code, 200 | 404), "{}", answer.text);
        }
    };
    let (one, other) = (beside(&first, narrow()), beside(&first, narrow()));
    let (one, other) = tokio::join!(tokio::spawn(drop(one, 0)), tokio::spawn(drop(other, 10)));
    one.unwrap();
    other.unwrap();
    assert_eq!(records(&first), BTreeSet::new());
}

/// Takes an address for somebody else, through no API server.
fn take(direct: &Direct, good: &str, name: &str) {
    let good = match good.parse() {
        Ok(address) => objects::allocation::Good::Address(address),
        Err(_) => objects::allocation::Good::Port(good.parse().unwrap()),
    };
    let holder = objects::allocation::Holder { namespace: "d".into(), name: name.into() };
    let record = Arc::new(good.record(&holder, "u", base::clock::now()).unwrap());
    direct.write(vec![state::Change::Put { key: good.key(), object: record }]);
}

#[tokio::test]
async fn who_is_outrun_chooses_anew_or_is_told() {
    let one = Options {
        service_ranges: vec!["10.0.0.0/29".parse().unwrap()],
        node_ports: 30_000..=30_001,
        ..Options::default()
    };
    let world = World::with(one, Stopping::never()).await;
    // Between the choice and the write all but one address go, then the last.
    for last in 2..6 {
        take(&world.direct, &format!("10.0.0.{last}"), "other");
    }
    world.direct.intrude(|direct| take(direct, "10.0.0.6", "other"));
    let made = world.post(SERVICES, &service("a", json!({}))).await.expect(201);
    assert_eq!(made["spec"]["clusterIP"], "10.0.0.1");
    world.delete(&format!("{SERVICES}/a")).await.expect(200);
    world.direct.intrude(|direct| take(direct, "10.0.0.1", "other"));
    let full = world.post(SERVICES, &service("a", json!({}))).await.expect(500);
    assert!(full["message"].as_str().unwrap().contains("range is full"), "{full}");
    // An address that was asked for by number and has gone meanwhile is another's.
    world.delete(&format!("{ADDRESSES}/10.0.0.6")).await.expect(200);
    world.direct.intrude(|direct| take(direct, "10.0.0.6", "other"));
    let gone = world.post(SERVICES, &service("a", json!({"clusterIP": "10.0.0.6"}))).await.expect(422);
    assert!(gone["message"].as_str().unwrap().contains("provided IP is already allocated"), "{gone}");
    // So it is with a change.
    world.delete(&format!("{ADDRESSES}/10.0.0.6")).await.expect(200);
    world.post(SERVICES, &service("a", json!({}))).await.expect(201);
    world.direct.intrude(|direct| take(direct, "30000", "other"));
    let path = format!("{SERVICES}/a");
    let change = json!({"spec": {"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30000}]}});
    world.patch(&path, "merge-patch", &change).await.expect(422);
    let changed = world.patch(&path, "merge-patch", &json!({"spec": {"type": "NodePort"}})).await.expect(200);
    assert_eq!(changed["spec"]["ports"][0]["nodePort"], 30001);
    // A record that somebody deletes meanwhile does not keep a Service from going.
    let address = changed["spec"]["clusterIP"].as_str().unwrap().to_owned();
    world.direct.intrude(move |direct| {
        let key = objects::Key::new("ipaddresses.networking.k8s.io", "", &address);
        direct.write(vec![state::Change::Delete { key }]);
    });
    world.delete(&path).await.expect(200);
    world.get(&path).await.expect(404);
    assert!(!records(&world).contains("30001"));
}

#[tokio::test]
async fn the_clusters_ranges_are_where_addresses_come_from() {
    let world = World::new().await;
    let cidrs = "/apis/networking.k8s.io/v1/servicecidrs";
    let range = |name: &str, cidr: &[&str]| json!({"metadata": {"name": name}, "spec": {"cidrs": cidr}});
    world.post(cidrs, &range("another", &["10.50.0.0/24"])).await.expect(201);
    world.post(cidrs, &range("kubernetes", &["fd00::/112", "10.40.0.0/30"])).await.expect(201);
    let family = |made: &Value| made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let made = world.post(SERVICES, &service("a", json!({}))).await.expect(201);
    assert!(family(&made).starts_with("fd00::"), "{made}");
    let both = world.post(SERVICES, &service("b", json!({"ipFamilyPolicy": "PreferDualStack"}))).await.expect(201);
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv6", "IPv4"]));
    let v4 = json!({"ipFamilies": ["IPv4"]});
    world.post(SERVICES, &service("c", v4.clone())).await.expect(201);
    // The cluster's own is used up.
    let made = world.post(SERVICES, &service("e", v4.clone())).await.expect(201);
    assert!(family(&made).starts_with("10.50.0."), "{made}");
    // A range that goes between the choice and the write gives nothing any more.
    world.direct.intrude(|direct| {
        direct.write(vec![state::Change::Delete {
            key: objects::Key::new("servicecidrs.networking.k8s.io", "", "another"),
        }]);
    });
    let full = world.post(SERVICES, &service("f", v4)).await.expect(500);
    assert!(full["message"].as_str().unwrap().contains("range is full"), "{full}");
}
