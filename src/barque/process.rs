//! The processes of a local cluster: started apart from this one, known by pid *and* start time, so that a pid that the
//! system has given to somebody else is never signalled.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::layout::{log_path, process_dir};
use crate::{Error, config};

/// A process that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its start, in the kernel's ticks since boot.
    pub started: u64,
}

/// The running process of this name; `None` when it does not run.
pub fn running(dir: &Path, name: &str) -> Option<Process> {
    let process: Process = config::read(&process_dir(dir, name).join("process.json")).ok()?;
    (start_of(process.pid) == Some(process.started)).then_some(process)
}

/// Starts `barque` with these arguments, detached, its output in the process's log.
pub fn start(dir: &Path, name: &str, arguments: &[&str]) -> Result<Process, Error> {
    let folder = process_dir(dir, name);
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let log = log_path(dir, name);
    let output = OpenOptions::new().create(true).append(true).open(&log).map_err(Error::file("open", &log))?;
    let errors = output.try_clone().map_err(Error::file("open", &log))?;
    let program = std::env::current_exe().map_err(Error::file("find", Path::new("barque")))?;
    // A group of its own: Ctrl-C at the terminal is for the command, not for the cluster.
    let child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(Error::file("start", &program))?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let process = Process { pid, started: start_of(pid).unwrap_or_default() };
    config::write(&folder.join("process.json"), &process)?;
    Ok(process)
}

/// An error that quotes the last line of the process's log.
pub fn ended(dir: &Path, name: &str) -> Error {
    let log = log_path(dir, name);
    let reason = last_line(&log).unwrap_or_else(|| "it left no message".to_owned());
    Error::Ended { name: name.to_owned(), reason, log }
}

/// Asks all of them to end, and kills those that have not after `patience`.
pub async fn stop(processes: &[Process], patience: Duration) {
    for process in processes {
        signal(process, Signal::SIGTERM);
    }
    let deadline = Instant::now() + patience;
    while processes.iter().any(alive) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for process in processes.iter().filter(|process| alive(process)) {
        signal(process, Signal::SIGKILL);
    }
}

/// Whether it still runs.
pub fn alive(process: &Process) -> bool {
    start_of(process.pid) == Some(process.started)
}

fn signal(process: &Process, signal: Signal) {
    if alive(process) {
        // It may have ended in between, which is what was wanted.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// When a process started; `None` when there is none, or only its remains.
fn start_of(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also spaces and brackets; the fields follow the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn last_line(path: &Path) -> Option<String> {
    const TAIL_BYTES: u64 = 4_096;
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_ours() {
        let own = i32::try_from(std::process::id()).unwrap();
        let started = start_of(own).expect("this test runs");
        assert!(alive(&Process { pid: own, started }));
        assert!(!alive(&Process { pid: own, started: started + 1 }));
        assert!(!alive(&Process { pid: i32::MAX, started: 0 }));
    }

    #[test]
    fn the_last_words_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("m")).unwrap();
        std::fs::write(folder.path().join("m/log"), "one\nbarque: no port\n\n").unwrap();
        assert!(ended(folder.path(), "m").to_string().contains("barque: no port"));
    }
}
