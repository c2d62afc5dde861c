//! What programs do with a disk, and how it goes away.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};
use nix::mount::{MsFlags, mount};

use super::{Mounted, is_mounted, until};
use crate::{Disk, Trouble};

#[test]
fn sparse_files_and_reserved_space() {
    let mounted = Mounted::new();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(mounted.at("file")).unwrap();
    file.write_all_at(b"end", 1 << 20).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), (1 << 20) + 3);
    assert!(metadata.blocks() * 512 < 1 << 20);
    let mut start = [1; 4096];
    file.read_exact_at(&mut start, 70_000).unwrap();
    assert_eq!(start, [0; 4096]);
    assert_eq!(file.read_at(&mut start, (1 << 20) + 1).unwrap(), 2);
    fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 8 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), (1 << 20) + 3);
    assert_eq!(file.metadata().unwrap().blocks() * 512, 8 << 20);
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, hole, 2 << 20, 6 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().blocks() * 512, 2 << 20);
    fallocate(&file, hole, (1 << 20) + 1, 1).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 3 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3 << 20);
    let mut end = [1; 5];
    file.read_exact_at(&mut end, 1 << 20).unwrap();
    assert_eq!(&end, b"e\0d\0\0");
    assert_eq!(fallocate(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, 0, 1), Err(Errno::EOPNOTSUPP));
}

#[test]
fn folders_links_modes_and_open_files_that_were_removed() {
    let mounted = Mounted::new();
    fs::create_dir_all(mounted.at("a/b")).unwrap();
    assert_eq!(fs::metadata(mounted.at("a")).unwrap().nlink(), 3);
    fs::write(mounted.at("a/b/file"), b"content").unwrap();
    assert_eq!(fs::remove_dir(mounted.at("a/b")).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs::rename(mounted.at("a/b"), mounted.at("c")).unwrap();
    assert_eq!(fs::metadata(mounted.at("a")).unwrap().nlink(), 2);
    fs::hard_link(mounted.at("c/file"), mounted.at("second")).unwrap();
    assert_eq!(fs::metadata(mounted.at("second")).unwrap().nlink(), 2);
    fs::set_permissions(mounted.at("second"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::metadata(mounted.at("c/file")).unwrap().mode() & 0o7777, 0o600);
    let mut open = File::open(mounted.at("second")).unwrap();
    fs::remove_file(mounted.at("second")).unwrap();
    fs::remove_file(mounted.at("c/file")).unwrap();
    super::sync(&mounted.at("c"));
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert_eq!(open.metadata().unwrap().nlink(), 0);
    fs::remove_dir(mounted.at("c")).unwrap();
    assert_eq!(fs::create_dir(mounted.at("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(mounted.at("c/file")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(mounted.names(), ["a"]);
}

#[test]
fn a_folder_can_be_listed_while_it_is_emptied() {
    let mounted = Mounted::new();
    fs::create_dir(mounted.at("many")).unwrap();
    for index in 0..3000 {
        File::create(mounted.at(&format!("many/a-file-with-a-longer-name-{index}"))).unwrap();
    }
    assert_eq!(fs::read_dir(mounted.at("many")).unwrap().count(), 3000);
    fs::remove_dir_all(mounted.at("many")).unwrap();
    assert!(mounted.names().is_empty());
}

#[test]
fn locks_hold_between_processes() {
    let mounted = Mounted::new();
    let lock = File::create(mounted.at("LOCK")).unwrap();
    let try_lock = || Command::new("flock").arg("-n").arg(mounted.at("LOCK")).arg("true").status().unwrap().success();
    assert!(try_lock());
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    assert!(!try_lock());
    drop(held);
    assert!(try_lock());
}

#[test]
fn a_disk_in_use_goes_away_and_lets_go_of_who_hangs_in_it() {
    let folder = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
    let disk = Disk::mount(&folder.path().join("made/on/demand")).unwrap();
    let at = disk.path().to_owned();
    assert!(is_mounted(&at));
    let file = File::create(at.join("file")).unwrap();
    let mut child = Command::new("sleep").arg("60").current_dir(&at).spawn().unwrap();
    disk.trouble(Trouble::SlowSync(Duration::MAX));
    thread::scope(|scope| {
        let hanging = scope.spawn(|| file.sync_all());
        until("a waiting sync", || disk.counters().syncs_waiting == 1);
        drop(disk);
        assert!(hanging.join().unwrap().is_err());
    });
    assert!(!is_mounted(&at));
    assert!(file.write_at(b"late", 0).is_err());
    child.kill().unwrap();
    child.wait().unwrap();
    let again = Disk::mount(&at).unwrap();
    assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
}

#[test]
fn the_dead_mount_of_a_killed_process_is_replaced() {
    let folder = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
    let at = folder.path().canonicalize().unwrap().join("data");
    fs::create_dir(&at).unwrap();
    let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40755,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("dead"), &at, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    drop(device);
    assert_eq!(fs::metadata(&at).unwrap_err().kind(), ErrorKind::NotConnected);
    let disk = Disk::mount(&at).unwrap();
    fs::write(disk.path().join("file"), b"alive").unwrap();
    drop(disk);
    assert!(!is_mounted(&at));
}
