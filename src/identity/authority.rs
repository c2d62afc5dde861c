//! The cluster's certificate authorities and everything they issue.
//!
//! There are three, so that a certificate of one use is worthless in another: `peers` for the traffic
//! between masters and nothing else, `clients` for whoever calls the API or an agent, `serving` for
//! the API ports of masters and the ports of agents.

use crate::trust::Trust;
use crate::{Credential, Error, Seal, files, names, signing};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// How long an authority lives: longer than the hardware, as replacing one needs everybody.
const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 365 * 10);
/// How long an issued certificate lives. Renewal starts after two thirds of it.
const LEAF_LIFE: Duration = Duration::from_hours(24 * 365);
/// How far back validity starts, for machines whose clock is behind.
const BACKDATING: Duration = Duration::from_hours(24);
/// The latest second since 1970 that a certificate's date can express with room to spare (year 9900).
const SECOND_MAX: u64 = 250_000_000_000;

/// The name of the file in which [`Authority::save`] keeps everything.
const FILE_NAME: &str = "authority.json";

/// The three certificate authorities of a cluster with their keys. Whoever holds this is the
/// cluster: `Debug` shows no key.
#[derive(Clone)]
pub struct Authority {
    bundle: AuthorityBundle,
}

/// An [`Authority`] as data, for its file and for a master that joins. Secret; `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityBundle {
    cluster_id: String,
    peers: Credential,
    clients: Credential,
    serving: Credential,
}

/// For what a certificate may be used.
#[derive(Clone, Copy)]
enum Use {
    Client,
    Server,
    Both,
}

/// What a certificate says about its owner.
struct Subject {
    user: String,
    group: Option<String>,
    /// Names and addresses under which it may serve.
    served_names: Vec<String>,
    usage: Use,
}

impl Authority {
    /// Makes the authorities of a new cluster.
    ///
    /// # Errors
    /// [`Error::Issue`] when the system has no randomness to give.
    pub fn generate(cluster_id: impl Into<String>) -> Result<Self, Error> {
        let cluster_id = cluster_id.into();
        let now = base::clock::now();
        let bundle = AuthorityBundle {
            peers: new_authority("peers", &cluster_id, now)?,
            clients: new_authority("clients", &cluster_id, now)?,
            serving: new_authority("serving", &cluster_id, now)?,
            cluster_id,
        };
        Ok(Self { bundle })
    }

    /// Takes over what [`export`](Self::export) gave out.
    pub fn import(bundle: AuthorityBundle) -> Self {
        Self { bundle }
    }

    /// Everything, keys included, for a master that has been let in.
    pub fn export(&self) -> AuthorityBundle {
        self.bundle.clone()
    }

    /// Reads the authorities kept in `folder`; `None` when there are none.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, [`Error::Damaged`] when it does not hold them.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE_NAME);
        let Some(text) = files::read_private(&path)? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(bundle) => Ok(Some(Self { bundle })),
            // The parser's own message may quote the file; only its place is told.
            Err(error) => Err(Error::Damaged {
                reason: format!("line {}, column {} does not parse", error.line(), error.column()),
                path,
            }),
        }
    }

    /// Keeps the authorities in `folder` (made if missing), in one private file that is replaced as a
    /// whole.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(&self.bundle).map_err(Error::issue)?;
        files::write_private(&folder.join(FILE_NAME), &text)
    }

    /// The cluster that this authority speaks for.
    pub fn cluster_id(&self) -> &str {
        &self.bundle.cluster_id
    }

    /// What to trust on the peer port, in both directions.
    ///
    /// # Errors
    /// [`Error::Certificate`] when the stored certificate is damaged.
    pub fn peers(&self) -> Result<Trust, Error> {
        Trust::from_pem(self.bundle.peers.certificate_pem())
    }

    /// What API servers and agents trust for their callers.
    ///
    /// # Errors
    /// As [`peers`](Self::peers).
    pub fn clients(&self) -> Result<Trust, Error> {
        Trust::from_pem(self.bundle.clients.certificate_pem())
    }

    /// What callers of API servers and agents trust; join tokens carry its hash.
    ///
    /// # Errors
    /// As [`peers`](Self::peers).
    pub fn serving(&self) -> Result<Trust, Error> {
        Trust::from_pem(self.bundle.serving.certificate_pem())
    }

    /// The certificate with which master `id` speaks to other masters and they to it.
    ///
    /// # Errors
    /// [`Error::Issue`] when it cannot be made.
    pub fn master_peer(&self, id: u64) -> Result<Credential, Error> {
        let subject = Subject {
            user: names::master_user(id),
            group: Some(names::GROUP_MASTERS.to_owned()),
            served_names: vec![names::peer_dns_name(id)],
            usage: Use::Both,
        };
        self.issue(&self.bundle.peers, subject)
    }

    /// The certificate with which master `id` serves the API. It holds `names` (DNS names or
    /// addresses, as advertised), loopback, and the names by which pods know the API; the chain
    /// includes the authority, so that a joining machine can check it against its token.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that cannot stand in it, [`Error::Issue`] when it cannot be made.
    pub fn api_serving(&self, id: u64, advertised: &[String]) -> Result<Credential, Error> {
        if let Some(name) = advertised.iter().find(|name| names::is_reserved(name)) {
            return Err(Error::Name {
                name: name.clone(),
                purpose: "an address of the API",
                reason: "it is reserved for agents and peers",
            });
        }
        let mut served_names: Vec<String> = names::API_NAMES.iter().map(|name| (*name).to_owned()).collect();
        for name in advertised {
            if !served_names.contains(name) {
                served_names.push(name.clone());
            }
        }
        let subject = Subject {
            user: names::master_user(id),
            group: Some(names::GROUP_MASTERS.to_owned()),
            served_names,
            usage: Use::Server,
        };
        let leaf = self.issue(&self.bundle.serving, subject)?;
        let chain = format!("{}{}", leaf.certificate_pem(), self.bundle.serving.certificate_pem());
        Credential::new(chain, leaf.key_pem())
    }

    /// The certificate with which master `id` calls agents (and the API of other masters).
    ///
    /// # Errors
    /// [`Error::Issue`] when it cannot be made.
    pub fn master_client(&self, id: u64) -> Result<Credential, Error> {
        let subject = client(names::master_user(id), Some(names::GROUP_MASTERS));
        self.issue(&self.bundle.clients, subject)
    }

    /// An administrator's client certificate; authorization lets it do everything.
    ///
    /// # Errors
    /// [`Error::Issue`] when it cannot be made.
    pub fn administrator(&self, user: &str) -> Result<Credential, Error> {
        self.issue(&self.bundle.clients, client(user.to_owned(), Some(names::GROUP_ADMINISTRATORS)))
    }

    /// Certifies the key in `request` (PEM) for the agent of `node` as a caller of the API, and
    /// returns the certificate (PEM). Whatever else the request asks for is ignored.
    ///
    /// # Errors
    /// [`Error::Request`] when the request is malformed or not signed by its own key, [`Error::Name`]
    /// for an unfit node name, [`Error::Issue`] when it cannot be made.
    pub fn node_client(&self, request: &str, node: &str) -> Result<String, Error> {
        names::check_node_name(node)?;
        self.certify(&self.bundle.clients, request, client(names::node_user(node), Some(names::GROUP_NODES)))
    }

    /// Certifies the key in `request` (PEM) for the agent of `node` as a server, and returns the
    /// certificate (PEM). It is valid under [`names::agent_server_name`] only, never for an address.
    ///
    /// # Errors
    /// As [`node_client`](Self::node_client).
    pub fn agent_serving(&self, request: &str, node: &str) -> Result<String, Error> {
        let subject = Subject {
            user: names::node_user(node),
            group: Some(names::GROUP_NODES.to_owned()),
            served_names: vec![names::agent_dns_name(node)?],
            usage: Use::Server,
        };
        self.certify(&self.bundle.serving, request, subject)
    }

    /// Certifies the key in `request` (PEM) for any user with at most one group, and returns the
    /// certificate (PEM). The caller decides whether that user may have it.
    ///
    /// # Errors
    /// [`Error::Name`] for the identity of a master, which only masters give themselves; otherwise as
    /// [`node_client`](Self::node_client).
    pub fn user_client(&self, request: &str, user: &str, group: Option<&str>) -> Result<String, Error> {
        if group == Some(names::GROUP_MASTERS) || user.is_empty() {
            return Err(Error::Name {
                name: user.to_owned(),
                purpose: "the user of a requested certificate",
                reason: "the user is empty or the group is the masters' own",
            });
        }
        self.certify(&self.bundle.clients, request, client(user.to_owned(), group))
    }

    /// The seal of the keys that sign tokens of service accounts: the same on every master, as it is derived from a key that
    /// all masters and nobody else hold.
    ///
    /// # Errors
    /// [`Error::Seal`] when it cannot be derived.
    pub fn signing_seal(&self) -> Result<Seal, Error> {
        Seal::derive(self.bundle.peers.key_pem().as_bytes(), self.cluster_id(), signing::PURPOSE)
    }

    fn issue(&self, authority: &Credential, subject: Subject) -> Result<Credential, Error> {
        let key = KeyPair::generate().map_err(Error::issue)?;
        let certificate = sign(authority, &key, subject, base::clock::now(), LEAF_LIFE)?;
        Credential::new(certificate, key.serialize_pem())
    }

    fn certify(&self, authority: &Credential, request: &str, subject: Subject) -> Result<String, Error> {
        let request =
            CertificateSigningRequestParams::from_pem(request).map_err(|error| Error::Request(error.to_string()))?;
        sign(authority, &request.public_key, subject, base::clock::now(), LEAF_LIFE)
    }

    /// A client certificate with any dates, for tests of expiry.
    #[cfg(test)]
    pub(crate) fn client_at(&self, user: &str, issued: Timestamp) -> Credential {
        let key = KeyPair::generate().unwrap();
        let subject = client(user.to_owned(), None);
        let certificate = sign(&self.bundle.clients, &key, subject, issued, LEAF_LIFE).unwrap();
        Credential::new(certificate, key.serialize_pem()).unwrap()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("cluster_id", &self.bundle.cluster_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AuthorityBundle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthorityBundle").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

fn client(user: String, group: Option<&str>) -> Subject {
    Subject { user, group: group.map(str::to_owned), served_names: Vec::new(), usage: Use::Client }
}

fn new_authority(purpose: &str, cluster_id: &str, now: Timestamp) -> Result<Credential, Error> {
    let key = KeyPair::generate().map_err(Error::issue)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("barque {purpose} {cluster_id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_life(&mut params, now, AUTHORITY_LIFE);
    let certificate = params.self_signed(&key).map_err(Error::issue)?;
    Credential::new(certificate.pem(), key.serialize_pem())
}

fn sign(
    authority: &Credential,
    key: &impl PublicKeyData,
    subject: Subject,
    now: Timestamp,
    life: Duration,
) -> Result<String, Error> {
    let signing_key = KeyPair::from_pem(authority.key_pem()).map_err(Error::key)?;
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), signing_key).map_err(Error::certificate)?;
    let mut params = CertificateParams::new(subject.served_names).map_err(Error::issue)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject.user);
    if let Some(group) = subject.group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match subject.usage {
        Use::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Use::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Use::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, life);
    let certificate = params.signed_by(key, &issuer).map_err(Error::issue)?;
    Ok(certificate.pem())
}

/// Sets the dates and a serial number, which must differ between certificates of one key.
fn set_life(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = u64::try_from(now.as_second()).unwrap_or(0).min(SECOND_MAX);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATING.as_secs()));
    params.not_after = epoch + Duration::from_secs(now) + life;
    let mut serial = base::random::bytes::<16>();
    // A serial number is positive and has no leading zero byte.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}
