//! A certificate that can be replaced while the TLS set-ups that use it stay in use.

use crate::{Credential, Error};
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};

/// The credential that new handshakes use, on either side. Connections that stand keep the one that
/// they were made with.
#[derive(Debug)]
pub struct ReloadableCert {
    current: RwLock<(Arc<CertifiedKey>, Credential)>,
}

impl ReloadableCert {
    /// Starts with `credential`.
    ///
    /// # Errors
    /// [`Error::Key`] when rustls cannot use its key.
    pub fn new(credential: Credential) -> Result<Arc<Self>, Error> {
        let key = credential.certified_key()?;
        Ok(Arc::new(Self { current: RwLock::new((key, credential)) }))
    }

    /// Uses `credential` from the next handshake on.
    ///
    /// # Errors
    /// [`Error::Key`] when rustls cannot use its key; the old one stays in use.
    pub fn replace(&self, credential: Credential) -> Result<(), Error> {
        let key = credential.certified_key()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (key, credential);
        Ok(())
    }

    /// The credential in use.
    pub fn credential(&self) -> Credential {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Whether the credential in use should be replaced by now: [`Credential::needs_renewal`].
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.needs_renewal(now)
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl ResolvesServerCert for ReloadableCert {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for ReloadableCert {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
