//! TLS handshakes with a deadline, and who was found on the other side.

use crate::{Caller, Error};
use base::within;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// How long a peer may take for its part of a handshake. Generous for a slow link; short enough that
/// idle strangers do not collect.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Does the server's part of a handshake on `stream`, within [`HANDSHAKE_DEADLINE`], and says who
/// called: anonymous when no certificate was shown and none was required.
///
/// # Errors
/// [`Error::Handshake`] when it fails, [`Error::HandshakeTimeout`] when it takes too long,
/// [`Error::Certificate`] when the verified certificate names no user.
pub async fn accept<S>(config: Arc<ServerConfig>, stream: S) -> Result<(server::TlsStream<S>, Caller), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_within(HANDSHAKE_DEADLINE, config, stream).await
}

/// Does the client's part of a handshake on `stream` within `deadline`.
///
/// # Errors
/// [`Error::Handshake`] when it fails, [`Error::HandshakeTimeout`] when it takes too long.
pub async fn connect<S>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: S,
    deadline: Duration,
) -> Result<client::TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsConnector::from(config).connect(name, stream);
    within(deadline, "the TLS handshake", handshake).await?.map_err(failure)
}

pub(crate) async fn accept_within<S>(
    deadline: Duration,
    config: Arc<ServerConfig>,
    stream: S,
) -> Result<(server::TlsStream<S>, Caller), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = within(deadline, "the TLS handshake of a caller", handshake).await?.map_err(failure)?;
    let caller = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => Caller::from_certificate(certificate)?,
        None => Caller::anonymous(),
    };
    Ok((stream, caller))
}

/// Says in words what rustls says in names, for the failures that people meet.
fn failure(error: std::io::Error) -> Error {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext, Other, UnknownIssuer};
    let reason = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(Other(refusal))) => refusal.0.to_string(),
        Some(rustls::Error::InvalidCertificate(UnknownIssuer)) => {
            "the certificate was issued by another authority: wrong cluster, or an impostor".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        )) => format!("{error}; check the clocks of both machines, and renew the certificate if they are right"),
        Some(rustls::Error::NoCertificatesPresented) => "no certificate was shown, and one is needed here".to_owned(),
        Some(rustls::Error::InvalidMessage(_)) => "what was sent is not TLS".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("the other side refused ({alert:?})"),
        _ => return Error::Handshake(error),
    };
    Error::Handshake(std::io::Error::new(error.kind(), reason))
}
