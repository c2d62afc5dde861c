//! Breaks clusters. Campaigns look for broken promises; measurements print the tables that `docs/numbers.md` holds.

mod scenario;

use std::process::ExitCode;
use std::time::Duration;

use chaos::campaign::{self, Plan};
use chaos::check::Verdict;
use chaos::{Cluster, Error, Flaw, Shape, world};
use clap::{Parser, Subcommand};
use scenario::{absence, followers, idle, leader, node};

/// Faults on real masters, and what they break or cost.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Cli {
    /// What to do; five minutes of campaign, rollouts and the planted faults when absent.
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Three masters in network namespaces are killed, frozen, cut off and robbed of their power under traffic; then the
    /// history is checked
    Campaign {
        /// How long faults go on
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// The same seed draws the same faults in the same order
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Leaders are frozen in the middle of a rollout, replaced and thawed
    Rollout {
        /// How many of them
        #[arg(long, default_value_t = 3)]
        rounds: u64,
    },
    /// Masters with a planted fault: it has to be found
    Planted {
        /// stale-read, early-acknowledgement, unfenced-duty or slow-duty; all of them when absent
        flaw: Option<Flaw>,
        /// Seed of the campaign
        #[arg(long)]
        seed: Option<u64>,
    },
    /// All measurements
    Numbers(Measured),
    /// Measures SIGKILL, SIGSTOP and SIGTERM of the leader
    Leader(Measured),
    /// Measures SIGSTOP for five seconds, and SIGKILL with restart, of each follower
    Followers(Measured),
    /// Measures what happens when an agent and its containers are killed
    Node(Measured),
    /// All masters are killed and stay away: nothing may be evicted or restarted
    Absence {
        /// How long they stay away
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
    },
    /// Measures failover and needless elections for several timers on disks of several speeds
    Timers,
    /// Measures resident memory of an idle cluster, and the time of `barque up`
    Idle(Measured),
    /// Loads the images of the tests and of config/web.yaml into the engine
    Images,
}

#[derive(Debug, Clone, clap::Args)]
struct Measured {
    /// `docker` or `sim`
    #[arg(long, default_value = "docker", value_parser = ["docker", "sim"])]
    runtime: String,
    /// Runs of each fault; worst and median are shown
    #[arg(long)]
    runs: Option<usize>,
    /// Only the faults of the leader whose row in the table contains this
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let apart = matches!(
        cli.what,
        None | Some(What::Campaign { .. } | What::Rollout { .. } | What::Planted { .. } | What::Timers)
    );
    let outcome = if apart { world::enter() } else { Ok(()) }
        .and_then(|()| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
            runtime.map_err(Error::system("start the runtime"))
        })
        .and_then(|runtime| runtime.block_on(run(cli.what)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("chaos: an invariant was broken; see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every invariant held.
async fn run(what: Option<What>) -> Result<bool, Error> {
    let Some(what) = what else {
        return Ok(campaign(5.0, None).await? & rollout(3).await? & planted(None, None).await?);
    };
    match &what {
        What::Campaign { minutes, seed } => campaign(*minutes, *seed).await,
        What::Rollout { rounds } => rollout(*rounds).await,
        What::Planted { flaw, seed } => planted(*flaw, *seed).await,
        What::Absence { minutes } => {
            chaos::ensure_image()?;
            absence::measure(&cluster("docker")?, minutes_long(*minutes)).await
        }
        What::Images => chaos::ensure_image().and_then(|()| chaos::ensure_nginx_image()).map(|()| true),
        What::Timers => campaign::sweep().await,
        What::Numbers(how) | What::Leader(how) | What::Followers(how) | What::Node(how) | What::Idle(how) => {
            measure(&what, how).await
        }
    }
}

async fn campaign(minutes: f64, seed: Option<u64>) -> Result<bool, Error> {
    let seed = drawn(seed);
    eprintln!("A campaign of {minutes} minutes, seed {seed}.");
    let report = campaign::run(&Plan::new(minutes_long(minutes), seed)?).await?;
    println!("{}", report.shown());
    Ok(report.passed())
}

async fn rollout(rounds: u64) -> Result<bool, Error> {
    eprintln!("{rounds} leaders frozen in the middle of a rollout, replaced and thawed.");
    let verdict = campaign::rollout(Plan::new(Duration::ZERO, 0)?.program, rounds).await?;
    if let Verdict::Violated(findings) = &verdict {
        findings.iter().for_each(|finding| println!("BROKEN {finding}"));
    }
    Ok(matches!(verdict, Verdict::Holds))
}

async fn planted(flaw: Option<Flaw>, seed: Option<u64>) -> Result<bool, Error> {
    let mut found = true;
    for flaw in flaw.map_or(Flaw::ALL.to_vec(), |one| vec![one]) {
        found &= campaign::prove(flaw, drawn(seed)).await?;
    }
    Ok(found)
}

fn minutes_long(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(60.0 * minutes).unwrap_or_default()
}

fn cluster(runtime: &'static str) -> Result<Cluster, Error> {
    Cluster::start(&Cluster::binary_beside()?, Shape { masters: 3, nodes: 3, runtime })
}

fn drawn(seed: Option<u64>) -> u64 {
    // Short enough to be typed again.
    seed.unwrap_or_else(|| u64::try_from(base::random::u128() % 1_000_000).unwrap_or(0))
}

/// Whether every bound was kept.
async fn measure(what: &What, how: &Measured) -> Result<bool, Error> {
    let runtime: &'static str = if how.runtime == "sim" { "sim" } else { "docker" };
    if runtime == "docker" {
        chaos::ensure_image()?;
    }
    let cluster = cluster(runtime)?;
    let outcome = readings(what, how, &cluster).await;
    // What the processes said is worth more than the error alone.
    if !matches!(outcome, Ok(true)) {
        eprintln!("The logs are kept in {}.", cluster.keep_logs()?.display());
    }
    outcome
}

async fn readings(what: &What, how: &Measured, cluster: &Cluster) -> Result<bool, Error> {
    let all = matches!(what, What::Numbers(_));
    let mut held = true;
    if all || matches!(what, What::Idle(_)) {
        held &= idle::measure(cluster).await?;
    }
    if all || matches!(what, What::Leader(_)) {
        held &= leader::measure(cluster, how.runs.unwrap_or(20), how.only.as_deref().unwrap_or("")).await?;
    }
    if all || matches!(what, What::Followers(_)) {
        held &= followers::measure(cluster, how.runs.unwrap_or(20)).await?;
    }
    if all || matches!(what, What::Node(_)) {
        held &= node::measure(cluster, how.runs.unwrap_or(10)).await?;
    }
    Ok(held)
}
