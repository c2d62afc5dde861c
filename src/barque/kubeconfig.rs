//! `barque kubeconfig`: an administrator's kubeconfig from a master's data folder.

use client::Kubeconfig;
use client::kubeconfig::Server;
use identity::{Authority, Credential};

use crate::Error;
use crate::cli::KubeconfigArgs;

/// Prints the kubeconfig.
pub fn run(args: KubeconfigArgs) -> Result<(), Error> {
    let (authority, credential) = master::administrator(&args.dir)?;
    let servers = args.servers.into_iter().enumerate().map(|(position, address)| {
        let name = if position == 0 { "barque".to_owned() } else { format!("barque-{}", position + 1) };
        (name, address)
    });
    print!("{}", assemble(servers.collect(), &authority, credential)?.to_yaml());
    Ok(())
}

/// A kubeconfig with a context for each `(name, host:port)`; the first is the default.
pub fn assemble(
    servers: Vec<(String, String)>,
    authority: &Authority,
    credential: Credential,
) -> Result<Kubeconfig, Error> {
    let servers = servers
        .into_iter()
        .map(|(name, address)| Ok(Server { name, address: address.parse()? }))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Kubeconfig {
        current: servers.first().map(|server| server.name.clone()).unwrap_or_default(),
        servers,
        user: "admin".into(),
        trust: authority.serving()?,
        credential: Some(credential),
    })
}
