//! A full disk: the master that has it says so and ends, the others go on, and no acknowledged write is lost.

mod deployed;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use deployed::{BARQUE, Caller, PATIENCE, Place, Running, barque, kubectl, until};

/// Size of the small disk.
const DISK_MIB: usize = 256;
/// What lies on it from the start, and is removed to make space: enough for the recovery, and for what was missed meanwhile.
const BALLAST_BYTES: usize = 220 << 20;
/// What each write carries; a disk is full after some forty.
const WRITE_BYTES: usize = 400_000;

/// A small disk that only programs started with [`SmallDisk::command`] see. It vanishes with this test, however that ends.
struct SmallDisk {
    holder: Child,
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts it over `dir`. `None` where mounting is not allowed, which is a failure on CI.
    fn mount(dir: &Path) -> Option<Self> {
        std::fs::create_dir_all(dir).expect("a folder");
        // `cat` lives as long as the pipe to it, and the mount as long as `cat`.
        let script = format!("mount -t tmpfs -o size={DISK_MIB}m barque-test \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &script]).arg(dir);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare (util-linux)");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a pipe");
        let disk = Self { holder, dir: dir.to_owned() };
        if line.trim() == "mounted" {
            std::fs::write(disk.inside("ballast"), vec![0; BALLAST_BYTES]).expect("a file");
            return Some(disk);
        }
        assert!(std::env::var_os("CI").is_none(), "a small disk cannot be mounted: run as root");
        eprintln!("NOT RUN: a small disk cannot be mounted; run as root");
        None
    }

    /// A file on it, as this process sees it.
    fn inside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.dir.join(name).strip_prefix("/").expect("a name"))
    }

    /// A command that sees it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg("--").arg(program);
        command
    }

    fn start(&self, place: &Place) -> Running {
        Running::start(self.command(BARQUE).args(place.arguments()), place.log())
    }

    fn make_space(&self) {
        std::fs::remove_file(self.inside("ballast")).expect("a file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The one line about the full disk, which ended the process.
fn assert_told(running: &mut Running) {
    let status = running.wait();
    let log = running.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("No space left on device")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("barque: "), "one line says it: {log}");
    assert!(lines[0].contains("data/db") && lines[0].contains("check free space"), "{log}");
}

/// Those of `names` that are not there, by a linearizable read.
fn missing(caller: &Caller, names: &[String]) -> Vec<String> {
    let there = |name: &String| {
        let path = format!("/api/v1/namespaces/default/configmaps/{name}");
        let (code, _) = until("a definite answer", || caller.get(&path).filter(|(code, _)| *code < 500));
        code == 200
    };
    names.iter().filter(|name| !there(name)).cloned().collect()
}

#[test]
fn a_master_alone_on_a_full_disk_ends_and_has_everything_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::make(folder.path(), "m", "127.0.0.1", None);
    let Some(disk) = SmallDisk::mount(&place.dir.join("data")) else { return };
    let mut running = disk.start(&place);
    place.ready(&mut running);
    let caller = place.caller();
    let mut written = Vec::new();
    for number in 0..10_000 {
        let name = format!("filler-{number}");
        if !caller.create(&name, WRITE_BYTES) {
            break;
        }
        written.push(name);
    }
    assert!(written.len() > 10, "the disk was not full yet: {}", running.log());
    assert_told(&mut running);
    disk.make_space();
    let mut running = disk.start(&place);
    place.ready(&mut running);
    assert_eq!(missing(&caller, &written), Vec::<String>::new());
    assert!(caller.create("afterwards", 10));
    running.stop();
}

#[test]
fn an_agent_on_a_full_disk_ends_and_goes_on_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let place = Place::make(here, "m", "127.0.0.1", None);
    let mut master = place.start_ready();
    let kubeconfig = here.join("kubeconfig");
    place.kubeconfig(&kubeconfig, &[&place.api]);
    let token = barque(&["token", "create", "--role", "node", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    let dir = here.join("node");
    let Some(disk) = SmallDisk::mount(&dir) else { return };
    let log = here.join("node.log");
    let start = || {
        let mut command = disk.command(BARQUE);
        command.args(["node", "--masters", &place.api, "--token", token.trim(), "--name", "n1", "--dir"]).arg(&dir);
        Running::start(command.args(["--address", "127.0.0.60", "--runtime", "sim"]), &log)
    };
    let phase = |name: &str| kubectl(&kubeconfig, &format!("get pod {name} -o jsonpath={{.status.phase}}"));
    let run = |name: &str| kubectl(&kubeconfig, &format!("run {name} --image=a:1")).unwrap();
    let mut agent = start();
    until("a node that is Ready", || {
        assert!(agent.ended().is_none(), "{}", agent.log());
        kubectl(&kubeconfig, "wait --for=condition=Ready node/n1 --timeout=1s").ok()
    });
    run("before");
    until("a pod that runs", || (phase("before").ok()? == "Running").then_some(()));

    // To the last byte.
    let mut filler = std::fs::File::create(disk.inside("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    run("during");
    let status = agent.wait();
    let text = agent.log();
    assert_eq!(status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("barque: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains("No space left on device"), "one line says it: {text}");
    assert!(lines[0].contains(dir.to_str().unwrap()), "{text}");

    disk.make_space();
    let mut agent = start();
    until("the second pod runs, too", || (phase("during").ok()? == "Running").then_some(()));
    assert_eq!(phase("before").unwrap(), "Running");
    for running in [&mut agent, &mut master] {
        running.stop();
    }
}

#[test]
fn one_full_disk_of_three_stops_one_master_of_three() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let first = Place::make(here, "first", "127.0.0.1", None);
    let mut first_running = first.start_ready();
    let kubeconfig = here.join("kubeconfig");
    first.kubeconfig(&kubeconfig, &[&first.api]);
    let token = |name: &str| {
        let path = here.join(format!("{name}-token"));
        let made = barque(&["token", "create", "--role", "master", "--kubeconfig", kubeconfig.to_str().unwrap()]);
        std::fs::write(&path, made).unwrap();
        path
    };
    let second = Place::make(here, "second", "127.0.0.1", Some((&first.api, &token("second"))));
    let mut second_running = second.start_ready();
    let small = Place::make(here, "small", "127.0.0.1", Some((&first.api, &token("small"))));
    let Some(disk) = SmallDisk::mount(&small.dir.join("data")) else { return };
    let mut running = disk.start(&small);
    small.ready(&mut running);
    let caller = first.caller();
    until("three voters", || {
        let (_, status) = caller.get("/barque/v1/status")?;
        (status.matches("\"voter\":true").count() == 3).then_some(())
    });

    let mut written = Vec::new();
    let mut full = false;
    let end = std::time::Instant::now() + PATIENCE;
    for number in 0.. {
        let name = format!("filler-{number}");
        // Small writes once the disk is full: the others need not fill theirs.
        if caller.create(&name, if full { 10 } else { WRITE_BYTES }) {
            written.push((name, full));
        }
        full = full || running.ended().is_some();
        let after = written.iter().filter(|(_, full)| *full).count();
        if after >= 20 {
            break;
        }
        assert!(std::time::Instant::now() < end, "{} writes, {after} of them afterwards", written.len());
    }
    assert_told(&mut running);
    let names: Vec<String> = written.into_iter().map(|(name, _)| name).collect();
    assert_eq!(missing(&second.caller(), &names), Vec::<String>::new());

    disk.make_space();
    let mut running = disk.start(&small);
    small.ready(&mut running);
    assert_eq!(missing(&small.caller(), &names), Vec::<String>::new());
    for running in [&mut running, &mut second_running, &mut first_running] {
        running.stop();
    }
}
