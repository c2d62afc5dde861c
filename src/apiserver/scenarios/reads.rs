//! Getting and listing.

use super::*;
use state::Revision;

const CM: &str = "/api/v1/namespaces/d/configmaps";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn filled() -> World {
    let world = World::new().await;
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y"), ("e", "y"), ("f", "x")] {
        let mut body = config_map(name);
        body["metadata"]["labels"] = json!({"l": label});
        world.post(CM, &body).await.expect(201);
    }
    world
}

#[tokio::test]
async fn lists_are_selected() {
    let world = filled().await;
    let rows = [
        ("", vec!["a", "b", "c", "e", "f"]),
        ("?labelSelector=l%3Dx", vec!["a", "b", "f"]),
        ("?labelSelector=l+notin+(x)", vec!["c", "e"]),
        ("?labelSelector=!l", vec![]),
        ("?fieldSelector=metadata.name%3Dc", vec!["c"]),
        ("?fieldSelector=metadata.name%3Dnone", vec![]),
        ("?fieldSelector=metadata.name!%3Dc&labelSelector=l%3Dy", vec!["e"]),
        ("?fieldSelector=metadata.namespace%3Dother", vec![]),
    ];
    for (query, wanted) in rows {
        let list = world.get(&format!("{CM}{query}")).await.expect(200);
        assert_eq!(names(&list), wanted, "{query}");
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    }
    let everywhere = world.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dc").await.expect(200);
    assert_eq!(names(&everywhere), ["c"]);
    let none = world.get("/api/v1/namespaces/nowhere/configmaps").await;
    assert!(none.text.contains("\"items\":[]"), "{}", none.text);
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let world = filled().await;
    let first = world.get(&format!("{CM}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    world.delete(&format!("{CM}/c")).await.expect(200);
    world.post(CM, &config_map("d")).await.expect(201);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = world.get(&format!("{CM}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(
        (names(&second), &second["metadata"]["resourceVersion"]),
        (vec!["c", "e"], &first["metadata"]["resourceVersion"])
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = world.get(&format!("{CM}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&third), ["f"]);
    assert!(third["metadata"]["continue"].is_null() && third["metadata"]["remainingItemCount"].is_null());
    let selected = world.get(&format!("{CM}?limit=1&labelSelector=l%3Dx")).await.expect(200);
    assert!(selected["metadata"]["continue"].is_string() && selected["metadata"]["remainingItemCount"].is_null());
    let elsewhere = world.get(&format!("/api/v1/namespaces/default/configmaps?continue={token}")).await;
    elsewhere.expect(400);
}

#[tokio::test]
async fn an_expired_page_brings_a_token_that_goes_on() {
    let world = filled().await;
    let first = world.get(&format!("{CM}?limit=2")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    world.delete(&format!("{CM}/c")).await.expect(200);
    world.direct.apply(&Command::Compact { until: Revision(1_000) });
    let expired = world.get(&format!("{CM}?limit=2&continue={token}")).await.expect(410);
    assert_eq!(expired["reason"], "Expired");
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let rest = world.get(&format!("{CM}?continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["e", "f"]);
    let old = world.get(&format!("{CM}?resourceVersion=3&resourceVersionMatch=Exact")).await.expect(410);
    assert!(old["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn old_and_future_revisions() {
    let world =
        World::with(Options { future_wait: Duration::from_millis(20), ..Options::default() }, Stopping::never()).await;
    let first = world.post(CM, &config_map("a")).await.expect(201);
    world.post(CM, &config_map("b")).await.expect(201);
    let at = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = world.get(&format!("{CM}?resourceVersion={at}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), exact["metadata"]["resourceVersion"].as_str()), (vec!["a"], Some(at)));
    let newer = world.get(&format!("{CM}?resourceVersion={at}")).await.expect(200);
    assert_eq!(names(&newer), ["a", "b"]);
    for path in [
        format!("{CM}?resourceVersion=1000"),
        format!("{CM}/a?resourceVersion=1000"),
        format!("{CM}?watch=1&resourceVersion=1000"),
    ] {
        let status = world.get(&path).await.expect(504);
        assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge", "{path}");
        assert_eq!(status["details"]["retryAfterSeconds"], 1);
    }
}

#[tokio::test]
async fn tables_and_metadata_are_made_on_the_server() {
    let world = filled().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = world.accepting(CM, table).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(list["columnDefinitions"][0]["name"], "Name");
    assert_eq!(list["rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(
        (&list["rows"][0]["cells"][0], &list["rows"][0]["object"]["kind"]),
        (&json!("a"), &json!("PartialObjectMetadata"))
    );
    assert!(list["metadata"]["resourceVersion"].is_string());
    let one = world.accepting(&format!("{CM}/a?includeObject=Object"), table).await.expect(200);
    assert_eq!((one["rows"].as_array().map(Vec::len), &one["rows"][0]["object"]["data"]["a"]), (Some(1), &json!("1")));
    let bare = world.accepting(&format!("{CM}?includeObject=None&limit=2"), table).await.expect(200);
    assert!(bare["rows"][0]["object"].is_null() && bare["metadata"]["continue"].is_string());
    let partial =
        world.accepting(CM, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.expect(200);
    assert_eq!(
        (&partial["kind"], &partial["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
    assert!(partial["items"][0]["data"].is_null());
    let single = world
        .accepting(&format!("{CM}/a"), "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
        .await
        .expect(200);
    assert_eq!(single["kind"], "PartialObjectMetadata");
}
