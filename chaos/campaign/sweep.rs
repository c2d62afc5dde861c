//! Election timers on slow disks: which settings hold a leader when every sync takes long, and what a failover then costs.

use std::time::Duration;

use client::Call;
use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::figures::{Samples, table};
use crate::fleet::{Program, Timers, wait};
use crate::{Cluster, Error, Fleet, Probe, Trouble, World};

/// Heartbeat, shortest and longest election timeout, in milliseconds; the second row is the default.
const TIMERS: [(u64, u64, u64); 3] = [(30, 80, 180), (60, 150, 350), (120, 300, 700)];
/// How long a sync takes, in milliseconds, on every master's disk.
const SYNCS: [u64; 5] = [1, 20, 50, 100, 300];
/// How long writers write while nothing else happens.
const STEADY: Duration = Duration::from_secs(10);
/// Writers on each master.
const WRITERS: usize = 2;
/// How often the leader is killed.
const KILLS: usize = 3;

/// Prints a row for each setting and speed. Measures, and promises nothing: always true.
///
/// # Errors
/// [`Error`] when a cluster cannot be driven.
pub async fn run() -> Result<bool, Error> {
    let mut rows = Vec::new();
    for (heartbeat, election_min, election_max) in TIMERS {
        for sync in SYNCS {
            let timers = Timers { heartbeat, election_min, election_max };
            let [elections, rate, failover] = match one(timers, Duration::from_millis(sync)).await {
                Ok((elections, rate, failover)) => [
                    elections.to_string(),
                    format!("{rate:.0}"),
                    format!("{:.0} / {:.0}", failover.quantile(0.5), failover.worst()),
                ],
                // That a setting does not carry a disk is a reading too.
                Err(Error::Late { what, seconds, .. }) => {
                    ["–".into(), "–".into(), format!("not within {seconds} s: {what}")]
                }
                Err(error) => return Err(error),
            };
            let row = vec![
                format!("{heartbeat} / {election_min}–{election_max}"),
                sync.to_string(),
                elections,
                rate,
                failover,
            ];
            eprintln!("  {}", row.join("  "));
            rows.push(row);
        }
    }
    let header =
        ["heartbeat / election, ms", "sync, ms", "needless elections", "writes/s", "failover, ms (median / worst)"];
    println!("{}", table(&header, &rows));
    Ok(true)
}

async fn one(timers: Timers, sync: Duration) -> Result<(u64, f64, Samples), Error> {
    let folder = tempfile::Builder::new().prefix("barque-chaos-").tempdir().map_err(Error::system("make a folder"))?;
    let barque = Cluster::binary_beside()?;
    let program = Program { path: barque.clone(), arguments: vec!["master".into()] };
    let mut fleet = Fleet::start(World::make(3)?, folder.path(), &barque, program, 3, timers).await?;
    for host in 0..fleet.len() {
        fleet.trouble(host, Trouble::SlowSync(sync));
    }
    let (_, before) = fleet.leader().await?;
    let writers = (0..fleet.len() * WRITERS)
        .map(|number| Ok(Probe::start(fleet.client(number % 3)?, &format!("steady-{number}"))))
        .collect::<Result<Vec<_>, Error>>()?;
    tokio::time::sleep(STEADY).await;
    let mut written = 0;
    for writer in writers {
        written += writer.finish().await.0.len();
    }
    let (_, after) = fleet.leader().await?;
    let mut failover = Samples::default();
    for kill in 0..KILLS {
        let (leader, _) = fleet.leader().await?;
        fleet.kill(leader)?;
        let began = Instant::now();
        let client = fleet.client((leader + 1) % fleet.len())?;
        wait("a write after the leader's death", Duration::from_secs(60), async || {
            let body =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": format!("kill-{kill}-")}});
            let path = "/api/v1/namespaces/default/configmaps";
            client.json(Call::new(Method::POST, path).json(&body).deadline(Duration::from_secs(5))).await?;
            Ok(Some(()))
        })
        .await?;
        failover.add(began.elapsed());
        fleet.launch(leader)?;
        fleet.all_ready().await?;
    }
    let rate = written as f64 / STEADY.as_secs_f64();
    Ok((after.saturating_sub(before), rate, failover))
}
