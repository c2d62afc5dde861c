//! What a healthy cluster does.

use state::{Change, Origin, Precondition, Refusal};
use store::{Beat, Error, Proposer, TRANSACTION_BYTES_MAX};

use super::cluster::{Cluster, key, put, soon, transaction, wait_until};

#[test]
fn three_masters_take_writes_and_answer_reads_alike() {
    let cluster = Cluster::new(3);
    cluster.wait_leader();
    for (position, node) in cluster.nodes.iter().enumerate() {
        let name = format!("a{position}");
        let committed = node.write(&name, "1").unwrap();
        let own = node.live().replica.current();
        assert!(own.revision() >= committed.revision(), "a master has applied what it acknowledges");
        for other in &cluster.nodes {
            assert_eq!(other.read(&name), Some("1".into()), "and so has any other, once it is asked for the present");
        }
    }
    let state = cluster.settle();
    assert_eq!(state.len(), 3);
    let status = cluster.nodes[0].live().consensus.status();
    assert!(status.quorum && status.members.len() == 3 && status.last_applied > 0);
    let text = cluster.nodes[0].live().consensus.metrics();
    assert!(text.contains("barque_log_fsync_seconds_count"), "{text}");
}

#[test]
fn answers_are_definite() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let follower = cluster.followers()[0];
    for position in [leader, follower] {
        let node = &cluster.nodes[position];
        let name = format!("x{position}");
        let create = |id| {
            let client = Origin::Client("t".into());
            let mut create = put(id, &name, "1");
            create.preconditions = vec![Precondition::Absent(key(&name))];
            assert_eq!(create.origin, Origin::Client("test".into()));
            create.origin = client;
            create
        };
        let first = node.propose(create(1000 + position as u128)).unwrap();
        let refused = node.propose(create(2000 + position as u128)).unwrap_err();
        assert_eq!(refused, Error::Refused(Refusal::AlreadyExists(key(&name))));
        for again in [leader, follower] {
            let repeated = cluster.nodes[again].propose(create(1000 + position as u128)).unwrap();
            assert_eq!(repeated, first, "a repeat under the same request id is not done twice");
        }
        let huge = put(3000, "huge", &"x".repeat(TRANSACTION_BYTES_MAX));
        assert!(matches!(node.propose(huge), Err(Error::TooLarge { .. })));
        let large = put(4000 + position as u128, "large", &"x".repeat(TRANSACTION_BYTES_MAX - 1000));
        node.propose(large).unwrap();
    }
    cluster.settle();
}

#[test]
fn many_writers_share_entries() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let before = cluster.nodes[leader].live().consensus.status().last_log;
    let mut writing = Vec::new();
    for position in 0..3 {
        for client in 0..32 {
            let consensus = cluster.nodes[position].live().consensus.clone();
            writing.push(cluster.nodes[position].spawn(async move {
                for round in 0..5 {
                    let id = (u128::from(position as u32) << 64) | (client << 32) | round;
                    consensus
                        .propose(put(id + (1 << 100), &format!("w{position}-{client}"), &round.to_string()), soon())
                        .await
                        .unwrap();
                }
            }));
        }
    }
    cluster.nodes[leader].block_on(|_| async move {
        for task in writing {
            task.await.unwrap();
        }
    });
    assert_eq!(cluster.settle().revision().0, 480);
    let entries = cluster.nodes[leader].live().consensus.status().last_log - before;
    assert!(entries < 240, "480 transactions took {entries} entries");
}

#[test]
fn heartbeats_reach_the_leader_through_any_master() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    for (position, node) in cluster.nodes.iter().enumerate() {
        let beat = Beat { node: format!("n{position}"), uid: "u".into() };
        node.block_on(|consensus| async move { consensus.heartbeat(beat, soon()).await }).unwrap();
    }
    for position in 0..3 {
        assert!(cluster.nodes[leader].live().liveness.heard(&format!("n{position}"), "u"));
    }
}

#[test]
fn a_duty_is_bound_to_its_tenure_and_its_master() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let token = cluster.nodes[leader].token().unwrap();
    let duty = |id, token| {
        let mut duty = put(id, "duty", "1");
        duty.origin = Origin::Duty(token);
        duty
    };
    cluster.nodes[leader].propose(duty(1, token)).unwrap();
    let follower = cluster.followers()[0];
    let elsewhere = cluster.nodes[follower].propose(duty(2, token)).unwrap_err();
    assert_eq!(elsewhere, Error::Refused(Refusal::Fenced(token)));
    let old = state::Token(token.0 - 1);
    assert_eq!(cluster.nodes[leader].propose(duty(3, old)).unwrap_err(), Error::Refused(Refusal::Fenced(old)));
    let change = vec![Change::Delete { key: key("duty") }];
    cluster.nodes[follower].propose(transaction(4, Origin::Node("n".into()), Vec::new(), change)).unwrap();
}

#[test]
fn compaction_reaches_every_master() {
    let cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let revision = cluster.nodes[leader].write("a", "1").unwrap().revision();
    cluster.nodes[leader].write("a", "2").unwrap();
    cluster.nodes[leader].block_on(|node| async move { node.compact(revision).await }).unwrap();
    wait_until("all have forgotten", || {
        cluster.running().all(|node| node.live().replica.current().compacted() == revision)
    });
    let follower = cluster.followers()[0];
    let refused = cluster.nodes[follower].block_on(|node| async move { node.compact(revision).await });
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}
