//! Admission, by requests: ways around it first, then races of two API servers, then what is told and written.

use objects::{Key, Object, kind};
use state::Change;

use super::*;

const PODS: &str = "/api/v1/namespaces/d/pods";
const QUOTAS: &str = "/api/v1/namespaces/d/resourcequotas";
const LIMITS: &str = "/api/v1/namespaces/d/limitranges";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/d/deployments";

impl World {
    /// Another API server over the same store.
    fn beside(&self) -> Self {
        let (options, cluster) = (Options::default(), Arc::clone(&self.cluster));
        let api =
            Api::new(options, self.api.store.clone(), Arc::clone(&cluster) as Arc<dyn Cluster>, Stopping::never());
        Self { api, direct: Arc::clone(&self.direct), cluster }
    }

    async fn label(&self, labels: Value) {
        let body = json!({"metadata": {"labels": labels}});
        self.patch("/api/v1/namespaces/d", "merge-patch", &body).await.expect(200);
    }

    /// A quota as it stands once the leader has counted.
    fn counted_quota(&self, name: &str, hard: &Value, used: &Value) {
        let value = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"hard": hard}, "status": {"hard": hard, "used": used}});
        let kind = kind::by_kind("v1", "ResourceQuota").unwrap();
        let object = Arc::new(Object::new(kind, &value).unwrap());
        self.direct.write(vec![Change::Put { key: Key::new("resourcequotas", "d", name), object }]);
    }

    async fn used(&self, quota: &str) -> Value {
        self.get(&format!("{QUOTAS}/{quota}")).await.expect(200)["status"]["used"].clone()
    }
}

fn privileged(name: &str, list: &str) -> Value {
    let mut value = pod(name);
    value["spec"][list] = json!([{"name": "bad", "image": "busybox", "securityContext": {"privileged": true}}]);
    value
}

#[tokio::test]
async fn every_way_to_a_privileged_pod_is_shut() {
    let world = World::new().await;
    world.label(json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    let before = world.api.store.current().revision();
    for list in ["containers", "initContainers"] {
        let bad = privileged("p", list);
        let refused = world.post(PODS, &bad).await.expect(403);
        let wanted = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"bad\" must not set \
                      securityContext.privileged=true)";
        assert_eq!((&refused["message"], &refused["reason"]), (&json!(wanted), &json!("Forbidden")), "{list}");
        world.post(&format!("{PODS}?dryRun=All"), &bad).await.expect(403);
        world.patch(&format!("{PODS}/p?fieldManager=x"), "apply-patch", &bad).await.expect(403);
    }
    assert_eq!(world.api.store.current().revision(), before);
    // Nor by an update: an image is all that may change, and it is looked at with the rest.
    world.label(json!({"pod-security.kubernetes.io/enforce": "privileged"})).await;
    world.post(PODS, &privileged("p", "containers")).await.expect(201);
    world.label(json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    let image = json!({"spec": {"containers": [{"name": "bad", "image": "other"}]}});
    for query in ["", "?dryRun=All"] {
        world.patch(&format!("{PODS}/p{query}"), "strategic-merge-patch", &image).await.expect(403);
    }
    world.patch(&format!("{PODS}/p"), "merge-patch", &json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
}

#[tokio::test]
async fn labels_that_mean_nothing_are_refused_however_they_come() {
    let world = World::new().await;
    let bad = json!({"pod-security.kubernetes.io/enforce": "strict"});
    world.post("/api/v1/namespaces", &json!({"metadata": {"name": "n", "labels": bad}})).await.expect(422);
    let body = json!({"metadata": {"labels": bad}});
    world.patch("/api/v1/namespaces/d", "merge-patch", &body).await.expect(422);
    let operation =
        json!([{"op": "add", "path": "/metadata/labels/pod-security.kubernetes.io~1enforce", "value": "strict"}]);
    world.patch("/api/v1/namespaces/d", "json-patch", &operation).await.expect(422);
    // Taking the label away opens the namespace at once, and for whoever may change it.
    world.label(json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    world.post(PODS, &privileged("p", "containers")).await.expect(403);
    let gone = json!([{"op": "remove", "path": "/metadata/labels/pod-security.kubernetes.io~1enforce"}]);
    world.patch("/api/v1/namespaces/d", "json-patch", &gone).await.expect(200);
    world.post(PODS, &privileged("p", "containers")).await.expect(201);
}

#[tokio::test]
async fn templates_warn_and_pods_are_refused() {
    let world = World::new().await;
    world.label(json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    let answer = world.post(DEPLOYMENTS, &deployment("web", 1)).await;
    answer.expect(201);
    assert!(
        answer.warnings()[0].contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation")
    );
    world.post(PODS, &pod("p")).await.expect(403);
    world
        .label(json!({"pod-security.kubernetes.io/enforce": null, "pod-security.kubernetes.io/warn": "baseline"}))
        .await;
    let answer = world.post(PODS, &privileged("p", "initContainers")).await;
    answer.expect(201);
    assert!(answer.warnings()[0].starts_with("299 - \"would violate PodSecurity \\\"baseline:latest\\\": privileged"));
}

#[tokio::test]
async fn limits_are_given_and_held_in_every_verb() {
    let world = World::new().await;
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"},
        "max": {"cpu": "1"}}]}});
    world.post(LIMITS, &range).await.expect(201);
    let made = world.post(PODS, &pod("p")).await.expect(201);
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources, &json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}));
    // What the server wrote is nobody's.
    assert!(!made["metadata"]["managedFields"].to_string().contains("f:cpu"));
    // Limits are not raised behind its back.
    let raised = json!({"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "9"}}}]}});
    world.patch(&format!("{PODS}/p"), "strategic-merge-patch", &raised).await.expect(422);
    let mut large = pod("q");
    large["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "resources": {"limits": {"cpu": "2"}}}]);
    let wanted = "pods \"q\" is forbidden: maximum cpu usage per Container is 1, but limit is 2";
    assert_eq!(world.post(PODS, &large).await.expect(403)["message"], wanted);
    large["apiVersion"] = json!("v1");
    let applied = world.patch(&format!("{PODS}/q?fieldManager=x"), "apply-patch", &large).await;
    assert_eq!(applied.expect(403)["message"], wanted);
    assert_eq!(world.post(&format!("{PODS}?dryRun=All"), &large).await.expect(403)["message"], wanted);
}

#[tokio::test]
async fn priority_is_written_and_survives_an_update() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    world.post("/apis/scheduling.k8s.io/v1/priorityclasses", &class).await.expect(201);
    let mut value = pod("p");
    value["spec"]["priorityClassName"] = json!("high");
    let made = world.post(PODS, &value).await.expect(201);
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(1000), &json!("PreemptLowerPriority"))
    );
    // A manifest names neither: that is no change.
    let mut manifest = made.clone();
    for field in ["priority", "preemptionPolicy"] {
        manifest["spec"].as_object_mut().unwrap().remove(field);
    }
    manifest["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(world.put(&format!("{PODS}/p"), &manifest).await.expect(200)["spec"]["priority"], 1000);
    value["metadata"]["name"] = json!("q");
    value["spec"]["priorityClassName"] = json!("none");
    let refused = world.post(PODS, &value).await.expect(403);
    assert_eq!(refused["message"], "pods \"q\" is forbidden: no PriorityClass with name none was found");
    assert_eq!(world.post(PODS, &pod("plain")).await.expect(201)["spec"]["priority"], 0);
}

#[tokio::test]
async fn a_quota_is_charged_with_what_is_created() {
    let world = World::new().await;
    let hard = json!({"count/configmaps": "2", "pods": "1"});
    world.counted_quota("q", &hard, &json!({"count/configmaps": "0", "pods": "0"}));
    let maps = "/api/v1/namespaces/d/configmaps";
    world.post(&format!("{maps}?dryRun=All"), &config_map("dry")).await.expect(201);
    assert_eq!(world.used("q").await["count/configmaps"], "0");
    let made = world.post(maps, &config_map("a")).await.expect(201);
    assert_eq!(world.get(&format!("{maps}/a")).await.expect(200), made);
    world
        .patch(
            &format!("{maps}/b?fieldManager=x"),
            "apply-patch",
            &json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "b"}}),
        )
        .await
        .expect(201);
    assert_eq!(world.used("q").await, json!({"count/configmaps": "2", "pods": "0"}));
    let wanted = "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=2, limited: \
                  count/configmaps=2";
    assert_eq!(world.post(maps, &config_map("c")).await.expect(403)["message"], wanted);
    let dry = world.post(&format!("{maps}?dryRun=All"), &config_map("c")).await.expect(403);
    assert_eq!(dry["message"], wanted);
    // A name that is taken is told before, and charges nothing.
    let generated = world.post(maps, &json!({"metadata": {"generateName": "x-"}})).await;
    generated.expect(403);
    // An update charges nothing.
    world.patch(&format!("{maps}/a"), "merge-patch", &json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(world.used("q").await["count/configmaps"], "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_on_two_servers_never_go_beyond_a_quota() {
    let world = World::new().await;
    world.counted_quota("q", &json!({"pods": "5"}), &json!({"pods": "0"}));
    let (left, right) = (Arc::new(world.beside()), Arc::new(world.beside()));
    let all = (0..20).map(|number| {
        let server = Arc::clone(if number % 2 == 0 { &left } else { &right });
        tokio::spawn(async move { server.post(PODS, &pod(&format!("p{number}"))).await })
    });
    let mut made = 0;
    for answer in futures::future::join_all(all.collect::<Vec<_>>()).await {
        let answer = answer.unwrap();
        if answer.code == 201 {
            made += 1;
        } else {
            let message = answer.expect(403)["message"].as_str().unwrap().to_owned();
            assert!(message.contains("exceeded quota: q, requested: pods=1, used: pods=5"), "{message}");
        }
    }
    assert_eq!((made, world.used("q").await), (5, json!({"pods": "5"})));
    assert_eq!(world.get(PODS).await.expect(200)["items"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn a_charge_that_came_between_is_seen() {
    let world = World::new().await;
    world.counted_quota("q", &json!({"pods": "1"}), &json!({"pods": "0"}));
    // Another master takes the last place after this one has read, and before it has written.
    let (hard, used) = (json!({"pods": "1"}), json!({"pods": "1"}));
    let value = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "d", "uid": "q"},
        "spec": {"hard": hard}, "status": {"hard": hard, "used": used}});
    world.direct.intrude(move |direct| {
        let object = Arc::new(Object::new(kind::by_kind("v1", "ResourceQuota").unwrap(), &value).unwrap());
        direct.write(vec![Change::Put { key: Key::new("resourcequotas", "d", "q"), object }]);
    });
    let refused = world.post(PODS, &pod("p")).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("used: pods=1, limited: pods=1"));
    world.get(&format!("{PODS}/p")).await.expect(404);
    // A quota that is gone meanwhile holds nobody up.
    world.counted_quota("q", &json!({"pods": "1"}), &json!({"pods": "0"}));
    world.direct.intrude(|direct| {
        direct.write(vec![Change::Delete { key: Key::new("resourcequotas", "d", "q") }]);
    });
    world.post(PODS, &pod("p")).await.expect(201);
}

#[tokio::test]
async fn a_claim_that_grows_is_charged_the_difference() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "p", "allowVolumeExpansion": true});
    world.post("/apis/storage.k8s.io/v1/storageclasses", &class).await.expect(201);
    world.counted_quota("q", &json!({"requests.storage": "3Gi"}), &json!({"requests.storage": "0"}));
    let claims = "/api/v1/namespaces/d/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let answer = world.post(claims, &claim).await;
    assert_eq!(answer.expect(201)["spec"]["storageClassName"], "fast");
    let kept = "299 - \"this version of Barque stores persistentvolumeclaims and nothing acts upon them yet\"";
    assert_eq!(answer.warnings(), [kept]);
    assert_eq!(world.used("q").await["requests.storage"], "1Gi");
    let size = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let path = format!("{claims}/c");
    world.patch(&path, "merge-patch", &size("2Gi")).await.expect(422);
    world.patch(&format!("{path}/status"), "merge-patch", &json!({"status": {"phase": "Bound"}})).await.expect(200);
    let refused = world.patch(&path, "merge-patch", &size("4Gi")).await.expect(403);
    assert!(
        refused["message"].as_str().unwrap().contains("requested: requests.storage=3Gi, used: requests.storage=1Gi")
    );
    world.patch(&path, "merge-patch", &size("3Gi")).await.expect(200);
    assert_eq!(world.used("q").await["requests.storage"], "3Gi");
}

#[tokio::test]
async fn kinds_that_nothing_acts_upon_say_so() {
    let world = World::new().await;
    let policies = "/apis/networking.k8s.io/v1/namespaces/d/networkpolicies";
    let policy = json!({"metadata": {"name": "n"}, "spec": {"podSelector": {}}});
    let told =
        "299 - \"this version of Barque stores networkpolicies.networking.k8s.io and nothing acts upon them yet\"";
    for query in ["?dryRun=All", ""] {
        let answer = world.post(&format!("{policies}{query}"), &policy).await;
        answer.expect(201);
        assert_eq!(answer.warnings(), [told]);
    }
    let answer =
        world.patch(&format!("{policies}/n"), "merge-patch", &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(answer.warnings(), [told]);
    let read = world.get(&format!("{policies}/n")).await;
    assert!(read.warnings().is_empty());
    for (path, body) in [
        (DEPLOYMENTS, deployment("x", 0)),
        (PODS, pod("p")),
        (LIMITS, json!({"metadata": {"name": "l"}, "spec": {"limits": []}})),
    ] {
        let answer = world.post(path, &body).await;
        answer.expect(201);
        assert!(answer.warnings().is_empty(), "{path}");
    }
}

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn policy(name: &str, expression: &str, group: &str, resources: &str, operations: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"validations": [{"expression": expression, "message": "not here"}],
        "matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": [operations],
            "resources": [resources]}]}}})
}

async fn bind(world: &World, policy: Value, action: &str) {
    let name = policy["metadata"]["name"].clone();
    world.post(POLICIES, &policy).await.expect(201);
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": [action]}});
    world.post(BINDINGS, &binding).await.expect(201);
}

#[tokio::test]
async fn policies_are_asked_by_every_verb() {
    let world = World::new().await;
    world.post(&format!("{POLICIES}?dryRun=All"), &policy("bad", "object.", "", "pods", "*")).await.expect(422);
    world.post(DEPLOYMENTS, &deployment("web", 9)).await.expect(201);
    bind(&world, policy("few", "object.spec.replicas <= 5", "apps", "deployments", "*"), "Deny").await;
    let wanted = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: not here";
    let path = format!("{DEPLOYMENTS}/web");
    let more = json!({"spec": {"replicas": 10}});
    assert_eq!(world.patch(&path, "merge-patch", &more).await.expect(422)["message"], wanted);
    assert_eq!(world.patch(&format!("{path}/scale"), "merge-patch", &more).await.expect(422)["message"], wanted);
    assert_eq!(world.patch(&format!("{path}?dryRun=All"), "merge-patch", &more).await.expect(422)["message"], wanted);
    let mut many = deployment("other", 7);
    many["apiVersion"] = json!("apps/v1");
    world.post(DEPLOYMENTS, &many).await.expect(422);
    world.patch(&format!("{DEPLOYMENTS}/other?fieldManager=x"), "apply-patch", &many).await.expect(422);
    world.patch(&path, "merge-patch", &json!({"spec": {"replicas": 5}})).await.expect(200);
    // A deletion has no object: the expression fails, and so does the deletion.
    let refused = world.delete(&path).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("resulted in error: no such"), "{refused}");
    world.delete(&format!("{BINDINGS}/few")).await.expect(200);
    world.delete(&path).await.expect(200);
}

#[tokio::test]
async fn policies_are_asked_about_subresources() {
    let world = World::new().await;
    world.post(PODS, &pod("p")).await.expect(201);
    bind(
        &world,
        policy("sealed", "object.kind != 'PodExecOptions' || !('sh' in object.command)", "", "pods/exec", "CONNECT"),
        "Deny",
    )
    .await;
    let refused = world.send(admin(), "POST", &format!("{PODS}/p/exec?command=sh&stdin=1"), &[], b"").await.expect(422);
    let wanted =
        "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'sealed' with binding 'sealed' denied request: not here";
    assert_eq!(refused["message"], wanted);
    bind(&world, policy("fixed", "object.target.name == 'n1'", "", "pods/binding", "CREATE"), "Deny").await;
    let binding = |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    world.post(&format!("{PODS}/p/binding"), &binding("n2")).await.expect(422);
    world.post(&format!("{PODS}/p/binding"), &binding("n1")).await.expect(201);
    bind(&world, policy("stays", "false", "", "pods/eviction", "CREATE"), "Deny").await;
    world.post(&format!("{PODS}/p/eviction"), &json!({"metadata": {"name": "p"}})).await.expect(422);
    let status = json!({"status": {"phase": "Running"}});
    bind(&world, policy("still", "false", "", "pods/status", "UPDATE"), "Warn").await;
    let answer = world.patch(&format!("{PODS}/p/status"), "merge-patch", &status).await;
    answer.expect(200);
    let wanted = "299 - \"Validation failed for ValidatingAdmissionPolicy 'still' with binding 'still': not here\"";
    assert_eq!(answer.warnings(), [wanted]);
}
