//! What only an engine that really runs programs can show.

use super::bench::{Bench, eventually, patiently, read, sandbox_spec};
use crate::{ExecSpec, LogOptions, Mount, MountSource, PidNamespace, PortMapping, Propagation, Protocol, SandboxSpec};
use std::time::Duration;

/// Serves a page with its host name on port 80.
const WEB: &str = "hostname > /tmp/index.html; exec httpd -f -p 80 -h /tmp";

async fn output(bench: &Bench, id: &str, script: &str) -> (String, i32) {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let session = bench.runtime.exec(id, ExecSpec { command, ..Default::default() }).await.unwrap();
    let (out, err) = read(session.output).await;
    (out + &err, patiently("the exit code", session.control.exit_code()).await.unwrap())
}

pub async fn pods_of_two_nodes_reach_each_other(bench: &Bench) {
    let sandbox = bench.sandbox("server").await;
    bench.start(bench.spec(&sandbox, WEB)).await;
    let other = bench.node("n2");
    let client = other.run_sandbox(sandbox_spec("client")).await.unwrap();
    let address = sandbox.address.unwrap();
    let script = format!("until wget -q -O - http://{address}/; do sleep 0.1; done");
    let id = other.create_container(bench.spec(&client, &script)).await.unwrap();
    other.start_container(&id).await.unwrap();
    let logs = other.logs(&id, LogOptions { follow: true, ..Default::default() }).await.unwrap();
    let (out, _) = read(logs).await;
    assert!(out.contains("server\n"), "{out}");
    let range = bench.runtime.info().await.unwrap().address_range.unwrap();
    let prefix: Vec<&str> = range.split('.').take(2).collect();
    assert!(address.to_string().starts_with(&prefix.join(".")), "{address} is not in {range}");
}

pub async fn containers_of_a_pod_share_localhost_hostname_and_hosts(bench: &Bench) {
    let spec =
        SandboxSpec { extra_hosts: vec![("db.example".into(), "192.0.2.7".parse().unwrap())], ..sandbox_spec("web") };
    let sandbox = bench.runtime.run_sandbox(spec).await.unwrap();
    bench.start(bench.spec(&sandbox, WEB)).await;
    let mut second = bench.spec(&sandbox, "sleep 1000");
    second.name = "second".to_owned();
    let id = bench.start(second).await;
    let page = eventually("the other container serves on localhost", || async {
        let (text, code) = output(bench, &id, "wget -q -O - http://127.0.0.1/").await;
        (code == 0).then_some(text)
    });
    assert_eq!(page.await, "web\n");
    let (hosts, _) = output(bench, &id, "cat /etc/hosts; hostname").await;
    assert!(hosts.contains("192.0.2.7\tdb.example") && hosts.contains("\tweb\n"), "{hosts}");
    assert!(hosts.ends_with("web\n"), "{hosts}");
}

pub async fn containers_of_a_pod_share_their_ipc(bench: &Bench) {
    let (sandbox, stranger) = (bench.sandbox("web").await, bench.sandbox("stranger").await);
    let first = bench.start(bench.spec(&sandbox, "sleep 1000")).await;
    let mut second = bench.spec(&sandbox, "sleep 1000");
    second.name = "second".to_owned();
    let second = bench.start(second).await;
    let other = bench.start(bench.spec(&stranger, "sleep 1000")).await;
    let done = async |id: &str, script: &str| {
        let (text, code) = output(bench, id, script).await;
        assert_eq!(code, 0, "{script}: {text}");
        text
    };
    done(&first, "echo ahoy > /dev/shm/word").await;
    assert_eq!(done(&second, "cat /dev/shm/word").await, "ahoy\n");
    assert_eq!(done(&other, "ls -A /dev/shm").await, "", "another pod's memory is its own");
    // Semaphores and queues are the kernel's, known by the namespace.
    let namespace = async |id: &str| {
        let line = done(id, "ls -l /proc/self/ns/ipc").await;
        line.trim().rsplit(' ').next().map(str::to_owned).unwrap()
    };
    let own = namespace(&first).await;
    assert!(own.starts_with("ipc:["), "{own}");
    assert_eq!(namespace(&second).await, own);
    assert_ne!(namespace(&other).await, own);
}

/// What the kernel was told about a container, as the container sees it: cgroups of version 2 or 1.
async fn limit(bench: &Bench, id: &str, new: &str, old: &[&str]) -> String {
    let read = async |file: &str| output(bench, id, &format!("cat /sys/fs/cgroup/{file}")).await;
    if let (text, 0) = read(new).await {
        return text.trim().to_owned();
    }
    let mut parts = Vec::new();
    for file in old {
        let (text, code) = read(file).await;
        assert_eq!(code, 0, "neither {new} nor {file}: {text}");
        parts.push(text.trim().to_owned());
    }
    parts.join(" ")
}

pub async fn the_sandbox_reaps_orphans_and_stops_at_once(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    // The subshell ends at once and leaves its child to process 1, which is the sandbox.
    let mut spec = bench.spec(&sandbox, "(sleep 0.2 & ); echo ready; exec sleep 1000");
    spec.pid = PidNamespace::Sandbox;
    let id = bench.start(spec).await;
    bench.printed(&id, "ready").await;
    let processes = || async { output(bench, &id, "ps -o pid,stat,args").await.0 };
    let first = processes().await;
    assert!(first.contains("/sandbox"), "the sandbox is process 1: {first}");
    eventually("the orphan is gone", || async {
        let now = processes().await;
        (!now.contains("sleep 0.2") && !now.contains('Z')).then_some(())
    })
    .await;
    bench.runtime.remove_container(&id).await.unwrap();
    let before = tokio::time::Instant::now();
    bench.runtime.stop_sandbox(&sandbox.id, Duration::from_secs(600)).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
    let listing = bench.runtime.list().await.unwrap();
    assert_eq!(listing.sandboxes[0].state.exit().map(|exit| exit.code), Some(0));
}

pub async fn mounts_and_limits_arrive(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fact"), "42\n").unwrap();
    let host = |container_path: &str, read_only| Mount {
        container_path: container_path.to_owned(),
        read_only,
        source: MountSource::Host { path: folder.path().to_owned(), propagation: Propagation::Private },
    };
    let tmpfs = MountSource::Tmpfs { size_bytes: Some(1 << 20), mode: 0o1777 };
    let sandbox = bench.sandbox("web").await;
    let mut spec = bench.spec(&sandbox, "sleep 1000");
    spec.mounts = vec![
        host("/ro", true),
        host("/rw", false),
        Mount { container_path: "/cache".to_owned(), read_only: false, source: tmpfs },
    ];
    spec.security.user = Some("1000:1001".to_owned());
    spec.security.groups = vec!["1002".to_owned()];
    spec.security.read_only_root = true;
    spec.security.cap_drop = vec!["ALL".to_owned()];
    spec.security.no_new_privileges = true;
    spec.resources.cpu_limit_nanos = Some(500_000_000);
    spec.resources.cpu_shares = Some(512);
    spec.resources.pids_limit = Some(64);
    spec.resources.memory_limit_bytes = Some(32 << 20);
    spec.working_dir = Some("/ro".to_owned());
    let id = bench.start(spec).await;
    let code = async |script: &str| output(bench, &id, script).await.1;
    assert_eq!(output(bench, &id, "cat fact; id -u; id -G").await.0, "42\n1000\n1001 1002\n");
    assert_ne!(code("echo x > /ro/fact").await, 0);
    assert_ne!(code("echo x > /new").await, 0, "the root is read-only");
    assert_eq!(code("echo x > /cache/x").await, 0);
    assert_eq!(output(bench, &id, "cat /rw/fact").await.0, "42\n");
    let (caps, _) = output(bench, &id, "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status").await;
    assert!(caps.contains("CapEff:\t0000000000000000") && caps.contains("NoNewPrivs:\t1"), "{caps}");
    let cpu = limit(bench, &id, "cpu.max", &["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]).await;
    assert_eq!(cpu, "50000 100000", "half a processor");
    assert_eq!(limit(bench, &id, "pids.max", &["pids/pids.max"]).await, "64");
    let memory = limit(bench, &id, "memory.max", &["memory/memory.limit_in_bytes"]).await;
    assert_eq!(memory, (32 << 20).to_string());
    let mut absent = bench.spec(&sandbox, "true");
    absent.attempt = 1;
    absent.mounts = vec![Mount {
        source: MountSource::Host { path: folder.path().join("absent"), propagation: Propagation::Private },
        ..host("/x", false)
    }];
    // An engine refuses it at creation or at the start, and never makes the folder.
    let outcome = match bench.runtime.create_container(absent).await {
        Ok(id) => bench.runtime.start_container(&id).await,
        Err(error) => Err(error),
    };
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    assert!(!folder.path().join("absent").exists());
}

pub async fn host_networking_has_no_address(bench: &Bench) {
    let spec = SandboxSpec { host_network: true, ..sandbox_spec("web") };
    let sandbox = bench.runtime.run_sandbox(spec).await.unwrap();
    assert_eq!((sandbox.address, sandbox.host_network), (None, true));
    let id = bench.start(bench.spec(&sandbox, "sleep 1000")).await;
    // The node's own routes are seen: the docker bridge is among its interfaces, and never in a pod.
    let (devices, code) = output(bench, &id, "cat /proc/net/dev").await;
    assert!(code == 0 && devices.contains("docker0"), "{devices}");
    let listed = bench.runtime.list().await.unwrap().sandboxes;
    assert_eq!(listed, [sandbox]);
}

pub async fn nodes_that_start_together_agree_on_one_network(bench: &Bench) {
    // What can go wrong here depends on the engine's timing alone, so that once proves little.
    for round in 0..8 {
        let nodes: Vec<_> = (0..4).map(|n| bench.node(&format!("n{n}"))).collect();
        let starting = nodes.iter().map(|node| node.run_sandbox(sandbox_spec("web")));
        for (n, outcome) in futures::future::join_all(starting).await.into_iter().enumerate() {
            outcome.unwrap_or_else(|error| panic!("round {round}: the pod of node {n} does not start: {error}"));
        }
        let ranges = futures::future::join_all(nodes.iter().map(|node| node.ensure_network())).await;
        let ranges: Vec<String> = ranges.into_iter().map(Result::unwrap).collect();
        assert!(ranges.iter().all(|range| *range == ranges[0]), "{ranges:?}");
        let swept = crate::sweep(bench.backend(), None, &bench.sim_folder, &bench.cluster).await.unwrap();
        assert_eq!((swept.containers, swept.networks), (4, 1), "round {round}");
    }
}

pub async fn a_mapped_port_leads_into_the_pod(bench: &Bench) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host_port = listener.local_addr().unwrap().port();
    drop(listener);
    let host_ip = Some("127.0.0.1".parse().unwrap());
    let port = PortMapping { host_ip, host_port, container_port: 80, protocol: Protocol::Tcp };
    let sandbox = bench.runtime.run_sandbox(SandboxSpec { ports: vec![port], ..sandbox_spec("web") }).await.unwrap();
    bench.start(bench.spec(&sandbox, WEB)).await;
    let page = eventually("the mapped port answers", || async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", host_port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await.ok()?;
        page.contains("200 OK").then_some(page)
    });
    assert!(page.await.ends_with("web\n"));
}
