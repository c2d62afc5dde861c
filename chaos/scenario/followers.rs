//! Faults of followers: nobody may notice.

use std::time::Duration;

use chaos::figures::{Samples, longest, table};
use chaos::{Cluster, Error, Master, Probe};
use nix::sys::signal::Signal;

use super::{check, leader, workload};

/// How long a follower is frozen, or stays dead.
const OUTAGE: Duration = Duration::from_secs(5);

/// Freezes and kills each follower in turn, so many times each.
pub async fn measure(cluster: &Cluster, runs: usize) -> Result<bool, Error> {
    workload::ensure(cluster).await?;
    let mut rows = Vec::new();
    let mut held = true;
    for (name, signal) in [("SIGSTOP 5 s", Signal::SIGSTOP), ("SIGKILL, restart", Signal::SIGKILL)] {
        let (mut gaps, mut failed) = (Samples::default(), 0);
        for run in 0..2 * runs {
            let followers: Vec<Master> = cluster.masters()?.into_iter().filter(|one| one.role == "follower").collect();
            let follower = followers
                .get(run % followers.len().max(1))
                .ok_or_else(|| Error::Answer("there is no follower".into()))?;
            let (leader, term) = (cluster.leader()?, cluster.term()?);
            // A gateway leads new connections to the leader, once it knows which one that is.
            let client = cluster.gateway_client()?;
            let before = (workload::fingerprint(&client).await?, workload::readiness(&client).await?);
            let probe = Probe::start(client.clone(), &format!("follower-{}-{run}", signal as i32));
            cluster.signal(follower.pid, signal)?;
            tokio::time::sleep(OUTAGE).await;
            if signal == Signal::SIGSTOP {
                cluster.signal(follower.pid, Signal::SIGCONT)?;
            } else {
                cluster.up()?;
            }
            // What a follower that is back could still do wrong, it does within a few election timeouts.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (written, failures) = probe.finish().await;
            gaps.add(longest(&written));
            failed += failures;
            held &= check(cluster.leader()?.name == leader.name, &format!("{name}: the leader changed"));
            held &= check(cluster.term()? == term, &format!("{name}: the term changed"));
            held &= check(before.1 == workload::readiness(&client).await?, "no agent goes NotReady");
            held &= check(before.0 == workload::fingerprint(&client).await?, "no container restarts");
            held &= leader::lost_none(cluster, &written.iter().map(|one| one.name.clone()).collect::<Vec<_>>()).await?;
        }
        held &= check(failed == 0, &format!("{name}: {failed} writes failed"));
        rows.push(vec![
            name.to_owned(),
            (2 * runs).to_string(),
            failed.to_string(),
            format!("{:.0} / {:.0}", gaps.quantile(0.5), gaps.worst()),
        ]);
    }
    println!("{}", table(&["a follower gets", "runs", "failed writes", "longest gap, ms (median / worst)"], &rows));
    Ok(held)
}
