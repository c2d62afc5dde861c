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
    let other = world.get("/apis/stable.example.com/v2").await.expect(200);
    let hash = "storageVersionHash";
    assert_eq!(list["resources"][0][hash], other["resources"][0][hash], "all versions are stored in one form");
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
    // In a list without a bound, a rule that costs little is still within what may be spent.
    rules["properties"]["ports"]["items"]["x-kubernetes-validations"] =
        json!([{"rule": "self.port > 0", "messageExpression": "'no port ' + string(self.port)"}]);
    definition["spec"]["versions"].as_array_mut().unwrap().truncate(1);
    world.define(&definition).await;
    world.post(V1, &crontab("a", json!({"cron": "x", "replicas": 3}))).await.expect(201);
    let bad = crontab("b", json!({"cron": "x", "ports": [{"port": 1}, {"port": 0}]}));
    world.refuses("POST", V1, JSON, &bad, INVALID, "spec.ports[1]: Invalid value: no port 0").await;
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

/// The definition with another schema.
fn with_schema(schema: Value) -> Value {
    let mut definition = crontabs();
    definition["spec"]["versions"] =
        json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]);
    definition
}

fn ruled(rule: &str) -> Value {
    with_schema(json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"text": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}}},
        "x-kubernetes-validations": [{"rule": rule}]}}}))
}

#[tokio::test]
async fn definitions_made_to_hurt_are_refused_and_change_nothing() {
    let world = World::new().await;
    let nested = |levels: usize| {
        let open = r#"{"type":"object","properties":{"a":"#.repeat(levels);
        let text = with_schema(json!("HERE")).to_string();
        text.replace("\"HERE\"", &format!("{open}{{\"type\":\"string\"}}{}", "}}".repeat(levels)))
    };
    let (deep, deeper) = (nested(10_000), nested(150));
    let text = |value: Value| value.to_string();
    let wide: serde_json::Map<String, Value> =
        (0..70_000).map(|at| (format!("p{at}"), json!({"type": "string"}))).collect();
    let wide = text(with_schema(json!({"type": "object", "properties": wide})));
    let pattern = |pattern: &str| {
        text(with_schema(json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}})))
    };
    let changed = |path: &str, value: Value| {
        let mut definition = crontabs();
        *definition.pointer_mut(path).unwrap() = value;
        text(definition)
    };
    let reference = text(with_schema(json!({"type": "object", "properties": {"a": {"$ref": "#"}}})));
    let huge = pattern(&"a".repeat(400_000));
    let bomb = pattern("((a{0,1000}){0,1000}){0,1000}");
    let wrong = pattern("(");
    let dear = text(ruled("self.list.all(a, self.list.all(b, self.list.all(c, a == b || b == c)))"));
    let typed = text(ruled("self.text + 1 == 2"));
    let unknown = text(ruled("self.nope == 'x'"));
    let broken = text(ruled("self.text =="));
    let no_truth = text(ruled("self.text"));
    let long = text(ruled(&format!("self.text == '{}'", "x".repeat(200_000))));
    let brackets = text(ruled(&format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000))));
    let webhook = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://example.com/convert"}}});
    let mut converts = crontabs();
    converts["spec"]["conversion"] = webhook;
    let converts = text(converts);
    let misnamed = changed("/metadata/name", json!("other.stable.example.com"));
    let upper = changed("/spec/names/plural", json!("CronTabs"));
    let group = changed("/spec/group", json!("nodot"));
    let protected = {
        let mut definition = crontabs();
        definition["spec"]["group"] = json!("stable.k8s.io");
        definition["metadata"]["name"] = json!("crontabs.stable.k8s.io");
        text(definition)
    };
    let stored_twice = changed("/spec/versions/1/storage", json!(true));
    let untyped = text(with_schema(json!({"properties": {"a": {}}})));
    let rows: Vec<(&str, Wanted, &str)> = vec![
        (&deep, BAD, "nests deeper"),
        (&deeper, INVALID, "nests deeper than 100 levels"),
        (&wide, INVALID, "holds more than 65536 schemas"),
        (&reference, INVALID, "$ref"),
        (&huge, INVALID, "pattern"),
        (&bomb, INVALID, "pattern"),
        (&wrong, INVALID, "pattern"),
        (&dear, INVALID, "exceeds budget"),
        (&typed, INVALID, "no matching overload"),
        (&unknown, INVALID, "undefined field 'nope'"),
        (&broken, INVALID, "Syntax error"),
        (&no_truth, INVALID, "must evaluate to bool"),
        (&long, INVALID, "rule"),
        (&brackets, INVALID, "rule"),
        (&converts, INVALID, "does not call conversion webhooks yet"),
        (&misnamed, INVALID, "must be spec.names.plural"),
        (&upper, INVALID, "spec.names.plural"),
        (&group, INVALID, "should be a domain with at least one dot"),
        (&protected, INVALID, "protected"),
        (&stored_twice, INVALID, "must have exactly one version marked as storage version"),
        (&untyped, INVALID, "must not be empty at the root"),
    ];
    for (body, wanted, words) in rows {
        let answer = world.send(admin(), "POST", CRDS, &[("content-type", JSON)], body.as_bytes()).await;
        let about: String = body.chars().rev().take(120).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(
            (answer.code, answer.value()["reason"].as_str()),
            (wanted.0, Some(wanted.1)),
            "{words} {about}: {:.2000}",
            answer.text
        );
        assert!(answer.text.contains(words), "{words}: {:.2000}", answer.text);
        assert!(answer.text.len() < 100_000, "{words}: {} bytes", answer.text.len());
    }
    assert_eq!(world.get(CRDS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn bodies_and_places_that_are_none_are_refused() {
    let world = World::new().await;
    world.define(&crontabs()).await;
    let deep =
        format!(r#"{{"metadata":{{"name":"x"}},"spec":{{"cron":{}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let answer = world.send(admin(), "POST", V1, &[("content-type", JSON)], deep.as_bytes()).await;
    assert_eq!(answer.code, 400, "{:.500}", answer.text);
    for (method, path, code) in [
        ("GET", "/apis/stable.example.com/v3/namespaces/d/crontabs", 404),
        ("GET", "/apis/stable.example.com/v1/crontabs/a", 404),
        ("GET", "/apis/stable.example.com/v1/namespaces/d/others", 404),
        ("POST", "/apis/stable.example.com/v1/crontabs", 405),
        ("DELETE", "/apis/stable.example.com/v1/crontabs", 405),
        ("POST", "/apis/stable.example.com/v1/namespaces/none/crontabs", 404),
    ] {
        let body = crontab("a", json!({"cron": "x"})).to_string();
        let answer = world.send(admin(), method, path, &[("content-type", JSON)], body.as_bytes()).await;
        assert_eq!(answer.code, code, "{method} {path}: {}", answer.text);
    }
    // A definition that is gone between the look and the write.
    world.direct.intrude(|direct| {
        let key = objects::Key::new(crate::custom_kinds::definitions(), "", "crontabs.stable.example.com");
        direct.write(vec![state::Change::Delete { key }]);
    });
    world.post(V1, &crontab("late", json!({"cron": "x"}))).await.expect(404);
    world.get(V1).await.expect(404);
}

#[tokio::test]
async fn kinds_of_the_server_keep_their_names() {
    let world = World::new().await;
    let mut pods = crontabs();
    pods["spec"]["names"] = json!({"plural": "pods", "singular": "pod", "kind": "Pod", "shortNames": ["po"]});
    pods["metadata"]["name"] = json!("pods.stable.example.com");
    world.define(&pods).await;
    // Another group: both are served, each under its own path.
    assert_eq!(world.get("/api/v1/namespaces/d/pods").await.expect(200)["apiVersion"], "v1");
    let own = world.get("/apis/stable.example.com/v1/namespaces/d/pods").await.expect(200);
    assert_eq!(own["apiVersion"], "stable.example.com/v1");
}

#[tokio::test]
async fn fields_that_do_not_exist_are_named_wherever_they_are() {
    let world = World::new().await;
    world
        .define(&with_schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "either": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
        }}}})))
        .await;
    let body = r#"{"metadata":{"name":"a","odd":1},"spec":{"known":"1","known":"2","odd":1,"either":"80%",
        "free":{"x":{"y":[1,null]}},"template":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","odd":1},"spec":{"z":1}}}}"#;
    let odd = ["duplicate field", "spec.known", "metadata.odd", "spec.odd", "spec.template.metadata.odd"];
    let post = async |query: &str| world.send(admin(), "POST", &format!("{V1}{query}"), &[], body.as_bytes()).await;
    let strict = post("?fieldValidation=Strict").await.expect(400);
    let warned = post("").await;
    for words in odd {
        assert!(strict["message"].as_str().unwrap().contains(words), "{words}: {strict}");
        assert!(warned.warnings().iter().any(|text| text.contains(words)), "{words}: {:?}", warned.warnings());
    }
    let made = warned.expect(201);
    let template = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"z": 1}});
    let spec = json!({"known": "2", "either": "80%", "free": {"x": {"y": [1, null]}}, "template": template});
    assert_eq!(made["spec"], spec);
    // A write that changes nothing is none.
    let again = world.put(&format!("{V1}/a"), &made).await.expect(200);
    assert_eq!(again["metadata"], made["metadata"]);
    // A default that comes later is seen in what was stored before.
    let default = json!([{"op": "add", "value": {"type": "integer", "default": 7},
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/late"}]);
    world.patch(CRD, "json-patch", &default).await.expect(200);
    let read = world.get(&format!("{V1}/a")).await.expect(200);
    assert_eq!(
        (&read["spec"]["late"], &read["metadata"]["resourceVersion"]),
        (&json!(7), &made["metadata"]["resourceVersion"])
    );
    // A version without a schema for a part keeps nothing of it; one that preserves everything keeps all.
    world.delete(CRD).await.expect(200);
    world.patch(CRD, "merge-patch", &json!({"metadata": {"finalizers": null}})).await.expect(200);
    world.define(&with_schema(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))).await;
    let kept =
        world.post(&format!("{V1}?fieldValidation=Strict"), &crontab("b", json!({"any": [1]}))).await.expect(201);
    assert_eq!(kept["spec"], json!({"any": [1]}));
}
