//! A master with a planted fault, for the proof that the campaign finds it. Never part of a product.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chaos::Flaw;
use clap::Parser;
use serde::Deserialize;
use state::{Committed, Origin, Transaction};
use storage::Storage;
use store::proposer::Boxed;
use store::{Beat, Error, Proposer};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a duty's write is held up.
const HELD_UP: Duration = Duration::from_millis(1_000);
/// How long it may take afterwards.
const PATIENCE: Duration = Duration::from_secs(10);

/// A master with a fault.
#[derive(Debug, Parser)]
#[command(name = "flawed")]
struct Cli {
    /// stale-read, early-acknowledgement, unfenced-duty or slow-duty
    flaw: Flaw,
    /// The master's configuration, as the campaign writes it
    #[arg(long)]
    config: PathBuf,
}

/// The keys that the campaign writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    dir: PathBuf,
    api: Port,
    peers: Port,
    join: Option<Join>,
    timers: Timers,
}

#[derive(Debug, Deserialize)]
struct Port {
    listen: SocketAddr,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    masters: Vec<String>,
    token_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timers {
    heartbeat_ms: u64,
    election_ms_min: u64,
    election_ms_max: u64,
    snapshot_every: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let outcome = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(&cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flawed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), String> {
    base::telemetry::init(base::telemetry::Format::Text, "info,openraft=off").map_err(|error| error.to_string())?;
    let text = std::fs::read_to_string(&cli.config).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let parts = match cli.flaw {
        Flaw::StaleRead => {
            master::Parts { proposer: |own| Arc::new(Flawed { own, flaw: Flaw::StaleRead }), ..Default::default() }
        }
        Flaw::EarlyAcknowledgement => master::Parts { open: Storage::open_lagging, ..Default::default() },
        Flaw::UnfencedDuty => {
            master::Parts { proposer: |own| Arc::new(Flawed { own, flaw: Flaw::UnfencedDuty }), ..Default::default() }
        }
        Flaw::SlowDuty => {
            master::Parts { proposer: |own| Arc::new(Flawed { own, flaw: Flaw::SlowDuty }), ..Default::default() }
        }
    };
    let shutdown = base::Shutdown::new();
    let (up, _) = oneshot::channel();
    let running = master::run_with(options(file)?, parts, up, shutdown.stopping());
    running.await.map_err(|error| error.to_string())
}

fn options(file: File) -> Result<master::Options, String> {
    let port = |port: Port| master::Port { listen: port.listen, advertise: port.listen.to_string() };
    let joined = file.dir.join("master.json").exists();
    let join = match file.join.filter(|_| !joined) {
        Some(join) => {
            let token = std::fs::read_to_string(&join.token_file).map_err(|error| error.to_string())?;
            let token = token.trim().parse().map_err(|error: identity::Error| error.to_string())?;
            Some(master::JoinOptions { masters: join.masters, token, deadline: PATIENCE })
        }
        None => None,
    };
    let ms = Duration::from_millis;
    Ok(master::Options {
        name: file.name,
        dir: file.dir,
        api: port(file.api),
        peers: port(file.peers),
        names: Vec::new(),
        join,
        timers: master::Timers {
            heartbeat: ms(file.timers.heartbeat_ms),
            election_min: ms(file.timers.election_ms_min),
            election_max: ms(file.timers.election_ms_max),
        },
        snapshot_every: file.timers.snapshot_every,
        node_grace: ms(4_000),
    })
}

/// Stands between the store and consensus, and does wrong.
struct Flawed {
    own: Arc<dyn Proposer>,
    flaw: Flaw,
}

impl Proposer for Flawed {
    fn propose(&self, mut transaction: Transaction, deadline: Instant) -> Boxed<'_, Result<Committed, Error>> {
        if self.flaw == Flaw::StaleRead || !matches!(transaction.origin, Origin::Duty(_)) {
            return self.own.propose(transaction, deadline);
        }
        let (own, flaw) = (Arc::clone(&self.own), self.flaw);
        // A task of its own: the end of the tenure drops whoever waits, but what was under way goes on.
        let task = tokio::spawn(async move {
            tokio::time::sleep(HELD_UP).await;
            if flaw == Flaw::UnfencedDuty {
                transaction.origin = Origin::Client("flawed".into());
            }
            own.propose(transaction, Instant::now() + PATIENCE).await
        });
        Box::pin(async move { task.await.unwrap_or_else(|error| Err(Error::Unknown(error.to_string()))) })
    }

    fn read_barrier(&self, deadline: Instant) -> Boxed<'_, Result<(), Error>> {
        if self.flaw == Flaw::StaleRead { Box::pin(async { Ok(()) }) } else { self.own.read_barrier(deadline) }
    }

    fn heartbeat(&self, beat: Beat, deadline: Instant) -> Boxed<'_, Result<(), Error>> {
        self.own.heartbeat(beat, deadline)
    }
}
