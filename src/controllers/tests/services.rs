//! Services, and budgets of disruption, with all controllers at work.

use super::*;

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// A pod that no agent looks after, ready or not.
fn pod(world: &World, name: &str, ip: &str, ready: bool) -> Key {
    let value = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}]}});
    let key = world.create(value);
    status(world, &key, ip, ready);
    key
}

/// Says how a pod is, as its agent would.
fn status(world: &World, key: &Key, ip: &str, ready: bool) {
    let mut value = world.value(key).unwrap();
    let ready = if ready { "True" } else { "False" };
    value["status"] = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready}]});
    let kind = kind::by_kind("v1", "Pod").unwrap();
    world.put(vec![Change::Put { key: key.clone(), object: Arc::new(Object::new(kind, &value).unwrap()) }]);
}

fn slices(world: &World, service: &str) -> Vec<Value> {
    let mut slices = world.list("endpointslices.discovery.k8s.io", "default");
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    slices
}

/// Addresses of a Service's slices, those that are not ready in brackets.
fn addresses(world: &World, service: &str) -> Vec<String> {
    let slices = slices(world, service);
    let all = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let mut shown: Vec<String> = all
        .map(|endpoint| {
            let address = endpoint["addresses"][0].as_str().unwrap();
            if endpoint["conditions"]["ready"] == true { address.into() } else { format!("({address})") }
        })
        .collect();
    shown.sort();
    shown
}

fn records(world: &World) -> Vec<String> {
    let all = ["ipaddresses.networking.k8s.io", "nodeports.barque"];
    let state = world.store.current();
    all.iter().flat_map(|of| state.list(&(*of).into())).map(|one| one.key.name.to_string()).collect()
}

fn endpoints(name: &str) -> Key {
    Key::new("endpoints", "default", name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_masters_are_a_service() {
    let world = World::start(&[]).await;
    let slice = Key::new("endpointslices.discovery.k8s.io", "default", "kubernetes");
    world.until("the masters are shown", |world| world.value(&slice).is_some()).await;
    let range = Key::new("servicecidrs.networking.k8s.io", "", "kubernetes");
    world
        .until("the range is ready", |world| {
            let value = world.value(&range).unwrap_or_default();
            crate::conditions::text(crate::conditions::find(&value["status"], "Ready"), "status") == "True"
        })
        .await;
    assert_eq!(world.value(&range).unwrap()["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    let service = Key::new("services", "default", "kubernetes");
    let made = world.value(&service).unwrap();
    assert_eq!((&made["spec"]["clusterIP"], &made["spec"]["ipFamilies"]), (&json!("10.96.0.1"), &json!(["IPv4"])));
    assert_eq!(made["spec"]["ports"][0]["targetPort"], 6443);
    assert_eq!(records(&world), ["10.96.0.1"]);
    let shown = world.value(&endpoints("kubernetes")).unwrap();
    assert_eq!(shown["subsets"][0]["addresses"], json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]));
    assert_eq!(addresses(&world, "kubernetes"), ["10.0.0.1", "10.0.0.2"]);
    // Who deletes it gets it back, under the same address.
    world.delete(&service, Propagation::Background);
    world
        .until("all of it is back", |world| {
            world.value(&service).is_some_and(|value| value["spec"]["clusterIP"] == "10.96.0.1")
                && world.value(&endpoints("kubernetes")).is_some()
                && addresses(world, "kubernetes").len() == 2
                && records(world) == ["10.96.0.1"]
        })
        .await;
    // The range stays as long as its addresses are in use.
    world.delete(&range, Propagation::Background);
    world
        .until("it says why it stays", |world| {
            let value = world.value(&range).unwrap_or_default();
            crate::conditions::text(crate::conditions::find(&value["status"], "Ready"), "reason") == "Terminating"
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_followed_by_its_endpoints() {
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let spec = json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"],
        "ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": "web"}]});
    let key = world.create(service("web", spec));
    world.until("an empty slice", |world| slices(world, "web").len() == 1).await;
    let first = pod(&world, "p1", "10.1.0.1", true);
    pod(&world, "p2", "10.1.0.2", false);
    world
        .until("both pods are endpoints, and the empty slice is gone", |world| {
            addresses(world, "web") == ["(10.1.0.2)", "10.1.0.1"] && slices(world, "web").len() == 1
        })
        .await;
    let slice = &slices(&world, "web")[0];
    assert_eq!(
        (&slice["ports"][0]["port"], &slice["metadata"]["ownerReferences"][0]["name"]),
        (&json!(8080), &json!("web"))
    );
    world
        .until("the old form says the same", |world| {
            let subset = world.value(&endpoints("web")).unwrap_or_default()["subsets"][0].clone();
            subset["addresses"][0]["ip"] == "10.1.0.1" && subset["notReadyAddresses"][0]["ip"] == "10.1.0.2"
        })
        .await;
    // Its address was recorded by nobody; who deletes the record gets it back.
    let record = Key::new("ipaddresses.networking.k8s.io", "", "10.96.0.77");
    world.until("recorded", |world| world.value(&record).is_some()).await;
    world.put(vec![Change::Delete { key: record.clone() }]);
    world.until("recorded again", |world| world.value(&record).is_some()).await;
    world.put(vec![Change::Delete { key: first }]);
    world.until("one has gone", |world| addresses(world, "web") == ["(10.1.0.2)"]).await;
    let name = slices(&world, "web")[0]["metadata"]["name"].clone();
    status(&world, &Key::new("pods", "default", "p2"), "10.1.0.2", true);
    world.until("the other is ready", |world| addresses(world, "web") == ["10.1.0.2"]).await;
    assert_eq!(slices(&world, "web")[0]["metadata"]["name"], name, "the slice is changed, not made anew");
    // Removed past the API, as the end of a namespace does it, it takes everything with it.
    world.delete(&key, Propagation::Background);
    world
        .until("nothing is left", |world| {
            slices(world, "web").is_empty()
                && world.value(&endpoints("web")).is_none()
                && world.value(&record).is_none()
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_made_by_hand_are_mirrored() {
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let hand = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]});
    let made = world.create(hand);
    let service = world.create(service("db", json!({"ports": [{"port": 5432}]})));
    world.until("mirrored", |world| addresses(world, "db") == ["192.0.2.1"]).await;
    world.edit(&made, |value| value["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.2"}]));
    world.until("mirrored again", |world| addresses(world, "db") == ["192.0.2.2"]).await;
    // Nobody's selector takes them away: they are the user's.
    assert!(world.value(&made).is_some());
    world.edit(&made, |value| {
        value["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    });
    world.until("no longer mirrored", |world| slices(world, "db").is_empty()).await;
    world.edit(&made, |value| value["metadata"]["labels"] = json!({}));
    world.until("mirrored anew", |world| addresses(world, "db") == ["192.0.2.2"]).await;
    world.delete(&service, Propagation::Background);
    world.until("gone with the service", |world| slices(world, "db").is_empty() && world.value(&made).is_none()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_counts_its_pods() {
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    let first = pod(&world, "p1", "10.1.0.1", true);
    pod(&world, "p2", "10.1.0.2", true);
    let budget = world.create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}));
    let allowed = |world: &World| world.value(&budget).unwrap()["status"]["disruptionsAllowed"].clone();
    world.until("one may go", |world| allowed(world) == 1).await;
    status(&world, &first, "10.1.0.1", false);
    world.until("none may go", |world| allowed(world) == 0).await;
    assert_eq!(world.value(&budget).unwrap()["status"]["currentHealthy"], 1);
    world.edit(&budget, |value| value["spec"]["minAvailable"] = json!(0));
    world.until("the other may go", |world| allowed(world) == 1).await;
    assert_eq!(world.value(&budget).unwrap()["status"]["observedGeneration"], 2);
    world.stop().await;
}
