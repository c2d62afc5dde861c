//! `barque gateway`: a local endpoint that passes connections on to a healthy master.

use client::{Endpoints, Gateway, Kubeconfig};
use tokio::net::TcpListener;
use tracing::info;

use crate::cli::GatewayArgs;
use crate::{Error, process};

/// Serves until a signal comes.
pub async fn run(args: GatewayArgs) -> Result<(), Error> {
    base::telemetry::init(base::telemetry::Format::Text, "info")?;
    let endpoints =
        Endpoints::in_order(args.masters.iter().map(|text| text.parse()).collect::<Result<Vec<_>, client::Error>>()?)?;
    let tls = match &args.kubeconfig {
        Some(path) => identity::tls::api_client(&Kubeconfig::load(path)?.trust, None)?,
        None => identity::tls::unchecked_client()?,
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(Error::file("listen on", std::path::Path::new(&args.listen.to_string())))?;
    info!(listen = %args.listen, masters = ?args.masters, "the gateway serves");
    let shutdown = base::Shutdown::new();
    let mut signals = base::shutdown::signals()?;
    let serving = base::task::spawn("gateway", Gateway::new(endpoints, tls).serve(listener, shutdown.stopping()));
    signals.next().await;
    process::announce_ending();
    shutdown.trigger();
    serving.join().await;
    Ok(())
}
