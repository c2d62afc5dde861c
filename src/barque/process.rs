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

/// The short name of a process that was told to end; the kernel keeps 15 bytes of it.
const ENDING: &str = "barque-ending";

/// A process that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its start, in the kernel's ticks since boot.
    pub started: u64,
}

/// How a process of the local cluster stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Running,
    /// It runs still, but was told to end: it holds its ports and its data until it has.
    Ending,
    /// There is none.
    Gone,
}

impl Process {
    /// The process of this id, as it runs now.
    pub fn of(pid: i32) -> Self {
        Self { pid, started: stat(pid).map(|stat| stat.started).unwrap_or_default() }
    }
}

/// The running process of this name, be it ending; `None` when it does not run.
pub fn running(dir: &Path, name: &str) -> Option<Process> {
    let process: Process = config::read(&process_dir(dir, name).join("process.json")).ok()?;
    alive(&process).then_some(process)
}

/// How the process of this name stands.
pub fn standing(dir: &Path, name: &str) -> Standing {
    match running(dir, name).and_then(|process| stat(process.pid)) {
        None => Standing::Gone,
        Some(stat) if stat.dying || stat.name == ENDING => Standing::Ending,
        Some(_) => Standing::Running,
    }
}

/// Says to whoever looks (`barque up`, ps) that this process was told to end.
pub fn announce_ending() {
    // Without /proc nobody could look either.
    let _ = std::fs::write("/proc/self/comm", ENDING);
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
    let process = Process::of(i32::try_from(child.id()).unwrap_or(i32::MAX));
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
    stat(process.pid).is_some_and(|stat| stat.started == process.started)
}

fn signal(process: &Process, signal: Signal) {
    if alive(process) {
        // It may have ended in between, which is what was wanted.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

struct Stat {
    /// The kernel's short name for it.
    name: String,
    started: u64,
    /// Its first thread has ended, others have not: its files and ports are still held.
    dying: bool,
}

/// What the kernel says of a process; `None` when there is none, or only its remains.
fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also spaces and brackets; the fields follow the last bracket.
    let (head, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let dead = matches!(fields.first(), Some(&"Z" | &"X"));
    let threads: u32 = fields.get(17)?.parse().ok()?;
    if dead && threads <= 1 {
        return None;
    }
    Some(Stat { name: head.split_once('(')?.1.to_owned(), started: fields.get(19)?.parse().ok()?, dying: dead })
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
        let process = Process::of(own);
        assert!(alive(&process));
        assert!(!alive(&Process { started: process.started + 1, ..process }));
        assert!(!alive(&Process { pid: i32::MAX, started: 0 }));
    }

    #[test]
    fn a_process_that_was_told_to_end_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(standing(folder.path(), "m"), Standing::Gone);
        let own = Process::of(i32::try_from(std::process::id()).unwrap());
        config::write(&process_dir(folder.path(), "m").join("process.json"), &own).unwrap();
        assert_eq!(standing(folder.path(), "m"), Standing::Running);
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        announce_ending();
        assert_eq!(standing(folder.path(), "m"), Standing::Ending);
        std::fs::write("/proc/self/comm", name.trim_end()).unwrap();
    }

    #[test]
    fn the_last_words_are_quoted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("m")).unwrap();
        std::fs::write(folder.path().join("m/log"), "one\nbarque: no port\n\n").unwrap();
        assert!(ended(folder.path(), "m").to_string().contains("barque: no port"));
    }
}
