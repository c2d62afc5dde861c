//! What a master says of itself while it stops and while there is no quorum, and that nothing is left of a purged cluster.

use std::path::Path;
use std::time::Duration;

use chaos::{Cluster, Master, Shape};
use client::{Call, Client};
use nix::sys::signal::Signal;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// One call of one master: status code and body.
async fn ask(client: &Client, call: Call) -> Option<(u16, String)> {
    let call = call.deadline(Duration::from_secs(20));
    let answer = client.request_to(&client.endpoints().current(), call).await.ok()?;
    Some((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

async fn get(client: &Client, path: &str) -> Option<(u16, String)> {
    ask(client, Call::get(path)).await
}

fn kill(cluster: &Cluster, master: &Master) {
    cluster.signal(master.pid, Signal::SIGKILL).expect("it runs");
    cluster.ended(master.pid).expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_stops_and_lost_quorums() {
    let shape = Shape { masters: 3, nodes: 1, runtime: "sim" };
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_barque")), shape).expect("a cluster");
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=1"]).unwrap();

    // A leader that is told to stop says so for as long as it hands over.
    let leader = cluster.leader().unwrap();
    let client = cluster.master_client(&leader.name).unwrap();
    assert_eq!(get(&client, "/readyz").await, Some((200, "ok".to_owned())));
    let asking = tokio::spawn(async move {
        let mut drained = None;
        while let Some((code, body)) = get(&client, "/readyz").await {
            if code == 503 {
                drained.get_or_insert(body);
            }
        }
        drained
    });
    cluster.signal(leader.pid, Signal::SIGTERM).unwrap();
    let drained = asking.await.unwrap().expect("it was asked while it stopped");
    assert!(drained.contains("this master is stopping") && drained.contains("readyz check failed"), "{drained}");
    cluster.ended(leader.pid).unwrap();
    cluster.up().unwrap();

    // Two of three die: the third knows no leader, says so, and serves nothing that may be stale.
    let masters = cluster.masters().unwrap();
    let left = cluster.master_client(&masters[2].name).unwrap();
    kill(&cluster, &masters[0]);
    kill(&cluster, &masters[1]);
    let end = tokio::time::Instant::now() + PATIENCE;
    let reason = loop {
        match get(&left, "/readyz").await.expect("an answer") {
            (503, reason) => break reason,
            (code, body) => assert!(tokio::time::Instant::now() < end, "{code} {body}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(reason.contains("there is no quorum"), "{reason}");
    let (code, refusal) = get(&left, "/api/v1/namespaces/default/configmaps/kept").await.expect("an answer");
    assert!(code == 503 && refusal.contains("reads cannot be answered") && refusal.contains("no leader"), "{refusal}");
    let lost = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lost"}});
    let write = Call::new(http::Method::POST, "/api/v1/namespaces/default/configmaps").json(&lost);
    let (code, refusal) = ask(&left, write).await.expect("an answer");
    assert!(code == 503 && refusal.contains("no leader"), "certainly not done: {code} {refusal}");
    let old = get(&left, "/api/v1/namespaces/default/configmaps/kept?resourceVersion=0").await.expect("an answer");
    assert_eq!(old.0, 200, "what may be stale is asked for as such: {}", old.1);

    // The status works all the same.
    let status = cluster.status().expect("it ends with 0");
    assert!(status["leader"].is_null() && status["tolerates"] == 0, "{status}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("No quorum: 1 of 3 masters answer, 2 are needed"), "{warnings}");
    let shown = cluster.barque(&["status"]).unwrap();
    assert!(shown.contains("unreachable") && shown.contains("! No quorum"), "{shown}");

    // With one of them back all is as before.
    cluster.up().unwrap();
    cluster.kubectl(&["get", "configmap", "kept"]).unwrap();
    cluster.kubectl(&["get", "configmap", "lost"]).expect_err("it was refused, so it is not there");

    let (id, dir) = (cluster.id().unwrap(), cluster.dir().to_owned());
    cluster.barque(&["down", "--purge"]).unwrap();
    assert!(!dir.exists());
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    for place in ["/dev/shm", "/run", "/tmp"] {
        let names = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(&id)).collect();
        assert!(left.is_empty(), "{place}: {left:?}");
    }
}

/// Command lines that name a folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("a folder").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(dir.to_str().expect("a name"))).collect()
}
