//! The unmodified kubectl, an older one and the newest, against three masters. Containers are simulated here: this is about
//! the API.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chaos::{Cluster, Shape};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that `make test` has fetched; without it the test does not run, which is a failure on CI.
fn client(name: &str) -> Option<PathBuf> {
    let client = chaos::clients_folder().join(name);
    if client.is_file() {
        return Some(client);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: make test fetches it", client.display());
    eprintln!("NOT RUN: {} is missing; `make test` fetches it", client.display());
    None
}

/// Runs a test on a cluster of its own with this kubectl.
fn with(name: &str, test: fn(Cluster)) {
    let Some(kubectl) = client(name) else { return };
    let shape = Shape { masters: 3, nodes: 3, runtime: "sim" };
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster");
    test(cluster.with_kubectl(kubectl));
}

/// Each of these with each client.
macro_rules! with_each_client {
    ($($test:ident)*) => {
        mod kubectl_1_32 {
            $(#[test] fn $test() { super::with("kubectl-1.32", super::$test); })*
        }
        mod kubectl_1_37 {
            $(#[test] fn $test() { super::with("kubectl-1.37", super::$test); })*
        }
    };
}

with_each_client! {
    kubectl_finds_its_way_about
    objects_are_created_changed_and_deleted
    apply_merges_and_knows_who_owns_what
    deployments_roll
    nodes_are_cordoned_and_drained
    roles_decide_and_say_what_they_allow
    custom_resources_live_on_every_master
    quotas_hold_and_what_nothing_acts_upon_is_said
}

/// Runs kubectl and returns what it printed.
fn ok(cluster: &Cluster, line: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    cluster.kubectl(&arguments).unwrap_or_else(|error| panic!("kubectl {line}: {error}"))
}

/// Runs kubectl, which must fail, and returns what it complained.
fn refused(cluster: &Cluster, line: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    cluster.kubectl(&arguments).expect_err(line).to_string()
}

/// Runs kubectl with a manifest on its standard input.
fn with_input(cluster: &Cluster, line: &str, manifest: &str) -> Result<String, String> {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let mut command = cluster.kubectl_command(&arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
    child.stdin.take().expect("piped").write_all(manifest.as_bytes()).expect("kubectl reads");
    let output = child.wait_with_output().expect("kubectl ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn json(cluster: &Cluster, line: &str) -> Value {
    serde_json::from_str(&ok(cluster, &format!("{line} -o json"))).expect("JSON")
}

fn has(text: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(text.contains(fragment), "{fragment:?} is missing in:\n{text}");
    }
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "web:1", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
"#;

fn kubectl_finds_its_way_about(cluster: Cluster) {
    has(&ok(&cluster, "version"), &["Server Version: v1.37.0+barque"]);
    has(&ok(&cluster, "api-resources"), &["deployments", "deploy", "apps/v1", "configmaps", "cm", "leases"]);
    has(&ok(&cluster, "get nodes"), &["NAME", "STATUS", "ROLES", "node-1", "node-2", "node-3", "Ready"]);
    has(&ok(&cluster, "get nodes -o wide"), &["INTERNAL-IP", "CONTAINER-RUNTIME", "127.0.0.11"]);
    has(&ok(&cluster, "get namespaces"), &["default", "kube-system", "kube-public", "kube-node-lease", "Active"]);
    has(&ok(&cluster, "describe node node-1"), &["Capacity", "Allocatable", "KubeletReady"]);
    has(&ok(&cluster, "explain deployment.spec.replicas"), &["FIELD: replicas <integer>"]);
    has(&ok(&cluster, "explain pod.spec.containers"), &["livenessProbe"]);
    has(&refused(&cluster, "get pod nope"), &["Error from server (NotFound): pods \"nope\" not found"]);
    has(&refused(&cluster, "get nonsense"), &["the server doesn't have a resource type"]);
    has(&ok(&cluster, "get serviceaccount default -o name"), &["serviceaccount/default"]);
    assert_eq!(ok(&cluster, "create token default").trim().split('.').count(), 3);
    has(&refused(&cluster, "create token nope"), &["serviceaccounts \"nope\" not found"]);
    has(&ok(&cluster, "get --raw /openid/v1/jwks"), &["ES256"]);
    has(&ok(&cluster, "get --raw /livez"), &["ok"]);
    has(&ok(&cluster, "get --raw /metrics"), &["apiserver_request_total"]);
}

fn objects_are_created_changed_and_deleted(cluster: Cluster) {
    ok(&cluster, "create namespace shop");
    ok(&cluster, "-n shop create configmap settings --from-literal=colour=blue");
    ok(&cluster, "-n shop create secret generic key --from-literal=password=s3cret");
    assert_eq!(json(&cluster, "-n shop get secret key")["data"]["password"], "czNjcmV0");
    has(&refused(&cluster, "-n shop create configmap settings"), &["configmaps \"settings\" already exists"]);
    has(&refused(&cluster, "-n nowhere create configmap a"), &["namespaces \"nowhere\" not found"]);
    ok(&cluster, "-n shop label configmap settings tier=front");
    ok(&cluster, "-n shop annotate configmap settings note=hello");
    has(&ok(&cluster, "-n shop get configmap -l tier=front -o name"), &["configmap/settings"]);
    assert_eq!(ok(&cluster, "-n shop get configmap -l tier!=front,tier -o name"), "");
    for (kind, patch) in [
        ("merge", r#"{"data":{"colour":"red"}}"#),
        ("json", r#"[{"op":"replace","path":"/data/colour","value":"red"}]"#),
        ("strategic", r#"{"data":{"colour":"red","size":"big"}}"#),
    ] {
        ok(&cluster, &format!("-n shop patch configmap settings --type {kind} -p {patch}"));
        assert_eq!(json(&cluster, "-n shop get configmap settings")["data"]["colour"], "red", "{kind}");
    }
    let unchanged = ok(&cluster, r#"-n shop patch configmap settings --type merge -p {"data":{"colour":"red"}}"#);
    has(&unchanged, &["patched (no change)"]);
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: strict, namespace: shop}\ndatta: {a: b}\n";
    has(&with_input(&cluster, "create -f -", manifest).expect_err("an unknown field"), &["unknown field \"datta\""]);
    let stale =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop, resourceVersion: \"1\"}\n";
    let conflict = with_input(&cluster, "replace -f -", stale).expect_err("a stale version");
    has(&conflict, &["Conflict", "please apply your changes to the latest version and try again"]);
    ok(&cluster, "-n shop create configmap doomed");
    has(&ok(&cluster, "-n shop delete configmap doomed"), &["configmap \"doomed\" deleted"]);
    ok(&cluster, "delete namespace shop --timeout=30s");
    has(&refused(&cluster, "get namespace shop"), &["not found"]);
}

fn apply_merges_and_knows_who_owns_what(cluster: Cluster) {
    has(&with_input(&cluster, "apply -f -", WEB).expect("kubectl did it"), &["deployment.apps/web created"]);
    has(&with_input(&cluster, "apply -f -", WEB).expect("kubectl did it"), &["deployment.apps/web unchanged"]);
    let generation = |cluster: &Cluster| json(cluster, "get deployment web")["metadata"]["generation"].clone();
    assert_eq!(generation(&cluster), 1);
    let more = WEB.replace("replicas: 3", "replicas: 2");
    has(&with_input(&cluster, "apply -f -", &more).expect("kubectl did it"), &["configured"]);
    assert_eq!(generation(&cluster), 2);
    let without = more.replace(r#", env: [{name: A, value: "1"}]"#, "");
    with_input(&cluster, "apply -f -", &without).expect("kubectl did it");
    let container = json(&cluster, "get deployment web")["spec"]["template"]["spec"]["containers"][0].clone();
    assert!(container["env"].is_null(), "what the manifest dropped is gone: {container}");
    let diff = with_input(&cluster, "diff -f -", &without);
    assert!(diff.is_ok(), "nothing differs: {diff:?}");
    let dry = with_input(&cluster, "apply --dry-run=server -f -", &without.replace("replicas: 2", "replicas: 9"));
    has(&dry.expect("kubectl did it"), &["configured (server dry run)"]);
    assert_eq!(json(&cluster, "get deployment web")["spec"]["replicas"], 2);

    let manager = "apply --server-side --field-manager=other -f -";
    let conflict = with_input(&cluster, manager, WEB).expect_err("somebody else owns replicas");
    has(&conflict, &["conflict", ".spec.replicas"]);
    let forced = format!("{manager} --force-conflicts");
    has(&with_input(&cluster, &forced, WEB).expect("kubectl did it"), &["serverside-applied"]);
    assert_eq!(json(&cluster, "get deployment web")["spec"]["replicas"], 3);
}

fn deployments_roll(cluster: Cluster) {
    with_input(&cluster, "apply -f -", WEB).expect("kubectl did it");
    has(&ok(&cluster, "rollout status deployment web --timeout=60s"), &["successfully rolled out"]);
    has(&ok(&cluster, "get deployment web"), &["3/3"]);
    let pods = json(&cluster, "get pods -l app=web");
    let nodes: std::collections::BTreeSet<&str> = pods["items"]
        .as_array()
        .expect("kubectl did it")
        .iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str())
        .collect();
    assert_eq!(nodes.len(), 3, "three replicas spread over three nodes");
    ok(&cluster, "set image deployment web main=web:2");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    has(&ok(&cluster, "rollout history deployment web"), &["REVISION", "1", "2"]);
    ok(&cluster, "rollout undo deployment web");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    let image = json(&cluster, "get deployment web")["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, "web:1");
    ok(&cluster, "rollout restart deployment web");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    ok(&cluster, "scale deployment web --replicas=5");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    assert_eq!(
        json(&cluster, "get pods -l app=web --field-selector status.phase=Running")["items"]
            .as_array()
            .expect("kubectl did it")
            .len(),
        5
    );
    ok(&cluster, "rollout pause deployment web");
    ok(&cluster, "set image deployment web main=web:3");
    assert_eq!(json(&cluster, "get deployment web")["spec"]["paused"], true);
    ok(&cluster, "rollout resume deployment web");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    has(&ok(&cluster, "describe deployment web"), &["RollingUpdate", "NewReplicaSetAvailable", "ScalingReplicaSet"]);
    ok(&cluster, "delete deployment web --timeout=30s");
    let gone = cluster.wait("dependents to go", PATIENCE, || {
        let left = cluster.kubectl(&["get", "rs,pods", "-l", "app=web", "-o", "name"])?;
        Ok(left.is_empty().then_some(()))
    });
    gone.expect("garbage collection");
}

fn nodes_are_cordoned_and_drained(cluster: Cluster) {
    with_input(&cluster, "apply -f -", WEB).expect("kubectl did it");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    ok(&cluster, "cordon node-1");
    has(&ok(&cluster, "get node node-1"), &["Ready,SchedulingDisabled"]);
    ok(&cluster, "drain node-1 --ignore-daemonsets --timeout=60s");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    let on_node = ok(&cluster, "get pods -o name --field-selector spec.nodeName=node-1");
    assert_eq!(on_node, "");
    ok(&cluster, "uncordon node-1");
    ok(&cluster, "taint nodes node-2 key=value:NoSchedule");
    has(&ok(&cluster, "describe node node-2"), &["key=value:NoSchedule"]);
    let stuck = r#"
apiVersion: v1
kind: Pod
metadata: {name: stuck}
spec:
  nodeSelector: {no: such}
  containers: [{name: main, image: "web:1"}]
"#;
    with_input(&cluster, "create -f -", stuck).expect("kubectl did it");
    let reason = cluster.wait("the reason", PATIENCE, || {
        let text = cluster.kubectl(&["describe", "pod", "stuck"])?;
        Ok(text.contains("FailedScheduling").then_some(text))
    });
    has(&reason.expect("an event"), &["0/3 nodes are available", "didn't match Pod's node affinity/selector"]);
}

fn roles_decide_and_say_what_they_allow(cluster: Cluster) {
    ok(&cluster, "create namespace shop");
    ok(&cluster, "-n shop create role reader --verb=get,list --resource=pods");
    ok(&cluster, "-n shop create rolebinding readers --role=reader --user=ann");
    ok(&cluster, "-n shop create rolebinding editors --clusterrole=edit --user=ed");
    // The leader has just begun, and another master than the one that was written to may answer.
    for line in ["get pods --as=ann", "create configmap settings --as=ed", "auth whoami --as=ann"] {
        let whole = format!("-n shop {line}");
        let arguments: Vec<&str> = whole.split_whitespace().collect();
        cluster.wait(line, PATIENCE, || cluster.kubectl(&arguments).map(Some)).expect(line);
    }
    let secrets = refused(&cluster, "-n shop get secrets --as=ann");
    has(
        &secrets,
        &["Error from server (Forbidden)", "secrets is forbidden: User \"ann\" cannot list resource \"secrets\""],
    );
    refused(&cluster, "get pods --as=ann");
    has(&ok(&cluster, "-n shop auth can-i list pods --as=ann"), &["yes"]);
    // It ends with 1 where the answer is no.
    refused(&cluster, "-n shop auth can-i list secrets --as=ann");
    has(
        &ok(&cluster, "-n shop auth can-i --list --as=ann"),
        &["pods", "[get list]", "selfsubjectreviews", "[/healthz]"],
    );
    has(&ok(&cluster, "auth whoami --as=bob --as-group=staff"), &["bob", "[staff system:authenticated]"]);
    // Who may bind roles may not bind more than they hold.
    ok(&cluster, "-n shop create role binder --verb=create --resource=rolebindings.rbac.authorization.k8s.io");
    ok(&cluster, "-n shop create rolebinding binders --role=binder --user=ann");
    let escalation = cluster.wait("the right to bind", PATIENCE, || {
        let line = "-n shop create rolebinding all --clusterrole=cluster-admin --user=ann --as=ann";
        let complaint = refused(&cluster, line);
        Ok(complaint.contains("is attempting to grant RBAC permissions not currently held").then_some(complaint))
    });
    has(&escalation.expect("a refusal"), &["APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]"]);
    let reconciled = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: shop}\n\
                      rules: [{apiGroups: [\"\"], resources: [services], verbs: [get]}]\n";
    has(&with_input(&cluster, "auth reconcile -f -", reconciled).expect("kubectl did it"), &["reconciled"]);
}

const SHIPS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ships, singular: ship, kind: Ship, shortNames: [sh]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns: [{name: Masts, type: integer, jsonPath: .spec.masts}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations: [{rule: "self.masts >= 3", message: "three masts or more"}]
            properties: {masts: {type: integer, default: 3}, replicas: {type: integer, default: 1}}
          status: {type: object, properties: {replicas: {type: integer}}}
"#;

fn ship(name: &str, spec: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Ship\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn custom_resources_live_on_every_master(cluster: Cluster) {
    with_input(&cluster, "apply -f -", SHIPS).expect("kubectl did it");
    ok(&cluster, "wait --for=condition=Established crd/ships.example.com --timeout=30s");
    for master in cluster.masters().expect("the masters") {
        let context = format!("--context {}", master.name);
        let name = format!("of-{}", master.name);
        let made = with_input(&cluster, &format!("{context} apply -f -"), &ship(&name, "replicas: 1"));
        has(&made.expect("kubectl did it"), &["created"]);
        has(&ok(&cluster, &format!("{context} get sh {name}")), &["MASTS", "3"]);
        ok(&cluster, &format!("{context} scale ship {name} --replicas=2"));
        has(&ok(&cluster, &format!("{context} explain ship.spec.masts")), &["FIELD: masts <integer>"]);
        let brig = with_input(&cluster, &format!("{context} apply -f -"), &ship("brig", "masts: 2"));
        has(&brig.expect_err("a rule"), &["three masts or more"]);
        let typo = with_input(&cluster, &format!("{context} create -f -"), &ship("typo", "mast: 3"));
        has(&typo.expect_err("a field that is not there"), &["unknown field \"spec.mast\""]);
    }
    assert_eq!(json(&cluster, "get ships")["items"].as_array().map(Vec::len), Some(3));
    ok(&cluster, "delete crd ships.example.com --timeout=30s");
    for master in cluster.masters().expect("the masters") {
        let raw = format!("--context {} get --raw /apis/example.com/v1/ships", master.name);
        has(&refused(&cluster, &raw), &["NotFound"]);
    }
}

fn quotas_hold_and_what_nothing_acts_upon_is_said(cluster: Cluster) {
    ok(&cluster, "create quota small --hard=pods=2");
    ok(&cluster, "create deployment web --image=web:1 --replicas=4");
    let made = || json(&cluster, "get pods -l app=web")["items"].as_array().map_or(0, Vec::len);
    cluster.wait("two pods", PATIENCE, || Ok((made() == 2).then_some(()))).expect("as many as there may be");
    let told = cluster.wait("the reason", PATIENCE, || {
        let text = cluster.kubectl(&["describe", "rs", "-l", "app=web"])?;
        Ok(text.contains("exceeded quota: small").then_some(text))
    });
    has(&told.expect("an event"), &["FailedCreate"]);
    has(&refused(&cluster, "run one-more --image=web:1"), &["exceeded quota: small, requested: pods=1, used: pods=2"]);
    ok(&cluster, "delete quota small");
    ok(&cluster, "rollout status deployment web --timeout=60s");
    let policy =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed}\nspec: {podSelector: {}}\n";
    // It fails where the server warns.
    let warned = with_input(&cluster, "create --warnings-as-errors -f -", policy).expect_err("a warning");
    has(&warned, &["nothing acts upon them yet"]);
}

#[test]
fn helm_installs_upgrades_and_uninstalls() {
    with("kubectl-1.37", helm_manages_a_chart);
}

fn helm_manages_a_chart(cluster: Cluster) {
    let helm = client("helm-of-1.37").expect("it comes with kubectl 1.37");
    let run = |line: &str| {
        let mut command = std::process::Command::new(&helm);
        command.args(line.split_whitespace()).arg("--kubeconfig").arg(cluster.kubeconfig());
        let output = command.output().expect("it starts");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}: {text}");
        text
    };
    let chart = tempfile::tempdir().expect("kubectl did it");
    std::fs::create_dir(chart.path().join("templates")).expect("kubectl did it");
    std::fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 0.1.0\n")
        .expect("kubectl did it");
    std::fs::write(chart.path().join("templates/web.yaml"), WEB).expect("kubectl did it");
    let path = chart.path().display().to_string();
    has(&run(&format!("install shop {path} --wait --timeout 60s")), &["STATUS: deployed"]);
    has(&run("list"), &["shop", "deployed"]);
    run(&format!("upgrade shop {path} --wait --timeout 60s"));
    has(&run("history shop"), &["superseded", "deployed"]);
    run("uninstall shop --wait --timeout 60s");
    assert_eq!(ok(&cluster, "get deployments -o name"), "");
}
