//! What a cut takes back, and what it does not.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{Mounted, sync};

#[test]
fn what_was_synced_survives() {
    let mounted = Mounted::new();
    let mut big = vec![0_u8; 64 << 20];
    big.iter_mut().enumerate().for_each(|(index, byte)| *byte = (index / 4093) as u8);
    let mut file = File::create(mounted.at("big")).unwrap();
    for piece in big.chunks(70_001) {
        file.write_all(piece).unwrap();
    }
    file.sync_data().unwrap();
    mounted.cut();
    assert!(fs::read(mounted.at("big")).unwrap() == big);
    assert_eq!(mounted.disk.counters().bytes_dropped, 0);
    assert_eq!(mounted.disk.counters().bytes_written, 64 << 20);
    assert_eq!(mounted.disk.counters().syncs, 1);
    mounted.cut();
    assert!(fs::read(mounted.at("big")).unwrap() == big);
}

#[test]
fn appended_bytes_go_back_to_the_last_sync() {
    let mounted = Mounted::new();
    mounted.write_synced("wal", b"first;");
    let mut wal = OpenOptions::new().append(true).open(mounted.at("wal")).unwrap();
    wal.write_all(b"second;").unwrap();
    wal.sync_data().unwrap();
    wal.write_all(&[7; 300_000]).unwrap();
    drop(wal);
    assert_eq!(fs::metadata(mounted.at("wal")).unwrap().len(), 300_013);
    mounted.cut();
    assert_eq!(fs::read(mounted.at("wal")).unwrap(), b"first;second;");
    assert_eq!(mounted.disk.counters().bytes_dropped, 300_000);
    // The kernel's idea of the end went back, too.
    let mut wal = OpenOptions::new().append(true).open(mounted.at("wal")).unwrap();
    wal.write_all(b"third;").unwrap();
    assert_eq!(fs::read(mounted.at("wal")).unwrap(), b"first;second;third;");
}

#[test]
fn overwritten_bytes_and_lengths_go_back_to_the_last_sync() {
    let mounted = Mounted::new();
    let original: Vec<u8> = (0..200_000_u32).map(|index| index as u8).collect();
    for name in ["overwritten", "shortened", "emptied", "extended", "rewritten"] {
        mounted.write_synced(name, &original);
    }
    let open = |name: &str| OpenOptions::new().read(true).write(true).open(mounted.at(name)).unwrap();
    open("overwritten").write_all_at(&[0xff; 70_000], 60_000).unwrap();
    open("shortened").set_len(66_000).unwrap();
    File::create(mounted.at("emptied")).unwrap();
    open("extended").set_len(1 << 30).unwrap();
    open("rewritten").set_len(10).unwrap();
    open("rewritten").write_all_at(&[1; 400_000], 5).unwrap();
    mounted.cut();
    for name in ["overwritten", "shortened", "emptied", "extended", "rewritten"] {
        assert!(fs::read(mounted.at(name)).unwrap() == original, "{name}");
    }
}

#[test]
fn cached_pages_and_open_handles_do_not_outlive_a_cut() {
    let mounted = Mounted::new();
    mounted.write_synced("file", &[b'a'; 20_000]);
    let mut held = OpenOptions::new().read(true).write(true).open(mounted.at("file")).unwrap();
    let mut cached = vec![0; 20_000];
    held.read_exact(&mut cached).unwrap();
    held.write_all_at(&[b'b'; 10_000], 0).unwrap();
    held.read_exact_at(&mut cached, 0).unwrap();
    assert_eq!((cached[0], cached[19_999]), (b'b', b'a'));
    mounted.cut();
    let eio = Some(Errno::EIO as i32);
    assert_eq!(held.read_exact_at(&mut cached, 0).unwrap_err().raw_os_error(), eio);
    assert_eq!(fs::read(mounted.at("file")).unwrap(), [b'a'; 20_000]);
    let other = Command::new("cat").arg(mounted.at("file")).output().unwrap();
    assert_eq!(other.stdout, [b'a'; 20_000]);
    held.seek(SeekFrom::Start(0)).unwrap();
    assert_eq!(held.write_all(b"late").unwrap_err().raw_os_error(), eio);
    assert_eq!(held.sync_all().unwrap_err().raw_os_error(), eio);
    assert_eq!(held.set_len(3).unwrap_err().raw_os_error(), eio);
    assert_eq!(fs::read(mounted.at("file")).unwrap(), [b'a'; 20_000]);
}

#[test]
fn a_file_replaced_by_rename_is_the_old_or_the_new_one() {
    let mounted = Mounted::new();
    let replace = |data: &[u8]| {
        mounted.write_synced("CURRENT.tmp", data);
        fs::rename(mounted.at("CURRENT.tmp"), mounted.at("CURRENT")).unwrap();
    };
    mounted.write_synced("CURRENT", b"MANIFEST-1");
    replace(b"MANIFEST-2");
    assert_eq!(fs::read(mounted.at("CURRENT")).unwrap(), b"MANIFEST-2");
    mounted.cut();
    assert_eq!(fs::read(mounted.at("CURRENT")).unwrap(), b"MANIFEST-1");
    assert_eq!(fs::read(mounted.at("CURRENT.tmp")).unwrap(), b"MANIFEST-2");
    replace(b"MANIFEST-3");
    sync(mounted.disk.path());
    mounted.cut();
    assert_eq!(fs::read(mounted.at("CURRENT")).unwrap(), b"MANIFEST-3");
    assert_eq!(mounted.names(), ["CURRENT"]);
}

#[test]
fn a_rename_without_a_sync_of_the_bytes_leaves_what_was_synced() {
    let mounted = Mounted::new();
    mounted.write_synced("CURRENT", b"MANIFEST-1");
    fs::write(mounted.at("CURRENT.tmp"), b"MANIFEST-2").unwrap();
    fs::rename(mounted.at("CURRENT.tmp"), mounted.at("CURRENT")).unwrap();
    sync(mounted.disk.path());
    mounted.cut();
    assert_eq!(fs::read(mounted.at("CURRENT")).unwrap(), b"");
}

#[test]
fn names_survive_up_to_the_last_one_that_was_synced() {
    let mounted = Mounted::new();
    fs::create_dir(mounted.at("folder")).unwrap();
    fs::write(mounted.at("folder/1"), b"unsynced").unwrap();
    fs::write(mounted.at("2"), b"synced").unwrap();
    sync(&mounted.at("2"));
    fs::write(mounted.at("3"), b"too late").unwrap();
    mounted.cut();
    assert_eq!(mounted.names(), ["2", "folder"]);
    assert_eq!(fs::read(mounted.at("2")).unwrap(), b"synced");
    assert_eq!(fs::read(mounted.at("folder/1")).unwrap(), b"");
    assert_eq!(mounted.disk.counters().bytes_dropped, 16);
    fs::write(mounted.at("3"), b"again").unwrap();
    fs::create_dir_all(mounted.at("a/b/c")).unwrap();
    mounted.cut();
    assert_eq!(mounted.names(), ["2", "folder"]);
}

#[test]
fn removed_files_come_back_unless_that_was_synced() {
    let mounted = Mounted::new();
    mounted.write_synced("1", b"one");
    mounted.write_synced("2", b"two");
    fs::remove_file(mounted.at("1")).unwrap();
    sync(mounted.disk.path());
    fs::remove_file(mounted.at("2")).unwrap();
    assert!(mounted.names().is_empty());
    mounted.cut();
    assert_eq!(mounted.names(), ["2"]);
    assert_eq!(fs::read(mounted.at("2")).unwrap(), b"two");
}

#[test]
fn a_handle_that_syncs_each_write_needs_no_sync() {
    let mounted = Mounted::new();
    let mut options = OpenOptions::new();
    options.write(true).create(true).custom_flags(OFlag::O_DSYNC.bits());
    options.open(mounted.at("file")).unwrap().write_all(b"durable").unwrap();
    mounted.cut();
    assert_eq!(fs::read(mounted.at("file")).unwrap(), b"durable");
}
