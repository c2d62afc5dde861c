//! `barque gateway`: a local endpoint that passes connections on to a healthy master.

use client::gateway::{self, Health};
use client::{Client, Endpoints, Gateway, Kubeconfig};
use identity::{ReloadableCert, tls};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::cli::GatewayArgs;
use crate::{Error, process};

/// Serves until a signal comes.
pub async fn run(args: GatewayArgs) -> Result<(), Error> {
    base::telemetry::init(base::telemetry::Format::Text, "info")?;
    let endpoints =
        Endpoints::in_order(args.masters.iter().map(|text| text.parse()).collect::<Result<Vec<_>, client::Error>>()?)?;
    let kubeconfig = args.kubeconfig.as_deref().map(Kubeconfig::load).transpose()?;
    let probing = match &kubeconfig {
        Some(file) => tls::api_client(&file.trust, None)?,
        None => tls::unchecked_client()?,
    };
    let mut options = gateway::Options::default();
    // The cluster tells its masters to those that it knows only; without a user the list stays as given.
    if let Some(Kubeconfig { trust, credential: Some(own), .. }) = kubeconfig {
        let asking = tls::api_client(&trust, Some(ReloadableCert::new(own)?))?;
        options.refresh = Some(gateway::from_cluster(Client::new(endpoints.clone(), asking)));
    }
    let listener = TcpListener::bind(args.listen).await.map_err(|source| Error::Listen {
        what: "the gateway",
        address: args.listen,
        source,
    })?;
    info!(listen = %args.listen, masters = ?args.masters, "the gateway serves");
    let shutdown = base::Shutdown::new();
    let mut signals = base::shutdown::signals()?;
    let gateway = Gateway::with_options(endpoints, probing, options);
    let serving = base::task::spawn("gateway", gateway.clone().serve(listener, shutdown.stopping()));
    let looking = base::task::spawn("first look", report(gateway));
    signals.next().await;
    process::announce_ending();
    shutdown.trigger();
    looking.abort_and_join().await;
    serving.join().await;
    Ok(())
}

/// A list that names no master is no reason to end: masters may come up later, and so may the network that leads to them.
/// But it is said, once and plainly.
async fn report(gateway: Gateway) {
    let masters = gateway.first_look().await.masters;
    if masters.iter().any(|master| matches!(master.health, Health::Ready { .. } | Health::NotReady { .. })) {
        return;
    }
    let found: Vec<String> = masters
        .iter()
        .map(|master| match &master.health {
            Health::Down { reason } => format!("{}: {reason}", master.url),
            _ => format!("{}: not probed", master.url),
        })
        .collect();
    warn!(
        "no master answers ({}): connections are refused until one does; check that the masters run and that --masters \
         names them",
        found.join("; ")
    );
}
