//! Durable 1 KiB creates through the API, beside etcd's puts on the same machine in the same run, in alternation.

mod barque;
mod etcd;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use chaos::figures::table;
use chaos::{Cluster, Error, Shape};
use clap::Parser;
use load::Outcome;

/// Durable writes by 1, 16, 64 and 256 clients.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<usize>,
    /// Leave etcd out
    #[arg(long)]
    alone: bool,
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
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> Result<(), Error> {
    let shape = Shape { masters: 3, nodes: 0, runtime: "sim" };
    let cluster = Cluster::start(&Cluster::binary_beside()?, shape)?;
    let etcd = if cli.alone { None } else { Some(etcd::Trio::start().await?) };
    let duration = Duration::from_secs(cli.seconds);
    let mut rows = Vec::new();
    for &clients in &cli.clients {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..cli.rounds {
            if let Some(etcd) = &etcd {
                theirs.push(etcd.puts(clients, duration, round).await?);
            }
            ours.push(barque::creates(&cluster, clients, duration, round).await?);
        }
        let (ours, theirs) = (Outcome::median(&ours), Outcome::median(&theirs));
        let ratio = if theirs.rate > 0.0 { format!("{:.2}", ours.rate / theirs.rate) } else { "-".to_owned() };
        rows.push(vec![
            clients.to_string(),
            format!("{:.0}", ours.rate),
            format!("{:.1} / {:.1}", ours.p50_ms, ours.p99_ms),
            format!("{:.0}", theirs.rate),
            format!("{:.1} / {:.1}", theirs.p50_ms, theirs.p99_ms),
            ratio,
            format!("{}", ours.failed + theirs.failed),
        ]);
    }
    let header = ["clients", "barque/s", "p50 / p99 ms", "etcd/s", "p50 / p99 ms", "ratio", "failed"];
    println!("{}", table(&header, &rows));
    Ok(())
}
