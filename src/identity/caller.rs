//! Who stands behind a connection or a request.

use crate::{Error, names};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An identity as Kubernetes describes it (`UserInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user name.
    pub user: String,
    /// A unique id of the user across time, where the authenticator knows one (service accounts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The groups, among them `system:authenticated` or `system:unauthenticated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whatever else the authenticator tells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Caller {
    /// An authenticated caller; `system:authenticated` is added to its groups.
    pub fn authenticated(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == names::GROUP_AUTHENTICATED) {
            groups.push(names::GROUP_AUTHENTICATED.to_owned());
        }
        Self { user: user.into(), uid: None, groups, extra: BTreeMap::new() }
    }

    /// A caller that showed no identity.
    pub fn anonymous() -> Self {
        Self {
            user: names::USER_ANONYMOUS.to_owned(),
            uid: None,
            groups: vec![names::GROUP_UNAUTHENTICATED.to_owned()],
            extra: BTreeMap::new(),
        }
    }

    /// The identity in a certificate that TLS has already verified: the common name is the user, the
    /// organizations are the groups (Kubernetes' rule for client certificates).
    ///
    /// # Errors
    /// [`Error::Certificate`] when it does not parse or names no user.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let (user, groups) = subject(certificate)?;
        Ok(Self::authenticated(user, groups))
    }

    /// Whether the caller is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Whether the caller showed no identity.
    pub fn is_anonymous(&self) -> bool {
        !self.is_in(names::GROUP_AUTHENTICATED)
    }

    /// The node that the caller is the agent of, if it is one.
    pub fn node(&self) -> Option<&str> {
        names::node_of_user(&self.user).filter(|_| self.is_in(names::GROUP_NODES))
    }

    /// The id of the master that the caller is, if it is one.
    pub fn master(&self) -> Option<u64> {
        names::master_of_user(&self.user).filter(|_| self.is_in(names::GROUP_MASTERS))
    }
}

/// The common name and the organizations of a certificate's subject.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Result<(String, Vec<String>), Error> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| Error::Certificate(error.to_string()))?;
    let subject = parsed.subject();
    let user = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::certificate("its subject has no common name"))?
        .to_owned();
    let groups = subject
        .iter_organization()
        .map(|group| group.as_str().map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Certificate(error.to_string()))?;
    Ok((user, groups))
}
