//! `barque token create`: a join token, kept in the cluster as a hash.

use std::path::Path;
use std::time::Duration;

use client::{Call, Client, Endpoints, Kubeconfig};
use http::Method;
use identity::{ReloadableCert, Role, Token, Trust, tls};

use crate::Error;
use crate::cli::{TokenArgs, TokenCommand};

/// How long making a token may take: an election may be under way.
const DEADLINE: Duration = Duration::from_secs(15);

/// Makes a token and prints it.
pub async fn run(args: TokenArgs) -> Result<(), Error> {
    let TokenCommand::Create(args) = args.command;
    let role: Role = args.role.parse()?;
    let (client, trust) = administrator(&args.kubeconfig)?;
    let token = create(&client, &trust, role, args.hours, args.uses).await?;
    println!("{}", token.expose());
    let machines = if args.uses == 1 { "one machine".to_owned() } else { format!("{} machines", args.uses) };
    eprintln!(
        "A token for {machines} to join as {role}, valid for {} h. Whoever has it can join: keep it secret.",
        args.hours
    );
    Ok(())
}

/// Makes a token that so many may join with, and stores its record in the cluster.
pub async fn create(client: &Client, serving: &Trust, role: Role, hours: u32, uses: u32) -> Result<Token, Error> {
    let token = Token::new(role, serving.hash()?);
    let expires = base::clock::now() + Duration::from_secs(3_600 * u64::from(hours));
    let secret = token.record(expires, Some(uses)).secret();
    let call = Call::new(Method::POST, "/api/v1/namespaces/kube-system/secrets").json(&secret).deadline(DEADLINE);
    // The name is random, so a repeat after a lost answer meets only itself.
    match client.json(call.repeatable()).await {
        Ok(_) => Ok(token),
        Err(error) if error.is_already_exists() => Ok(token),
        Err(error) => Err(error.into()),
    }
}

/// A client with the rights of a kubeconfig's user.
pub fn administrator(kubeconfig: &Path) -> Result<(Client, Trust), Error> {
    let file = Kubeconfig::load(kubeconfig)?;
    let own = file.credential.clone().map(ReloadableCert::new).transpose()?;
    let endpoints = Endpoints::in_order(file.servers.iter().map(|server| server.address.clone()))?;
    Ok((Client::new(endpoints, tls::api_client(&file.trust, own)?), file.trust))
}
