//! Bad starts: what cannot work ends at once with one line that names the place and the remedy, and leaves nothing half done.

mod deployed;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use deployed::{Caller, Place, Running, free_ports, until};
use identity::{Role, Token};
use serde_json::{Value, json};

/// Lines that are no news of an ordinary start.
fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.trim().is_empty() && !line.contains(" INFO ")).collect()
}

/// The command must end with `code` and one complaint that says all of this.
fn refused(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let log = folder.join("refused.log");
    let _ = std::fs::remove_file(&log);
    let mut running = Running::barque(arguments, &log);
    let status = running.wait();
    let text = running.log();
    let shown = format!("barque {}: {status}\n{text}", arguments.join(" "));
    assert_eq!(status.code(), Some(code), "{shown}");
    let lines = complaints(&text);
    assert!(lines.len() == 1 && lines[0].starts_with("barque: "), "one line that says it: {shown}");
    for fragment in says {
        assert!(lines[0].contains(fragment), "{fragment:?} is missing: {shown}");
    }
}

/// A node's file, complete but for what a row changes.
fn node(folder: &Path, change: &Value) -> PathBuf {
    let [agent, gateway] = free_ports("127.0.0.1");
    let token = folder.join("node-token");
    std::fs::write(&token, Token::new(Role::Node, "0".repeat(64)).expose()).expect("a file");
    let mut file = json!({
        "name": "node-1", "dir": folder.join("node"), "masters": ["127.0.0.1:1"], "tokenFile": token,
        "address": "127.0.0.1", "port": agent, "gateway": format!("127.0.0.1:{gateway}"), "runtime": "sim",
    });
    for (key, value) in change.as_object().expect("an object") {
        file[key] = value.clone();
    }
    let path = folder.join("node.yaml");
    std::fs::write(&path, file.to_string()).expect("a file");
    path
}

#[test]
fn an_occupied_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, port) = (held.local_addr().unwrap().to_string(), held.local_addr().unwrap().port());
    let place = Place::make(folder.path(), "m", "127.0.0.1", None);
    for (own, what) in [(place.api.clone(), "API"), (place.peers.clone(), "peers")] {
        place.edit(&own, &taken);
        let says = [&*format!("cannot listen for {what} on {taken}: Address already in use"), "choose another address"];
        refused(folder.path(), &place.arguments(), 1, &says);
        assert!(!place.dir.exists(), "nothing was founded");
        place.edit(&taken, &own);
    }
    for (change, what) in [(json!({"port": port}), "the agent"), (json!({"gateway": taken}), "the gateway")] {
        let path = node(folder.path(), &change);
        let says = [&*format!("cannot listen for {what} on {taken}: Address already in use"), "choose another address"];
        // No master is asked before the ports are known to be free, so the token is not spent.
        refused(folder.path(), &["node", "--config", path.to_str().unwrap()], 1, &says);
        assert!(!folder.path().join("node").exists(), "nothing was joined");
    }
    let arguments = ["gateway", "--masters", "127.0.0.1:1", "--listen", &taken];
    refused(folder.path(), &arguments, 1, &["cannot listen for the gateway on", &taken, "choose another address"]);
}

#[test]
fn an_address_list_without_a_master_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [dead] = free_ports("127.0.0.1");
    let dead = format!("127.0.0.1:{dead}");
    // A listener that never answers is as good as frozen.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = silent.local_addr().unwrap().to_string();
    let says = ["no master could be reached within", &dead, "Connection refused", &mute, "check that the masters run"];

    let path = node(folder.path(), &json!({"masters": [&dead, &mute]}));
    let arguments = ["node", "--config", path.to_str().unwrap(), "--join-seconds", "3"];
    refused(folder.path(), &arguments, 1, &says);
    assert!(!folder.path().join("node/node.json").exists(), "nothing was joined");

    let token = folder.path().join("token");
    std::fs::write(&token, Token::new(Role::Master, "0".repeat(64)).expose()).unwrap();
    let place = Place::make(folder.path(), "m", "127.0.0.1", Some((&dead, &token)));
    place.edit(&format!("['{dead}']"), &format!("['{dead}', '{mute}']"));
    place.edit("joinMs: 30000", "joinMs: 3000");
    refused(folder.path(), &place.arguments(), 1, &says);
    assert!(!place.dir.join("master.json").exists(), "nothing was joined");
}

#[test]
fn a_gateway_to_no_master_says_so_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::make(folder.path(), "m", "127.0.0.1", None);
    let [listen] = free_ports("127.0.0.1");
    let listen = format!("127.0.0.1:{listen}");
    let log = folder.path().join("gateway.log");
    let mut gateway = Running::barque(&["gateway", "--masters", &place.api, "--listen", &listen], &log);
    let told = until("the gateway's warning", || {
        gateway.log().lines().find(|line| line.contains("no master answers")).map(str::to_owned)
    });
    for fragment in [" WARN ", &place.api, "Connection refused", "--masters"] {
        assert!(told.contains(fragment), "{fragment:?} is missing: {told}");
    }
    // A master that comes up later is found.
    let _master = place.start_ready();
    let kubeconfig = folder.path().join("kubeconfig");
    place.kubeconfig(&kubeconfig, &[&listen]);
    let caller = Caller::new(&kubeconfig);
    until("an answer through the gateway", || (caller.get("/readyz")?.0 == 200).then_some(()));
    assert_eq!(gateway.log().matches("no master answers").count(), 1);
    gateway.stop();
}

#[test]
fn wrong_files_and_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let file = |name: &str, text: &str| {
        let path = here.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let place = Place::make(here, "m", "127.0.0.1", None);
    let good = std::fs::read_to_string(place.arguments()[2]).unwrap();
    let none = here.join("none").display().to_string();
    let rows: [(&[&str], i32, &[&str]); 13] = [
        (&["master", "--config", &none], 1, &["cannot read", &none, "No such file"]),
        (
            &["master", "--config", &file("a", &good.replace("name: m", "nam: m"))],
            1,
            &["does not parse", "nam", "line"],
        ),
        (&["master", "--config", &file("b", "]")], 1, &["does not parse", "correct it"]),
        (&["master", "--config", &file("c", "\u{0}\u{1}")], 1, &["does not parse"]),
        (
            &["master", "--config", &file("d", &good.replace("heartbeatMs: 60", "heartbeatMs: 100"))],
            2,
            &["electionMsMin"],
        ),
        (
            &["master", "--config", &file("e", &good.replace("heartbeatMs: 60", "heartbeatMs: soon"))],
            1,
            &["does not parse", "line 36"],
        ),
        (&["node", "--config", &file("f", "port: 70000")], 1, &["does not parse", "line 1"]),
        (&["node", "--config", &file("g", "name: n")], 2, &["--masters HOST:PORT"]),
        (&["node", "--masters", "127.0.0.1:1", "--dir", &none, "--address", "127.0.0.1"], 2, &["--token TOKEN"]),
        (&["node", "--masters", "127.0.0.1:1", "--token", "x", "--dir", &none], 1, &["not a join token"]),
        (&["kubeconfig", "--dir", &none, "--servers", "127.0.0.1:1"], 1, &[&none, "holds no master"]),
        (&["status", "--dir", &none], 1, &[&none, "holds no cluster", "barque up"]),
        (&["token", "create", "--role", "node", "--kubeconfig", &none], 1, &[&none]),
    ];
    for (arguments, code, says) in rows {
        refused(here, arguments, code, says);
    }
    for arguments in [&["master"][..], &["sail"], &["up", "--masters", "0"], &["node", "--address", "here"], &[]] {
        let mut running = Running::barque(arguments, &here.join("usage.log"));
        assert_eq!(running.wait().code(), Some(2), "{arguments:?}");
    }
    assert!(!here.join("none").exists() && !place.dir.exists());
}

/// A stopped master with files of every kind: tables of an earlier life, a log of the last one.
struct Stopped {
    _folder: tempfile::TempDir,
    place: Place,
    names: Vec<String>,
}

fn stopped() -> Stopped {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::make(folder.path(), "m", "127.0.0.1", None);
    let mut names = Vec::new();
    for life in 0..3 {
        let mut running = place.start_ready();
        let caller = place.caller();
        for number in 0..20 {
            let name = format!("kept-{life}-{number}");
            assert!(caller.create(&name, 2_000), "{}", running.log());
            names.push(name);
        }
        running.stop();
    }
    Stopped { _folder: folder, place, names }
}

impl Stopped {
    /// Files of the database by their names' beginning or end, the newest last.
    fn files(&self, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.place.dir.join("data/db")).expect("a folder");
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| fits(path.file_name().expect("a name").to_str().expect("a name")))
            .collect();
        found.sort();
        assert!(!found.is_empty(), "the master has such files");
        found
    }

    /// The master must refuse to start while `path` has been changed so, name it, and say what to do; then it is put back.
    fn refuses(&self, path: &Path, says: &str, change: impl Fn(&mut Vec<u8>)) {
        let kept = tempfile::tempdir().expect("a folder");
        let (data, copy) = (&self.place.dir, kept.path().join("copy"));
        copy_folder(data, &copy);
        let mut bytes = std::fs::read(path).expect("a file");
        change(&mut bytes);
        std::fs::write(path, bytes).expect("a file");
        let name = path.file_name().expect("a name").to_str().expect("a name");
        refused(kept.path(), &self.place.arguments(), 1, &[name, says]);
        std::fs::remove_dir_all(data).expect("a folder");
        copy_folder(&copy, data);
    }

    /// The same without the log's folder, and with an empty one: neither may pass for a fresh start.
    fn refuses_without_its_log(&self, says: &str) {
        let kept = tempfile::tempdir().expect("a folder");
        let (data, aside) = (self.place.dir.join("data"), self.place.dir.join("aside"));
        std::fs::rename(&data, &aside).expect("a folder");
        let name = data.display().to_string();
        refused(kept.path(), &self.place.arguments(), 1, &[&name, "gone or empty", says]);
        std::fs::create_dir(&data).expect("a folder");
        refused(kept.path(), &self.place.arguments(), 1, &[&name, "gone or empty", says]);
        std::fs::remove_dir(&data).expect("nothing was written into it");
        std::fs::rename(&aside, &data).expect("a folder");
    }

    /// The master must start and have everything.
    fn serves(&self) {
        let mut running = self.place.start_ready();
        let caller = self.place.caller();
        for name in &self.names {
            let (code, _) = caller.get(&format!("/api/v1/namespaces/default/configmaps/{name}")).expect("an answer");
            assert_eq!(code, 200, "{name}");
        }
        running.stop();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}

#[test]
fn damage_is_refused_and_named_and_a_torn_end_is_not_damage() {
    let stopped = stopped();
    let anew = "join anew";
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
    };
    let newest = |fits: &dyn Fn(&str) -> bool| stopped.files(fits).pop().unwrap();
    let filled = |name: &str| name.ends_with(".log");
    let wal = stopped.files(filled).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    stopped.refuses(&wal, anew, flip);
    stopped.refuses(&newest(&|name| name == "CURRENT"), anew, Vec::clear);
    let manifest = newest(&|name| name.starts_with("MANIFEST-"));
    stopped.refuses(&manifest, anew, flip);
    stopped.refuses(&manifest, anew, |bytes| bytes.truncate(bytes.len() / 2));
    stopped.refuses(&manifest, anew, Vec::clear);
    stopped.refuses(&newest(&|name| name.ends_with(".sst")), anew, flip);
    stopped.refuses(&stopped.place.dir.join("master.json"), "empty the folder", |bytes| bytes.truncate(9));
    stopped.refuses_without_its_log(anew);
    stopped.serves();

    // What a crash leaves: a record that was never whole, so never acknowledged.
    let wal = stopped.files(filled).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(wal).unwrap();
    let (checksum, length, kind) = ([1, 2, 3, 4], 200_u16.to_le_bytes(), [1]);
    file.write_all(&[&checksum[..], &length, &kind, &[7; 50]].concat()).unwrap();
    drop(file);
    stopped.serves();
}

/// A folder of a local cluster, emptied whatever happens.
struct Local(tempfile::TempDir);

impl Drop for Local {
    fn drop(&mut self) {
        // Its own test says whether it works; here it only cleans up, also after a panic.
        let _ =
            std::process::Command::new(deployed::BARQUE).args(["down", "--purge", "--dir"]).arg(self.0.path()).output();
    }
}

#[test]
fn without_an_engine_up_says_so_and_goes_on_simulated() {
    let local = Local(tempfile::tempdir().unwrap());
    let dir = local.0.path().to_str().unwrap();
    let up = |host: &str, runtime: &str| {
        let mut command = std::process::Command::new(deployed::BARQUE);
        command.args(["up", "--runtime", runtime, "--masters", "1", "--nodes", "1", "--detach", "--dir", dir]);
        let output = command.env("DOCKER_HOST", host).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = up("unix:///none", "docker");
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    let (code, said) = up("tcp://127.0.0.1:2375", "docker");
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("tcp://127.0.0.1:2375") && said.contains("unset DOCKER_HOST"), "{said}");
    assert!(!local.0.path().join("cluster.json").exists(), "nothing was begun");
    let (code, said) = up("unix:///none", "auto");
    assert_eq!(code, Some(0), "{said}");
    let told: Vec<&str> = said.lines().filter(|line| line.contains("!")).collect();
    assert_eq!(told.len(), 1, "{said}");
    for fragment in ["/none", "start Docker", "--runtime sim", "going on with simulated containers"] {
        assert!(told[0].contains(fragment), "{fragment:?} is missing: {said}");
    }
    for phase in ["first master", "nodes ready"] {
        let line = said.lines().find(|line| line.contains(&format!("✓ {phase}"))).expect("each phase is told");
        assert!(line.trim_end().ends_with(" s"), "with its time: {line}");
    }
    let status = deployed::barque(&["status", "--dir", dir]);
    assert!(status.contains("Containers are simulated"), "{status}");
}
