//! `barque master`: runs one master until a signal comes.

use tokio::sync::oneshot;
use tracing::info;

use crate::cli::MasterArgs;
use crate::config::MasterFile;
use crate::{Error, config, process};

/// Runs the master.
pub async fn run(args: MasterArgs) -> Result<(), Error> {
    // What ends raft ends this process, with one line that says why; raft's own many words would only surround it.
    base::telemetry::init(base::telemetry::Format::Text, "info,openraft=off")?;
    let file: MasterFile = config::read(&args.config)?;
    let options = file.options()?;
    let shutdown = base::Shutdown::new();
    let mut signals = base::shutdown::signals()?;
    let (up, _) = oneshot::channel();
    let stopping = shutdown.stopping();
    let mut running = std::pin::pin!(master::run(options, up, stopping));
    tokio::select! {
        outcome = &mut running => return Ok(outcome?),
        signal = signals.next() => {
            process::announce_ending();
            info!(signal, "stopping");
        }
    }
    shutdown.trigger();
    tokio::select! {
        outcome = running => Ok(outcome?),
        // An impatient operator: everything acknowledged is on disk already.
        signal = signals.next() => {
            info!(signal, "stopping at once");
            Ok(())
        }
    }
}
