//! The house's own rules, held by machine: who may use which library, how long a file may be, which names are banned.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file that a person still reads in one sitting.
const LINES_MAX: usize = 900;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "chaos", "tests"] {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 100, "only {} files found: is this the checkout?", found.len());
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long: Vec<String> = all_sources()
        .iter()
        .map(|path| (shown(path), fs::read_to_string(path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = all_sources()
        .iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| shown(path))
        .collect();
    assert!(silent.is_empty(), "these files have no //! head: {silent:#?}");
}

#[test]
fn no_file_is_called_what_it_is_not() {
    let banned = ["util", "utils", "common", "manager", "helpers", "misc"];
    let found: Vec<String> = all_sources()
        .iter()
        .filter(|path| {
            path.components().any(|part| banned.contains(&part.as_os_str().to_string_lossy().trim_end_matches(".rs")))
        })
        .map(|path| shown(path))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Each crate, and what it may depend on: only crates of lower levels, and foreign crates only in their one room.
#[test]
fn rooms_keep_their_order() {
    let levels: BTreeMap<&str, u8> = [
        ("base", 0),
        ("objects", 0),
        ("state", 1),
        ("storage", 1),
        ("identity", 1),
        ("rbac", 1),
        ("schemas", 1),
        ("runtime", 1),
        ("spdy", 1),
        ("client", 1),
        ("fit", 1),
        ("expressions", 1),
        ("store", 2),
        ("admission", 2),
        ("events", 2),
        ("consensus", 3),
        ("scheduler", 3),
        ("controllers", 3),
        ("apiserver", 3),
        ("agent", 3),
        ("master", 4),
    ]
    .into();
    // A crate of one level may use another of the same level where the picture in docs/architecture.md draws an arrow.
    let beside = [("client", "identity"), ("events", "store")];
    let only_in = [("openraft", "consensus"), ("rocksdb", "storage"), ("bollard", "runtime")];
    for (name, level) in &levels {
        let manifest = fs::read_to_string(root().join("src").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
        for dependency in dependencies.lines().filter_map(|line| line.split(['=', '.', ' ']).next()) {
            if let Some(other) = levels.get(dependency) {
                let allowed = other < level || beside.contains(&(name, dependency));
                assert!(allowed, "{name} (level {level}) must not use {dependency} (level {other})");
            }
            for (foreign, room) in only_in {
                assert!(dependency != foreign || *name == room, "{name} must not use {foreign}: that is {room}'s");
            }
        }
    }
}

#[test]
fn no_proof_is_switched_off() {
    // Spelled in two halves, so that this file does not find itself.
    let marks = [concat!("#[ig", "nore"), concat!("todo", "!("), concat!("unimple", "mented!(")];
    let found: Vec<String> = all_sources()
        .iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            marks.iter().any(|mark| text.contains(mark))
        })
        .map(|path| shown(path))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
