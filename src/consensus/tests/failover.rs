//! What a cluster does when masters die, freeze, come back or hand over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use state::{Origin, Refusal};
use store::{Error, Proposer};

use super::cluster::{Cluster, put, soon, wait_until};
use crate::Role;

#[test]
fn writes_go_on_when_the_leader_dies_and_it_comes_back() {
    let mut cluster = Cluster::new(3);
    let first = cluster.wait_leader();
    cluster.nodes[first].write("before", "1").unwrap();
    for round in 0..3 {
        let leader = cluster.wait_leader();
        let term = cluster.term();
        cluster.nodes[leader].kill();
        let name = format!("during{round}");
        for node in cluster.running() {
            node.write(&name, "1").unwrap();
        }
        assert!(cluster.term() <= term + 3, "from term {term} to {}", cluster.term());
        assert_eq!(cluster.followers().len(), 1);
        cluster.start(leader);
        assert_eq!(cluster.nodes[leader].read(&name), Some("1".into()), "what it missed is there when it answers");
        assert_eq!(cluster.nodes[leader].read("before"), Some("1".into()));
    }
    cluster.settle();
}

#[test]
fn all_masters_restart_with_everything() {
    let mut cluster = Cluster::new(3);
    cluster.wait_leader();
    for round in 0..20 {
        cluster.nodes[round % 3].write(&format!("k{round}"), "1").unwrap();
    }
    let before = cluster.settle();
    for node in &mut cluster.nodes {
        node.kill();
    }
    for position in 0..3 {
        cluster.start(position);
    }
    assert_eq!(cluster.nodes[1].read("k19"), Some("1".into()));
    let after = cluster.settle();
    assert_eq!((after.revision(), after.chain()), (before.revision(), before.chain()));
    wait_until("a restarted leader leads anew", || {
        cluster.settle().tenure().unwrap().token > before.tenure().unwrap().token
    });
}

#[test]
fn a_single_master_restarts_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].write("a", "1").unwrap();
    for _ in 0..3 {
        cluster.nodes[0].kill();
        let began = Instant::now();
        cluster.start(0);
        assert_eq!(cluster.nodes[0].read("a"), Some("1".into()));
        assert!(began.elapsed() < Duration::from_secs(10));
        cluster.nodes[0].block_on(|node| async move { node.initialize().await }).unwrap();
    }
}

#[test]
fn a_lagging_follower_gets_a_snapshot() {
    let mut cluster = Cluster::with_snapshots(3, 20);
    cluster.wait_leader();
    let behind = cluster.followers()[0];
    cluster.nodes[behind].kill();
    let leader = cluster.wait_leader();
    for round in 0..150 {
        cluster.nodes[leader].write(&format!("k{}", round % 30), &round.to_string()).unwrap();
    }
    wait_until("the log is purged", || cluster.nodes[leader].log_on_disk().0 > 60);
    cluster.start(behind);
    assert_eq!(cluster.nodes[behind].read("k29"), Some("149".into()));
    assert_ne!(cluster.nodes[behind].snapshots_installed(), 0);
    cluster.settle();
    // And what it got is on its own disk, and good enough to lead with.
    cluster.nodes[leader].write("later", "1").unwrap();
    cluster.nodes[behind].kill();
    cluster.start(behind);
    assert_eq!(cluster.nodes[behind].read("later"), Some("1".into()));
    cluster.nodes[leader].kill();
    assert_eq!(cluster.nodes[behind].read("k29"), Some("149".into()));
    cluster.start(leader);
    cluster.settle();
}

#[test]
fn a_restarted_follower_deposes_nobody() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let (token, term) = (cluster.nodes[leader].token(), cluster.term());
    for round in 0..2 {
        for follower in cluster.followers_of(leader) {
            cluster.nodes[follower].kill();
            cluster.nodes[leader].write("a", "1").unwrap();
            cluster.start(follower);
            // With and without writes: several of its own election timeouts.
            let until = Instant::now() + Duration::from_millis(1_200);
            while Instant::now() < until {
                if round == 0 {
                    cluster.nodes[leader].write("b", "1").unwrap();
                }
                assert_eq!((cluster.nodes[leader].token(), cluster.term()), (token, term));
                std::thread::sleep(Duration::from_millis(5));
            }
            wait_until("it follows", || cluster.nodes[follower].role() == Role::Follower);
            assert_eq!(cluster.nodes[follower].live().consensus.status().leader, Some(cluster.nodes[leader].id));
            assert_eq!(cluster.nodes[follower].read("a"), Some("1".into()));
        }
    }
    cluster.settle();
}

#[test]
fn a_frozen_follower_deposes_nobody() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let (token, term) = (cluster.nodes[leader].token(), cluster.term());
    let frozen = cluster.followers()[0];
    let declined = |position: usize| cluster.nodes[position].live().consensus.status().term;
    let hold = cluster.nodes[frozen].freeze();
    let until = Instant::now() + Duration::from_millis(1_500);
    let mut writes = 0;
    while Instant::now() < until {
        cluster.nodes[leader].write("a", &writes.to_string()).unwrap();
        writes += 1;
    }
    drop(hold);
    let last = (writes - 1).to_string();
    assert_eq!(cluster.nodes[frozen].read("a"), Some(last.into()));
    // Several of its own election timeouts after the thaw.
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        cluster.nodes[leader].write("b", "1").unwrap();
    }
    assert_eq!((cluster.nodes[leader].token(), declined(leader), declined(frozen)), (token, term, term));
    assert_eq!(cluster.nodes[frozen].role(), Role::Follower);
}

#[test]
fn a_frozen_leader_is_replaced_and_its_duties_are_fenced() {
    let cluster = Cluster::new(3);
    let old = cluster.wait_leader();
    let token = cluster.nodes[old].token().unwrap();
    let others = cluster.followers();
    let hold = cluster.nodes[old].freeze();
    wait_until("another one leads", || others.iter().any(|position| cluster.nodes[*position].token().is_some()));
    for position in &others {
        cluster.nodes[*position].write("during", "1").unwrap();
    }
    let mut duty = put(1, "duty", "stale");
    duty.origin = Origin::Duty(token);
    let consensus = cluster.nodes[old].live().consensus.clone();
    let late = cluster.nodes[old].spawn(async move { consensus.propose(duty, soon()).await });
    drop(hold);
    let outcome = cluster.nodes[old].block_on(|_| late).unwrap();
    assert_eq!(outcome.unwrap_err(), Error::Refused(Refusal::Fenced(token)));
    wait_until("it follows", || cluster.nodes[old].role() == Role::Follower);
    assert_eq!(cluster.nodes[old].read("during"), Some("1".into()), "no stale read after the thaw");
    assert_eq!(cluster.nodes[old].read("duty"), None);
    cluster.settle();
}

#[test]
fn without_a_quorum_nothing_is_promised() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    for follower in cluster.followers() {
        cluster.nodes[follower].kill();
    }
    wait_until("the tenure is over", || cluster.nodes[leader].token().is_none());
    let node = &cluster.nodes[leader];
    let soon = || tokio::time::Instant::now() + Duration::from_millis(300);
    let write = node.block_on(|node| async move { node.propose(put(1, "a", "1"), soon()).await });
    assert!(matches!(write, Err(Error::Unavailable(_))), "{write:?}");
    let read = node.block_on(|node| async move { node.read_barrier(soon()).await });
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert!(!node.live().consensus.status().quorum);
    let back = (leader + 1) % 3;
    cluster.start(back);
    cluster.nodes[leader].write("a", "2").unwrap();
    assert_eq!(cluster.nodes[back].read("a"), Some("2".into()));
}

/// A leader whose appends reach nobody, though all else does: it has the longest log, so the other master cannot take over.
#[test]
fn a_leader_that_is_not_heard_gives_up_and_leads_again() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let (other, third) = (cluster.followers()[0], cluster.followers()[1]);
    cluster.nodes[third].kill();
    let term = cluster.term();
    cluster.nodes[other].live().consensus.inner().deaf_to.store(term, Ordering::SeqCst);
    // Into the leader's log and no further.
    let consensus = cluster.nodes[leader].live().consensus.clone();
    let writing = cluster.nodes[leader].spawn(async move { consensus.propose(put(1, "a", "1"), soon()).await });
    cluster.nodes[leader].block_on(|_| writing).unwrap().unwrap();
    assert!(cluster.term() > term);
    assert_eq!(cluster.nodes[other].read("a"), Some("1".into()));
}

/// One master has stood in vain, so its term is the newest; another one has an entry that it lacks. Each would refuse the
/// other for ever if the second could not catch up with the first one's term.
#[test]
fn a_newer_term_does_not_keep_a_longer_log_from_leading() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let (behind, other) = (cluster.followers()[0], cluster.followers()[1]);
    let term = cluster.term();
    cluster.nodes[behind].live().consensus.inner().deaf_to.store(term, Ordering::SeqCst);
    cluster.nodes[leader].write("a", "1").unwrap();
    cluster.nodes[behind].block_on(|node| async move { node.inner().raft.trigger().elect().await.unwrap() });
    wait_until("it has stood", || cluster.nodes[behind].live().consensus.status().term > term);
    wait_until("the other one has the entry", || {
        let last = |position: usize| cluster.nodes[position].live().consensus.inner().last_log_id();
        last(other) == last(leader)
    });
    assert_eq!(cluster.nodes[leader].live().consensus.status().term, term);
    cluster.nodes[leader].kill();
    assert_eq!(cluster.nodes[other].read("a"), Some("1".into()));
    assert_eq!(cluster.wait_leader(), other);
}

#[test]
fn a_handover_is_short() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let term = cluster.term();
    // A leader that is younger than the election timeout cannot be voted out, not even by itself.
    let settled = Instant::now() + Duration::from_millis(400);
    while Instant::now() < settled {
        cluster.nodes[leader].write("warm", "1").unwrap();
    }
    let follower = cluster.followers()[0];
    let consensus = cluster.nodes[follower].live().consensus.clone();
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let writing = cluster.nodes[follower].spawn(async move {
        let (mut gap, mut last, mut id) = (Duration::ZERO, Instant::now(), 1_u128 << 90);
        while !stop.load(Ordering::SeqCst) {
            id += 1;
            consensus.propose(put(id, "w", &id.to_string()), soon()).await.unwrap();
            gap = gap.max(last.elapsed());
            last = Instant::now();
        }
        gap
    });
    cluster.nodes[leader].block_on(|node| async move { node.handover(soon()).await }).unwrap();
    let known = cluster.nodes[leader].live().consensus.inner().raft.metrics().borrow().current_leader;
    assert!(known.is_some_and(|id| id != cluster.nodes[leader].id), "it ends once another one leads: {known:?}");
    cluster.nodes[leader].block_on(|node| async move { node.shutdown().await });
    wait_until("another one leads", || {
        cluster.followers_of(leader).iter().any(|position| cluster.nodes[*position].token().is_some())
    });
    cluster.nodes[follower].write("after", "1").unwrap();
    done.store(true, Ordering::SeqCst);
    let gap = cluster.nodes[follower].block_on(|_| writing).unwrap();
    println!("writes paused for {gap:?}");
    assert!(gap < Duration::from_millis(900), "writes paused for {gap:?}");
    assert!(cluster.nodes[follower].live().consensus.status().term <= term + 2);
}

#[test]
fn a_failing_disk_ends_the_master() {
    let cluster = Cluster::new(1);
    cluster.wait_leader();
    let node = &cluster.nodes[0];
    node.break_disk();
    let consensus = node.live().consensus.clone();
    let writing = node.spawn(async move {
        for id in 1.. {
            let big = put(id, "big", &format!("{id}-{}", "x".repeat(1 << 20)));
            let soon = tokio::time::Instant::now() + Duration::from_secs(2);
            if consensus.propose(big, soon).await.is_err() {
                return;
            }
        }
    });
    wait_until("the process is told to end", || !node.fatal.lock().unwrap().is_empty());
    node.block_on(|_| writing).unwrap();
}
