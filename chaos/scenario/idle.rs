//! What a cluster costs when nothing happens.

use std::time::Duration;

use chaos::figures::table;
use chaos::{Cluster, Error};

use super::check;

/// How long the cluster is left alone before it is weighed.
const REST: Duration = Duration::from_secs(20);

/// Weighs each process.
pub async fn measure(cluster: &Cluster) -> Result<bool, Error> {
    tokio::time::sleep(REST).await;
    let resident = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok())
            .map_or(f64::NAN, |kib| kib / 1_024.0)
    };
    let masters: Vec<f64> = cluster.masters()?.iter().map(|one| resident(one.pid)).collect();
    let nodes: Vec<f64> = cluster.nodes()?.iter().map(|one| resident(one.pid)).collect();
    let worst = |readings: &[f64]| readings.iter().copied().fold(0.0, f64::max);
    let shown = |readings: &[f64]| readings.iter().map(|one| format!("{one:.0}")).collect::<Vec<_>>().join(", ");
    let rows = [
        vec!["masters, MB resident".to_owned(), shown(&masters), "80".to_owned()],
        vec!["agents, MB resident".to_owned(), shown(&nodes), "40".to_owned()],
        vec!["`barque up` to all nodes Ready, s".to_owned(), format!("{:.1}", cluster.up_seconds()), "10".to_owned()],
    ];
    println!("{}", table(&["idle", "reading", "at most"], &rows));
    let mut held = check(worst(&masters) <= 80.0, "a master is over 80 MB");
    held &= check(worst(&nodes) <= 40.0, "an agent is over 40 MB");
    held &= check(cluster.up_seconds() <= 10.0, "up took over 10 s");
    Ok(held)
}
