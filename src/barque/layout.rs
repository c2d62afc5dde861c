//! The folder of a local cluster: which processes it has, on which ports, and where their files lie.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::RuntimeChoice;
use crate::{Error, config};

/// Local nodes have addresses 127.0.0.11 and up, so that host ports of one do not collide with another's.
const NODE_ADDRESS_FIRST: u8 = 11;

/// Name of the process that the kubeconfig's default context uses.
pub const GATEWAY: &str = "gateway";

/// A local cluster, as its folder describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Format of this file.
    pub version: u32,
    /// What runs containers.
    pub runtime: RuntimeChoice,
    /// Masters, the founder first.
    pub masters: Vec<LocalMaster>,
    /// Nodes.
    pub nodes: Vec<LocalNode>,
    /// Port of the gateway that the kubeconfig's default context uses.
    pub gateway: u16,
}

/// A master of a local cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalMaster {
    /// Its name.
    pub name: String,
    /// Port of its API on 127.0.0.1.
    pub api: u16,
    /// Port for other masters.
    pub peers: u16,
}

/// A node of a local cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalNode {
    /// Its name.
    pub name: String,
    /// Its own loopback address.
    pub address: IpAddr,
    /// Port of its agent.
    pub port: u16,
    /// Port of its local endpoint to the API.
    pub gateway: u16,
}

impl Layout {
    /// Plans a new cluster on free ports.
    pub fn plan(masters: u8, nodes: u8, runtime: RuntimeChoice) -> Result<Self, Error> {
        let mut ports = Ports::default();
        let masters = (1..=masters)
            .map(|number| {
                Ok(LocalMaster { name: format!("master-{number}"), api: ports.draw()?, peers: ports.draw()? })
            })
            .collect::<Result<_, Error>>()?;
        let nodes = (1..=nodes)
            .map(|number| {
                Ok(LocalNode {
                    name: format!("node-{number}"),
                    address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, NODE_ADDRESS_FIRST + number - 1)),
                    port: ports.draw()?,
                    gateway: ports.draw()?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { version: 1, runtime, masters, nodes, gateway: ports.draw()? })
    }

    /// Reads the folder's plan; `None` when there is no cluster.
    pub fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join("cluster.json");
        if path.exists() { config::read(&path).map(Some) } else { Ok(None) }
    }

    /// Keeps the plan.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        config::write(&dir.join("cluster.json"), self)
    }

    /// API addresses of all masters, `host:port`.
    pub fn api_addresses(&self) -> Vec<String> {
        self.masters.iter().map(|master| format!("127.0.0.1:{}", master.api)).collect()
    }
}

/// Folder of one process.
pub fn process_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// Log of one process.
pub fn log_path(dir: &Path, name: &str) -> PathBuf {
    process_dir(dir, name).join("log")
}

/// The kubeconfig of a local cluster.
pub fn kubeconfig_path(dir: &Path) -> PathBuf {
    dir.join("kubeconfig")
}

/// The folder as an absolute path, so that processes started elsewhere find it.
pub fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(dir).map_err(Error::file("find", dir))
}

/// Draws free ports; each stays bound until all are drawn, so that none comes twice.
#[derive(Default)]
struct Ports {
    held: Vec<TcpListener>,
}

impl Ports {
    fn draw(&mut self) -> Result<u16, Error> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).map_err(Error::file("find a free port on", Path::new("127.0.0.1")))?;
        let port = listener.local_addr().map_err(Error::file("read the address of", Path::new("127.0.0.1")))?.port();
        self.held.push(listener);
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_distinct_ports_and_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Layout::load(folder.path()).unwrap().is_none());
        let plan = Layout::plan(3, 2, RuntimeChoice::Sim).unwrap();
        let mut ports: Vec<u16> = plan.masters.iter().flat_map(|master| [master.api, master.peers]).collect();
        ports.extend(plan.nodes.iter().flat_map(|node| [node.port, node.gateway]));
        ports.push(plan.gateway);
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!((count, ports.len()), (11, 11));
        plan.save(folder.path()).unwrap();
        let read = Layout::load(folder.path()).unwrap().expect("a cluster");
        assert_eq!(read.api_addresses(), plan.api_addresses());
        assert_eq!(read.nodes[1].address.to_string(), "127.0.0.12");
    }
}
