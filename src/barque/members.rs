//! The processes that one `barque up` answers for. Those that it found running may end under it, because somebody told them to
//! a moment before: they are started again. One that it started itself must not end.

use std::path::PathBuf;

use crate::Error;
use crate::process::{self, Standing};

/// The processes of the cluster that have a configuration by now.
pub struct Members {
    dir: PathBuf,
    known: Vec<Member>,
}

struct Member {
    name: String,
    arguments: Vec<String>,
    /// Whether this command started it.
    ours: bool,
}

impl Members {
    /// None yet; their folders lie in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, known: Vec::new() }
    }

    /// Takes a process on, and starts it unless it runs; one that is ending is started by [`Members::revive`] once it has ended.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be started.
    pub fn bring(&mut self, name: &str, arguments: &[&str]) -> Result<(), Error> {
        if !self.known.iter().any(|member| member.name == name) {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            self.known.push(Member { name: name.to_owned(), arguments, ours: false });
        }
        self.revive()
    }

    /// Starts every process that ended although this command had not started it.
    ///
    /// # Errors
    /// [`Error::Ended`] for one that this command did start; [`Error::File`] when one cannot be started.
    pub fn revive(&mut self) -> Result<(), Error> {
        for member in &mut self.known {
            if process::standing(&self.dir, &member.name) != Standing::Gone {
                continue;
            }
            if member.ours {
                return Err(process::ended(&self.dir, &member.name));
            }
            let arguments: Vec<&str> = member.arguments.iter().map(String::as_str).collect();
            process::start(&self.dir, &member.name, &arguments)?;
            member.ours = true;
        }
        Ok(())
    }

    /// Whether this one runs and nobody has told it to end.
    pub fn is_running(&self, name: &str) -> bool {
        process::standing(&self.dir, name) == Standing::Running
    }

    /// Whether all of them run and nobody has told any to end.
    pub fn are_running(&self) -> bool {
        self.known.iter().all(|member| self.is_running(&member.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;
    use crate::process::Process;

    /// A process that does nothing until it is killed, entered under `name` as if an earlier `up` had started it.
    fn sleeper(dir: &std::path::Path, name: &str) -> std::process::Child {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap());
        crate::config::write(&layout::process_dir(dir, name).join("process.json"), &process).unwrap();
        child
    }

    #[test]
    fn what_ran_before_is_started_again_and_what_was_started_must_not_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = sleeper(folder.path(), "m");
        let mut members = Members::new(folder.path().to_owned());
        // This test's own program stands in for `barque`; told to list nothing, it ends at once.
        members.bring("m", &["--list", "--exact", "no such test"]).unwrap();
        assert!(members.is_running("m") && members.are_running());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!members.are_running());
        members.revive().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let ended = loop {
            match members.revive() {
                Err(error) => break error,
                Ok(()) => assert!(std::time::Instant::now() < deadline, "it ends by itself"),
            }
            std::thread::yield_now();
        };
        assert!(matches!(&ended, Error::Ended { name, .. } if name == "m"), "{ended}");
    }
}
