//! What a party trusts: one certificate authority, or several while one replaces another.

use crate::Error;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The certificates of trusted authorities, as PEM. Not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trust {
    pem: String,
}

impl Trust {
    /// Takes one or more certificates as PEM.
    ///
    /// # Errors
    /// [`Error::Certificate`] when there is none or one does not parse as a trust anchor.
    pub fn from_pem(pem: impl Into<String>) -> Result<Self, Error> {
        let trust = Self { pem: pem.into() };
        trust.roots()?;
        Ok(trust)
    }

    /// The certificates as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The SHA-256 of the first certificate's DER form in lower-case hex, as join tokens carry it.
    ///
    /// # Errors
    /// [`Error::Certificate`] as [`from_pem`](Self::from_pem).
    pub fn hash(&self) -> Result<String, Error> {
        let certificates = parse_chain(&self.pem)?;
        let first = certificates.first().ok_or_else(|| Error::certificate("there is none"))?;
        Ok(hex(&fingerprint(first)))
    }

    /// The certificates as rustls takes them.
    ///
    /// # Errors
    /// [`Error::Certificate`] as [`from_pem`](Self::from_pem).
    pub fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in parse_chain(&self.pem)? {
            roots.add(certificate).map_err(Error::certificate)?;
        }
        Ok(roots)
    }
}

impl TryFrom<String> for Trust {
    type Error = Error;

    fn try_from(pem: String) -> Result<Self, Error> {
        Self::from_pem(pem)
    }
}

impl From<Trust> for String {
    fn from(trust: Trust) -> Self {
        trust.pem
    }
}

/// The certificates in `pem`, at least one.
pub(crate) fn parse_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Certificate(format!("{error:?}")))?;
    if certificates.is_empty() {
        return Err(Error::certificate("it holds no PEM section CERTIFICATE"));
    }
    Ok(certificates)
}

pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
