//! Real containers: kubectl drives Docker through three masters, and the leader or a node may die meanwhile.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chaos::{Cluster, Error, IMAGE, Shape};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster on Docker; `None` where no engine answers, which is a failure on CI.
fn cluster() -> Option<Cluster> {
    let engine = Command::new("docker").arg("version").output().is_ok_and(|output| output.status.success());
    if !engine {
        assert!(std::env::var_os("CI").is_none(), "no Docker engine answers: start one (make test does)");
        eprintln!("NOT RUN: no Docker engine answers");
        return None;
    }
    chaos::ensure_image().expect("the test image");
    let shape = Shape { masters: 3, nodes: 3, runtime: "docker" };
    Some(Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster"))
}

fn ok(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn apply(cluster: &Cluster, object: &Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("object.json");
    std::fs::write(&path, object.to_string()).expect("a file");
    ok(cluster, &["apply", "-f", &path.display().to_string()]);
}

fn pod(name: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": IMAGE, "command": command}]},
    })
}

fn deployment(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"]}]}}},
    })
}

/// Waits until `look` finds something.
fn wait<T>(cluster: &Cluster, what: &str, look: impl Fn() -> Result<Option<T>, Error>) -> T {
    cluster.wait(what, PATIENCE, look).unwrap_or_else(|error| fail(cluster, &error))
}

/// Waits until `kubectl get pod NAME -o jsonpath=PATH` prints `wanted`.
fn until(cluster: &Cluster, name: &str, path: &str, wanted: &str) {
    let path = format!("jsonpath={path}");
    wait(cluster, &format!("{name} {path} = {wanted}"), || {
        let text = cluster.kubectl(&["get", "pod", name, "-o", &path])?;
        if text == wanted { Ok(Some(())) } else { Err(Error::Answer(text)) }
    });
}

/// Waits until the deployment is rolled out.
fn rolled_out(cluster: &Cluster) {
    if let Err(error) = cluster.kubectl(&["rollout", "status", "deployment", "web", "--timeout=90s"]) {
        fail(cluster, &error);
    }
}

/// Fails the test, with all that may say why.
fn fail(cluster: &Cluster, error: &Error) -> ! {
    const LOG_LINES: usize = 30;
    let mut report = format!("{error}\n");
    let mut add = |what: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = write!(report, "\n--- {what}\n{text}");
    };
    for line in [
        "get nodes -o wide",
        "get deployments,replicasets,pods -A -o wide",
        "describe pods",
        "get events --sort-by=.lastTimestamp",
    ] {
        let arguments: Vec<&str> = line.split(' ').chain(["--request-timeout=10s"]).collect();
        let text = cluster.kubectl(&arguments).unwrap_or_else(|error| error.to_string());
        add(&format!("kubectl {line}"), &text);
    }
    add("barque status", &cluster.barque(&["status"]).unwrap_or_else(|error| error.to_string()));
    let label = cluster.id().map(|id| format!("label=io.barque.cluster={id}")).unwrap_or_default();
    for line in ["ps -a --no-trunc", "network ls --no-trunc"] {
        let output = Command::new("docker").args(line.split(' ')).args(["--filter", &label]).output();
        add(&format!("docker {line}"), &output.map_or_else(|error| error.to_string(), |output| text(&output.stdout)));
    }
    let mut logs: Vec<_> = std::fs::read_dir(cluster.dir())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("log")))
        .filter(|path| path.is_file())
        .collect();
    logs.sort();
    for path in logs {
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        add(&path.display().to_string(), &lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
    }
    panic!("{report}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Containers of this cluster in the engine, running or not.
fn containers(cluster_id: &str) -> Vec<String> {
    let filter = format!("label=io.barque.cluster={cluster_id}");
    let output = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().expect("docker");
    text(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn pods_are_real_containers() {
    let Some(cluster) = cluster() else { return };
    let id = cluster.id().unwrap();

    // Logs, exit codes and phases.
    apply(&cluster, &pod("steady", &["sh", "-c", "echo hello; echo oops >&2; exec sleep 1000000"]));
    until(&cluster, "steady", "{.status.phase}", "Running");
    let mut once = pod("once", &["sh", "-c", "echo done; exit 3"]);
    once["spec"]["restartPolicy"] = json!("Never");
    apply(&cluster, &once);
    until(&cluster, "once", "{.status.phase}", "Failed");
    until(&cluster, "once", "{.status.containerStatuses[0].state.terminated.exitCode}", "3");
    assert_eq!(ok(&cluster, &["logs", "once"]), "done\n");
    let logs = ok(&cluster, &["logs", "steady"]);
    assert!(logs.contains("hello\n") && logs.contains("oops\n"), "{logs}");

    // Commands inside, with their exit codes.
    assert_eq!(ok(&cluster, &["exec", "steady", "--", "echo", "inside"]), "inside\n");
    let failed = cluster.kubectl(&["exec", "steady", "--", "sh", "-c", "exit 7"]).expect_err("it exits with 7");
    assert!(failed.to_string().contains("exit code 7"), "{failed}");

    // Reasons, as kubectl shows them.
    apply(
        &cluster,
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"},
            "spec": {"containers": [{"name": "main", "image": "registry.invalid/none:1"}]},
        }),
    );
    apply(&cluster, &pod("crashing", &["false"]));
    until(&cluster, "crashing", "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff");
    wait(&cluster, "the image's reason", || {
        let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
        let reason = cluster.kubectl(&["get", "pod", "lost", "-o", path])?;
        Ok((reason == "ErrImagePull" || reason == "ImagePullBackOff").then_some(()))
    });

    // Volumes, environment, one address for all containers of a pod.
    ok(&cluster, &["create", "configmap", "settings", "--from-literal=colour=blue"]);
    ok(&cluster, &["create", "secret", "generic", "key", "--from-literal=password=s3cret"]);
    apply(
        &cluster,
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rich", "labels": {"tier": "front"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "volumes": [
                    {"name": "shared", "emptyDir": {}},
                    {"name": "settings", "configMap": {"name": "settings"}},
                    {"name": "key", "secret": {"secretName": "key"}}],
                "initContainers": [{"name": "first", "image": IMAGE, "command": ["sh", "-c", "echo ready > /shared/flag"],
                    "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
                "containers": [
                    {"name": "server", "image": IMAGE, "command": ["sh", "-c", "exec httpd -f -p 8080 -h /shared"],
                     "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
                    {"name": "main", "image": IMAGE, "command": ["sleep", "1000000"],
                     "env": [
                        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                        {"name": "GREETING", "value": "$(WHO)-$(COLOUR)"}],
                     "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}},
                     "volumeMounts": [
                        {"name": "settings", "mountPath": "/settings"},
                        {"name": "key", "mountPath": "/key"},
                        {"name": "shared", "mountPath": "/shared"}]}]},
        }),
    );
    until(&cluster, "rich", "{.status.phase}", "Running");
    let inside = |command: &str| ok(&cluster, &["exec", "rich", "-c", "main", "--", "sh", "-c", command]);
    assert_eq!(inside("cat /settings/colour; cat /key/password; echo; echo $GREETING"), "blues3cret\nrich-blue\n");
    let account = "cd /var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(
        inside(&format!("{account}; cat namespace; echo; tr -cd . < token; echo; grep -c CERT ca.crt")),
        "default\n..\n2\n"
    );
    // Containers of a pod share their address.
    wait(&cluster, "the neighbour's port", || {
        let seen =
            cluster.kubectl(&["exec", "rich", "-c", "main", "--", "wget", "-qO-", "http://127.0.0.1:8080/flag"])?;
        Ok((seen == "ready\n").then_some(()))
    });
    let address = ok(&cluster, &["get", "pod", "rich", "-o", "jsonpath={.status.podIP}"]);
    let url = format!("http://{address}:8080/flag");
    assert_eq!(ok(&cluster, &["exec", "steady", "--", "wget", "-qO-", &url]), "ready\n", "pods reach each other");

    // Gone means gone.
    ok(&cluster, &["delete", "pod", "--all", "--timeout=60s"]);
    wait(&cluster, "no container left", || Ok(containers(&id).is_empty().then_some(())));
}

#[test]
fn the_leader_may_die_and_nothing_is_lost() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(6));
    rolled_out(&cluster);
    let fingerprint = || {
        let path = r"jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.containerStatuses[0].containerID}{'\n'}{end}";
        ok(&cluster, &["get", "pods", "-l", "app=web", "-o", path])
    };
    let before = fingerprint();
    ok(&cluster, &["create", "configmap", "before", "--from-literal=a=1"]);
    let leader = cluster.leader().unwrap();
    cluster.signal(leader.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait(&cluster, "a write through another master", || {
        cluster.kubectl(&["create", "configmap", "after", "--from-literal=a=1", "--request-timeout=2s"]).map(Some)
    });
    ok(&cluster, &["get", "configmap", "before", "after"]);
    assert_ne!(cluster.leader().unwrap().name, leader.name);
    ok(&cluster, &["scale", "deployment", "web", "--replicas=7"]);
    rolled_out(&cluster);
    ok(&cluster, &["scale", "deployment", "web", "--replicas=6"]);
    for line in before.lines() {
        let name = line.split(' ').next().unwrap();
        let restarts = ok(
            &cluster,
            &["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}"],
        );
        assert!(restarts.split(' ').all(|count| count == "0"), "{name} restarted: {restarts}");
    }
    assert!(cluster.nodes().unwrap().iter().all(|node| node.ready), "no agent noticed");
    // The dead master comes back as a follower, and the chain of all changes is the same everywhere.
    cluster.up().unwrap();
    wait(&cluster, "all three masters", || {
        let status = cluster.status()?;
        Ok((status["tolerates"] == 1 && status["leader"].is_string()).then_some(()))
    });
}

#[test]
fn a_dead_node_is_replaced_and_taken_back() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(6));
    rolled_out(&cluster);
    let nodes = cluster.nodes().unwrap();
    let victim = &nodes[0];
    cluster.kill_node(victim).unwrap();
    let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    wait(&cluster, "NotReady", || {
        let text = cluster.kubectl(&["get", "node", &victim.name, "-o", ready])?;
        Ok((text == "Unknown").then_some(()))
    });
    wait(&cluster, "six pods elsewhere", || {
        let selector = format!("spec.nodeName!={},status.phase=Running", victim.name);
        let text = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "name", "--field-selector", &selector])?;
        Ok((text.lines().count() == 6).then_some(()))
    });
    cluster.up().unwrap();
    wait(&cluster, "the node to be taken back", || {
        let text = cluster.kubectl(&["get", "node", &victim.name, "-o", ready])?;
        Ok((text == "True").then_some(()))
    });
    // What the dead node still had is confirmed gone by its agent.
    wait(&cluster, "the old pods to go", || {
        let text = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"])?;
        Ok((text.lines().count() == 6).then_some(()))
    });
}

#[test]
fn an_agent_that_restarts_and_masters_that_vanish_leave_containers_alone() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(3));
    rolled_out(&cluster);
    let id = cluster.id().unwrap();
    let mut before = containers(&id);
    before.sort();
    for master in cluster.masters().unwrap() {
        cluster.signal(master.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    for node in cluster.nodes().unwrap_or_default() {
        cluster.signal(node.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    cluster.up().unwrap();
    rolled_out(&cluster);
    let mut after = containers(&id);
    after.sort();
    assert_eq!(before, after);
}

/// One engine has one set of ports: nodes that share it bind theirs each on its own address.
#[test]
fn nodes_of_one_engine_have_host_ports_of_their_own() {
    const PORT: u16 = 18_080;
    let Some(cluster) = cluster() else { return };
    let mut ports = deployment(3);
    let container = &mut ports["spec"]["template"]["spec"]["containers"][0];
    container["command"] = json!(["sh", "-c", "hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]);
    container["ports"] = json!([{"containerPort": 8080, "hostPort": PORT}]);
    apply(&cluster, &ports);
    rolled_out(&cluster);
    let pods: BTreeSet<String> =
        ok(&cluster, &["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"])
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    let ask = |address: &str| {
        let mut stream = TcpStream::connect((address, PORT)).map_err(Error::system("connect"))?;
        let mut answer = String::new();
        let asked =
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
        asked.map_err(Error::system("ask"))?;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned();
        if body.is_empty() { Err(Error::Answer(answer)) } else { Ok(Some(body)) }
    };
    let answered: BTreeSet<String> = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
        .map(|address| wait(&cluster, &format!("an answer on {address}"), || ask(address)))
        .into();
    assert_eq!(answered, pods, "each address leads to the pod of its own node");

    // There is no fourth.
    ok(&cluster, &["scale", "deployment", "web", "--replicas=4"]);
    let reason = wait(&cluster, "the reason why the fourth waits", || {
        let text = cluster.kubectl(&["get", "events", "--field-selector", "reason=FailedScheduling"])?;
        Ok(text.contains("free ports").then_some(text))
    });
    assert!(reason.contains("0/3 nodes are available"), "{reason}");
}

#[test]
fn down_removes_every_container() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &deployment(3));
    rolled_out(&cluster);
    let id = cluster.id().unwrap();
    assert!(!containers(&id).is_empty());
    cluster.barque(&["down"]).unwrap();
    assert_eq!(containers(&id), Vec::<String>::new());
    // A folder that exists is started again, with its data.
    cluster.up().unwrap();
    rolled_out(&cluster);
}

#[test]
fn files_ports_and_a_programs_own_terminal_pass_through() {
    let Some(cluster) = cluster() else { return };
    // `kubectl cp` runs tar, which this image has under its other name only.
    let script = "busybox ln -s busybox /bin/tar; echo served > /tmp/page; exec httpd -f -p 8080 -h /tmp";
    apply(&cluster, &pod("served", &["sh", "-c", script]));
    let mut shell = pod("shell", &["sh"]);
    shell["spec"]["restartPolicy"] = json!("Never");
    shell["spec"]["containers"][0]["stdin"] = json!(true);
    shell["spec"]["containers"][0]["tty"] = json!(true);
    apply(&cluster, &shell);
    until(&cluster, "served", "{.status.phase}", "Running");
    until(&cluster, "shell", "{.status.phase}", "Running");
    wait(&cluster, "the page", || {
        let page = cluster.kubectl(&["exec", "served", "--", "wget", "-qO-", "http://127.0.0.1:8080/page"])?;
        Ok((page == "served\n").then_some(()))
    });

    // Files there and back, and connections to a port, by WebSocket and by SPDY.
    let folder = tempfile::tempdir().expect("a folder");
    let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folder.path().join("sent"), &sent).expect("a file");
    for websockets in ["true", "false"] {
        let kubectl = |arguments: &[&str]| {
            let mut command = cluster.kubectl_command(arguments);
            command.current_dir(folder.path());
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
            command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
            command
        };
        for arguments in [["cp", "sent", "served:/tmp/kept"], ["cp", "served:/tmp/kept", "back"]] {
            let output = kubectl(&arguments).output().expect("kubectl starts");
            assert!(output.status.success(), "{arguments:?}, {websockets}: {}", text(&output.stderr));
        }
        assert!(std::fs::read(folder.path().join("back")).expect("a file") == sent, "websockets {websockets}");
        std::fs::remove_file(folder.path().join("back")).expect("a file");

        let mut forwarding = kubectl(&["port-forward", "--address", "127.0.0.1", "pod/served", ":8080"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut lines = BufReader::new(forwarding.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("a line").expect("text");
        let address =
            line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()).expect("an address");
        for _ in 0..3 {
            let mut stream = std::net::TcpStream::connect(address).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
            stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").expect("it reads");
            let mut page = String::new();
            std::io::Read::read_to_string(&mut stream, &mut page).expect("an answer");
            assert!(page.ends_with("served\n"), "websockets {websockets}: {page}");
        }
        forwarding.kill().expect("it runs");
        forwarding.wait().expect("it ends");
    }

    // The container's own shell: what is typed reaches it, and whoever is attached sees it end in order.
    let line = format!("exec {:?}", cluster.kubectl_command(&["attach", "-it", "shell"]));
    let mut terminal = Command::new("timeout")
        .args(["--foreground", "60", "script", "--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let mut typing = terminal.stdin.take().expect("piped");
    typing.write_all(b"busybox tty\nexit 7\n").expect("it reads");
    let ended = terminal.wait_with_output().expect("it ends");
    drop(typing);
    let shown = text(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{shown}");
    assert!(shown.contains("/dev/"), "{shown}");
    until(&cluster, "shell", "{.status.containerStatuses[0].state.terminated.exitCode}", "7");
}

#[test]
fn a_terminal_and_a_followed_log_pass_through_the_gateway() {
    let Some(cluster) = cluster() else { return };
    apply(&cluster, &pod("steady", &["sleep", "1000000"]));
    // Each line waits to be asked for: whoever reads it before the end was following.
    let script = "echo one; until [ -e /tmp/two ]; do sleep 0.1; done; echo two; \
                  until [ -e /tmp/end ]; do sleep 0.1; done; echo end; exit 3";
    let mut told = pod("told", &["sh", "-c", script]);
    told["spec"]["restartPolicy"] = json!("Never");
    apply(&cluster, &told);
    until(&cluster, "steady", "{.status.phase}", "Running");
    until(&cluster, "told", "{.status.phase}", "Running");

    // A shell on a terminal: it is one, it has the size of ours, and it ends with its own code.
    let line =
        format!("stty rows 33 cols 101; exec {:?}", cluster.kubectl_command(&["exec", "-it", "steady", "--", "sh"]));
    let mut terminal = Command::new("timeout")
        .args(["--foreground", "60", "script", "--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let mut typing = terminal.stdin.take().expect("piped");
    // What is typed comes back as well, so the words to look for are typed in pieces.
    let typed =
        "busybox tty\nuntil busybox stty size | busybox grep -x '33 101'; do sleep 0.1; done; echo si''zed\nexit 7\n";
    typing.write_all(typed.as_bytes()).expect("it reads");
    let ended = terminal.wait_with_output().expect("it ends");
    drop(typing);
    let shown = text(&ended.stdout);
    assert_eq!(ended.status.code(), Some(7), "{shown}");
    assert!(shown.contains("\n/dev/pts/") && shown.contains("\nsized"), "{shown}");

    // A log that is followed: line by line, to the end of its container.
    let mut following =
        cluster.kubectl_command(&["logs", "-f", "told"]).stdout(Stdio::piped()).spawn().expect("kubectl starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("text"));
    assert_eq!(next().as_deref(), Some("one"));
    for word in ["two", "end"] {
        ok(&cluster, &["exec", "told", "--", "sh", "-c", &format!("> /tmp/{word}")]);
        assert_eq!(next().as_deref(), Some(word));
    }
    assert_eq!(next(), None, "the log ends with its container");
    assert!(following.wait().expect("kubectl ends").success());
    until(&cluster, "told", "{.status.containerStatuses[0].state.terminated.exitCode}", "3");
}
