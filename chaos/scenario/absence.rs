//! All masters are gone for minutes: containers run on, and nothing is evicted when the masters are back.

use std::time::Duration;

use chaos::{Cluster, Error};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{check, workload};

/// How often the containers are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What a master that is back could still do wrong, it does within several graces.
const AFTERMATH: Duration = Duration::from_secs(15);

/// Kills all masters, looks at the containers for so long, and starts the masters again.
pub async fn measure(cluster: &Cluster, absence: Duration) -> Result<bool, Error> {
    workload::ensure(cluster).await?;
    let client = cluster.gateway_client()?;
    let before = workload::fingerprint(&client).await?;
    let running = cluster.containers()?;
    for master in cluster.masters()? {
        cluster.signal(master.pid, Signal::SIGKILL)?;
        cluster.ended(master.pid)?;
    }
    let mut held = true;
    let began = Instant::now();
    while began.elapsed() < absence {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = cluster.containers()?;
        held &= check(seen == running, &format!("containers changed without masters: {running:?} became {seen:?}"));
        eprintln!("  {:4.0} s without masters, {} containers run", began.elapsed().as_secs_f64(), seen.len());
    }
    let back = Instant::now();
    cluster.up()?;
    println!(
        "{:.0} s without masters; all nodes Ready {:.1} s after the masters' start.",
        (back - began).as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    tokio::time::sleep(AFTERMATH).await;
    held &= check(cluster.nodes()?.iter().all(|node| node.ready), "every node is Ready again");
    held &= check(before == workload::fingerprint(&client).await?, "pods, nodes and containers are the same");
    held &= check(running == cluster.containers()?, "the containers are the same");
    Ok(held)
}
