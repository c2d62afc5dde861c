//! The `barque` command: arguments in, exit code out.

mod cli;
mod config;
mod down;
mod error;
mod gateway;
mod kubeconfig;
mod layout;
mod master;
mod members;
mod node;
mod process;
mod progress;
mod status;
mod token;
mod up;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
pub use error::Error;

fn main() -> ExitCode {
    // clap itself ends with 2 on wrong usage, as the contract wants.
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(cli.command.threads())
        .build()
        .map_err(|source| Error::File { action: "start the runtime of", path: "barque".into(), source })
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Usage(message)) => {
            eprintln!("barque: {message}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("barque: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Down(args) => down::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Master(args) => master::run(args).await,
        Command::Node(args) => node::run(args).await,
        Command::Gateway(args) => gateway::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Kubeconfig(args) => kubeconfig::run(args),
    }
}
