//! A whole agent with real containers. Works in a cluster of its own and clears it away, also when it fails. Where no engine
//! answers it says so and is left out, except with `CI=true`: there that is a failure.

use super::*;
use futures::FutureExt;
use runtime::docker::{Docker, sweep};
use runtime::image::{Archive, Entry, tar};
use std::panic::AssertUnwindSafe;

const BUSYBOX: &str = "/bin/busybox";

fn image(reference: &str) -> Vec<u8> {
    let bytes = std::fs::read(BUSYBOX)
        .unwrap_or_else(|error| panic!("{BUSYBOX} ({error}): install it with `apt-get install busybox-static`"));
    let link = |name: &str| Entry::Link { path: format!("bin/{name}"), target: "busybox".into() };
    let mut entries = vec![Entry::File { path: "bin/busybox".into(), mode: 0o755, bytes }];
    entries.extend(["sh", "cat", "httpd", "sleep", "test", "rm", "touch"].map(link));
    entries.push(Entry::Folder { path: "tmp".into(), mode: 0o1777 });
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    tar(&Archive {
        reference: reference.into(),
        architecture: architecture.into(),
        args: vec!["/bin/sh".into()],
        env: vec!["PATH=/bin".into()],
        entries,
        ..Archive::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_really_runs() {
    let id = format!("agent-{}", base::random::suffix(8));
    let docker = Docker::new(Scope::new(&*id, "n").unwrap(), None).unwrap();
    if let Err(error) = docker.ping().await {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no Docker engine: {error}");
        eprintln!("left out, there is no Docker engine: {error}");
        return;
    }
    let reference = format!("barque-test/agent:{id}");
    docker.load_image(image(&reference)).await.unwrap();
    let docker = Arc::new(docker);
    let outcome = AssertUnwindSafe(live(id.clone(), docker.clone(), reference.clone())).catch_unwind().await;
    let swept = sweep(None, &id).await;
    let _ = docker.remove_image(&reference).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    swept.unwrap();
}

async fn live(id: String, docker: Arc<Docker>, image: String) {
    let (dir, cluster) = (tempfile::tempdir().unwrap(), Cluster::at(10));
    let master = Master::start(&cluster).await;
    cluster.put(
        "/api/v1/namespaces/ns/configmaps/cm",
        json!({"metadata": {"name": "cm"}, "data": {"index.html": "ahoy"}}),
    );
    cluster.put("/api/v1/namespaces/ns/secrets/s", json!({"metadata": {"name": "s"}, "data": {"k": "aHVudGVyMg=="}}));
    let agent = Agent::start_with(dir.path(), docker.clone(), &id, &[master.address]).await;
    cluster.put(
        POD,
        pod(json!({
            "nodeName": "n", "restartPolicy": "Always", "terminationGracePeriodSeconds": 2,
            "volumes": [{"name": "web", "configMap": {"name": "cm"}}, {"name": "shared", "emptyDir": {}},
                {"name": "sec", "secret": {"secretName": "s"}}],
            "initContainers": [{
                "name": "i", "image": image, "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                "command": ["sh", "-c", "cat /sec/k > /shared/got && echo -n done > /dev/termination-log"],
                "volumeMounts": [{"name": "shared", "mountPath": "/shared"}, {"name": "sec", "mountPath": "/sec"}],
            }],
            "containers": [{
                "name": "a", "image": image, "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                "command": ["sh", "-c", "test \"$SECRET\" = hunter2 && touch /tmp/alive && exec httpd -f -p 8080 -h /web"],
                "env": [{"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "volumeMounts": [{"name": "web", "mountPath": "/web"}, {"name": "shared", "mountPath": "/shared", "subPath": "."}],
                "readinessProbe": {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1},
                "livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1},
                "resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "32Mi"}},
            }],
        })),
    );
    let up = ready(&cluster).await;
    let init = &up["status"]["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!((&init["reason"], &init["message"]), (&json!("Completed"), &json!("done")));
    assert_eq!(up["status"]["qosClass"], "Burstable");
    let got = std::fs::read_to_string(dir.path().join("pods/u/volumes/shared/got")).unwrap();
    assert_eq!(got, "hunter2");

    // The liveness probe fails: the container is restarted and comes back ready.
    let running = docker.list().await.unwrap().containers.into_iter().find(|it| it.name == "a").unwrap();
    let spec = runtime::ExecSpec { command: vec!["rm".into(), "/tmp/alive".into()], tty: false, stdin: false };
    let session = docker.exec(&running.id, spec).await.unwrap();
    assert_eq!(session.control.exit_code().await.unwrap(), 0);
    eventually("the container was restarted", async || {
        (cluster.get(POD)?["status"]["containerStatuses"][0]["restartCount"] == 1).then_some(())
    })
    .await;
    let again = ready(&cluster).await;
    assert_eq!(again["status"]["podIP"], up["status"]["podIP"], "the pod kept its address");

    // The agent starts anew and changes nothing.
    agent.stop().await;
    let before = docker.list().await.unwrap();
    let agent = Agent::start_with(dir.path(), docker.clone(), &id, &[master.address]).await;
    beats(&cluster, 20).await;
    let ids = |listing: &runtime::Listing| {
        let mut ids: Vec<String> = listing.containers.iter().map(|it| it.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&docker.list().await.unwrap()), ids(&before));

    cluster.change(POD, |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(2);
    });
    eventually("the pod is gone from the API", async || cluster.get(POD).is_none().then_some(())).await;
    let left = docker.list().await.unwrap();
    assert!(left.containers.is_empty() && left.sandboxes.is_empty(), "{left:?}");
    agent.stop().await;
}
