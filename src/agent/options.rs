//! What an agent is told at its start.

use crate::Error;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What may be set for an agent.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name.
    pub node: String,
    /// The cluster's id. A data folder of another cluster is refused.
    pub cluster: String,
    /// The data folder: what must survive a restart, and the pods' volumes.
    pub dir: PathBuf,
    /// Where volumes that must not reach a disk (Secrets, emptyDir of medium Memory) lie; `None` puts them into `dir`.
    pub memory_dir: Option<PathBuf>,
    /// Where logs, exec, attach and port-forward are served.
    pub listen: SocketAddr,
    /// The address under which masters reach this node; it is also the host address of its pods.
    pub address: IpAddr,
    /// The port under which masters reach `listen`; `None` means the port that was opened.
    pub port: Option<u16>,
    /// Labels of the node beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// How many agents share this machine: each has its part of the processor and the memory. At least 1.
    pub share: u32,
    /// Most pods on the node.
    pub pods_max: u32,
    /// The address on which host ports are opened where a pod names none; `None` means all.
    pub host_port_address: Option<IpAddr>,
    /// A local endpoint that leads to a healthy master.
    pub gateway: Option<GatewayOptions>,
    /// The pause between two heartbeats.
    pub heartbeat: Duration,
    /// How long the container engine may give no list before the node is NotReady. A node that is NotReady loses its pods within
    /// seconds, and an engine that is restarted, or busy, is worth waiting for.
    pub engine_patience: Duration,
}

/// The local endpoint to the API.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// For its own probes of the masters, as of `identity::tls::api_client`.
    pub tls: Arc<rustls::ClientConfig>,
}

impl Options {
    /// The usual options of a node: 110 pods, a heartbeat each second, half a minute for its engine, the whole machine.
    pub fn new(
        node: impl Into<String>,
        cluster: impl Into<String>,
        dir: impl Into<PathBuf>,
        listen: SocketAddr,
        address: IpAddr,
    ) -> Self {
        Self {
            node: node.into(),
            cluster: cluster.into(),
            dir: dir.into(),
            memory_dir: crate::disk::memory_folder(),
            listen,
            address,
            port: None,
            labels: BTreeMap::new(),
            share: 1,
            pods_max: 110,
            host_port_address: None,
            gateway: None,
            heartbeat: Duration::from_secs(1),
            engine_patience: crate::limits::ENGINE_PATIENCE,
        }
    }

    /// Fails on options that contradict themselves.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Options(reason.to_owned()));
        if self.node.is_empty() || self.cluster.is_empty() {
            return refuse("node and cluster must not be empty");
        }
        if self.share == 0 || self.pods_max == 0 {
            return refuse("share and pods_max must be at least 1");
        }
        if self.heartbeat.is_zero() {
            return refuse("the heartbeat must not be zero");
        }
        if self.address.is_unspecified() {
            return refuse("address must be one that others can reach");
        }
        Ok(())
    }
}
