//! A certificate with its private key, and the request by which a node gets one without its key
//! ever leaving it.

use crate::trust::parse_chain;
use crate::{Error, files, tls};
use jiff::Timestamp;
use rcgen::{CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A certificate chain with its private key. The key is secret: `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Credential {
    certificate: String,
    key: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    certificate: String,
    key: String,
}

impl Credential {
    /// Joins a certificate chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Key`] when one does not parse or they do not belong together.
    pub fn new(certificate: impl Into<String>, key: impl Into<String>) -> Result<Self, Error> {
        let (certificate, key) = (certificate.into(), key.into());
        let (not_before, not_after) = validity(&certificate)?;
        let credential = Self { certificate, key, not_before, not_after };
        credential.certified_key()?;
        Ok(credential)
    }

    /// The certificate chain as PEM, leaf first. Not secret.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The private key as PEM (PKCS #8). Secret: never log it.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// When the certificate ceases to be valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether two thirds of the certificate's life are over at `now`, so that a year-long one leaves
    /// four months in which renewal may fail.
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        let (start, end) = (self.not_before.as_second(), self.not_after.as_second());
        now.as_second() >= start + (end - start) / 3 * 2
    }

    /// Writes both parts to one private file, replaced as a whole.
    ///
    /// # Errors
    /// [`Error::File`] as [`files::write_private`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        files::write_private(path, format!("{}{}", self.certificate, self.key).as_bytes())
    }

    /// Reads what [`save`](Self::save) wrote; `None` when there is no such file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Damaged`] when it holds no usable credential.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(pem) = files::read_private(path)? else { return Ok(None) };
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let (start, _) = pem
            .match_indices("-----BEGIN ")
            .find(|(at, _)| pem[*at..].lines().next().is_some_and(is_key_line))
            .ok_or_else(|| damaged("it holds no private key".to_owned()))?;
        let (certificate, key) = pem.split_at(start);
        Self::new(certificate, key).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// The credential as rustls takes it.
    pub(crate) fn certified_key(&self) -> Result<Arc<CertifiedKey>, Error> {
        let chain = parse_chain(&self.certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| Error::Key(format!("{error:?}")))?;
        CertifiedKey::from_der(chain, key, &tls::provider()).map(Arc::new).map_err(Error::key)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl TryFrom<Parts> for Credential {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::new(parts.certificate, parts.key)
    }
}

impl From<Credential> for Parts {
    fn from(credential: Credential) -> Self {
        Self { certificate: credential.certificate, key: credential.key }
    }
}

/// A fresh private key and the request to certify it.
pub struct KeyRequest {
    key: String,
    request: String,
}

impl KeyRequest {
    /// Makes an ECDSA P-256 key and a certificate signing request signed with it. The subject in the
    /// request is only a remark for people: whoever issues decides the certificate's names.
    ///
    /// # Errors
    /// [`Error::Issue`] when the system has no randomness to give.
    pub fn generate(remark: &str) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::issue)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, remark);
        let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(Error::issue)?;
        Ok(Self { key: key.serialize_pem(), request })
    }

    /// The key and request kept in `path`, or fresh ones that are kept there from now on: whoever has to ask again, after
    /// a crash too, asks with the same key. Remove the file once the certificate is safe.
    ///
    /// # Errors
    /// As [`generate`](Self::generate) and [`files::write_private`]; [`Error::File`] when the file cannot be read.
    pub fn kept(path: &Path, remark: &str) -> Result<Self, Error> {
        let known = match files::read_private(path) {
            Ok(pem) => pem,
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        // A damaged file is as good as none: nothing was issued for its key yet.
        if let Some(known) = known.as_deref().and_then(Self::parse) {
            return Ok(known);
        }
        let fresh = Self::generate(remark)?;
        files::write_private(path, format!("{}{}", fresh.request, fresh.key).as_bytes())?;
        Ok(fresh)
    }

    fn parse(pem: &str) -> Option<Self> {
        let (start, _) =
            pem.match_indices("-----BEGIN ").find(|(at, _)| pem[*at..].lines().next().is_some_and(is_key_line))?;
        let (request, key) = pem.split_at(start);
        let usable = CertificateSigningRequestParams::from_pem(request).is_ok() && KeyPair::from_pem(key).is_ok();
        usable.then(|| Self { key: key.to_owned(), request: request.to_owned() })
    }

    /// The certificate signing request as PEM. Not secret.
    pub fn request_pem(&self) -> &str {
        &self.request
    }

    /// Joins the issued certificate (PEM) with the key.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Key`] when it was issued for another key.
    pub fn complete(self, certificate: impl Into<String>) -> Result<Credential, Error> {
        Credential::new(certificate, self.key)
    }
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyRequest").finish_non_exhaustive()
    }
}

fn is_key_line(line: &str) -> bool {
    line.contains("PRIVATE KEY")
}

/// The first and the last moment at which the leaf of a chain is valid.
fn validity(certificate: &str) -> Result<(Timestamp, Timestamp), Error> {
    let chain = parse_chain(certificate)?;
    let leaf = chain.first().ok_or_else(|| Error::certificate("there is none"))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| Error::Certificate(error.to_string()))?;
    let moment = |seconds| Timestamp::from_second(seconds).map_err(Error::certificate);
    Ok((moment(parsed.validity().not_before.timestamp())?, moment(parsed.validity().not_after.timestamp())?))
}
