//! The log does not grow for ever, and a member that missed too much of it gets a snapshot while the others go on writing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use store::Proposer;

use super::cluster::{Cluster, Node, put, soon, wait_until};

/// The state is about 22 MiB: as many chunks, each an own question and answer.
const BIG: usize = 44;
const BIG_BYTES: usize = 512 << 10;
const STATE_BYTES: u64 = (BIG * BIG_BYTES) as u64;
/// Entries between two snapshots: small enough that the log is purged, large enough that writers do not outrun a stream.
const EVERY: u64 = 800;
/// Writes that show that a writer gets on, and does not only finish what it had begun.
const SOME_WRITES: usize = 20;

/// Text that does not repeat itself, of its own for each number.
fn noise(number: usize) -> String {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ (number as u64 + 1);
    let mut text = String::with_capacity(BIG_BYTES);
    while text.len() < BIG_BYTES {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        text.push_str(&format!("{seed:016x}"));
    }
    text
}

/// One writer after another's answer, through one master, until it is stopped.
struct Traffic {
    done: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Traffic {
    fn through(node: &Node) -> Self {
        let (done, acknowledged): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let (stop, count, consensus) = (Arc::clone(&done), Arc::clone(&acknowledged), node.live().consensus.clone());
        let name = format!("traffic{}", node.id);
        let task = node.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let write = put(base::random::u128(), &name, &count.load(Ordering::SeqCst).to_string());
                consensus.propose(write, soon()).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { done, acknowledged, task }
    }

    fn count(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until it got on by some writes.
    fn goes_on(&self) {
        let goal = self.count() + SOME_WRITES;
        wait_until("writes go on", || self.count() >= goal);
    }

    fn stop(self, node: &Node) {
        self.done.store(true, Ordering::SeqCst);
        node.block_on(|_| self.task).unwrap();
    }
}

/// A cluster in which one member is down and the log of the others no longer reaches back to where it stopped.
fn lagging() -> (Cluster, usize, usize, usize) {
    let mut cluster = Cluster::with_snapshots(3, EVERY);
    let behind = cluster.followers()[0];
    let missed = cluster.nodes[behind].live().consensus.status().last_log;
    cluster.nodes[behind].kill();
    let leader = cluster.wait_leader();
    let other = cluster.followers_of(leader)[0];
    for number in 0..BIG {
        cluster.nodes[leader].write(&format!("big{number}"), &noise(number)).unwrap();
    }
    let mut round = 0;
    wait_until("the log no longer reaches back, on either master", || {
        for _ in 0..20 {
            round += 1;
            cluster.nodes[leader].write("small", &round.to_string()).unwrap();
        }
        [leader, other].iter().all(|position| {
            let node = &cluster.nodes[*position];
            node.log_on_disk().0 > missed + 1 && node.snapshot_bytes() > STATE_BYTES
        })
    });
    (cluster, leader, other, behind)
}

/// A disk that gives back something else than was written must not reach another master, nor end this one.
#[test]
fn a_snapshot_that_was_damaged_on_the_disk_is_made_anew() {
    for place in [None, Some(20)] {
        let mut cluster = Cluster::with_snapshots(3, 20);
        let behind = cluster.followers()[0];
        cluster.nodes[behind].kill();
        let leader = cluster.wait_leader();
        let mut round = 0;
        wait_until("the log no longer reaches back", || {
            round += 1;
            cluster.nodes[leader].write(&format!("k{}", round % 30), &round.to_string()).unwrap();
            round > 150 && cluster.nodes[leader].log_on_disk().0 > 60
        });
        cluster.nodes[leader].write("last", "1").unwrap();
        cluster.nodes[leader].damage_snapshot(place);
        cluster.start(behind);
        assert_eq!(cluster.nodes[behind].read("last"), Some("1".into()), "damaged at {place:?}");
        assert_ne!(cluster.nodes[behind].snapshots_installed(), 0);
        for node in &cluster.nodes {
            assert!(node.fatal.lock().unwrap().is_empty(), "damaged at {place:?}: {:?}", node.fatal);
        }
        cluster.settle();
    }
}

fn has_everything(node: &Node) {
    for number in 0..BIG {
        let read = node.read(&format!("big{number}")).expect("there");
        assert!(read.as_str() == Some(noise(number).as_str()), "big{number} differs");
    }
}

#[test]
fn the_log_is_purged_behind_each_snapshot() {
    const SOME: u64 = 20;
    let mut cluster = Cluster::with_snapshots(3, SOME);
    let leader = cluster.wait_leader();
    for round in 0..200 {
        cluster.nodes[leader].write(&format!("k{}", round % 30), &round.to_string()).unwrap();
    }
    for node in cluster.running() {
        wait_until("old entries are gone from the disk", || node.log_on_disk().0 > 150);
        let (first, last, purged) = node.log_on_disk();
        assert_eq!(purged, first - 1, "what is gone is known to be");
        assert!(last - first <= 4 * SOME, "{first} to {last} are left");
        let snapshot = node.live().consensus.status().snapshot.unwrap_or(0);
        assert!(snapshot > purged, "purged up to {purged}, the snapshot ends at {snapshot}");
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    for position in 0..3 {
        cluster.start(position);
    }
    assert_eq!(cluster.nodes[leader].read("k19"), Some("199".into()));
    assert!(cluster.nodes[leader].log_on_disk().0 > 150);
    cluster.settle();
}

#[test]
fn a_snapshot_streams_while_writes_go_on() {
    let (mut cluster, leader, other, behind) = lagging();
    let (token, term) = (cluster.nodes[leader].token(), cluster.term());
    let traffic = [leader, other].map(|position| Traffic::through(&cluster.nodes[position]));
    traffic.iter().for_each(Traffic::goes_on);
    cluster.start(behind);
    wait_until("part of a snapshot has come", || cluster.nodes[behind].receiving() > STATE_BYTES / 4);
    // Held in the middle, however fast it comes: a writer that had to wait for the end of it would get no answer now.
    let hold = cluster.nodes[behind].freeze();
    traffic.iter().for_each(Traffic::goes_on);
    assert_eq!(cluster.nodes[behind].snapshots_installed(), 0, "all of this was during the stream");
    drop(hold);
    let thawed = traffic.each_ref().map(Traffic::count);
    wait_until("it is installed", || cluster.nodes[behind].snapshots_installed() > 0);
    let installed = traffic.each_ref().map(Traffic::count);
    println!("acknowledged to each writer when the stream went on: {thawed:?}, when it had come: {installed:?}");
    let lag = || {
        let members = cluster.nodes[leader].live().consensus.status().members;
        members.iter().find(|member| member.id == cluster.nodes[behind].id).and_then(|member| member.lag).unwrap()
    };
    wait_until("it has caught up", || lag() < 20);
    traffic.iter().for_each(Traffic::goes_on);
    for (traffic, position) in traffic.into_iter().zip([leader, other]) {
        traffic.stop(&cluster.nodes[position]);
    }
    assert_eq!((cluster.nodes[leader].token(), cluster.term()), (token, term), "the same leader all the time");
    has_everything(&cluster.nodes[behind]);
    cluster.settle();
    // It may be writing one of its own just now.
    wait_until("nothing is left over", || cluster.nodes[behind].receiving() == 0);
}

#[test]
fn a_leader_that_dies_in_the_middle_of_a_snapshot_is_replaced() {
    let (mut cluster, leader, other, behind) = lagging();
    cluster.start(behind);
    wait_until("part of a snapshot has come", || cluster.nodes[behind].receiving() > STATE_BYTES / 4);
    // Held in the middle, however fast it comes.
    let hold = cluster.nodes[behind].freeze();
    assert_eq!(cluster.nodes[behind].snapshots_installed(), 0, "it is not whole yet");
    cluster.nodes[leader].kill();
    drop(hold);
    // Two of three are left, and one of them needs the snapshot of the other first.
    cluster.nodes[other].write("after", "1").unwrap();
    assert_eq!(cluster.leader(), Some(other));
    assert_eq!(cluster.nodes[behind].read("after"), Some("1".into()));
    assert_ne!(cluster.nodes[behind].snapshots_installed(), 0);
    has_everything(&cluster.nodes[behind]);
    cluster.start(leader);
    assert_eq!(cluster.nodes[leader].read("after"), Some("1".into()));
    cluster.settle();
    wait_until("the half that came first is gone", || cluster.nodes[behind].receiving() == 0);
}
