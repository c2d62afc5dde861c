//! Custom resources from their definition to their end.

use schemas::definition::{self, Claims};

use super::rows::*;
use super::*;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com";
const V1: &str = "/apis/stable.example.com/v1/namespaces/d/crontabs";
const V2: &str = "/apis/stable.example.com/v2/namespaces/d/crontabs";
const NOW: &str = "2026-11-24T08:00:00Z";

/// Two versions, status, scale, columns, defaults, a selectable field, lists of each type, rules.
fn crontabs() -> Value {
    let spec = json!({"type": "object", "required": ["cron"],
    "x-kubernetes-validations": [
        {"rule": "self.replicas <= self.most", "messageExpression": "'at most ' + string(self.most)",
         "fieldPath": ".replicas", "reason": "FieldValueForbidden"},
        {"rule": "self.cron == oldSelf.cron", "message": "cron is immutable"},
    ],
    "properties": {
        "cron": {"type": "string", "maxLength": 64},
        "replicas": {"type": "integer", "default": 1, "minimum": 0},
        "most": {"type": "integer", "default": 5},
        "image": {"type": "string", "enum": ["a", "b"]},
        "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"],
                "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}},
    }});
    let status =
        json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}});
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.image"}],
            "additionalPrinterColumns": [{"name": "Cron", "type": "string", "jsonPath": ".spec.cron"},
                {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}}})
    };
    let mut old = version("v1", true);
    old["deprecated"] = json!(true);
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [old, version("v2", false)]}})
}

fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

impl World {
    /// Creates a definition and does what the leader's controller does: accepts its names.
    async fn define(&self, definition: &Value) {
        self.post(CRDS, definition).await.expect(201);
        self.settle(definition["metadata"]["name"].as_str().unwrap()).await;
    }

    async fn settle(&self, name: &str) {
        let path = format!("{CRDS}/{name}");
        let mut value = self.get(&path).await.expect(200);
        let built_in = objects::kind::all().iter().map(AsRef::as_ref);
        value["status"] = definition::settle(&value, &Claims::beside(&value, [], built_in), NOW).expect("a change");
        self.put(&format!("{path}/status"), &value).await.expect(200);
    }

    async fn refuses(&self, method: &str, path: &str, media: &str, body: &Value, wanted: Wanted, words: &str) {
        let answer = self.send(admin(), method, path, &[("content-type", media)], body.to_string().as_bytes()).await;
        assert_eq!((answer.code, answer.value()["reason"].as_str()), (wanted.0, Some(wanted.1)), "{}", answer.text);
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_definition_serves_its_kind_once_it_is_established_and_until_it_is_gone() {
    let world = World::new().await;
    let (tag, index) = (world.get("/apis").await, world.get("/openapi/v3").await);
    let made = world.post(CRDS, &crontabs()).await.expect(201);
    assert_eq!(made["spec"]["names"]["singular"], "crontab");
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    world.get(V1).await.expect(404);
    world.get("/apis/stable.example.com").await.expect(404);
    world.settle("crontabs.stable.example.com").await;
    assert_eq!(world.get(V1).await.expect(200)["kind"], "CronTabList");

    // Discovery, both forms, and OpenAPI.
    let changed = world.get("/apis").await;
    assert_ne!(changed.headers["etag"], tag.headers["etag"]);
    let group = world.get("/apis/stable.example.com").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let list = world.get("/apis/stable.example.com/v1").await.expect(200);
    let names: Vec<&Value> = list["resources"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["crontabs", "crontabs/scale", "crontabs/status"]);
    assert_eq!(list["resources"][0]["shortNames"], json!(["ct"]));
    assert_eq!(list["resources"][0]["categories"], json!(["all"]));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    assert!(world.accepting("/apis", aggregated).await.text.contains("\"crontabs\""));
    assert_ne!(world.get("/openapi/v3").await.headers["etag"], index.headers["etag"]);
    let url =
        world.get("/openapi/v3").await.value()["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].clone();
    let openapi = world.get(url.as_str().unwrap()).await.expect(200);
    let component = &openapi["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(component["properties"]["spec"]["properties"]["replicas"]["default"], 1);
    assert!(openapi["components"]["schemas"]["com.example.stable.v1.CronTabList"].is_object());
    let patch = &openapi["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"];
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_null());

    // Its end: marked, closed for new objects, gone with the last finalizer.
    world.post(V1, &crontab("a", json!({"cron": "*"}))).await.expect(201);
    let ending = world.delete(CRD).await.expect(200);
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let conditions = ending["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "Terminating" && one["status"] == "True"), "{ending}");
    let words = "create not allowed while custom resource definition is terminating";
    world.refuses("POST", V1, JSON, &crontab("b", json!({"cron": "*"})), NO_METHOD, words).await;
    let verbs = world.get("/apis/stable.example.com/v1").await.expect(200)["resources"][0]["verbs"].clone();
    assert_eq!(verbs, json!(["delete", "deletecollection", "get", "list", "watch"]));
    world.delete(&format!("{V1}/a")).await.expect(200);
    let freed = json!({"metadata": {"finalizers": null}});
    world.patch(CRD, "merge-patch", &freed).await.expect(200);
    for path in [CRD, V1, V2, "/apis/stable.example.com", "/openapi/v3/apis/stable.example.com/v1"] {
        world.get(path).await.expect(404);
    }
    assert_eq!(world.get("/apis").await.headers["etag"], tag.headers["etag"]);
}

#[tokio::test]
async fn objects_are_pruned_defaulted_checked_and_shown() {
    let world = World::new().await;
    world.define(&crontabs()).await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"cron": "* *", "odd": 1}, "status": {"replicas": 9}});
    let answer = world.post(V1, &body).await;
    let warnings = answer.warnings();
    assert!(warnings.iter().any(|text| text.contains("unknown field \\\"spec.odd\\\"")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("stable.example.com/v1 CronTab is deprecated")), "{warnings:?}");
    let made = answer.expect(201);
    assert_eq!(made["spec"], json!({"cron": "* *", "most": 5, "replicas": 1}));
    assert!(made.get("status").is_none(), "{made}");
    assert_eq!(made["metadata"]["generation"], 1);
    world.refuses("POST", &format!("{V1}?fieldValidation=Strict"), JSON, &body, BAD, "unknown field").await;
    let mut other = body.clone();
    other["metadata"]["name"] = json!("b");
    let ignored = world.post(&format!("{V1}?fieldValidation=Ignore&dryRun=All"), &other).await;
    assert!(!ignored.warnings().iter().any(|text| text.contains("odd")));

    for (spec, words) in [
        (json!({}), "spec.cron: Required value"),
        (json!({"cron": 7}), "spec.cron: Invalid value: \\\"integer\\\": spec.cron in body must be of type string"),
        (json!({"cron": "x", "replicas": -1}), "should be greater than or equal to 0"),
        (json!({"cron": "x", "image": "c"}), "Unsupported value: \\\"c\\\": supported values: \\\"a\\\", \\\"b\\\""),
        (json!({"cron": "x", "hosts": ["a", "a"]}), "Duplicate value: \\\"a\\\""),
        (json!({"cron": "x", "replicas": 6}), "spec.replicas: Forbidden: at most 5"),
    ] {
        world.refuses("POST", V1, JSON, &crontab("x", spec), INVALID, words).await;
    }
    world.refuses("POST", V1, JSON, &crontab("Bad_Name", json!({"cron": "x"})), INVALID, "metadata.name").await;
    world.refuses("POST", V1, PROTOBUF, &json!({}), NO_MEDIA, "application/json").await;
    let path = format!("{V1}/a");
    world.refuses("PATCH", &path, STRATEGIC, &json!({}), NO_MEDIA, "application/apply-patch+yaml").await;
    let moved = json!({"spec": {"cron": "other"}});
    world.refuses("PATCH", &path, MERGE, &moved, INVALID, "cron is immutable").await;

    // Every way to change it.
    let patched = world.patch(&path, "merge-patch", &json!({"spec": {"image": "b"}})).await.expect(200);
    assert_eq!(patched["metadata"]["generation"], 2);
    let operations = json!([{"op": "add", "path": "/spec/hosts", "value": ["h"]}]);
    world.patch(&path, "json-patch", &operations).await.expect(200);
    let mut whole = world.get(&path).await.expect(200);
    whole["spec"]["replicas"] = json!(2);
    let whole = world.put(&path, &whole).await.expect(200);
    assert_eq!(whole["spec"], json!({"cron": "* *", "most": 5, "replicas": 2, "image": "b", "hosts": ["h"]}));

    // What kubectl shows, and what selectors find.
    let table = world.accepting(V1, "application/json;as=Table;v=v1;g=meta.k8s.io").await.expect(200);
    let names: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "Cron", "Replicas"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "* *", 2]));
    for (selector, count) in [("spec.image%3Db", 1), ("spec.image%3Da", 0), ("metadata.name%3Da", 1)] {
        let found = world.get(&format!("{V1}?fieldSelector={selector}")).await.expect(200);
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{selector}");
    }
    world.refuses("GET", &format!("{V1}?fieldSelector=spec.cron%3Dx"), JSON, &json!(null), BAD, "not supported").await;
    let everywhere = world.get("/apis/stable.example.com/v1/crontabs").await.expect(200);
    assert_eq!(everywhere["items"][0]["metadata"]["namespace"], "d");
    world.delete(V1).await.expect(200);
    assert_eq!(world.get(V1).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn status_and_scale_have_doors_of_their_own() {
    let world = World::new().await;
    world.define(&crontabs()).await;
    world.post(V1, &crontab("a", json!({"cron": "x"}))).await.expect(201);
    let path = format!("{V1}/a");
    let change = json!({"metadata": {"labels": {"l": "1"}}, "spec": {"replicas": 4}, "status": {"replicas": 3, "selector": "l=1"}});
    let after = world.patch(&format!("{path}/status"), "merge-patch", &change).await.expect(200);
    assert_eq!((&after["spec"]["replicas"], &after["status"]["replicas"]), (&json!(1), &json!(3)));
    assert_eq!((&after["metadata"]["labels"], &after["metadata"]["generation"]), (&json!(null), &json!(1)));
    let after = world.patch(&path, "merge-patch", &json!({"status": {"replicas": 8}})).await.expect(200);
    assert_eq!(after["status"]["replicas"], 3);

    let scale = world.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["status"], json!({"replicas": 3, "selector": "l=1"}));
    let scaled =
        world.patch(&format!("{path}/scale"), "merge-patch", &json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(world.get(&path).await.expect(200)["spec"]["replicas"], 5);
    let beyond = json!({"spec": {"replicas": 6}});
    world.refuses("PATCH", &format!("{path}/scale"), MERGE, &beyond, INVALID, "at most 5").await;
    world.refuses("GET", &format!("{path}/log"), JSON, &json!(null), NOT_FOUND, "could not find").await;
}

#[tokio::test]
async fn fields_are_owned_as_the_schema_says() {
    let world = World::new().await;
    world.define(&crontabs()).await;
    let apply = async |manager: &str, spec: Value, force: bool| {
        let path = format!("{V1}/a?fieldManager={manager}&force={force}");
        world.patch(&path, "apply-patch", &crontab("a", spec)).await
    };
    let first = apply("one", json!({"cron": "x", "hosts": ["h"], "ports": [{"port": 1, "name": "p"}]}), false).await;
    let fields = first.expect(201)["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].clone();
    assert_eq!(fields["f:hosts"], json!({"v:\"h\"": {}}));
    assert_eq!(fields["f:ports"], json!({"k:{\"port\":1}": {".": {}, "f:name": {}, "f:port": {}}}));
    let second = apply("two", json!({"cron": "x", "hosts": ["i"], "ports": [{"port": 2}]}), false).await.expect(200);
    assert_eq!(second["spec"]["hosts"], json!(["h", "i"]));
    assert_eq!(second["spec"]["ports"], json!([{"port": 1, "name": "p"}, {"port": 2}]));
    let clash = apply("two", json!({"cron": "x", "ports": [{"port": 1, "name": "q"}]}), false).await.expect(409);
    assert!(clash["message"].as_str().unwrap().contains(".spec.ports[port=1].name"), "{clash}");
    let taken = apply("two", json!({"cron": "x", "ports": [{"port": 1, "name": "q"}]}), true).await.expect(200);
    assert_eq!(taken["spec"]["ports"], json!([{"port": 1, "name": "q"}]));
    assert_eq!(taken["spec"]["hosts"], json!(["h"]));
    let unknown = apply("two", json!({"cron": "x", "odd": 1}), false).await.expect(400);
    assert!(unknown["message"].as_str().unwrap().contains(".spec.odd: field not declared in schema"), "{unknown}");
}

#[tokio::test]
async fn versions_differ_in_name_and_in_what_they_know() {
    let world = World::new().await;
    let mut definition = crontabs();
    definition["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["extra"] =
        json!({"type": "string", "default": "new"});
    world.define(&definition).await;
    let made = world.post(V1, &crontab("a", json!({"cron": "x"}))).await.expect(201);
    let shown = world.get(&format!("{V2}/a")).await.expect(200);
    assert_eq!((&shown["apiVersion"], &shown["spec"]["extra"]), (&json!("stable.example.com/v2"), &json!("new")));
    assert_eq!(shown["metadata"]["uid"], made["metadata"]["uid"]);
    let list = world.get(V2).await.expect(200);
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["apiVersion"]),
        (&json!("stable.example.com/v2"), &shown["apiVersion"])
    );
    let other = json!({"apiVersion": "stable.example.com/v2", "kind": "CronTab", "metadata": {"name": "b"}, "spec": {"cron": "y"}});
    world.refuses("POST", V1, JSON, &other, BAD, "does not match the expected API version").await;
    world.post(V2, &other).await.expect(201);
    let stored = |name: &str| {
        let key = objects::Key::new(objects::Resource::new("stable.example.com", "crontabs"), "d", name);
        world.api.store.current().get(&key).unwrap().to_value().unwrap()["apiVersion"].clone()
    };
    assert_eq!(stored("b"), "stable.example.com/v1", "one version is stored");

    // Another version becomes the stored one; a write that changes nothing moves an object there.
    let mut changed = world.get(CRD).await.expect(200);
    changed["spec"]["versions"][0]["storage"] = json!(false);
    changed["spec"]["versions"][1]["storage"] = json!(true);
    let changed = world.put(CRD, &changed).await.expect(200);
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(stored("a"), "stable.example.com/v1");
    let same = world.get(&format!("{V1}/a")).await.expect(200);
    world.put(&format!("{V1}/a"), &same).await.expect(200);
    assert_eq!(stored("a"), "stable.example.com/v2");
    // A version that is no longer served is gone, its objects are not.
    let mut changed = world.get(CRD).await.expect(200);
    changed["spec"]["versions"][0]["served"] = json!(false);
    world.put(CRD, &changed).await.expect(200);
    world.get(V1).await.expect(404);
    assert_eq!(world.get(V2).await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn watches_show_the_version_and_end_when_the_definition_changes() {
    let world = World::new().await;
    world.define(&crontabs()).await;
    let mut lines = Lines::of(
        world
            .open(admin(), "GET", &format!("{V2}?watch=1&allowWatchBookmarks=true&timeoutSeconds=3600"), &[], b"")
            .await,
    );
    world.post(V1, &crontab("a", json!({"cron": "x"}))).await.expect(201);
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!("ADDED"), &json!("stable.example.com/v2")));
    world.delete(&format!("{V1}/a")).await.expect(200);
    assert_eq!(lines.short().await, "DELETED a");
    // A new status of the definition changes nothing for its objects; another schema does.
    world.patch(CRD, "merge-patch", &json!({"metadata": {"labels": {"l": "1"}}})).await.expect(200);
    world.post(V1, &crontab("b", json!({"cron": "x"}))).await.expect(201);
    assert_eq!(lines.short().await, "ADDED b");
    world
        .patch(CRD, "json-patch", &json!([{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]))
        .await
        .expect(200);
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn rules_see_what_was_and_cost_what_they_may() {
    let world = World::new().await;
    let mut definition = crontabs();
    let rules = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    rules["x-kubernetes-validations"] = json!([
        {"rule": "!oldSelf.hasValue() || self.replicas >= oldSelf.value().replicas", "optionalOldSelf": true,
         "message": "never fewer"},
        {"rule": "has(self.hosts) ? self.hosts.all(h, h.startsWith('h')) : true", "reason": "FieldValueInvalid"},
    ]);
    rules["properties"]["hosts"]["maxItems"] = json!(10);
    rules["properties"]["hosts"]["items"]["maxLength"] = json!(20);
    definition["spec"]["versions"].as_array_mut().unwrap().truncate(1);
    world.define(&definition).await;
    world.post(V1, &crontab("a", json!({"cron": "x", "replicas": 3}))).await.expect(201);
    let path = format!("{V1}/a");
    world.refuses("PATCH", &path, MERGE, &json!({"spec": {"replicas": 2}}), INVALID, "never fewer").await;
    world.patch(&path, "merge-patch", &json!({"spec": {"replicas": 4}})).await.expect(200);
    world
        .refuses("PATCH", &path, MERGE, &json!({"spec": {"hosts": ["x"]}}), INVALID, "failed rule: has(self.hosts)")
        .await;

    // A rule that is judged worse than it was is refused, and the old one stays in force.
    let dear = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/free",
        "value": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations":
            [{"rule": "self.all(a, self.all(b, a == b || a.contains(b)))"}]}}]);
    world.refuses("PATCH", CRD, JSON_PATCH, &dear, INVALID, "exceeds budget by factor of").await;
}
