//! Jobs with all controllers at work, and pods that end when the test says so.

use super::*;

async fn started() -> World {
    let world = World::start(&[]).await;
    world.until("the namespace is there", |world| world.value(&Key::new("namespaces", "", "default")).is_some()).await;
    world
}

fn job(more: Value) -> Value {
    let mut spec =
        json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}, "spec": spec})
}

/// Pods that have not ended.
fn at_work(world: &World) -> Vec<String> {
    let mut pods = world.live_pods();
    pods.retain(|pod| pod["status"]["phase"] == "Pending");
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Ends a pod, as its agent would say.
fn end(world: &World, name: &str, phase: &str) {
    let key = Key::new("pods", "default", name);
    let mut value = world.value(&key).unwrap();
    value["status"]["phase"] = json!(phase);
    let kind = kind::by_kind("v1", "Pod").unwrap();
    world.put(vec![Change::Put { key, object: Arc::new(Object::new(kind, &value).unwrap()) }]);
}

fn condition<'a>(job: &'a Value, kind: &str) -> &'a str {
    crate::conditions::text(crate::conditions::find(&job["status"], kind), "reason")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_its_pods_one_after_the_other_and_is_complete() {
    let world = started().await;
    let key = world.create(job(json!({"completions": 3, "parallelism": 2})));
    let mut seen = Vec::new();
    for expected in [2, 2, 1] {
        world.until("pods are at work", |world| at_work(world).len() == expected).await;
        let name = at_work(&world).remove(0);
        assert!(name.starts_with("j-") && !seen.contains(&name), "{name}");
        end(&world, &name, "Succeeded");
        seen.push(name);
    }
    world.until("complete", |world| condition(&world.value(&key).unwrap(), "Complete") == "CompletionsReached").await;
    let done = world.value(&key).unwrap();
    assert_eq!((&done["status"]["succeeded"], done["status"].get("active")), (&json!(3), None), "{done}");
    assert!(done["status"]["completionTime"].is_string());
    let pods = world.list("pods", "default");
    assert_eq!(pods.len(), 3);
    assert!(pods.iter().all(|pod| pod["metadata"].get("finalizers").is_none()), "{pods:?}");
    assert_eq!(pods[0]["metadata"]["labels"]["batch.kubernetes.io/job-name"], "j");
    world
        .until("told", |world| {
            let events = world.list("events", "default");
            ["SuccessfulCreate", "Completed"].iter().all(|reason| events.iter().any(|one| one["reason"] == *reason))
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_too_often_has_failed() {
    let world = started().await;
    let key = world.create(job(json!({"backoffLimit": 0, "parallelism": 2, "completions": 2})));
    world.until("pods are at work", |world| at_work(world).len() == 2).await;
    let first = at_work(&world).remove(0);
    end(&world, &first, "Failed");
    world.until("failed", |world| condition(&world.value(&key).unwrap(), "Failed") == "BackoffLimitExceeded").await;
    // The other one was stopped.
    assert_eq!(at_work(&world), [] as [&str; 0]);
    assert!(world.value(&key).unwrap()["status"]["failed"].as_i64().is_some_and(|failed| failed >= 1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_held_goes_on_and_goes_with_its_pods() {
    let world = started().await;
    let key = world.create(job(json!({"suspend": true})));
    world.until("held", |world| condition(&world.value(&key).unwrap(), "Suspended") == "JobSuspended").await;
    assert_eq!(world.list("pods", "default").len(), 0);
    world.edit(&key, |value| value["spec"]["suspend"] = json!(false));
    world.until("at work", |world| at_work(world).len() == 1).await;
    world.edit(&key, |value| value["spec"]["suspend"] = json!(true));
    world.until("held again, its pod gone", |world| world.list("pods", "default").is_empty()).await;
    world.edit(&key, |value| value["spec"]["suspend"] = json!(false));
    world.until("at work again", |world| at_work(world).len() == 1).await;
    world.delete(&key, Propagation::Background);
    world.until("all gone", |world| world.value(&key).is_none() && world.list("pods", "default").is_empty()).await;

    let key = world.create(job(json!({"ttlSecondsAfterFinished": 0})));
    world.until("at work", |world| at_work(world).len() == 1).await;
    let pod = at_work(&world).remove(0);
    end(&world, &pod, "Succeeded");
    world
        .until("gone by itself", |world| world.value(&key).is_none() && world.list("pods", "default").is_empty())
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_run_right_is_not_run() {
    let world = started().await;
    world.create(job(json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1})));
    world
        .until("said so", |world| world.list("events", "default").iter().any(|event| event["reason"] == "Unsupported"))
        .await;
    let mut foreign = job(json!({"managedBy": "example.com/other"}));
    foreign["metadata"]["name"] = json!("foreign");
    world.create(foreign);
    let mut plain = job(json!({}));
    plain["metadata"]["name"] = json!("plain");
    world.create(plain);
    world.until("the plain one runs", |world| !at_work(world).is_empty()).await;
    assert!(world.list("pods", "default").iter().all(|pod| pod["metadata"]["labels"]["job-name"] == "plain"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexed_job_runs_each_index_until_it_succeeds() {
    let world = started().await;
    let key =
        world.create(job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimit": 5})));
    world.until("each index is at work", |world| at_work(world).len() == 3).await;
    let of = |world: &World, index: &str| -> Vec<String> {
        at_work(world).into_iter().filter(|name| name.starts_with(&format!("j-{index}-"))).collect()
    };
    for index in ["0", "2"] {
        let pods = of(&world, index);
        assert_eq!(pods.len(), 1, "{pods:?}");
        end(&world, &pods[0], "Succeeded");
    }
    world.until("counted", |world| world.value(&key).unwrap()["status"]["completedIndexes"] == "0,2").await;
    let pod = world.value(&Key::new("pods", "default", &of(&world, "1")[0])).unwrap();
    assert_eq!((&pod["spec"]["hostname"], at_work(&world).len()), (&json!("j-1"), 1));
    end(&world, pod["metadata"]["name"].as_str().unwrap(), "Succeeded");
    world.until("complete", |world| condition(&world.value(&key).unwrap(), "Complete") == "CompletionsReached").await;
    assert_eq!(world.value(&key).unwrap()["status"]["completedIndexes"], "0-2");
    world.stop().await;
}
