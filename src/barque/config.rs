//! Configuration files, parsed once into the options of the crates they configure. Every mistake names its key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cli::RuntimeChoice;

/// A master's file. `config/master.yaml` explains every key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MasterFile {
    /// Name of the master.
    pub name: String,
    /// Data folder.
    pub dir: PathBuf,
    /// The API port.
    pub api: PortFile,
    /// The port for other masters.
    pub peers: PortFile,
    /// Further names for the API certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How to join; without it an empty folder founds a new cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinFile>,
    /// Timers.
    #[serde(default)]
    pub timers: TimersFile,
}

/// A port in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortFile {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` as others reach it; the listening address where that is not a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

/// How to join, in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinFile {
    /// API addresses of masters.
    pub masters: Vec<String>,
    /// File that holds the token.
    pub token_file: PathBuf,
}

/// Timers in a file; those whose names say so in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TimersFile {
    /// Heartbeat of the leader to its followers.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower may stand for election.
    pub election_ms_min: u64,
    /// Longest.
    pub election_ms_max: u64,
    /// Silence after which a node is NotReady.
    pub node_grace_ms: u64,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// How long joining may take at the first start.
    pub join_ms: u64,
}

impl Default for TimersFile {
    fn default() -> Self {
        Self {
            heartbeat_ms: 60,
            election_ms_min: 150,
            election_ms_max: 350,
            node_grace_ms: 4_000,
            snapshot_every: 10_000,
            join_ms: 30_000,
        }
    }
}

/// A node's file. `config/node.yaml` explains every key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeFile {
    /// Name of the node.
    pub name: Option<String>,
    /// Data folder.
    pub dir: Option<PathBuf>,
    /// API addresses of masters.
    pub masters: Vec<String>,
    /// File that holds the join token.
    pub token_file: Option<PathBuf>,
    /// Address under which the node is reached.
    pub address: Option<IpAddr>,
    /// Port of the agent.
    pub port: Option<u16>,
    /// Address on which host ports are bound.
    pub host_port_address: Option<IpAddr>,
    /// Address of the local endpoint to the API.
    pub gateway: Option<SocketAddr>,
    /// What runs containers.
    pub runtime: Option<RuntimeChoice>,
    /// How many agents share this machine.
    pub share: Option<u32>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
}

/// Reads a YAML file.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        // Without the quoted lines around the mistake: an error is one line, and it names the place.
        let reason = error.without_snippet().to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Error::Parse { path: path.to_owned(), reason }
    })
}

/// Writes a file of ours. JSON is YAML, so one reader serves both.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Parse { path: path.to_owned(), reason: error.to_string() })?;
    identity::files::write_private(path, &text)?;
    Ok(())
}

/// Reads a join token from its file.
pub fn read_token(path: &Path) -> Result<identity::Token, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read the join token in", path))?;
    Ok(text.trim().parse()?)
}

impl PortFile {
    fn options(&self, key: &str) -> Result<master::Port, Error> {
        let advertise = match &self.advertise {
            Some(text) => text.clone(),
            None if self.listen.ip().is_unspecified() => {
                return Err(Error::Usage(format!(
                    "{key}.listen is {}, which no other machine can reach: set {key}.advertise to host:port",
                    self.listen
                )));
            }
            None => self.listen.to_string(),
        };
        Ok(master::Port { listen: self.listen, advertise })
    }
}

impl MasterFile {
    /// Refuses a folder of another cluster than the one whose token this master was given. A master that is in already
    /// needs no token: its file may be gone.
    fn check_cluster(&self, join: &JoinFile) -> Result<(), Error> {
        let Ok(token) = read_token(&join.token_file) else { return Ok(()) };
        let (authority, _) = master::administrator(&self.dir)?;
        if authority.serving()?.hash()? == token.authority_hash() {
            return Ok(());
        }
        Err(Error::OtherCluster { dir: self.dir.clone(), cluster: authority.cluster_id().to_owned() })
    }

    /// What the master is told.
    pub fn options(&self) -> Result<master::Options, Error> {
        let join = match &self.join {
            Some(join) if self.dir.join("master.json").exists() => {
                self.check_cluster(join)?;
                None
            }
            Some(join) => Some(master::JoinOptions {
                masters: join.masters.clone(),
                token: read_token(&join.token_file)?,
                deadline: Duration::from_millis(self.timers.join_ms),
            }),
            None => None,
        };
        let timers = &self.timers;
        if timers.election_ms_min >= timers.election_ms_max || timers.election_ms_min < 2 * timers.heartbeat_ms {
            return Err(Error::Usage(format!(
                "timers: heartbeatMs {} × 2 ≤ electionMsMin {} < electionMsMax {} must hold",
                timers.heartbeat_ms, timers.election_ms_min, timers.election_ms_max
            )));
        }
        Ok(master::Options {
            name: self.name.clone(),
            dir: self.dir.clone(),
            api: self.api.options("api")?,
            peers: self.peers.options("peers")?,
            names: self.names.clone(),
            join,
            timers: master::Timers {
                heartbeat: Duration::from_millis(timers.heartbeat_ms),
                election_min: Duration::from_millis(timers.election_ms_min),
                election_max: Duration::from_millis(timers.election_ms_max),
            },
            snapshot_every: timers.snapshot_every,
            node_grace: Duration::from_millis(timers.node_grace_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(yaml: &str) -> Result<master::Options, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.yaml");
        std::fs::write(&path, yaml).unwrap();
        read::<MasterFile>(&path).and_then(|file| file.options()).map_err(|error| error.to_string())
    }

    const GOOD: &str = "name: m\ndir: /d\napi: {listen: '127.0.0.1:1'}\npeers: {listen: '127.0.0.1:2'}\n";

    #[test]
    fn a_short_file_is_enough() {
        let options = master(GOOD).unwrap();
        assert_eq!(options.api.advertise, "127.0.0.1:1");
        assert_eq!(options.node_grace, Duration::from_secs(4));
    }

    #[test]
    fn the_samples_are_what_the_program_reads() {
        let master = parsed::<MasterFile>(include_str!("../../config/master.yaml"));
        let options = master.options().expect("the sample is complete");
        assert_eq!((options.peers.advertise.as_str(), options.join), ("10.0.0.1:6444", None));
        let defaults = TimersFile::default();
        let timers = serde_json::to_value(&master.timers).unwrap();
        assert_eq!(timers, serde_json::to_value(&defaults).unwrap(), "the sample shows the defaults");
        // What the sample explains in comments is right too.
        let text = include_str!("../../config/master.yaml");
        let commented = text.lines().filter_map(|line| line.strip_prefix("# "));
        let joining: Vec<&str> = commented.filter(|line| *line == "join:" || line.starts_with("  ")).collect();
        let join = parsed::<MasterFile>(&format!("{text}{}\n", joining.join("\n"))).join.expect("the commented part");
        assert_eq!((&*join.masters[0], join.token_file.to_str()), ("10.0.0.1:6443", Some("/etc/barque/token")));
        let node = parsed::<NodeFile>(include_str!("../../config/node.yaml"));
        assert_eq!((node.masters.len(), node.port, node.runtime), (3, Some(10_250), Some(RuntimeChoice::Docker)));
    }

    #[test]
    fn the_units_start_what_there_is() {
        for unit in
            [include_str!("../../config/barque-master.service"), include_str!("../../config/barque-node.service")]
        {
            let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
            let parsed = <crate::cli::Cli as clap::Parser>::try_parse_from(start.split(' '));
            assert!(parsed.is_ok(), "{start}");
        }
    }

    fn parsed<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.yaml");
        std::fs::write(&path, yaml).unwrap();
        read(&path).expect("it parses")
    }

    #[test]
    fn mistakes_name_their_key() {
        let rows = [
            (GOOD.replace("name: m", "nam: m"), "nam"),
            (GOOD.replace("127.0.0.1:1", "0.0.0.0:1"), "api.advertise"),
            (GOOD.replace("127.0.0.1:2", "nowhere"), "invalid socket address syntax at line 4"),
            (format!("{GOOD}timers: {{heartbeatMs: 100}}\n"), "electionMsMin"),
            (format!("{GOOD}join: {{masters: [a], tokenFile: /none}}\n"), "/none"),
        ];
        for (yaml, fragment) in rows {
            let error = master(&yaml).expect_err(&yaml);
            assert!(error.contains(fragment), "{error} lacks {fragment}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
