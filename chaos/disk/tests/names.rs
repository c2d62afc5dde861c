//! The journal of names against plain copies of the whole, for any order of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::disk::content::Content;
use crate::disk::tree::{Body, Folder, Node, ROOT, Tree};

type Names = BTreeMap<(u64, OsString), u64>;

fn names(tree: &Tree) -> Names {
    let mut found = Names::new();
    let mut folders = vec![ROOT];
    while let Some(folder) = folders.pop() {
        for (_, ino, kind, name) in tree.list(folder, 2).unwrap() {
            if kind == fuser::FileType::Directory {
                folders.push(ino);
            }
            found.insert((folder, name), ino);
        }
    }
    found
}

/// What an operation concerned, seen from outside: whose names differ, and the folders around.
fn concerned(before: &Names, after: &Names) -> BTreeSet<u64> {
    let differing = before.iter().filter(|(key, ino)| after.get(*key) != Some(ino));
    let differing = differing.chain(after.iter().filter(|(key, ino)| before.get(*key) != Some(ino)));
    differing.flat_map(|((folder, _), ino)| [*folder, *ino]).collect()
}

#[test]
fn a_cut_equals_the_copy_at_the_last_synced_change() {
    let mut seed = 20_261_125_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % below as u64) as usize
    };
    let mut tree = Tree::new(0, 0);
    // The state after each change that can still be taken back, the durable one first, with what the change concerned.
    let mut history = vec![(names(&tree), BTreeSet::new())];
    let mut done = [0; 8];
    for _ in 0..6_000 {
        let now = history.last().unwrap().0.clone();
        let mut folders: Vec<u64> = now.values().copied().filter(|ino| tree.list(*ino, 0).is_ok()).collect();
        folders.push(ROOT);
        let mut pick = || (folders[next(folders.len())], OsString::from(["a", "b", "c"][next(3)]));
        let ((folder, name), (other_folder, other)) = (pick(), pick());
        let below = |mut ino: u64, above: u64| {
            while ino != ROOT && ino != above {
                ino = now.iter().find(|(_, child)| **child == ino).unwrap().0.0;
            }
            ino == above
        };
        let what = next(16);
        let result = match what {
            0 | 1 => tree.create(folder, &name, Node::new(Body::File(Content::default()), 0o644, 0, 0)).map(drop),
            2 => tree.create(folder, &name, Node::new(Body::Folder(Folder::default()), 0o755, 0, 0)).map(drop),
            3..=6 => match tree.lookup(folder, &name) {
                // The kernel refuses to move a folder below itself.
                Ok(ino) if ino != ROOT && below(other_folder, ino) => continue,
                _ => tree.rename((folder, &name), (other_folder, &other), what == 3),
            },
            7 | 8 => tree.unlink(folder, &name),
            9 | 10 => tree.rmdir(folder, &name),
            11 => tree.lookup(folder, &name).and_then(|ino| tree.link(ino, other_folder, &other)),
            12 => {
                let ino = tree.lookup(folder, &name).unwrap_or(folder);
                tree.sync_names(ino);
                let durable = history.iter().rposition(|(_, concerns)| concerns.contains(&ino)).unwrap_or(0);
                history.drain(..durable);
                history[0].1.clear();
                continue;
            }
            13 => {
                tree.cut();
                history.truncate(1);
                assert_eq!(names(&tree), history[0].0);
                continue;
            }
            _ => continue,
        };
        let after = names(&tree);
        if result.is_ok() && after != now {
            done[what.min(11) / 2] += 1;
            history.push((after.clone(), concerned(&now, &after)));
        } else {
            assert_eq!(after, now);
        }
        for ino in after.values().collect::<BTreeSet<_>>() {
            let leading = after.values().filter(|other| *other == ino).count() as u32;
            let folders = tree.list(*ino, 2).map(|entries| {
                entries.iter().filter(|(_, _, kind, _)| *kind == fuser::FileType::Directory).count() as u32
            });
            assert_eq!(tree.attributes(*ino).unwrap().nlink, folders.map_or(leading, |folders| 2 + folders));
        }
    }
    assert!(done[..6].iter().all(|count| *count > 20), "{done:?}");
    // Nothing is kept of what no name leads to.
    tree.cut();
    let listed: BTreeSet<u64> = names(&tree).into_values().chain([ROOT]).collect();
    assert_eq!(tree.inos().into_iter().collect::<BTreeSet<_>>(), listed);
}
