//! Creating, changing and deleting.

use super::*;

const CM: &str = "/api/v1/namespaces/d/configmaps";
const PODS: &str = "/api/v1/namespaces/d/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/d/deployments";

fn revision(value: &Value) -> u64 {
    value["metadata"]["resourceVersion"].as_str().expect("a revision").parse().unwrap()
}

#[tokio::test]
async fn a_created_object_has_what_the_server_gives() {
    let world = World::new().await;
    let made = world.post(&format!("{PODS}?fieldManager=tester"), &pod("p")).await.expect(201);
    let metadata = &made["metadata"];
    assert_eq!((&metadata["namespace"], &metadata["name"]), (&json!("d"), &json!("p")));
    assert!(metadata["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert_eq!(metadata["managedFields"][0]["manager"], "tester");
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.get(&format!("{PODS}/p")).await.expect(200), made);
}

#[tokio::test]
async fn generated_names_are_drawn_anew() {
    let world = World::new().await;
    let body = json!({"metadata": {"generateName": "x-"}});
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let made = world.post(CM, &body).await.expect(201);
        names.insert(made["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert!(names.len() == 5 && names.iter().all(|name| name.starts_with("x-") && name.len() == 7), "{names:?}");
}

#[tokio::test]
async fn bodies_come_in_three_encodings() {
    let world = World::new().await;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: \"1\"\n";
    let made = world.send(admin(), "POST", CM, &[("content-type", "application/yaml")], yaml).await.expect(201);
    assert_eq!(made["data"], json!({"a": "1"}));
    // runtime.Unknown{typeMeta: {v1, ConfigMap}, raw: ConfigMap{metadata: {name: "p"}, data: {a: 1}}}
    let raw = b"\x0a\x03\x0a\x01p\x12\x06\x0a\x01a\x12\x011";
    let mut bytes = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".to_vec();
    bytes.push(u8::try_from(raw.len()).unwrap());
    bytes.extend_from_slice(raw);
    let headers = [
        ("content-type", "application/vnd.kubernetes.protobuf"),
        ("accept", "application/vnd.kubernetes.protobuf,application/json"),
    ];
    let made = world.send(admin(), "POST", CM, &headers, &bytes).await.expect(201);
    assert_eq!((&made["metadata"]["name"], &made["data"]), (&json!("p"), &json!({"a": "1"})));
}

#[tokio::test]
async fn unknown_fields_are_told_or_not() {
    let world = World::new().await;
    let mut body = config_map("w");
    body["daat"] = json!({});
    let answer = world.post(CM, &body).await;
    assert!(answer.expect(201)["daat"].is_null());
    assert_eq!(answer.warnings(), ["299 - \"unknown field \\\"daat\\\"\""]);
    body["metadata"]["name"] = json!("i");
    let answer = world.post(&format!("{CM}?fieldValidation=Ignore"), &body).await;
    assert_eq!((answer.code, answer.warnings().len()), (201, 0));
}

#[tokio::test]
async fn a_dry_run_does_everything_and_stores_nothing() {
    let world = World::new().await;
    let before = world.api.store.current().revision();
    let made = world.post(&format!("{PODS}?dryRun=All"), &pod("p")).await.expect(201);
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert!(made["metadata"]["resourceVersion"].is_null());
    let missing = world.post("/api/v1/namespaces/none/pods?dryRun=All", &pod("p")).await;
    assert_eq!(missing.expect(404)["message"], "namespaces \"none\" not found");
    world.get(&format!("{PODS}/p")).await.expect(404);
    assert_eq!(world.api.store.current().revision(), before);

    let kept = world.post(CM, &config_map("a")).await.expect(201);
    world.post(&format!("{CM}?dryRun=All"), &config_map("a")).await.expect(409);
    let patched =
        world.patch(&format!("{CM}/a?dryRun=All"), "merge-patch", &json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!((&patched["data"]["a"], revision(&patched)), (&json!("2"), revision(&kept)));
    world.delete(&format!("{CM}/a?dryRun=All")).await.expect(200);
    let body = json!({"dryRun": ["All"]});
    world.send(admin(), "DELETE", &format!("{CM}/a"), &[], body.to_string().as_bytes()).await.expect(200);
    assert_eq!(world.get(&format!("{CM}/a")).await.expect(200), kept);
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_its_revision() {
    let world = World::new().await;
    let made = world.post(DEPLOYMENTS, &deployment("x", 2)).await.expect(201);
    let path = format!("{DEPLOYMENTS}/x");
    let same = world.put(&path, &made).await.expect(200);
    assert_eq!(same, made);
    for (kind, body) in
        [("merge-patch", json!({"spec": {"replicas": 2}})), ("strategic-merge-patch", json!({"metadata": {}}))]
    {
        assert_eq!(revision(&world.patch(&path, kind, &body).await.expect(200)), revision(&made), "{kind}");
    }
    let changed = world.patch(&path, "merge-patch", &json!({"spec": {"replicas": 3}})).await.expect(200);
    assert!(revision(&changed) > revision(&made));
    assert_eq!((&made["metadata"]["generation"], &changed["metadata"]["generation"]), (&json!(1), &json!(2)));
    let stale = world.put(&path, &made).await.expect(409);
    assert_eq!(stale["reason"], "Conflict");
    let mut unconditional = made.clone();
    unconditional["metadata"]["resourceVersion"] = json!("0");
    world.put(&path, &unconditional).await.expect(200);
}

#[tokio::test]
async fn status_and_spec_have_doors_of_their_own() {
    let world = World::new().await;
    let made = world.post(DEPLOYMENTS, &deployment("x", 2)).await.expect(201);
    let path = format!("{DEPLOYMENTS}/x");
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 7}});
    let through_status = world.patch(&format!("{path}/status"), "merge-patch", &both).await.expect(200);
    assert_eq!((&through_status["spec"]["replicas"], &through_status["status"]["replicas"]), (&json!(2), &json!(7)));
    assert_eq!(through_status["metadata"]["generation"], made["metadata"]["generation"]);
    let other = json!({"spec": {"replicas": 5}, "status": {"replicas": 9}});
    let through_main = world.patch(&path, "merge-patch", &other).await.expect(200);
    assert_eq!((&through_main["spec"]["replicas"], &through_main["status"]["replicas"]), (&json!(5), &json!(7)));
    assert_eq!(world.get(&format!("{path}/status")).await.expect(200), through_main);
}

#[tokio::test]
async fn a_patch_without_a_version_is_tried_again_when_others_were_faster() {
    let world = World::new().await;
    world.post(CM, &config_map("a")).await.expect(201);
    let intrude = |key: &'static str| {
        world.direct.intrude(move |direct| {
            let at = objects::Key::new("configmaps", "d", "a");
            let mut value = direct.replica.current().get(&at).unwrap().to_value().unwrap();
            value["data"][key] = json!("theirs");
            let kind = objects::kind::by_kind("v1", "ConfigMap").unwrap();
            let object = Arc::new(objects::Object::new(kind, &value).unwrap());
            direct.write(vec![state::Change::Put { key: at, object }]);
        });
    };
    intrude("b");
    let patched = world.patch(&format!("{CM}/a"), "merge-patch", &json!({"data": {"c": "mine"}})).await.expect(200);
    assert_eq!(patched["data"], json!({"a": "1", "b": "theirs", "c": "mine"}));
    // With a version it is not.
    let read = world.get(&format!("{CM}/a")).await.expect(200);
    intrude("d");
    world.put(&format!("{CM}/a"), &read).await.expect(200);
    let mut changed = world.get(&format!("{CM}/a")).await.expect(200);
    changed["data"]["e"] = json!("mine");
    intrude("d2");
    world.put(&format!("{CM}/a"), &changed).await.expect(409);
}

#[tokio::test]
async fn apply_creates_merges_and_guards_owners() {
    let world = World::new().await;
    let path = format!("{CM}/a");
    let config =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let made = world
        .patch(&format!("{path}?fieldManager=one"), "apply-patch", &config(json!({"a": "1", "b": "1"})))
        .await
        .expect(201);
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = world
        .patch(&format!("{path}?fieldManager=one"), "apply-patch", &config(json!({"a": "1", "b": "1"})))
        .await
        .expect(200);
    assert_eq!(revision(&again), revision(&made));
    let conflict =
        world.patch(&format!("{path}?fieldManager=two"), "apply-patch", &config(json!({"a": "2"}))).await.expect(409);
    assert_eq!(conflict["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let forced = world
        .patch(&format!("{path}?fieldManager=two&force=true"), "apply-patch", &config(json!({"a": "2"})))
        .await
        .expect(200);
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    let dropped = world.patch(&format!("{path}?fieldManager=one"), "apply-patch", &config(json!({}))).await.expect(200);
    assert_eq!(dropped["data"], json!({"a": "2"}));
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: b\n";
    let headers = [("content-type", "application/apply-patch+yaml")];
    world.send(admin(), "PATCH", &format!("{CM}/yam?fieldManager=k"), &headers, yaml).await.expect(201);
    let missing =
        world.patch("/api/v1/namespaces/none/configmaps/a?fieldManager=one", "apply-patch", &config(json!({}))).await;
    assert_eq!(missing.expect(404)["message"], "namespaces \"none\" not found");
}

#[tokio::test]
async fn deletion_waits_for_finalizers_and_grace() {
    let world = World::new().await;
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(CM, &held).await.expect(201);
    let path = format!("{CM}/held");
    let leaving = world.delete(&path).await.expect(200);
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    world
        .patch(&path, "merge-patch", &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}}))
        .await
        .expect(422);
    world.patch(&path, "merge-patch", &json!({"metadata": {"finalizers": null}})).await.expect(200);
    world.get(&path).await.expect(404);

    let made = world.post(CM, &config_map("plain")).await.expect(201);
    let gone = world.delete(&format!("{CM}/plain")).await.expect(200);
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &made["metadata"]["uid"]));

    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = json!("n1");
    world.post(PODS, &bound).await.expect(201);
    let leaving = world.delete(&format!("{PODS}/bound")).await.expect(200);
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    let same = world.delete(&format!("{PODS}/bound")).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], leaving["metadata"]["resourceVersion"]);
    world.delete(&format!("{PODS}/bound?gracePeriodSeconds=0")).await.expect(200);
    world.get(&format!("{PODS}/bound")).await.expect(404);
    world.post(PODS, &pod("free")).await.expect(201);
    world.delete(&format!("{PODS}/free")).await.expect(200);
    world.get(&format!("{PODS}/free")).await.expect(404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let world = World::new().await;
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut body = config_map(name);
        body["metadata"]["labels"] = json!({"l": label});
        world.post(CM, &body).await.expect(201);
    }
    world.delete(&format!("{CM}?labelSelector=l%3Dx&dryRun=All")).await.expect(200);
    assert_eq!(world.get(CM).await.expect(200)["items"].as_array().map(Vec::len), Some(3));
    let deleted = world.delete(&format!("{CM}?labelSelector=l%3Dx")).await.expect(200);
    assert_eq!((&deleted["kind"], deleted["items"].as_array().map(Vec::len)), (&json!("ConfigMapList"), Some(2)));
    let left = world.get(CM).await.expect(200);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
}

#[tokio::test]
async fn a_namespace_ends_in_two_steps() {
    let world = World::new().await;
    let ending = world.delete("/api/v1/namespaces/d").await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = world.post(CM, &config_map("late")).await.expect(403);
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert!(refused["message"].as_str().unwrap().contains("because it is being terminated"), "{refused}");
    let mut done = world.get("/api/v1/namespaces/d").await.expect(200);
    done["spec"]["finalizers"] = json!([]);
    world.put("/api/v1/namespaces/d", &done).await.expect(200);
    world.get("/api/v1/namespaces/d").await.expect(200);
    world.put("/api/v1/namespaces/d/finalize", &done).await.expect(200);
    world.get("/api/v1/namespaces/d").await.expect(404);
}

#[tokio::test]
async fn scale_is_one_form_for_all() {
    let world = World::new().await;
    world.post(DEPLOYMENTS, &deployment("x", 2)).await.expect(201);
    let path = format!("{DEPLOYMENTS}/x/scale");
    let scale = world.get(&path).await.expect(200);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("app=x")));
    let more = world.patch(&path, "merge-patch", &json!({"spec": {"replicas": 4}})).await.expect(200);
    assert_eq!(more["spec"]["replicas"], 4);
    let mut stale = scale.clone();
    stale["spec"]["replicas"] = json!(1);
    world.put(&path, &stale).await.expect(409);
    stale["metadata"]["resourceVersion"] = json!("");
    world.put(&path, &stale).await.expect(200);
    assert_eq!(world.get(&format!("{DEPLOYMENTS}/x")).await.expect(200)["spec"]["replicas"], 1);
    let negative = world.patch(&path, "merge-patch", &json!({"spec": {"replicas": -1}})).await.expect(422);
    assert_eq!(negative["details"]["causes"][0]["field"], "spec.replicas");
    world.patch(&path, "merge-patch", &json!({"spec": {"replicas": "many"}})).await.expect(400);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let world = World::new().await;
    world.post(PODS, &pod("p")).await.expect(201);
    let binding = |node: &str| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let path = format!("{PODS}/p/binding");
    world.post(&path, &json!({"target": {"kind": "Node", "name": ""}})).await.expect(422);
    world.post(&path, &json!({"target": {"kind": "Cloud", "name": "n"}})).await.expect(422);
    assert_eq!(world.post(&path, &binding("n1")).await.expect(201)["status"], "Success");
    let bound = world.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let refused = world.post(&path, &binding("n2")).await.expect(409);
    assert!(refused["message"].as_str().unwrap().contains("already assigned to node \"n1\""), "{refused}");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(world.post(&format!("{PODS}/p/eviction"), &eviction).await.expect(201)["status"], "Success");
    assert!(world.get(&format!("{PODS}/p")).await.expect(200)["metadata"]["deletionTimestamp"].is_string());
    world.post(&format!("{PODS}/none/eviction"), &json!({})).await.expect(404);
    world.post(&path, &binding("n2")).await.expect(409);
}
