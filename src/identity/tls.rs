//! TLS set-ups, one for each kind of connection in a cluster.
//!
//! All of them name their cryptography explicitly, take certificates through [`ReloadableCert`], and
//! keep no sessions: a resumed session would carry an identity past the end of its certificate.

use crate::trust::Trust;
use crate::verify::{Anchor, ClientIsMaster, ServerIs, Servers};
use crate::{Error, ReloadableCert};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// The protocols offered where HTTP/2 and HTTP/1.1 are both spoken, the preferred one first.
const ALPN_HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The cryptography of every TLS connection: ring.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For a master's peer port: the caller must show a certificate of the `peers` authority.
///
/// # Errors
/// [`Error::Tls`] or [`Error::Certificate`] when the parts cannot be used.
pub fn peer_server(peers: &Trust, own: Arc<ReloadableCert>) -> Result<Arc<ServerConfig>, Error> {
    server(client_verifier(peers, false)?, own, &[])
}

/// For calling another master's peer port. Verify it under [`crate::names::peer_server_name`].
///
/// # Errors
/// As [`peer_server`].
pub fn peer_client(peers: &Trust, own: Arc<ReloadableCert>) -> Result<Arc<ClientConfig>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(peers.roots()?), provider())
        .build()
        .map_err(Error::tls)?;
    let builder = client_builder()?.with_webpki_verifier(verifier);
    Ok(finish_client(builder.with_client_cert_resolver(own), &[]))
}

/// For a master's API port: client certificates are welcome, not required, and must be of the
/// `clients` authority. Offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// As [`peer_server`].
pub fn api_server(clients: &Trust, own: Arc<ReloadableCert>) -> Result<Arc<ServerConfig>, Error> {
    server(client_verifier(clients, true)?, own, &ALPN_HTTP)
}

/// For calling the API: accepts any master whose certificate is of the `serving` authority, under
/// whatever name or address it is reached. Prefers HTTP/2.
///
/// # Errors
/// As [`peer_server`].
pub fn api_client(serving: &Trust, own: Option<Arc<ReloadableCert>>) -> Result<Arc<ClientConfig>, Error> {
    client_of(Servers::Masters(Anchor::Roots(serving.roots()?)), own)
}

/// For an agent's own port: the caller must show a master's certificate of the `clients` authority.
/// Offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// As [`peer_server`].
pub fn agent_server(clients: &Trust, own: Arc<ReloadableCert>) -> Result<Arc<ServerConfig>, Error> {
    let chain = client_verifier(clients, false)?;
    server(Arc::new(ClientIsMaster { chain }), own, &ALPN_HTTP)
}

/// For a master that calls an agent. Verify it under [`crate::names::agent_server_name`]. Speaks
/// HTTP/1.1, which connections that are upgraded (exec, attach, port-forward) need.
///
/// # Errors
/// As [`peer_server`].
pub fn agent_client(serving: &Trust, own: Arc<ReloadableCert>) -> Result<Arc<ClientConfig>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(serving.roots()?), provider())
        .build()
        .map_err(Error::tls)?;
    let builder = client_builder()?.with_webpki_verifier(verifier);
    Ok(finish_client(builder.with_client_cert_resolver(own), &ALPN_HTTP[1..]))
}

/// For joining, when only the SHA-256 of the `serving` authority's certificate (64 hex digits) is
/// known: accepts exactly the masters whose authority has it. Prefers HTTP/2.
///
/// # Errors
/// [`Error::TokenMalformed`] when `authority_hash` is not a SHA-256.
pub fn pinned_client(authority_hash: &str) -> Result<Arc<ClientConfig>, Error> {
    let hash = parse_hash(authority_hash).ok_or(Error::TokenMalformed("its hash is not 64 hex digits"))?;
    client_of(Servers::Masters(Anchor::Pinned(hash)), None)
}

/// For asking whether somebody answers, and nothing else: accepts any server. Never send a
/// credential, a token or data over it, and believe nothing that it brings but "I am here".
///
/// # Errors
/// [`Error::Tls`] when the parts cannot be used.
pub fn unchecked_client() -> Result<Arc<ClientConfig>, Error> {
    client_of(Servers::Anyone, None)
}

fn server(
    verifier: Arc<dyn ClientCertVerifier>,
    own: Arc<ReloadableCert>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn client_verifier(trust: &Trust, optional: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(trust.roots()?), provider());
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(Error::tls)
}

fn client_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(Error::tls)
}

fn client_of(accepted: Servers, own: Option<Arc<ReloadableCert>>) -> Result<Arc<ClientConfig>, Error> {
    let verifier = Arc::new(ServerIs { accepted, provider: provider() });
    let builder = client_builder()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(finish_client(
        match own {
            Some(own) => builder.with_client_cert_resolver(own),
            None => builder.with_no_client_auth(),
        },
        &ALPN_HTTP,
    ))
}

fn finish_client(mut config: ClientConfig, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}
