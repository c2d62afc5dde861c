//! Real mounts, used as programs use them.

mod cuts;
mod names;
mod troubles;
mod usage;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Disk;

/// A mounted disk and its folder, both gone at the end of the test, in this order.
struct Mounted {
    disk: Disk,
    _folder: tempfile::TempDir,
}

impl Mounted {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
        let disk = Disk::mount(&folder.path().join("data")).unwrap();
        Self { disk, _folder: folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn cut(&self) {
        self.disk.cut_power().unwrap();
    }

    /// A file that survives, with its name.
    fn write_synced(&self, name: &str, data: &[u8]) {
        fs::write(self.at(name), data).unwrap();
        sync(&self.at(name));
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.disk.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A sync of a file or folder.
fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn is_mounted(at: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == at.to_str())
}

/// Asks until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}
