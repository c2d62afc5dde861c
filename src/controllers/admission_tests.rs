//! Controllers are admitted as clients are, and quotas are counted anew.

use super::*;

fn quota(pods: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": pods, "count/replicasets.apps": "9"}}})
}

async fn world() -> World {
    let world = World::start(&["n1"]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    world
}

fn used(world: &World) -> Value {
    world.value(&Key::new("resourcequotas", "default", "q")).unwrap()["status"]["used"]["pods"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_makes_as_many_pods_as_a_quota_allows() {
    let world = world().await;
    let key = world.create(quota("3"));
    world.until("it is counted", |world| used(world) == "0").await;
    let web = world.create(deployment(5, "a"));
    world
        .until("three pods, and the reason why not more", |world| {
            let told = world.list("events", "default").into_iter().any(|event| {
                event["reason"] == "FailedCreate"
                    && event["message"].as_str().is_some_and(|text| {
                        text.contains("exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3")
                    })
            });
            world.live_pods().len() == 3 && used(world) == "3" && told
        })
        .await;
    world
        .until("the set says so", |world| {
            world.list("replicasets.apps", "default").iter().any(|set| {
                let found = crate::conditions::find(&set["status"], "ReplicaFailure");
                crate::conditions::text(found, "status") == "True"
            })
        })
        .await;
    // More is allowed: the set goes on at once.
    world.edit(&key, |quota| quota["spec"]["hard"]["pods"] = json!("4"));
    let before = Instant::now();
    world.until("a fourth", |world| world.live_pods().len() == 4 && used(world) == "4").await;
    assert!(before.elapsed() < Duration::from_secs(20), "woken, not waited for");
    // Fewer are wanted: what goes is given back.
    world.edit(&key, |quota| quota["spec"]["hard"]["pods"] = json!("10"));
    world.edit(&web, |value| value["spec"]["replicas"] = json!(1));
    world.until("one is used", |world| used(world) == "1" && world.list("pods", "default").len() == 1).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_have_ended_are_not_counted() {
    // Without nodes nobody brings the failed pod back.
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    world.create(quota("3"));
    world.until("it is counted", |world| used(world) == "0").await;
    world.create(deployment(1, "a"));
    world.until("one is used", |world| used(world) == "1").await;
    // The set replaces a pod that has failed; the failed one stays and uses nothing.
    let pod = world.live_pods().remove(0);
    let failed = Key::new("pods", "default", pod["metadata"]["name"].as_str().unwrap());
    let mut ended = world.value(&failed).unwrap();
    ended["status"]["phase"] = json!("Failed");
    let object = Arc::new(Object::new(kind::by_kind("v1", "Pod").unwrap(), &ended).unwrap());
    world.put(vec![Change::Put { key: failed.clone(), object }]);
    world
        .until("two pods, one used", |world| {
            world.list("pods", "default").len() == 2 && used(world) == "1" && world.value(&failed).is_some()
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pods_of_a_template_are_held_to_the_namespaces_standard() {
    let world = world().await;
    let namespace = Key::new("namespaces", "", "default");
    world.edit(&namespace, |value| {
        value["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": "baseline"})
    });
    let mut web = deployment(1, "a");
    web["spec"]["template"]["spec"]["initContainers"] =
        json!([{"name": "i", "image": "a", "securityContext": {"privileged": true}}]);
    world.create(web);
    world
        .until("the refusal is told", |world| {
            world.list("events", "default").iter().any(|event| {
                event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("violates PodSecurity \"baseline:latest\": privileged"))
            })
        })
        .await;
    assert!(world.live_pods().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_priority_classes_are_always_there() {
    let world = World::start(&[]).await;
    let key = |name: &str| Key::new("priorityclasses.scheduling.k8s.io", "", name);
    for (name, value) in [("system-cluster-critical", 2_000_000_000_i64), ("system-node-critical", 2_000_001_000)] {
        world.until("it is made", |world| world.value(&key(name)).is_some_and(|class| class["value"] == value)).await;
        world.delete(&key(name), Propagation::Background);
        world.until("it is made again", |world| world.value(&key(name)).is_some()).await;
    }
    world.stop().await;
}
