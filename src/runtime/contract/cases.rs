//! The cases that every backend passes.

use super::bench::{Bench, Kind, PATIENCE, assert_fails, eventually, not_found, patiently, pod, read, sandbox_spec};
use crate::{
    AttachSpec, Change, EnvVar, Error, Event, ExecSpec, LogOptions, PortMapping, Protocol, PullSpec, State,
    TerminalSize,
};
use futures::StreamExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(30);

/// Runs until it is stopped, and stops at once.
const SERVER: &str = "trap 'exit 5' TERM; echo ready; sleep 1000 & wait";

pub async fn the_engine_describes_itself(bench: &Bench) {
    let range = bench.runtime.ensure_network().await.unwrap();
    bench.runtime.ensure_sandbox_image().await.unwrap();
    let info = bench.runtime.info().await.unwrap();
    assert!(info.cpu_millis >= 1000 && info.memory_bytes > 1 << 20, "{info:?}");
    assert!(!info.version.is_empty() && !info.kernel.is_empty() && !info.os_image.is_empty(), "{info:?}");
    assert!(["amd64", "arm64"].contains(&info.architecture.as_str()), "{info:?}");
    assert_eq!(info.address_range, Some(range));
}

pub async fn a_container_lives_and_leaves_its_exit(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    assert!(sandbox.state.is_running() && sandbox.address.is_some(), "{sandbox:?}");
    let mut spec = bench.spec(&sandbox, "echo hello $WHO; exit 3");
    spec.env = vec![EnvVar::new("WHO", "world")];
    spec.attempt = 2;
    let id = bench.runtime.create_container(spec).await.unwrap();
    let created = bench.find(&id).await.unwrap();
    assert_eq!(created.state, State::Created);
    assert_eq!((created.pod, created.name.as_str(), created.attempt), (pod("web"), "app", 2));
    assert_eq!((created.sandbox_id, created.spec_hash.as_str()), (sandbox.id.clone(), "h1"));
    assert_eq!(created.image, bench.image);
    assert!(created.image_id.starts_with("sha256:"));
    bench.runtime.start_container(&id).await.unwrap();
    let exit = bench.exit(&id).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (3, None, false));
    assert!(exit.started.unwrap() <= exit.finished.unwrap());
    let logs = bench.runtime.logs(&id, LogOptions::default()).await.unwrap();
    assert_eq!(read(logs).await.0, "hello world\n");
    let listing = bench.runtime.list().await.unwrap();
    assert_eq!(listing.sandboxes, [sandbox], "the list and the answer to the start agree");
}

pub async fn a_new_handle_finds_everything(bench: &Bench) {
    let id = bench.run(SERVER).await;
    let before = bench.runtime.list().await.unwrap();
    let other = bench.node("n1");
    assert_eq!(other.list().await.unwrap(), before);
    other.stop_container(&id, LONG).await.unwrap();
}

pub async fn others_containers_do_not_exist(bench: &Bench) {
    let id = bench.run(SERVER).await;
    let sandbox = bench.find(&id).await.unwrap().sandbox_id;
    let other = bench.node("n2");
    let listing = other.list().await.unwrap();
    assert!(listing.containers.is_empty() && listing.sandboxes.is_empty());
    for id in [id.as_str(), &sandbox] {
        other.stop_container(id, Duration::ZERO).await.unwrap();
        other.remove_container(id).await.unwrap();
        other.remove_sandbox(id).await.unwrap();
        assert!(not_found(&other.kill(id, "SIGKILL").await.unwrap_err()));
        assert!(not_found(&other.start_container(id).await.unwrap_err()));
        assert!(not_found(&other.logs(id, LogOptions::default()).await.err().unwrap()));
        let exec = ExecSpec { command: vec!["true".into()], ..Default::default() };
        assert!(not_found(&other.exec(id, exec).await.unwrap_err()));
        assert!(not_found(&other.attach(id, AttachSpec::default()).await.unwrap_err()));
    }
    for odd in ["", "../images/x", "a b", "?force=1"] {
        assert!(not_found(&bench.runtime.kill(odd, "SIGKILL").await.unwrap_err()), "{odd:?}");
    }
    assert!(bench.find(&id).await.unwrap().state.is_running(), "another node must not touch it");
}

pub async fn a_repeated_create_is_noticed(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    match bench.runtime.run_sandbox(sandbox_spec("web")).await {
        Err(Error::NameConflict { id: Some(id), .. }) => assert_eq!(id, sandbox.id),
        other => panic!("{other:?}"),
    }
    let spec = bench.spec(&sandbox, SERVER);
    let id = bench.runtime.create_container(spec.clone()).await.unwrap();
    match bench.runtime.create_container(spec.clone()).await {
        Err(Error::NameConflict { id: Some(holder), .. }) => assert_eq!(holder, id),
        other => panic!("{other:?}"),
    }
    let mut next = spec;
    next.attempt = 1;
    assert_ne!(bench.runtime.create_container(next).await.unwrap(), id);
}

pub async fn a_missing_image_is_told_apart(bench: &Bench) {
    let missing = "127.0.0.1:1/barque-test/missing:1";
    let sandbox = bench.sandbox("web").await;
    let mut spec = bench.spec(&sandbox, SERVER);
    spec.image = missing.to_owned();
    assert_fails!(bench.runtime.create_container(spec.clone()).await, Error::ImageMissing { .. });
    assert_eq!(bench.runtime.image_present(missing).await.unwrap(), None);
    let pull = |reference: &str| {
        let pull = PullSpec { reference: reference.to_owned(), credentials: None };
        bench.runtime.pull_image(pull, None)
    };
    assert_fails!(pull(missing).await, Error::ImagePull { .. });
    assert_fails!(pull("not an image").await, Error::Invalid { .. });
    spec.image = "../images".to_owned();
    assert_fails!(bench.runtime.create_container(spec).await, Error::Invalid { .. });
    let image = bench.runtime.image_present(&bench.image).await.unwrap().unwrap();
    assert!(image.id.starts_with("sha256:"), "{image:?}");
}

pub async fn a_stop_asks_first_and_kills_after_the_grace(bench: &Bench) {
    let polite = bench.run(SERVER).await;
    bench.printed(&polite, "ready").await;
    let before = tokio::time::Instant::now();
    bench.runtime.stop_container(&polite, Duration::from_secs(600)).await.unwrap();
    assert!(before.elapsed() < PATIENCE, "it must not wait for the whole grace period");
    assert_eq!(bench.exit(&polite).await.code, 5);

    let deaf = bench.run("trap '' TERM; echo ready; sleep 1000").await;
    bench.printed(&deaf, "ready").await;
    bench.runtime.stop_container(&deaf, Duration::from_millis(900)).await.unwrap();
    let exit = bench.exit(&deaf).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

pub async fn signals_reach_the_program(bench: &Bench) {
    let id = bench.run(SERVER).await;
    bench.printed(&id, "ready").await;
    assert_fails!(bench.runtime.kill(&id, "SIGNONSENSE").await, Error::Invalid { .. });
    bench.runtime.kill(&id, "SIGTERM").await.unwrap();
    assert_eq!(bench.exit(&id).await.code, 5);
    assert_fails!(bench.runtime.kill(&id, "SIGTERM").await, Error::NotRunning { .. });
}

pub async fn a_program_that_cannot_start_is_told(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    let mut spec = bench.spec(&sandbox, "");
    spec.command = vec!["/nonexistent/program".to_owned()];
    let id = bench.runtime.create_container(spec).await.unwrap();
    match bench.runtime.start_container(&id).await {
        Err(Error::StartFailed { reason }) => assert!(reason.contains("/nonexistent/program"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // Also after the agent's restart it is known as failed, not as still to be started.
    let exit = bench.exit(&id).await;
    assert!(exit.code != 0 && exit.started.is_none() && !exit.message.is_empty(), "{exit:?}");
}

pub async fn out_of_memory_is_told(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    let mut spec = bench.spec(&sandbox, "");
    spec.command = vec!["tail".to_owned(), "/dev/zero".to_owned()];
    spec.resources.memory_limit_bytes = Some(16 << 20);
    let id = bench.start(spec).await;
    let exit = bench.exit(&id).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true), "{exit:?}");
}

pub async fn logs_keep_streams_apart_and_can_be_cut(bench: &Bench) {
    let id = bench.run("echo one; echo two; echo bad >&2; echo three").await;
    bench.exit(&id).await;
    let logs = async |options| read(bench.runtime.logs(&id, options).await.unwrap()).await;
    let whole = logs(LogOptions::default()).await;
    assert_eq!(whole, ("one\ntwo\nthree\n".to_owned(), "bad\n".to_owned()));
    let (out, err) = logs(LogOptions { tail: Some(2), ..Default::default() }).await;
    assert_eq!(out.lines().count() + err.lines().count(), 2, "{out:?} {err:?}");
    let future = base::clock::now() + jiff::SignedDuration::from_hours(1);
    assert_eq!(logs(LogOptions { since: Some(future), ..Default::default() }).await, (String::new(), String::new()));
    let cut = LogOptions { tail: Some(1), limit_bytes: Some(3), ..Default::default() };
    let (out, err) = logs(cut).await;
    assert_eq!(out.len() + err.len(), 3, "{out:?} {err:?}");
    let (out, _) = logs(LogOptions { timestamps: true, ..Default::default() }).await;
    for line in out.lines() {
        let (time, _) = line.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 30, "{line:?}");
    }
}

pub async fn a_followed_log_ends_with_its_container(bench: &Bench) {
    let id = bench.run("echo one; sleep 0.3; echo two; exit 1").await;
    let logs = bench.runtime.logs(&id, LogOptions { follow: true, ..Default::default() }).await.unwrap();
    assert_eq!(read(logs).await.0, "one\ntwo\n");
    assert_eq!(bench.exit(&id).await.code, 1);
    let endless = bench.run(SERVER).await;
    let cut = LogOptions { follow: true, limit_bytes: Some(4), ..Default::default() };
    let logs = bench.runtime.logs(&endless, cut).await.unwrap();
    let pieces = patiently("the cut log's end", logs.map(|piece| piece.unwrap().bytes.len()).collect::<Vec<_>>()).await;
    assert_eq!(pieces.iter().sum::<usize>(), 4);
}

pub async fn exec_runs_beside_the_program(bench: &Bench) {
    let id = bench.run(SERVER).await;
    let exec = async |script: &str| {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
        let session = bench.runtime.exec(&id, ExecSpec { command, ..Default::default() }).await.unwrap();
        let output = read(session.output).await;
        (output, patiently("the exit code", session.control.exit_code()).await.unwrap())
    };
    assert_eq!(exec("echo out; echo err >&2; exit 7").await, (("out\n".to_owned(), "err\n".to_owned()), 7));
    assert_eq!(exec("true").await.1, 0);
    let absent = ExecSpec { command: vec!["/nonexistent/program".to_owned()], ..Default::default() };
    let session = bench.runtime.exec(&id, absent).await.unwrap();
    let _ = read(session.output).await;
    let code = patiently("the exit code", session.control.exit_code()).await.unwrap();
    assert!([126, 127].contains(&code), "{code}");
    assert_fails!(bench.runtime.exec(&id, ExecSpec::default()).await, Error::Invalid { .. });
    bench.runtime.stop_container(&id, LONG).await.unwrap();
    let late = ExecSpec { command: vec!["true".to_owned()], ..Default::default() };
    assert_fails!(bench.runtime.exec(&id, late).await, Error::NotRunning { .. });
}

pub async fn exec_has_an_input_and_an_end_of_it(bench: &Bench) {
    let id = bench.run(SERVER).await;
    let spec = ExecSpec { command: vec!["cat".to_owned()], stdin: true, ..Default::default() };
    let mut session = bench.runtime.exec(&id, spec).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let text = "0123456789abcdef\n".repeat(20_000);
    let sent = text.clone();
    // Beside the reading: more than fits into any buffer on the way, so that both ends must move.
    let writing = tokio::spawn(async move {
        stdin.write_all(sent.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let (out, _) = read(session.output).await;
    assert!(out == text, "{} of {} bytes came back", out.len(), text.len());
    writing.await.unwrap();
    assert_eq!(patiently("the exit code", session.control.exit_code()).await.unwrap(), 0);
}

pub async fn exec_with_a_terminal_can_be_resized(bench: &Bench) {
    let id = bench.run(SERVER).await;
    let spec = ExecSpec { command: vec!["cat".to_owned()], tty: true, stdin: true };
    let mut session = bench.runtime.exec(&id, spec).await.unwrap();
    let size = TerminalSize { width: 120, height: 40 };
    // An engine may not have started the command yet when it already answers.
    eventually("the terminal is resized", || async { session.control.resize(size).await.ok() }).await;
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    let mut seen = String::new();
    while !seen.contains("hello") {
        let output = patiently("the echo", session.output.next()).await.unwrap().unwrap();
        seen.push_str(&String::from_utf8_lossy(&output.bytes));
    }
}

pub async fn attach_joins_the_program(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    let mut spec = bench.spec(&sandbox, "");
    spec.command = vec!["cat".to_owned()];
    (spec.stdin, spec.stdin_once) = (true, true);
    let id = bench.start(spec).await;
    let mut session = bench.runtime.attach(&id, AttachSpec { stdin: true, tty: false }).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(read(session.output).await.0, "hello\n");
    assert_eq!(patiently("the exit code", session.control.exit_code()).await.unwrap(), 0);
    assert_fails!(bench.runtime.attach(&id, AttachSpec::default()).await, Error::NotRunning { .. });
}

pub async fn events_tell_what_happens(bench: &Bench) {
    let mut events = bench.runtime.events();
    assert_eq!(patiently("the first event", events.next()).await, Some(Event::Resync));
    let sandbox = bench.sandbox("web").await;
    let id = bench.start(bench.spec(&sandbox, "exit 4")).await;
    bench.exit(&id).await;
    bench.runtime.remove_container(&id).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match patiently("an event", events.next()).await {
            Some(Event::Changed { id, pod: of, container, change }) => {
                assert_eq!(of, pod("web"));
                // An engine may need a second try for the sandbox.
                if id == sandbox.id || container.is_some() {
                    seen.push((id, container, change));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let app = || Some("app".to_owned());
    let expected = [
        (sandbox.id, None, Change::Started),
        (id.clone(), app(), Change::Started),
        (id.clone(), app(), Change::Exited { code: 4 }),
        (id, app(), Change::Removed),
    ];
    assert_eq!(seen, expected);
}

pub async fn a_busy_port_is_told(bench: &Bench) {
    // Free right now; nobody but this test takes it with high probability.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host_port = listener.local_addr().unwrap().port();
    drop(listener);
    let with_port = |name: &str, host_port| {
        let host_ip = Some("127.0.0.1".parse().unwrap());
        let port = PortMapping { host_ip, host_port, container_port: 80, protocol: Protocol::Tcp };
        crate::SandboxSpec { ports: vec![port], ..sandbox_spec(name) }
    };
    bench.runtime.run_sandbox(with_port("first", host_port)).await.unwrap();
    match bench.runtime.run_sandbox(with_port("second", host_port)).await {
        Err(Error::PortInUse { port, .. }) => assert_eq!(port, Some(host_port)),
        other => panic!("{other:?}"),
    }
    let left = bench.runtime.list().await.unwrap().sandboxes;
    assert_eq!(left.len(), 1, "a sandbox that cannot start is removed: {left:?}");
    let clash = crate::SandboxSpec { host_network: true, ..with_port("third", host_port) };
    assert_fails!(bench.runtime.run_sandbox(clash).await, Error::Invalid { .. });
}

pub async fn a_port_of_a_pod_can_be_dialed(bench: &Bench) {
    let script = match bench.kind {
        Kind::Docker => "echo web > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
        Kind::Sim => "exec listen 80",
    };
    let sandbox = bench.sandbox("web").await;
    let id = bench.start(bench.spec(&sandbox, script)).await;
    let mut connection = eventually("the port is open", || async { bench.runtime.dial(&sandbox, 80).await.ok() }).await;
    connection.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = String::new();
    patiently("an answer and its end", connection.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("HTTP/1."), "{answer}");
    match bench.runtime.dial(&sandbox, 81).await {
        Err(error @ Error::PortClosed { .. }) => {
            let address = sandbox.address.unwrap();
            let text = error.to_string();
            assert!(text.starts_with(&format!("dial tcp {address}:81: connect: connection refused")), "{text}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("nothing listens there"),
    }
    // A connection that is open ends with its container.
    let mut connection = bench.runtime.dial(&sandbox, 80).await.unwrap();
    bench.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    let mut rest = Vec::new();
    // By an end or by a reset, as the program was killed.
    let _ = patiently("the end of the connection", connection.read_to_end(&mut rest)).await;
    assert!(bench.runtime.dial(&sandbox, 80).await.is_err());
}

pub async fn stopping_and_removing_may_be_repeated(bench: &Bench) {
    let sandbox = bench.sandbox("web").await;
    let id = bench.start(bench.spec(&sandbox, SERVER)).await;
    for _ in 0..2 {
        bench.runtime.stop_container(&id, LONG).await.unwrap();
        bench.runtime.stop_sandbox(&sandbox.id, LONG).await.unwrap();
    }
    let listing = bench.runtime.list().await.unwrap();
    assert_eq!(listing.sandboxes[0].state.exit().map(|exit| exit.code), Some(0), "the sandbox ends by itself");
    assert_eq!(listing.sandboxes[0].address, None);
    for _ in 0..2 {
        bench.runtime.remove_container(&id).await.unwrap();
        bench.runtime.remove_sandbox(&sandbox.id).await.unwrap();
        bench.runtime.stop_container(&id, LONG).await.unwrap();
        bench.runtime.stop_sandbox(&sandbox.id, LONG).await.unwrap();
    }
    let listing = bench.runtime.list().await.unwrap();
    assert!(listing.containers.is_empty() && listing.sandboxes.is_empty(), "{listing:?}");
    // Running ones are removed as well.
    let sandbox = bench.sandbox("web").await;
    let id = bench.start(bench.spec(&sandbox, SERVER)).await;
    bench.runtime.remove_container(&id).await.unwrap();
    bench.runtime.remove_sandbox(&sandbox.id).await.unwrap();
    assert_eq!(bench.runtime.list().await.unwrap(), crate::Listing::default());
}

pub async fn a_sweep_takes_all_nodes_of_one_cluster(bench: &Bench) {
    bench.run(SERVER).await;
    bench.node("n2").run_sandbox(sandbox_spec("other")).await.unwrap();
    let sweep = async |cluster: &str| crate::sweep(bench.backend(), None, &bench.sim_folder, cluster).await;
    assert_eq!(sweep("test-nobody").await.unwrap(), crate::Swept::default());
    assert_eq!(sweep(&bench.cluster).await.unwrap().containers, 3);
    for node in ["n1", "n2"] {
        assert_eq!(bench.node(node).list().await.unwrap(), crate::Listing::default());
    }
    assert_eq!(sweep(&bench.cluster).await.unwrap(), crate::Swept::default(), "repeating it changes nothing");
    assert_fails!(sweep("../up").await, Error::Invalid { .. });
}
