//! The cluster's network on a Docker engine: one bridge per cluster, so that all pods on the engine reach each other,
//! whichever node they belong to.

use super::convert::label_filter;
use super::engine::Docker;
use crate::image::hex_sha256;
use crate::labels::{CLUSTER, Labels};
use crate::limits::{CREATE_DEADLINE, DIAL_DEADLINE, QUESTION_DEADLINE, REMOVE_DEADLINE};
use crate::{Connection, Error, Result, Sandbox};
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tracing::{debug, info};

/// The engine's option for the name of a network's bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// The network that a cluster's pods are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterNetwork {
    pub id: String,
    /// Its address range (CIDR).
    pub range: String,
}

/// Connects to a port of a sandbox.
pub(super) async fn dial(sandbox: &Sandbox, port: u16) -> Result<Connection> {
    let host = if sandbox.host_network { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { sandbox.address };
    let host = host.ok_or_else(|| Error::NotRunning { id: sandbox.id.clone() })?;
    let address = SocketAddr::new(host, port);
    let closed = |reason: String| Error::PortClosed { address: address.to_string(), reason };
    match tokio::time::timeout(DIAL_DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // What is typed at the other end must not wait for more.
            stream.set_nodelay(true).map_err(|error| closed(error.to_string()))?;
            Ok(Box::pin(stream))
        }
        Ok(Err(error)) => Err(closed(format!("connect: {}", words(&error)))),
        Err(_) => Err(closed("i/o timeout".to_owned())),
    }
}

/// A failure in the system's words, as Go shows them.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

impl Docker {
    /// The cluster's network, made if there is none.
    pub(super) async fn network(&self) -> Result<ClusterNetwork> {
        let known = self.known_network().clone();
        if let Some(network) = known {
            return Ok(network);
        }
        let network = match self.find_network().await? {
            Some(network) => network,
            None => self.make_network().await?,
        };
        *self.known_network() = Some(network.clone());
        Ok(network)
    }

    /// The cluster's network, if there is one: of several the oldest.
    pub(super) async fn find_network(&self) -> Result<Option<ClusterNetwork>> {
        let networks = self.cluster_networks().await?;
        let oldest = networks.into_iter().min_by_key(|network| (network.created.clone(), network.id.clone()));
        Ok(oldest.and_then(|network| {
            let range = network.ipam.and_then(|ipam| ipam.config)?.into_iter().find_map(|config| config.subnet)?;
            Some(ClusterNetwork { id: network.id?, range })
        }))
    }

    async fn cluster_networks(&self) -> Result<Vec<Network>> {
        let cluster = &self.scope.cluster;
        let options = ListNetworksOptions { filters: Some(label_filter(&[(CLUSTER, cluster)])) };
        let call = |client: bollard::Docker| async move { client.list_networks(Some(options)).await };
        let mut networks = self.call("listing networks", QUESTION_DEADLINE, call).await?;
        networks.retain(|network| network.labels.as_ref().is_some_and(|own| own.value(CLUSTER) == Some(cluster)));
        Ok(networks)
    }

    /// Makes the network, or finds the one that another node is making at the same time.
    ///
    /// Engines before 25 take any number of networks of one name, and then start nothing on any of them ("ambiguous"). The
    /// name of the bridge is theirs alone, so that it decides who is first.
    async fn make_network(&self) -> Result<ClusterNetwork> {
        let cluster = &self.scope.cluster;
        let (name, bridge) = (format!("barque_{cluster}"), bridge_name(cluster));
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([(CLUSTER.to_owned(), cluster.clone())])),
            options: Some(HashMap::from([(BRIDGE_NAME.to_owned(), bridge.clone())])),
            ..Default::default()
        };
        let call = |client: bollard::Docker| async move { client.create_network(request).await };
        match self.call("creating the cluster's network", CREATE_DEADLINE, call).await {
            Ok(made) => info!(%cluster, id = %made.id, "made the cluster's network"),
            Err(Error::Engine { status: 403 | 409, message, .. }) => {
                debug!(%cluster, message, "another node makes the cluster's network");
            }
            Err(error) => return Err(error),
        }
        // The first one holds the bridge before its network is listed.
        let mut backoff = base::Backoff::doubling(Duration::from_millis(20), Duration::from_secs(1));
        let appearing = async {
            loop {
                match self.find_network().await {
                    Ok(None) => backoff.wait().await,
                    Ok(Some(network)) => return Ok(network),
                    Err(error) => return Err(error),
                }
            }
        };
        base::within(QUESTION_DEADLINE, "finding the cluster's network", appearing).await.unwrap_or_else(|_| {
            Err(Error::invalid(format!(
                "a network {name} or a bridge {bridge} exists without our label: remove it (docker network rm)"
            )))
        })
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        let call = |client: bollard::Docker| async move { client.remove_network(id).await };
        match self.call("removing a network", REMOVE_DEADLINE, call).await {
            Err(Error::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) async fn remove_cluster_networks(&self) -> Result<usize> {
        let networks = self.cluster_networks().await?;
        let count = networks.len();
        for id in networks.into_iter().filter_map(|network| network.id) {
            self.remove_network(&id).await?;
        }
        Ok(count)
    }
}

/// The name of a cluster's bridge: always the same, and no longer than the kernel's 15 bytes.
fn bridge_name(cluster: &str) -> String {
    format!("bq{}", &hex_sha256(cluster.as_bytes())[..12])
}
