//! Masters that come, go and come back.

use super::cluster::{Cluster, wait_until};
use crate::{Error, Member};

#[test]
fn the_second_master_votes_when_the_third_does() {
    let mut cluster = Cluster::new(1);
    cluster.join();
    cluster.nodes[0].write("a", "1").unwrap();
    assert_eq!(cluster.nodes[1].read("a"), Some("1".into()), "a learner serves, too");
    assert_eq!(cluster.voters(0), [1]);
    cluster.nodes[1].write("b", "1").unwrap();
    cluster.join();
    wait_until("all vote", || cluster.voters(1) == [1, 2, 3]);
}

#[test]
fn masters_that_join_late_get_a_snapshot() {
    let mut cluster = Cluster::with_snapshots(1, 20);
    for round in 0..150 {
        cluster.nodes[0].write(&format!("k{}", round % 30), &round.to_string()).unwrap();
    }
    wait_until("the log does not reach back to its beginning", || cluster.nodes[0].log_on_disk().0 > 60);
    for _ in 0..2 {
        let position = cluster.join();
        assert_eq!(cluster.nodes[position].read("k29"), Some("149".into()));
        assert_ne!(cluster.nodes[position].snapshots_installed(), 0);
    }
    wait_until("all vote", || cluster.voters(1) == [1, 2, 3]);
    cluster.settle();
}

#[test]
fn admission_is_idempotent_and_ids_are_not_shared() {
    let cluster = Cluster::new(3);
    let follower = cluster.followers()[0];
    let known = cluster.nodes[2].member();
    cluster.nodes[follower].block_on(|node| async move { node.admit(3, known).await }).unwrap();
    let other = Member { name: "other".into(), peer: "127.0.0.1:1".into(), api: String::new() };
    let refused = cluster.nodes[follower].block_on(|node| async move { node.admit(3, other).await });
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[test]
fn a_wiped_master_comes_back_under_a_new_id_in_its_old_place() {
    let mut cluster = Cluster::new(3);
    let gone = cluster.followers()[0];
    let gone_id = cluster.nodes[gone].id;
    cluster.nodes[gone].kill();
    let leader = cluster.wait_leader();
    cluster.nodes[leader].write("a", "1").unwrap();
    let position = cluster.add();
    let (id, name) = (cluster.nodes[position].id, format!("m{gone_id}"));
    let member = Member { name, ..cluster.nodes[position].member() };
    cluster.nodes[leader].block_on(|node| async move { node.admit(id, member).await }).unwrap();
    wait_until("it took the old place", || {
        let voters = cluster.voters(leader);
        voters.len() == 3 && voters.contains(&id) && !voters.contains(&gone_id)
    });
    assert_eq!(cluster.nodes[position].read("a"), Some("1".into()));
    let members = cluster.nodes[leader].live().consensus.status().members;
    assert!(members.iter().all(|member| member.id != gone_id), "{members:?}");
}

#[test]
fn removal_keeps_the_quorum() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.wait_leader();
    let leader_id = cluster.nodes[leader].id;
    let [dead, alive] = cluster.followers()[..] else { panic!("two followers") };
    let (dead_id, alive_id) = (cluster.nodes[dead].id, cluster.nodes[alive].id);
    let remove = |cluster: &Cluster, id| cluster.nodes[alive].block_on(|node| async move { node.remove(id).await });
    assert!(matches!(remove(&cluster, leader_id), Err(Error::Refused(_))));
    cluster.nodes[dead].kill();
    wait_until("its silence is noticed", || {
        let members = cluster.nodes[leader].live().consensus.status().members;
        members.iter().any(|member| member.id == dead_id && member.last_contact_ms.is_none_or(|ms| ms > 2_100))
    });
    let refused = remove(&cluster, alive_id);
    assert!(matches!(&refused, Err(Error::Refused(reason)) if reason.contains("stand still")), "{refused:?}");
    remove(&cluster, dead_id).unwrap();
    wait_until("it is gone", || cluster.voters(alive).len() == 2);
    cluster.nodes[alive].write("a", "1").unwrap();
}
