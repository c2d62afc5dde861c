//! Evictions ask the pod's disruption budget, and take from it what they use up.

use super::rows::PODS;
use super::*;

const BUDGETS: &str = "/apis/policy/v1/namespaces/d/poddisruptionbudgets";

/// A pod that runs and is ready.
async fn running(world: &World, name: &str, labels: Value) {
    let mut body = pod(name);
    body["metadata"]["labels"] = labels;
    body["spec"]["nodeName"] = json!("n1");
    world.post(PODS, &body).await.expect(201);
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    world.patch(&format!("{PODS}/{name}/status"), "merge-patch", &status).await.expect(200);
}

/// A budget of which the controller has said that so many may go.
async fn budget(world: &World, name: &str, allowed: i64) {
    let body =
        json!({"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    world.post(BUDGETS, &body).await.expect(201);
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": allowed + 1,
        "desiredHealthy": 1, "expectedPods": allowed + 1}});
    world.patch(&format!("{BUDGETS}/{name}/status"), "merge-patch", &status).await.expect(200);
}

async fn evict(world: &World, name: &str) -> Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    world.post(&format!("{PODS}/{name}/eviction"), &eviction).await
}

async fn allowed(world: &World) -> Value {
    world.get(&format!("{BUDGETS}/b")).await.expect(200)["status"]["disruptionsAllowed"].clone()
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses() {
    let world = World::new().await;
    running(&world, "p1", json!({"app": "x"})).await;
    running(&world, "p2", json!({"app": "x"})).await;
    running(&world, "other", json!({"app": "y"})).await;
    // One that no controller has looked at yet allows nothing.
    let body = json!({"metadata": {"name": "young"}, "spec": {"minAvailable": 1, "selector": {}}});
    world.post(BUDGETS, &body).await.expect(201);
    let refused = evict(&world, "p1").await;
    assert_eq!(refused.headers["retry-after"], "10");
    let refused = refused.expect(429);
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget", "{refused}");
    world.delete(&format!("{BUDGETS}/young")).await.expect(200);

    budget(&world, "b", 1).await;
    let dry = json!({"deleteOptions": {"dryRun": ["All"]}});
    world.post(&format!("{PODS}/p1/eviction"), &dry).await.expect(201);
    assert_eq!(allowed(&world).await, 1);
    evict(&world, "p1").await.expect(201);
    let gone = world.get(&format!("{PODS}/p1")).await.expect(200);
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    let conditions = gone["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "DisruptionTarget" && one["reason"] == "EvictionByEvictionAPI"));
    assert_eq!(allowed(&world).await, 0);
    let before = world.api.store.current().revision();
    let refused = evict(&world, "p2").await.expect(429);
    assert_eq!(
        (&refused["reason"], &refused["message"]),
        (&json!("TooManyRequests"), &json!("Cannot evict pod as it would violate the pod's disruption budget."))
    );
    assert_eq!(
        refused["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 2 currently"
    );
    assert_eq!(world.api.store.current().revision(), before);
    // One that goes already costs nothing more, nor does one that no budget selects.
    evict(&world, "p1").await.expect(201);
    evict(&world, "other").await.expect(201);
    budget(&world, "second", 5).await;
    let two = evict(&world, "p2").await.expect(500);
    assert!(two["message"].as_str().unwrap().contains("more than one PodDisruptionBudget"), "{two}");
    // A deletion is no eviction.
    world.delete(&format!("{PODS}/p2")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_two_evictions_share_a_disruption() {
    let world = Arc::new(World::new().await);
    for number in 0..12 {
        running(&world, &format!("p{number}"), json!({"app": "x"})).await;
    }
    budget(&world, "b", 5).await;
    let evictions = (0..12).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { evict(&world, &format!("p{number}")).await.code })
    });
    let mut evicted = 0;
    for eviction in evictions.collect::<Vec<_>>() {
        match eviction.await.unwrap() {
            201 => evicted += 1,
            code => assert_eq!(code, 429),
        }
    }
    // Some may have been told to come again because of the crowd.
    assert_eq!(allowed(&world).await, json!(5 - evicted));
    for number in 0..12 {
        if allowed(&world).await == 0 {
            break;
        }
        evict(&world, &format!("p{number}")).await;
    }
    let pods = world.get(PODS).await.expect(200);
    let leaving =
        pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string());
    assert_eq!((leaving.count(), allowed(&world).await), (5, json!(0)));
}
