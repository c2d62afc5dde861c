//! `tests/tools.sh` on machines that lack something, played by programs of the same names that come first on the PATH.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs `tests/tools.sh MODE` where these programs do what the given shell lines say; returns whether it succeeded, what it
/// said, and whether any of the programs left the file `$MARK`.
fn tools(mode: &str, ci: bool, programs: &[(&str, &str)]) -> (bool, String, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    for (name, line) in programs {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a PATH"));
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools.sh"));
    command.arg(mode).env("PATH", path).env("MARK", &mark).env("HOME", folder.path()).env_remove("CI");
    if ci {
        command.env("CI", "true");
    }
    let output = command.output().expect("tools.sh");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned(), mark.exists())
}

#[test]
fn an_engine_of_others_is_not_started_twice() {
    let programs = [
        ("docker", "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1"),
        ("dockerd", "touch $MARK"),
        ("systemctl", "touch $MARK"),
        ("sudo", "touch $MARK"),
    ];
    for ci in [false, true] {
        let (fine, said, started) = tools("engine", ci, &programs);
        assert_eq!((fine, started), (!ci, false), "{said}");
        assert!(said.contains("usermod -aG docker") && said.lines().count() == 1, "{said}");
    }
    let (fine, said, started) = tools("engine", true, &[("docker", "exit 0"), ("dockerd", "touch $MARK")]);
    assert_eq!((fine, said.as_str(), started), (true, "", false), "an engine that answers needs nothing");
}

#[test]
fn rust_that_is_absent_old_or_incomplete_is_named_with_the_remedy() {
    let (fine, said, _) = tools("build", false, &[("cargo", "exit 127")]);
    assert!(!fine && said.contains("cargo is missing") && said.contains("rustup"), "{said}");
    let (fine, said, _) = tools("build", false, &[("cargo", "echo 'cargo 1.85.1 (abc 2025-01-01)'")]);
    assert!(!fine && said.contains("cargo is 1.85.1") && said.contains("rustup update"), "{said}");
    // A minimal profile: cargo alone, and no network to add the rest from.
    let programs = [("cargo", "[ $1 != clippy ]"), ("rustup", "touch $MARK; exit 1")];
    let (fine, said, asked) = tools("test", false, &programs);
    assert!(!fine && asked && said.contains("rustup component add rustfmt clippy"), "{said}");
}

#[test]
fn an_unknown_mode_is_refused() {
    let (fine, said, _) = tools("upp", false, &[]);
    assert!(!fine && said.contains("usage: tools.sh build|up|"), "{said}");
}
