//! The disk after reopening, torn tails and damage.

use std::fs;
use std::path::Path;

use super::*;
use crate::database::LOG;

fn synced(storage: &Storage, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    storage.write(&batch, Durability::Synced).unwrap();
}

fn rows(storage: &Storage) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    storage.rows().map(Result::unwrap).collect()
}

/// Closes and opens: what every test asks after each step.
fn reopen(storage: Storage) -> Storage {
    let (dir, closed) = (storage.dir().to_owned(), storage.closed());
    assert!(!closed.wait(std::time::Duration::ZERO));
    drop(storage);
    assert!(closed.wait(std::time::Duration::ZERO));
    Storage::open(&dir).unwrap()
}

#[test]
fn every_write_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(folder.path()).unwrap();
    assert_eq!(
        (storage.vote().unwrap(), storage.log_bounds().unwrap(), storage.applied().unwrap()),
        (None, None, None)
    );

    synced(&storage, |batch| batch.vote(b"vote-1".to_vec()));
    storage = reopen(storage);
    assert_eq!(storage.vote().unwrap().as_deref(), Some(&b"vote-1"[..]));

    synced(&storage, |batch| (1..=20).for_each(|index| batch.append(index, vec![u8::try_from(index).unwrap(); 10])));
    storage = reopen(storage);
    assert_eq!(storage.log_bounds().unwrap(), Some((1, 20)));
    assert_eq!(storage.read_log(3..5, usize::MAX).unwrap(), [(3, vec![3; 10]), (4, vec![4; 10])]);
    assert_eq!(storage.read_log(3..20, 25).unwrap().len(), 2, "the byte limit holds");
    assert_eq!(storage.read_log(3..20, 1).unwrap().len(), 1, "and gives at least one");

    synced(&storage, |batch| batch.truncate(18));
    storage = reopen(storage);
    assert_eq!(storage.log_bounds().unwrap(), Some((1, 17)));

    synced(&storage, |batch| batch.purge(5, b"id-5".to_vec()));
    storage = reopen(storage);
    assert_eq!(storage.log_bounds().unwrap(), Some((6, 17)));
    assert_eq!(storage.last_purged().unwrap().as_deref(), Some(&b"id-5"[..]));

    synced(&storage, |batch| batch.append(18, b"again".to_vec()));
    storage = reopen(storage);
    assert_eq!(storage.read_log(18..19, usize::MAX).unwrap(), [(18, b"again".to_vec())]);

    let mut batch = Batch::new();
    batch.put(Table::Objects, b"a".to_vec(), b"1".to_vec());
    batch.put(Table::History, b"h".to_vec(), b"2".to_vec());
    batch.put(Table::Objects, b"b".to_vec(), b"3".to_vec());
    batch.delete(Table::Objects, b"b".to_vec());
    batch.applied(b"id-7".to_vec());
    storage.write(&batch, Durability::Ordered).unwrap();
    storage = reopen(storage);
    assert_eq!(storage.applied().unwrap().as_deref(), Some(&b"id-7"[..]));
    assert_eq!(
        rows(&storage),
        [(Table::Objects, b"a".to_vec(), b"1".to_vec()), (Table::History, b"h".to_vec(), b"2".to_vec())]
    );
}

#[test]
fn installing_replaces_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(folder.path()).unwrap();
    synced(&storage, |batch| {
        batch.put(Table::Objects, b"old".to_vec(), b"1".to_vec());
        batch.applied(b"one".to_vec());
    });
    let half = [
        Ok((Table::Objects, b"new".to_vec(), vec![0; 5 << 20])),
        Err(Error::Damaged { place: "peer".into(), reason: "cut".into() }),
    ];
    storage.install(half.into_iter(), b"two").unwrap_err();
    storage = reopen(storage);
    assert_eq!(rows(&storage), [(Table::Objects, b"old".to_vec(), b"1".to_vec())]);
    assert_eq!(storage.applied().unwrap().as_deref(), Some(&b"one"[..]));

    for round in 0..3_u8 {
        let whole = [Ok::<_, Error>((Table::Machine, vec![round], b"2".to_vec()))];
        storage.install(whole.into_iter(), b"two").unwrap();
        synced(&storage, |batch| batch.put(Table::Machine, vec![round + 100], b"3".to_vec()));
        storage = reopen(storage);
        let expected =
            [(Table::Machine, vec![round], b"2".to_vec()), (Table::Machine, vec![round + 100], b"3".to_vec())];
        assert_eq!(rows(&storage), expected);
        assert_eq!(storage.applied().unwrap().as_deref(), Some(&b"two"[..]));
    }
}

fn owner(cluster: &str, id: u64) -> Owner {
    Owner { cluster: cluster.into(), id }
}

/// Opens the folder as this master.
fn open_as(dir: &Path, owner: &Owner) -> Result<Storage, Error> {
    let storage = Storage::open(dir).unwrap();
    storage.claim(owner).map(|()| storage)
}

#[test]
fn a_folder_belongs_to_one_master() {
    let folder = tempfile::tempdir().unwrap();
    let own = owner("c-1", 7);
    drop(open_as(folder.path(), &own).unwrap());
    for stranger in [owner("c-2", 7), owner("c-1", 8)] {
        let error = open_as(folder.path(), &stranger).err().expect("refused");
        let text = error.to_string();
        assert!(matches!(error, Error::OtherOwner { .. }), "{text}");
        let dir = folder.path().display().to_string();
        for part in [&*dir, "master 7 of cluster c-1", &stranger.to_string(), "join anew"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
    let storage = open_as(folder.path(), &own).expect("a refusal changes nothing");
    // It is there after a crash, and stays when all rows are replaced.
    let copy = folder.path().join("copy");
    crashed(&storage, &copy);
    assert!(matches!(open_as(&copy, &owner("c-2", 7)), Err(Error::OtherOwner { .. })));
    storage.install(std::iter::empty::<Result<rows::Row, Error>>(), b"one").unwrap();
    drop(storage);
    assert!(matches!(open_as(folder.path(), &owner("c-2", 7)), Err(Error::OtherOwner { .. })));
}

#[test]
fn an_old_folder_without_an_owner_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let old = Storage::open(folder.path()).unwrap();
    synced(&old, |batch| batch.vote(b"vote".to_vec()));
    drop(old);
    let storage = open_as(folder.path(), &owner("c-1", 7)).unwrap();
    assert_eq!(storage.vote().unwrap().as_deref(), Some(&b"vote"[..]));
    drop(storage);
    assert!(matches!(open_as(folder.path(), &owner("c-1", 8)), Err(Error::OtherOwner { .. })));
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let _held = Storage::open(folder.path()).unwrap();
    let error = Storage::open(folder.path()).err().expect("refused");
    assert!(matches!(&error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().contains("stop that one first"), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Storage::open(folder.path()).unwrap());
    fs::write(folder.path().join("FORMAT"), "2\n").unwrap();
    let error = Storage::open(folder.path()).err().expect("refused").to_string();
    assert!(error.contains("FORMAT") && error.contains("newer release"), "{error}");
    fs::remove_file(folder.path().join("FORMAT")).unwrap();
    assert!(matches!(Storage::open(folder.path()), Err(Error::Damaged { .. })));
}

/// The folder as a crash leaves it: a copy taken while the database is open.
fn crashed(storage: &Storage, to: &Path) {
    fs::create_dir_all(to.join("db")).unwrap();
    fs::create_dir_all(to.join("snapshots")).unwrap();
    fs::copy(storage.dir().join("FORMAT"), to.join("FORMAT")).unwrap();
    for entry in fs::read_dir(storage.dir().join("db")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("db").join(entry.file_name())).unwrap();
    }
}

fn newest_wal(dir: &Path) -> std::path::PathBuf {
    let mut wals: Vec<_> = fs::read_dir(dir.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    wals.sort();
    wals.pop().expect("a write-ahead log")
}

#[test]
fn a_torn_end_of_the_log_is_tolerated() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("live")).unwrap();
    for index in 1..=10 {
        synced(&storage, |batch| batch.append(index, vec![7; 1000]));
    }
    let torn = folder.path().join("torn");
    crashed(&storage, &torn);
    let wal = newest_wal(&torn);
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() - 500]).unwrap();
    let recovered = Storage::open(&torn).unwrap();
    assert_eq!(recovered.log_bounds().unwrap(), Some((1, 9)));
}

#[test]
fn other_damage_refuses_to_start_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("live")).unwrap();
    for index in 1..=10 {
        synced(&storage, |batch| batch.append(index, vec![7; 1000]));
    }
    let broken = folder.path().join("broken");
    crashed(&storage, &broken);
    let wal = newest_wal(&broken);
    let mut bytes = fs::read(&wal).unwrap();
    bytes[3000] ^= 0xff;
    fs::write(&wal, &bytes).unwrap();
    let error = Storage::open(&broken).err().expect("refused");
    assert!(matches!(&error, Error::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&*wal.to_string_lossy()) && text.contains("join anew"), "{text}");
}

#[test]
fn a_damaged_table_is_refused_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    for index in 1..=10 {
        synced(&storage, |batch| batch.append(index, vec![7; 1000]));
        synced(&storage, |batch| batch.put(Table::Objects, vec![u8::try_from(index).unwrap()], vec![7; 1000]));
    }
    for table in [LOG, Table::Objects.name()] {
        storage.inner.db.flush_cf(storage.family(table).unwrap()).unwrap();
    }
    let storage = reopen(storage);
    assert_eq!((storage.log_bounds().unwrap(), rows(&storage).len()), (Some((1, 10)), 10));
    drop(storage);
    let entries = fs::read_dir(folder.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    assert!(tables.len() >= 2, "{tables:?}");
    for table in &tables {
        let mut bytes = fs::read(table).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(table, bytes).unwrap();
    }
    let storage = Storage::open(folder.path()).unwrap();
    let log = storage.read_log(1..11, usize::MAX).expect_err("refused");
    let row = storage.rows().find_map(Result::err).expect("refused");
    for error in [log, row] {
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(
            tables.iter().any(|table| text.contains(&*table.to_string_lossy())) && text.contains("join anew"),
            "{text}"
        );
    }
}

#[test]
fn a_list_of_files_that_ends_early_is_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(folder.path()).unwrap();
    for index in 1..=3 {
        synced(&storage, |batch| batch.append(index, vec![7; 1000]));
        storage = reopen(storage);
    }
    drop(storage);
    let current = folder.path().join("db/CURRENT");
    let named = fs::read_to_string(&current).unwrap();
    let manifest = folder.path().join("db").join(named.trim());
    let good = fs::read(&manifest).unwrap();
    let refused = |place: &Path| {
        let error = Storage::open(folder.path()).err().expect("refused");
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(&*place.to_string_lossy()), "{error}");
    };
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&manifest, &good[..length]).unwrap();
        refused(&manifest);
    }
    fs::remove_file(&manifest).unwrap();
    refused(&manifest);
    fs::write(&manifest, &good).unwrap();
    for text in ["", "MANIFEST-", "MANIFEST-000001\n"] {
        fs::write(&current, text).unwrap();
        assert!(matches!(Storage::open(folder.path()), Err(Error::Damaged { .. })), "{text:?}");
    }
    fs::remove_file(&current).unwrap();
    refused(&current);
    fs::write(&current, named).unwrap();
    fs::write(folder.path().join("SEEN"), "much").unwrap();
    refused(&folder.path().join("SEEN"));
    fs::remove_file(folder.path().join("SEEN")).unwrap();
    // A folder of before there was a mark.
    assert_eq!(Storage::open(folder.path()).unwrap().log_bounds().unwrap(), Some((1, 3)));
}

#[test]
fn a_missing_part_of_the_log_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("live")).unwrap();
    // Enough for several files of the write-ahead log, the older ones closed and recorded.
    for index in 1..=40 {
        synced(&storage, |batch| batch.append(index, vec![7; 1 << 20]));
        synced(&storage, |batch| batch.put(Table::Machine, vec![1], vec![2]));
    }
    let holed = folder.path().join("holed");
    crashed(&storage, &holed);
    let mut wals: Vec<_> = fs::read_dir(holed.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    wals.sort();
    assert!(wals.len() > 1, "the test needs several files");
    fs::remove_file(&wals[0]).unwrap();
    let error = Storage::open(&holed).err().expect("refused");
    assert!(matches!(&error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_disk_error_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Storage::open(&file.join("below")).err().expect("refused");
    assert!(matches!(&error, Error::Disk { .. }), "{error}");
    let storage = Storage::open(&folder.path().join("data")).unwrap();
    fs::remove_dir_all(folder.path().join("data/snapshots")).unwrap();
    assert!(matches!(storage.snapshots().create(), Err(Error::Disk { .. })));
}

#[test]
fn snapshots_are_whole_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(folder.path()).unwrap();
    assert_eq!(storage.snapshots().latest().unwrap(), None);
    let write = |storage: &Storage, tag: u8| {
        let mut writer = storage.snapshots().create().unwrap();
        writer.write(&[tag; 3]).unwrap();
        writer.write(&[]).unwrap();
        writer.write(&[tag; 100_000]).unwrap();
        writer.finish().unwrap()
    };
    for tag in 1..=4 {
        let aside = write(&storage, tag);
        let path = storage.snapshots().adopt(&aside).unwrap();
        storage = reopen(storage);
        assert_eq!(storage.snapshots().latest().unwrap(), Some(path.clone()));
        let records: Vec<_> = snapshot::Reader::open(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, [vec![tag; 3], vec![], vec![tag; 100_000]]);
    }
    assert_eq!(fs::read_dir(folder.path().join("snapshots")).unwrap().count(), 2, "old ones are removed");

    let good = fs::read(write(&storage, 9)).unwrap();
    let mut flipped = good.clone();
    flipped[5000] ^= 1;
    for bad in [&good[..good.len() - 1], &good[..good.len() - 16], &good[..50], &flipped, b"text that is long"] {
        let aside = storage.snapshots().aside();
        fs::write(&aside, bad).unwrap();
        let error = storage.snapshots().adopt(&aside).expect_err("refused");
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
    }
    storage = reopen(storage);
    assert_eq!(fs::read_dir(folder.path().join("snapshots")).unwrap().count(), 2, "what lies aside is gone");
    drop(storage);
}
