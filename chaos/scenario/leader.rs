//! Faults of the leader: killed, frozen, asked to stop; on a quiet cluster and on a busy one.

use std::time::Duration;

use chaos::figures::{Samples, longest, table};
use chaos::{Cluster, Error, Probe};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{check, workload};

/// What the issue of the day allows, in milliseconds.
struct Bounds {
    first_write: f64,
    first_pod: f64,
}

/// A fault, and what goes on when it happens.
#[derive(Clone, Copy)]
struct Case {
    /// As the table names it.
    name: &'static str,
    signal: Signal,
    /// Clients that write without pause besides the one that measures.
    load: usize,
    /// Whether one of the survivors has just been frozen, so that its log is behind.
    lagging: bool,
}

/// How long the survivor is frozen that is to lag.
const LAG: Duration = Duration::from_millis(1_000);
/// Clients of a busy cluster.
const LOAD: usize = 16;

/// Runs each fault whose name contains `only`, and prints one row for each.
pub async fn measure(cluster: &Cluster, runs: usize, only: &str) -> Result<bool, Error> {
    workload::ensure(cluster).await?;
    let case = |name, signal, load, lagging| Case { name, signal, load, lagging };
    let kill = || Bounds { first_write: 2_000.0, first_pod: 3_000.0 };
    let faults = [
        (case("SIGKILL", Signal::SIGKILL, 0, false), runs, kill()),
        (case("SIGKILL, 16 writers", Signal::SIGKILL, LOAD, false), runs, kill()),
        (case("SIGKILL, 16 writers, one lags", Signal::SIGKILL, LOAD, true), runs, kill()),
        (
            case("SIGSTOP", Signal::SIGSTOP, 0, false),
            runs.div_ceil(2),
            Bounds { first_write: 4_000.0, first_pod: 5_000.0 },
        ),
        (
            case("SIGTERM", Signal::SIGTERM, 0, false),
            runs.div_ceil(2),
            Bounds { first_write: 300.0, first_pod: 3_000.0 },
        ),
    ];
    let mut rows = Vec::new();
    let mut held = true;
    for (case, runs, bounds) in faults.into_iter().filter(|(case, ..)| case.name.contains(only)) {
        let name = case.name;
        let mut readings = Readings::default();
        for run in 1..=runs {
            held &= one(cluster, case, run, &mut readings).await?;
        }
        held &= check(readings.write.worst() <= bounds.first_write, &format!("{name}: first write"));
        held &= check(readings.pod.worst() <= bounds.first_pod, &format!("{name}: first pod"));
        let both = |samples: &Samples| format!("{:.0} / {:.0}", samples.quantile(0.5), samples.worst());
        rows.push(vec![
            name.to_owned(),
            runs.to_string(),
            both(&readings.write),
            both(&readings.pod),
            readings.terms.iter().max().copied().unwrap_or(0).to_string(),
        ]);
    }
    let header = ["leader gets", "runs", "first write, ms (median / worst)", "first pod scheduled, ms", "terms, worst"];
    println!("{}", table(&header, &rows));
    Ok(held)
}

#[derive(Default)]
struct Readings {
    write: Samples,
    pod: Samples,
    terms: Vec<u64>,
}

async fn one(cluster: &Cluster, case: Case, run: usize, readings: &mut Readings) -> Result<bool, Error> {
    let signal = case.signal;
    let name = format!("{}-{}-{}", signal.as_str().to_lowercase(), case.load, u8::from(case.lagging));
    let client = cluster.gateway_client()?;
    let before = (workload::fingerprint(&client).await?, workload::readiness(&client).await?);
    let (leader, term) = (cluster.leader()?, cluster.term()?);
    let probe = Probe::start(cluster.gateway_client()?, &format!("{name}-{run}"));
    let load = (0..case.load)
        .map(|number| Ok(Probe::start(cluster.gateway_client()?, &format!("{name}-{run}-load-{number}"))))
        .collect::<Result<Vec<_>, Error>>()?;
    warm(&probe).await?;
    let lagging = cluster.masters()?.into_iter().find(|master| case.lagging && master.role == "follower");
    if let Some(follower) = &lagging {
        cluster.signal(follower.pid, Signal::SIGSTOP)?;
        tokio::time::sleep(LAG).await;
    }
    let fault = Instant::now();
    cluster.signal(leader.pid, signal)?;
    if let Some(follower) = &lagging {
        cluster.signal(follower.pid, Signal::SIGCONT)?;
    }
    let pod = format!("probe-{name}-{run}");
    let (write, pod) =
        tokio::join!(probe.first_after(fault, Duration::from_secs(30)), workload::schedule_one(&client, &pod, fault));
    let (mut written, failures) = probe.finish().await;
    let after = written.iter().filter(|one| one.began > fault).count();
    let (write, pod) = both(write, pod, &format!("{after} other writes since the fault, {failures} failed"))?;
    // A stopping leader may go on accepting for a while: its gap is the longest silence, not the first success.
    readings.write.add(if signal == Signal::SIGTERM { longest(&written) } else { write });
    readings.pod.add(pod);
    for writer in load {
        written.extend(writer.finish().await.0);
    }
    if signal == Signal::SIGSTOP {
        cluster.signal(leader.pid, Signal::SIGCONT)?;
    } else {
        cluster.ended(leader.pid)?;
    }
    cluster.up()?;
    readings.terms.push(cluster.term()?.saturating_sub(term));
    let mut held = check(readings.terms.last() <= Some(&3), "at most three terms");
    held &= check(before.1 == workload::readiness(&client).await?, "no agent goes NotReady");
    held &= check(before.0 == workload::fingerprint(&client).await?, "no container restarts");
    workload::clear_probes(&client).await?;
    held &= lost_none(cluster, &written.iter().map(|one| one.name.clone()).collect::<Vec<_>>()).await?;
    Ok(held)
}

/// Both times, or the first failure with what the other client saw.
fn both(
    write: Result<Duration, Error>,
    pod: Result<Duration, Error>,
    seen: &str,
) -> Result<(Duration, Duration), Error> {
    let told = |error| match error {
        Error::Late { what, seconds, detail } => Error::Late { what, seconds, detail: format!("{detail} ({seen})") },
        other => other,
    };
    Ok((write.map_err(told)?, pod.map_err(told)?))
}

/// Waits until the probe writes steadily.
async fn warm(probe: &Probe) -> Result<(), Error> {
    let began = Instant::now();
    while probe.count().await < 20 {
        if began.elapsed() > Duration::from_secs(20) {
            let what = "twenty writes before the fault".to_owned();
            return Err(Error::Late { what, seconds: 20, detail: format!(": {} failed", probe.failures()) });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether every acknowledged write is there; removes them.
pub async fn lost_none(cluster: &Cluster, names: &[String]) -> Result<bool, Error> {
    let client = cluster.gateway_client()?;
    let list = client.json(client::Call::get("/api/v1/namespaces/default/configmaps")).await?;
    let found: std::collections::BTreeSet<&str> = list["items"]
        .as_array()
        .map(|items| items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect())
        .unwrap_or_default();
    let lost: Vec<&String> = names.iter().filter(|name| !found.contains(name.as_str())).collect();
    let held = check(lost.is_empty(), &format!("acknowledged writes are lost: {lost:?}"));
    client.json(client::Call::new(http::Method::DELETE, "/api/v1/namespaces/default/configmaps")).await?;
    Ok(held)
}
