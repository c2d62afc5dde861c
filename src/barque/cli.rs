//! The grammar of the command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A container orchestrator that speaks the Kubernetes API and stays up.
#[derive(Debug, Parser)]
#[command(name = "barque", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a local cluster of separate processes, or what of it is not running
    Up(UpArgs),
    /// Stop a local cluster and remove its containers
    Down(DownArgs),
    /// Show the leader, the masters and the nodes; works without a quorum
    Status(StatusArgs),
    /// Run a master
    Master(MasterArgs),
    /// Run a node agent
    Node(NodeArgs),
    /// Run a local endpoint that passes connections on to a healthy master
    Gateway(GatewayArgs),
    /// Make join tokens
    Token(TokenArgs),
    /// Print an administrator's kubeconfig from a master's data folder
    Kubeconfig(KubeconfigArgs),
}

impl Command {
    /// Worker threads: a master uses the machine, the others are small and stay so.
    pub fn threads(&self) -> usize {
        match self {
            Self::Master(_) => std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8)),
            _ => 2,
        }
    }
}

/// `barque up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Number of masters
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub masters: u8,
    /// Number of node agents
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub nodes: u8,
    /// Folder of the cluster
    #[arg(long, default_value = ".barque")]
    pub dir: PathBuf,
    /// What runs containers; auto takes Docker where an engine answers
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Auto)]
    pub runtime: RuntimeChoice,
    /// Return once every node is Ready, instead of showing a live status
    #[arg(long)]
    pub detach: bool,
}

/// What runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    /// Docker where an engine answers, else simulated
    Auto,
    /// Docker
    Docker,
    /// Simulated: nothing really runs
    Sim,
}

impl RuntimeChoice {
    /// The choice as the runtime crate names it.
    pub fn backend(self) -> runtime::Backend {
        match self {
            Self::Auto => runtime::Backend::Auto,
            Self::Docker => runtime::Backend::Docker,
            Self::Sim => runtime::Backend::Sim,
        }
    }
}

/// `barque down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Folder of the cluster
    #[arg(long, default_value = ".barque")]
    pub dir: PathBuf,
    /// Remove the cluster's data too
    #[arg(long)]
    pub purge: bool,
}

/// Form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs; stable
    Json,
}

/// `barque status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Folder of a local cluster
    #[arg(long, default_value = ".barque")]
    pub dir: PathBuf,
    /// Kubeconfig of a cluster elsewhere, instead of --dir
    #[arg(long, conflicts_with = "dir")]
    pub kubeconfig: Option<PathBuf>,
    /// Form of output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// `barque master`.
#[derive(Debug, Args)]
pub struct MasterArgs {
    /// Configuration file; config/master.yaml is a commented sample
    #[arg(long)]
    pub config: PathBuf,
}

/// `barque node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Configuration file, instead of or beside the flags; config/node.yaml is a commented sample
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// API addresses of masters, separated by commas, in any order
    #[arg(long, value_delimiter = ',')]
    pub masters: Vec<String>,
    /// Join token for nodes; needed at the first start only
    #[arg(long)]
    pub token: Option<String>,
    /// Name of the node [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Data folder [default: /var/lib/barque/node]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Address under which masters and other nodes reach this one [default: that of the default route]
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// What runs containers
    #[arg(long, value_enum)]
    pub runtime: Option<RuntimeChoice>,
    /// Seconds that joining may take; masters may still be coming up, or be electing
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub join_seconds: u32,
}

/// `barque gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// API addresses of masters, separated by commas, in any order
    #[arg(long, value_delimiter = ',', required = true)]
    pub masters: Vec<String>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,
    /// Kubeconfig whose certificate authority the masters must have, and as whose user the cluster is asked for its masters;
    /// without it the list stays as given and the probes trust whoever answers, and your own client still checks
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

/// `barque token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do with tokens.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// `barque token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a join token and print it
    Create(TokenCreateArgs),
}

/// `barque token create`.
#[derive(Debug, Args)]
pub struct TokenCreateArgs {
    /// What the bearer may join as
    #[arg(long, value_parser = ["node", "master"])]
    pub role: String,
    /// Hours until it expires
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub hours: u32,
    /// How many machines may join with it; one that has to ask again counts once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,
    /// Kubeconfig of an administrator
    #[arg(long, env = "KUBECONFIG", default_value = ".barque/kubeconfig")]
    pub kubeconfig: PathBuf,
}

/// `barque kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// Data folder of a master on this machine
    #[arg(long, default_value = "/var/lib/barque/master")]
    pub dir: PathBuf,
    /// API addresses to put in, separated by commas; the first is the default context
    #[arg(long, value_delimiter = ',', required = true)]
    pub servers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contract_of_scripts_is_kept() {
        for line in [
            "barque up --masters 3 --nodes 3 --dir x --runtime sim --detach",
            "barque down --dir x --purge",
            "barque status --dir x -o json",
            "barque gateway --masters https://a:1,https://b:2",
            "barque master --config f",
            "barque node --masters a:1,b:2,c:3 --token t",
            "barque token create --role node",
            "barque token create --role master --uses 2 --hours 1",
            "barque kubeconfig --servers a:1",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "barque",
            "barque up --masters 0",
            "barque up --runtime lxc",
            "barque token create --role king",
            "barque token create --role node --uses 0",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
