//! This master's own certificates: issued at each start by the authority in its folder, renewed while it runs.

use std::sync::Arc;
use std::time::Duration;

use base::Stopping;
use identity::{Authority, ReloadableCert, tls};
use rustls::{ClientConfig, ServerConfig};
use tracing::{error, info};

use crate::{Error, Options, Record};

/// How often the certificates' age is looked at; they live for a year.
const CHECK_EVERY: Duration = Duration::from_secs(3_600);

/// The certificates in use and the TLS set-ups that read them.
#[derive(Clone)]
pub struct Certificates {
    id: u64,
    names: Vec<String>,
    peer: Arc<ReloadableCert>,
    api: Arc<ReloadableCert>,
    agents: Arc<ReloadableCert>,
    /// For the port that masters use among themselves.
    pub peer_server: Arc<ServerConfig>,
    /// For calling other masters.
    pub peer_client: Arc<ClientConfig>,
    /// For the API port.
    pub api_server: Arc<ServerConfig>,
    /// For calling agents.
    pub agent_client: Arc<ClientConfig>,
}

impl Certificates {
    /// Issues all certificates anew.
    pub fn issue(authority: &Authority, record: &Record, options: &Options) -> Result<Self, Error> {
        let host = |address: &str| {
            address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']).to_owned()
        };
        let mut names = vec![host(&options.api.advertise), options.name.clone()];
        names.extend(options.names.iter().cloned());
        let peer = ReloadableCert::new(authority.master_peer(record.id)?)?;
        let api = ReloadableCert::new(authority.api_serving(record.id, &names)?)?;
        let agents = ReloadableCert::new(authority.master_client(record.id)?)?;
        Ok(Self {
            id: record.id,
            names,
            peer_server: tls::peer_server(&authority.peers()?, Arc::clone(&peer))?,
            peer_client: tls::peer_client(&authority.peers()?, Arc::clone(&peer))?,
            api_server: tls::api_server(&authority.clients()?, Arc::clone(&api))?,
            agent_client: tls::agent_client(&authority.serving()?, Arc::clone(&agents))?,
            peer,
            api,
            agents,
        })
    }

    /// Issues each certificate again when two thirds of its life are over; new connections use the new one.
    pub async fn keep_fresh(self, authority: Arc<Authority>, stopping: Stopping) {
        while stopping.sleep(CHECK_EVERY).await {
            let now = base::clock::now();
            let all = [&self.peer, &self.api, &self.agents];
            if !all.iter().any(|certificate| certificate.needs_renewal(now)) {
                continue;
            }
            match self.renew(&authority) {
                Ok(()) => info!("certificates renewed"),
                Err(error) => error!(%error, "certificates could not be renewed; next try in an hour"),
            }
        }
    }

    fn renew(&self, authority: &Authority) -> Result<(), identity::Error> {
        self.peer.replace(authority.master_peer(self.id)?)?;
        self.api.replace(authority.api_serving(self.id, &self.names)?)?;
        self.agents.replace(authority.master_client(self.id)?)
    }
}
