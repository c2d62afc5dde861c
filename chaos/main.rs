//! Measures what a cluster does under faults, and prints the tables that `docs/numbers.md` holds.

mod scenario;

use std::process::ExitCode;

use chaos::{Cluster, Error, Shape};
use clap::{Parser, Subcommand};
use scenario::{followers, idle, leader, node};

/// Faults on a real local cluster, and what they cost.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Cli {
    /// What to measure; everything when absent.
    #[command(subcommand)]
    what: Option<What>,
    /// `docker` or `sim`
    #[arg(long, global = true, default_value = "docker", value_parser = ["docker", "sim"])]
    runtime: String,
    /// Runs of each fault; worst and median are shown
    #[arg(long, global = true)]
    runs: Option<usize>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// SIGKILL, SIGSTOP and SIGTERM of the leader
    Leader,
    /// SIGSTOP for five seconds, and SIGKILL with restart, of each follower
    Followers,
    /// An agent and its containers killed
    Node,
    /// Resident memory of an idle cluster, and the time of `barque up`
    Idle,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(Error::system("start the runtime"))
        .and_then(|runtime| runtime.block_on(measure(&cli)));
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
async fn measure(cli: &Cli) -> Result<bool, Error> {
    let runtime: &'static str = if cli.runtime == "sim" { "sim" } else { "docker" };
    if runtime == "docker" {
        chaos::ensure_image()?;
    }
    let cluster = Cluster::start(&Cluster::binary_beside()?, Shape { masters: 3, nodes: 3, runtime })?;
    let all = [What::Idle, What::Leader, What::Followers, What::Node];
    let wanted = cli.what.map_or(all.to_vec(), |one| vec![one]);
    let mut held = true;
    for what in wanted {
        held &= match what {
            What::Idle => idle::measure(&cluster).await?,
            What::Leader => leader::measure(&cluster, cli.runs.unwrap_or(20)).await?,
            What::Followers => followers::measure(&cluster, cli.runs.unwrap_or(20)).await?,
            What::Node => node::measure(&cluster, cli.runs.unwrap_or(10)).await?,
        };
    }
    Ok(held)
}
