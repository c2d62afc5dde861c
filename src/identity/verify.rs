//! Certificate checks of our own: that the party is a master, and the absence of any check.

use crate::caller::subject;
use crate::names::GROUP_MASTERS;
use crate::trust::fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// What a caller of masters knows about their authority.
#[derive(Debug)]
pub(crate) enum Anchor {
    /// The authority's certificate.
    Roots(RootCertStore),
    /// Only the SHA-256 of it (from a join token): the server must show the certificate itself.
    Pinned([u8; 32]),
}

/// Which servers a client accepts.
#[derive(Debug)]
pub(crate) enum Servers {
    /// Any master of the cluster, under whatever name or address it was reached. The name would add nothing: which of
    /// the masters answers is not a matter of trust, and a certificate that says "master" is issued to masters only.
    Masters(Anchor),
    /// Whoever holds the key of whatever certificate it shows.
    Anyone,
}

/// Accepts these servers.
#[derive(Debug)]
pub(crate) struct ServerIs {
    pub(crate) accepted: Servers,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerIs {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned;
        let roots = match &self.accepted {
            Servers::Anyone => return Ok(ServerCertVerified::assertion()),
            Servers::Masters(Anchor::Roots(roots)) => roots,
            Servers::Masters(Anchor::Pinned(hash)) => {
                pinned = pinned_roots(hash, intermediates)?;
                &pinned
            }
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        require_master(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts only masters as clients; the rest of the check is `chain`'s.
#[derive(Debug)]
pub(crate) struct ClientIsMaster {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ClientIsMaster {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        require_master(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Why a verified certificate is still not accepted.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the certificate does not belong to a master")]
    NotMaster,
    #[error("the server's authority is not the one that the token names: wrong cluster, or an impostor")]
    OtherAuthority,
}

fn refuse(refusal: Refusal) -> Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

fn require_master(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let (_, groups) = subject(certificate).map_err(|_| CertificateError::BadEncoding)?;
    if groups.iter().any(|group| group == GROUP_MASTERS) { Ok(()) } else { Err(refuse(Refusal::NotMaster)) }
}

/// The certificate with this hash among those that the server showed, as the only trust anchor.
fn pinned_roots(hash: &[u8; 32], shown: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
    let authority = shown
        .iter()
        .find(|certificate| &fingerprint(certificate) == hash)
        .ok_or_else(|| refuse(Refusal::OtherAuthority))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}
