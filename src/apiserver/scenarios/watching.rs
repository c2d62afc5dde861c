//! Watching.

use super::*;
use base::Shutdown;
use state::Revision;

const CM: &str = "/api/v1/namespaces/d/configmaps";

async fn watch(world: &World, query: &str) -> Lines {
    Lines::of(world.open(admin(), "GET", &format!("{CM}?watch=1{query}"), &[], b"").await)
}

fn labeled(name: &str, label: &str) -> Value {
    let mut body = config_map(name);
    body["metadata"]["labels"] = json!({"l": label});
    body
}

#[tokio::test]
async fn a_watch_shows_what_is_there_and_what_comes() {
    let world = World::new().await;
    world.post(CM, &config_map("a")).await.expect(201);
    let mut lines = watch(&world, "").await;
    assert_eq!(lines.short().await, "ADDED a");
    let made = world.post(CM, &config_map("b")).await.expect(201);
    world.post("/api/v1/namespaces/default/configmaps", &config_map("other")).await.expect(201);
    world.post("/api/v1/namespaces/d/pods", &pod("p")).await.expect(201);
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]), (&json!("ADDED"), &made));
    world.patch(&format!("{CM}/b"), "merge-patch", &json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(lines.short().await, "MODIFIED b");
    world.delete(&format!("{CM}/b")).await.expect(200);
    let gone = lines.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["data"]["a"]), (&json!("DELETED"), &json!("2")));
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], world.api.store.current().revision().to_string());

    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut resumed = watch(&world, &format!("&resourceVersion={from}")).await;
    assert_eq!((resumed.short().await, resumed.short().await), ("MODIFIED b".into(), "DELETED b".into()));
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let world = World::new().await;
    let mut lines = watch(&world, "&labelSelector=l%3Dx").await;
    world.post(CM, &labeled("a", "y")).await.expect(201);
    let relabel = |label: &str| json!({"metadata": {"labels": {"l": label}}});
    let path = format!("{CM}/a");
    world.patch(&path, "merge-patch", &relabel("x")).await.expect(200);
    world.patch(&path, "merge-patch", &json!({"data": {"a": "2"}})).await.expect(200);
    let left = world.patch(&path, "merge-patch", &relabel("y")).await.expect(200);
    assert_eq!((lines.short().await, lines.short().await), ("ADDED a".into(), "MODIFIED a".into()));
    let gone = lines.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["labels"]["l"]), (&json!("DELETED"), &json!("x")));
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    world.delete(&path).await.expect(200);
    world.post(CM, &labeled("b", "x")).await.expect(201);
    assert_eq!(lines.short().await, "ADDED b", "the deletion of what had left is not shown");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.post(CM, &config_map(name)).await.expect(201);
    }
    let mut lines =
        watch(&world, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").await;
    assert_eq!((lines.short().await, lines.short().await), ("ADDED a".into(), "ADDED b".into()));
    let end = lines.next().await.unwrap();
    assert_eq!((&end["type"], &end["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["object"]["metadata"]["resourceVersion"], world.api.store.current().revision().to_string());
    world.post(CM, &config_map("c")).await.expect(201);
    assert_eq!(lines.short().await, "ADDED c");

    let mut quiet = watch(&world, "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan").await;
    world.post(CM, &config_map("e")).await.expect(201);
    assert_eq!(quiet.short().await, "ADDED e");
}

#[tokio::test]
async fn a_large_start_comes_in_pieces_and_complete() {
    let world = World::new().await;
    let mut wanted = Vec::new();
    for number in 0..30 {
        let mut body = config_map(&format!("n{number:02}"));
        body["data"]["big"] = json!("x".repeat(30_000));
        world.post(CM, &body).await.expect(201);
        wanted.push(format!("ADDED n{number:02}"));
    }
    let mut lines = watch(&world, "").await;
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.push(lines.short().await);
    }
    assert_eq!(seen, wanted);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_when_allowed_and_move_on() {
    let world = World::new().await;
    let mut lines = watch(&world, "&allowWatchBookmarks=true&timeoutSeconds=130").await;
    world.post("/api/v1/namespaces/d/pods", &pod("p")).await.expect(201);
    for _ in 0..3 {
        let bookmark = lines.next().await.expect("two on the way, one at the end");
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], world.api.store.current().revision().to_string());
        world
            .post("/api/v1/namespaces/d/pods", &json!({"metadata": {"generateName": "p-"}, "spec": pod("p")["spec"]}))
            .await
            .expect(201);
    }
    assert_eq!(lines.next().await, None, "the watch ends at its time");
    let mut silent = watch(&world, "&timeoutSeconds=100").await;
    assert_eq!(silent.next().await, None);
}

#[tokio::test]
async fn forgotten_history_is_an_event() {
    let world = World::new().await;
    world.post(CM, &config_map("a")).await.expect(201);
    world.direct.apply(&Command::Compact { until: Revision(1_000) });
    let mut lines = watch(&world, "&resourceVersion=1").await;
    let error = lines.next().await.unwrap();
    assert_eq!(
        (&error["type"], &error["object"]["code"], &error["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_watch_of_tables_names_its_columns_once() {
    let world = World::new().await;
    world.post(CM, &config_map("a")).await.expect(201);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut lines = Lines::of(world.open(admin(), "GET", &format!("{CM}?watch=1"), &accept, b"").await);
    let first = lines.next().await.unwrap();
    assert_eq!((&first["object"]["kind"], &first["object"]["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_ne!(first["object"]["columnDefinitions"].as_array().map(Vec::len), Some(0));
    world.delete(&format!("{CM}/a")).await.expect(200);
    let second = lines.next().await.unwrap();
    assert_eq!(
        (&second["type"], second["object"]["columnDefinitions"].as_array().map(Vec::len)),
        (&json!("DELETED"), Some(0))
    );
}

#[tokio::test]
async fn watches_close_when_the_server_stops() {
    let stop = Shutdown::new();
    let world = World::with(Options::default(), stop.stopping()).await;
    let mut lines = watch(&world, "").await;
    world.post(CM, &config_map("a")).await.expect(201);
    assert_eq!(lines.short().await, "ADDED a");
    let ready = world.get("/readyz").await;
    assert_eq!((ready.code, ready.headers.get("barque-leads").is_some()), (200, true), "gateways prefer who leads");
    stop.trigger();
    assert_eq!(lines.next().await, None);
    let ready = world.get("/readyz").await;
    assert!(ready.code == 503 && ready.text.contains("stopping"), "{ready:?}");
}
