//! The cluster's network on a Docker engine: one bridge per cluster, so that all pods on the engine reach each other,
//! whichever node they belong to.

use super::convert::label_filter;
use super::engine::Docker;
use crate::labels::{CLUSTER, Labels};
use crate::limits::{CREATE_DEADLINE, QUESTION_DEADLINE, REMOVE_DEADLINE};
use crate::{Error, Result};
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use std::collections::HashMap;
use tracing::{debug, info};

/// The network that a cluster's pods are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterNetwork {
    pub id: String,
    /// Its address range (CIDR).
    pub range: String,
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
            None => {
                let made = self.make_network().await?;
                // Several nodes may have made one at the same time, since old engines allow equal names. All choose
                // the same one here; who made another takes it away again, before any pod uses it.
                let chosen = self.find_network().await?.ok_or_else(|| Error::not_found("of the network"))?;
                if chosen.id != made {
                    debug!(%made, chosen = %chosen.id, "another node made the cluster's network first");
                    self.remove_network(&made).await?;
                }
                chosen
            }
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

    async fn make_network(&self) -> Result<String> {
        let cluster = &self.scope.cluster;
        let request = NetworkCreateRequest {
            name: format!("barque_{cluster}"),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([(CLUSTER.to_owned(), cluster.clone())])),
            ..Default::default()
        };
        let call = |client: bollard::Docker| async move { client.create_network(request).await };
        match self.call("creating the cluster's network", CREATE_DEADLINE, call).await {
            Ok(made) => {
                info!(%cluster, id = %made.id, "made the cluster's network");
                Ok(made.id)
            }
            // New engines refuse equal names: another node was first, and its network will be found.
            Err(Error::Engine { status: 409, .. }) => {
                let found = self.find_network().await?;
                found.map(|network| network.id).ok_or_else(|| {
                    Error::invalid(format!("a network named barque_{cluster} exists without our label: remove it"))
                })
            }
            Err(Error::Engine { what, status, message }) if message.contains("address pool") => {
                let message = format!("{message}: remove unused networks (docker network prune)");
                Err(Error::Engine { what, status, message })
            }
            Err(error) => Err(error),
        }
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
