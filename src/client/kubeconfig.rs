//! The file by which kubectl and every other Kubernetes client finds the cluster.
//!
//! Written by hand in one simple shape; read leniently, so that files edited by people or other tools
//! work as long as they name servers, a trusted authority and a client certificate as data.

use crate::{Address, Endpoints, Error};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::{Credential, Trust, files};
use serde::Deserialize;
use std::fmt::Write;
use std::path::Path;

/// A kubeconfig with one user and one context for each way to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The context that is used without asking for another; one of `servers`.
    pub current: String,
    /// Every way to the cluster: the gateway, and each master.
    pub servers: Vec<Server>,
    /// The name of the user.
    pub user: String,
    /// What to trust.
    pub trust: Trust,
    /// The user's certificate and key; absent in a file without them.
    pub credential: Option<Credential>,
}

/// One way to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The name of its cluster entry and its context.
    pub name: String,
    /// Where it listens.
    pub address: Address,
}

impl Kubeconfig {
    /// The file as YAML. Secret.
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::from("apiVersion: v1\nkind: Config\npreferences: {}\n");
        let authority = STANDARD.encode(self.trust.pem());
        let user = scalar(&self.user);
        // Writing to a string cannot fail, so the results carry nothing.
        let _ = writeln!(yaml, "current-context: {}\nclusters:", scalar(&self.current));
        for server in &self.servers {
            let _ = writeln!(
                yaml,
                "- name: {}\n  cluster:\n    server: {}\n    certificate-authority-data: {authority}",
                scalar(&server.name),
                server.address
            );
        }
        yaml.push_str("contexts:\n");
        for server in &self.servers {
            let name = scalar(&server.name);
            let _ = writeln!(yaml, "- name: {name}\n  context:\n    cluster: {name}\n    user: {user}");
        }
        let _ = writeln!(yaml, "users:\n- name: {user}");
        match &self.credential {
            Some(credential) => {
                let _ = writeln!(
                    yaml,
                    "  user:\n    client-certificate-data: {}\n    client-key-data: {}",
                    STANDARD.encode(credential.certificate_pem()),
                    STANDARD.encode(credential.key_pem())
                );
            }
            None => yaml.push_str("  user: {}\n"),
        }
        yaml
    }

    /// Reads a kubeconfig (YAML or JSON). Trust and user are those of the current context; servers are
    /// all those that trust the same authority.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] that says what is missing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| unusable(&error.to_string()))?;
        let context = file
            .contexts
            .iter()
            .find(|context| context.name == file.current_context)
            .ok_or_else(|| unusable(&format!("its current context {:?} does not exist", file.current_context)))?;
        let cluster = file
            .clusters
            .iter()
            .find(|cluster| cluster.name == context.context.cluster)
            .ok_or_else(|| unusable(&format!("its cluster {:?} does not exist", context.context.cluster)))?;
        let authority = cluster
            .cluster
            .certificate_authority_data
            .as_deref()
            .ok_or_else(|| unusable("it has no certificate-authority-data"))?;
        let trust = Trust::from_pem(decode(authority, "certificate-authority-data")?)?;
        let mut servers = Vec::new();
        for entry in &file.contexts {
            let named = file.clusters.iter().find(|cluster| cluster.name == entry.context.cluster);
            if let Some(named) =
                named.filter(|named| named.cluster.certificate_authority_data.as_deref() == Some(authority))
            {
                servers.push(Server { name: entry.name.clone(), address: named.cluster.server.parse()? });
            }
        }
        let user = file.users.iter().find(|user| user.name == context.context.user);
        let credential = match user.map(|user| (&user.user.client_certificate_data, &user.user.client_key_data)) {
            Some((Some(certificate), Some(key))) => {
                Some(Credential::new(decode(certificate, "client-certificate-data")?, decode(key, "client-key-data")?)?)
            }
            _ => None,
        };
        Ok(Self { current: file.current_context, servers, user: context.context.user.clone(), trust, credential })
    }

    /// Writes the file, readable by its owner only, replaced as a whole.
    ///
    /// # Errors
    /// [`Error::Identity`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        Ok(files::write_private(path, self.to_yaml().as_bytes())?)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when there is none or it is not usable, [`Error::Identity`] when it cannot
    /// be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match files::read_private(path)? {
            Some(text) => Self::parse(&text),
            None => Err(unusable(&format!("there is none at {}", path.display()))),
        }
    }

    /// The servers as a list to call, the current one first.
    ///
    /// # Errors
    /// [`Error::Masters`] when there is none.
    pub fn endpoints(&self) -> Result<Endpoints, Error> {
        let (current, others): (Vec<_>, Vec<_>) = self.servers.iter().partition(|server| server.name == self.current);
        Endpoints::in_order(current.into_iter().chain(others).map(|server| server.address.clone()))
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default, rename = "current-context")]
    current_context: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    server: String,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: UserEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

fn unusable(reason: &str) -> Error {
    Error::Kubeconfig(reason.to_owned())
}

fn decode(data: &str, field: &str) -> Result<String, Error> {
    let bytes = STANDARD.decode(data.trim()).map_err(|_| unusable(&format!("{field} is not base64")))?;
    String::from_utf8(bytes).map_err(|_| unusable(&format!("{field} is not PEM")))
}

/// A string as YAML writes it: plain where no reader can take it for anything else, quoted (as JSON,
/// which YAML contains) otherwise.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b'@'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Authority;

    fn sample() -> Kubeconfig {
        let authority = Authority::generate("test").unwrap();
        let server = |name: &str, address: &str| Server { name: name.to_owned(), address: address.parse().unwrap() };
        Kubeconfig {
            current: "barque".to_owned(),
            servers: vec![
                server("barque", "127.0.0.1:6443"),
                server("barque-m1", "10.0.0.1:6443"),
                server("null", "[::1]:7000"),
            ],
            user: "admin: the first".to_owned(),
            trust: authority.serving().unwrap(),
            credential: Some(authority.administrator("admin").unwrap()),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let sample = sample();
        let yaml = sample.to_yaml();
        assert!(yaml.contains("current-context: barque\n") && yaml.contains("name: \"null\"\n"), "{yaml}");
        assert_eq!(Kubeconfig::parse(&yaml).unwrap(), sample);
        let bare = Kubeconfig { credential: None, ..sample };
        assert_eq!(Kubeconfig::parse(&bare.to_yaml()).unwrap(), bare);
        assert_eq!(bare.endpoints().unwrap().current().port(), 6443);
    }

    #[test]
    fn files_are_private_and_missing_ones_are_named() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        assert!(Kubeconfig::load(&path).unwrap_err().to_string().contains("there is none at"));
        let sample = sample();
        sample.save(&path).unwrap();
        assert_eq!(Kubeconfig::load(&path).unwrap(), sample);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }

    #[test]
    fn json_and_foreign_clusters_are_read() {
        let sample = sample();
        let data = STANDARD.encode(sample.trust.pem());
        let json = serde_json::json!({
            "current-context": "one", "extra": {"ignored": true},
            "clusters": [
                {"name": "c", "cluster": {"server": "https://a:1", "certificate-authority-data": data}},
                {"name": "d", "cluster": {"server": "https://b:1", "insecure-skip-tls-verify": true}}],
            "contexts": [
                {"name": "one", "context": {"cluster": "c", "user": "u"}},
                {"name": "two", "context": {"cluster": "d", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}]});
        let read = Kubeconfig::parse(&json.to_string()).unwrap();
        assert_eq!((read.servers.len(), read.credential.is_none()), (1, true));
        for (from, to) in [("\"one\"", "\"none\""), ("https://a:1", "ftp://a"), (data.as_str(), "!")] {
            assert!(Kubeconfig::parse(&json.to_string().replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(Kubeconfig::parse("- a\n- b").is_err());
    }
}
