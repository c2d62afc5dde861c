//! The names that stand in certificates: one place for every convention, so that issuing and
//! checking cannot drift apart.

use crate::Error;
use rustls::pki_types::ServerName;

/// The group (certificate organization) of masters. Only the masters themselves can be issued it.
pub const GROUP_MASTERS: &str = "barque:masters";
/// The group of node agents, as Kubernetes' node authorizer knows it.
pub const GROUP_NODES: &str = "system:nodes";
/// The group of administrators, which authorization lets do everything (Kubernetes' convention).
pub const GROUP_ADMINISTRATORS: &str = "system:masters";
/// The group that every authenticated caller is in.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// The group of callers without any identity.
pub const GROUP_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user name of callers without any identity.
pub const USER_ANONYMOUS: &str = "system:anonymous";

/// The group that every service account is in.
pub const GROUP_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The group of those who show a bootstrap token.
pub const GROUP_BOOTSTRAPPERS: &str = "system:bootstrappers";

const USER_NODE_PREFIX: &str = "system:node:";
const USER_MASTER_PREFIX: &str = "master:";

/// Certificates of agents are valid only for names below this one, never for an address, so that no
/// node can obtain one with which it could pass for a master.
const NODE_DOMAIN: &str = ".node.barque";
const PEER_DOMAIN: &str = ".peer.barque";

/// The longest DNS name (RFC 1035), which a node's serving name must not exceed.
const DNS_NAME_BYTES_MAX: usize = 253;

/// The names under which a cluster's own pods reach the API (Kubernetes' convention), and loopback.
pub(crate) const API_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The user name of the node `name`.
pub fn node_user(name: &str) -> String {
    format!("{USER_NODE_PREFIX}{name}")
}

/// The node behind the user name `user`, if it is a node's.
pub fn node_of_user(user: &str) -> Option<&str> {
    user.strip_prefix(USER_NODE_PREFIX).filter(|name| !name.is_empty())
}

/// The user name of a service account.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The group of the service accounts of one namespace.
pub fn service_accounts_of(namespace: &str) -> String {
    format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}")
}

/// The user name of the master `id`.
pub fn master_user(id: u64) -> String {
    format!("{USER_MASTER_PREFIX}{id}")
}

/// The master behind the user name `user`, if it is a master's.
pub fn master_of_user(user: &str) -> Option<u64> {
    user.strip_prefix(USER_MASTER_PREFIX)?.parse().ok()
}

/// The name to verify when a master calls the agent of node `name`, whatever address it dials.
///
/// # Errors
/// [`Error::Name`] when `name` is not a node name.
pub fn agent_server_name(name: &str) -> Result<ServerName<'static>, Error> {
    server_name(agent_dns_name(name)?)
}

/// The name to verify when a master calls the master `id` on the peer port, whatever address it
/// dials.
pub fn peer_server_name(id: u64) -> ServerName<'static> {
    // The name consists of digits, letters and dots, which is always a DNS name.
    server_name(peer_dns_name(id)).unwrap_or_else(|_| loopback())
}

/// The name to send when calling the API at `host` (a DNS name or an IP address, without port).
///
/// # Errors
/// [`Error::Name`] when `host` is neither.
pub fn host_server_name(host: &str) -> Result<ServerName<'static>, Error> {
    server_name(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// Checks that `name` can name a node: a lower-case DNS subdomain (Kubernetes' rule for node names)
/// short enough for its certificates.
///
/// # Errors
/// [`Error::Name`] that says which rule is broken.
pub fn check_node_name(name: &str) -> Result<(), Error> {
    let refuse = |reason| Error::Name { name: name.to_owned(), purpose: "a node name", reason };
    if name.len() + NODE_DOMAIN.len() > DNS_NAME_BYTES_MAX {
        return Err(refuse("it is longer than 241 characters"));
    }
    let valid_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.split('.').all(valid_label) {
        Ok(())
    } else {
        Err(refuse(
            "use lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
        ))
    }
}

pub(crate) fn agent_dns_name(name: &str) -> Result<String, Error> {
    check_node_name(name)?;
    Ok(format!("{name}{NODE_DOMAIN}"))
}

pub(crate) fn peer_dns_name(id: u64) -> String {
    format!("master-{id}{PEER_DOMAIN}")
}

/// Whether `name` lies in a domain reserved for agents or peers, and so must not be given to the API.
pub(crate) fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(NODE_DOMAIN) || name.ends_with(PEER_DOMAIN)
}

fn server_name(name: String) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.clone()).map_err(|_| Error::Name {
        name,
        purpose: "a host",
        reason: "it is neither a DNS name nor an IP address",
    })
}

fn loopback() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_read_back() {
        assert_eq!(node_of_user(&node_user("n-1")), Some("n-1"));
        assert_eq!(node_of_user("system:node:"), None);
        assert_eq!(master_of_user(&master_user(7)), Some(7));
        assert_eq!(master_of_user("master:one"), None);
        assert_eq!(
            peer_server_name(u64::MAX),
            ServerName::try_from("master-18446744073709551615.peer.barque").unwrap()
        );
    }

    #[test]
    fn node_names_are_dns_subdomains() {
        for name in ["a", "node-1", "ip-10-0-0-1.ec2.internal", "0"] {
            assert!(check_node_name(name).is_ok(), "{name}");
        }
        for name in ["", "Node", "-a", "a-", "a..b", "a_b", "a b", "a/b", &"a".repeat(64), &"a.".repeat(125)] {
            assert!(matches!(check_node_name(name), Err(Error::Name { .. })), "{name}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["localhost", "10.0.0.1", "[::1]", "::1", "api.example.org"] {
            assert!(host_server_name(host).is_ok(), "{host}");
        }
        assert!(host_server_name("a b").is_err());
    }
}
