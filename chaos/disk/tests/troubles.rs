//! A disk that is full, fails or is slow, and then is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use super::{Mounted, until};
use crate::Trouble;

fn code(result: io::Result<impl std::fmt::Debug>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}

#[test]
fn a_full_disk_takes_nothing_new_until_it_has_room() {
    let mounted = Mounted::new();
    mounted.write_synced("file", b"twelve bytes");
    let file = OpenOptions::new().write(true).open(mounted.at("file")).unwrap();
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, keep, 0, 100_000).unwrap();
    mounted.disk.trouble(Trouble::Full);
    assert_eq!(code(file.write_all_at(b"more", 12)), Errno::ENOSPC);
    assert_eq!(code(File::create(mounted.at("other"))), Errno::ENOSPC);
    assert_eq!(code(fs::create_dir(mounted.at("other"))), Errno::ENOSPC);
    assert_eq!(fallocate(&file, keep, 0, 200_000), Err(Errno::ENOSPC));
    assert_eq!(statvfs(mounted.disk.path()).unwrap().blocks_available(), 0);
    file.write_all_at(b"TWELVE", 0).unwrap();
    file.sync_all().unwrap();
    mounted.disk.trouble(Trouble::FullButReserved);
    file.write_all_at(b"more", 12).unwrap();
    file.write_all_at(b"end", 99_997).unwrap();
    assert_eq!(code(file.write_all_at(b"end", 99_998)), Errno::ENOSPC);
    assert_eq!(mounted.disk.counters().refused, 5);
    mounted.disk.trouble(Trouble::None);
    file.write_all_at(b"end", 99_998).unwrap();
    fs::write(mounted.at("other"), b"fits").unwrap();
    assert!(statvfs(mounted.disk.path()).unwrap().blocks_available() > 0);
    assert_eq!(&fs::read(mounted.at("file")).unwrap()[..16], b"TWELVE bytesmore");
}

#[test]
fn failing_writes_reach_the_writer_and_change_nothing() {
    let mounted = Mounted::new();
    mounted.write_synced("file", b"good");
    let mut file = OpenOptions::new().append(true).open(mounted.at("file")).unwrap();
    mounted.disk.trouble(Trouble::FailWrite);
    assert_eq!(code(file.write_all(b"bad")), Errno::EIO);
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"good");
    mounted.disk.trouble(Trouble::None);
    file.write_all(b" again").unwrap();
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"good again");
}

#[test]
fn bytes_whose_sync_failed_never_become_durable_in_that_file() {
    let mounted = Mounted::new();
    mounted.write_synced("log", b"good;");
    let mut log = OpenOptions::new().append(true).open(mounted.at("log")).unwrap();
    log.write_all(b"lost;").unwrap();
    fs::write(mounted.at("new"), b"").unwrap();
    mounted.disk.trouble(Trouble::FailSync);
    assert_eq!(code(log.sync_data()), Errno::EIO);
    assert_eq!(code(File::open(mounted.disk.path()).unwrap().sync_all()), Errno::EIO);
    mounted.disk.trouble(Trouble::None);
    // As on Linux: the second try says yes and means nothing.
    log.sync_data().unwrap();
    mounted.cut();
    assert_eq!(fs::read(mounted.at("log")).unwrap(), b"good;");
    assert_eq!(mounted.names(), ["log"]);
    mounted.write_synced("log", b"rewritten");
    mounted.cut();
    assert_eq!(fs::read(mounted.at("log")).unwrap(), b"rewritten");
}

#[test]
fn a_sync_that_hangs_holds_up_only_its_caller() {
    let mounted = Mounted::new();
    mounted.write_synced("read", &[1; 100_000]);
    fs::create_dir(mounted.at("folder")).unwrap();
    let held = File::create(mounted.at("held")).unwrap();
    mounted.disk.trouble(Trouble::SlowSync(Duration::MAX));
    let (done, order) = mpsc::channel();
    thread::scope(|scope| {
        let syncer = done.clone();
        scope.spawn(move || {
            held.sync_all().unwrap();
            syncer.send("sync").unwrap();
        });
        until("a waiting sync", || mounted.disk.counters().syncs_waiting == 1);
        for index in 0..50 {
            let path = mounted.at(&format!("folder/{index}"));
            fs::write(&path, vec![2; 200_000]).unwrap();
            assert_eq!(fs::read(&path).unwrap().len(), 200_000);
            assert_eq!(fs::read(mounted.at("read")).unwrap().len(), 100_000);
            fs::rename(&path, mounted.at("renamed")).unwrap();
        }
        assert_eq!(mounted.disk.counters().syncs_waiting, 1);
        done.send("others").unwrap();
        mounted.disk.trouble(Trouble::None);
    });
    assert_eq!(order.try_iter().collect::<Vec<_>>(), ["others", "sync"]);
    assert_eq!(mounted.disk.counters().syncs_waiting, 0);
}

#[test]
fn a_cut_answers_the_syncs_that_wait_and_makes_nothing_of_them_durable() {
    let mounted = Mounted::new();
    mounted.write_synced("file", b"old");
    mounted.disk.trouble(Trouble::SlowSync(Duration::MAX));
    fs::write(mounted.at("file"), b"new").unwrap();
    let file = File::open(mounted.at("file")).unwrap();
    let folder = File::open(mounted.disk.path()).unwrap();
    thread::scope(|scope| {
        let syncs = [scope.spawn(|| file.sync_data()), scope.spawn(|| folder.sync_all())];
        until("waiting syncs", || mounted.disk.counters().syncs_waiting == 2);
        mounted.cut();
        for sync in syncs {
            assert_eq!(code(sync.join().unwrap()), Errno::EIO);
        }
    });
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"old");
    mounted.disk.trouble(Trouble::SlowSync(Duration::from_millis(20)));
    mounted.write_synced("file", b"slowly");
    mounted.cut();
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"slowly");
}
