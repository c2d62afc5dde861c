//! Where a master listens.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The port of the API where none is given (Kubernetes' convention).
const PORT_DEFAULT: u16 = 6443;

/// Host and port of a master's API. Prints as a URL; reads `https://host:port`, `host:port` or
/// `host`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// An address of its parts; `host` is a DNS name or an IP address without brackets.
    ///
    /// # Errors
    /// [`Error::Address`] when `host` cannot be a host.
    pub fn new(host: impl Into<String>, port: u16) -> Result<Self, Error> {
        let host = host.into();
        match identity::names::host_server_name(&host) {
            Ok(_) if port != 0 => Ok(Self { host, port }),
            _ => Err(Error::Address(format!("{host}:{port}"))),
        }
    }

    /// The DNS name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "https://{}", self.authority())
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Address(text.to_owned());
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix("https://").unwrap_or(trimmed);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        if bare.is_empty() || bare.contains(['/', '@', '?', '#', ' ']) {
            return Err(refuse());
        }
        let (host, port) = if let Some(rest) = bare.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(refuse)?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or_else(refuse)?)),
            }
        } else if bare.parse::<std::net::Ipv6Addr>().is_ok() {
            (bare, None)
        } else {
            match bare.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (bare, None),
            }
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| refuse())?,
            None => PORT_DEFAULT,
        };
        Self::new(host, port).map_err(|_| refuse())
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(socket: std::net::SocketAddr) -> Self {
        Self { host: socket.ip().to_string(), port: socket.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, url) in [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("https://m1.example.org/", "https://m1.example.org:6443"),
            (" 10.0.0.1:7000 ", "https://10.0.0.1:7000"),
            ("[::1]:7000", "https://[::1]:7000"),
            ("fd00::1", "https://[fd00::1]:6443"),
            ("[fd00::1]", "https://[fd00::1]:6443"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), url, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_master() {
        for text in
            ["", "https://", "http://a", "a:b", "a:0", "a:70000", "a/b", "u@a", "[::1", "[::1]7", "a b", ":6443"]
        {
            assert!(matches!(text.parse::<Address>(), Err(Error::Address(_))), "{text}");
        }
    }
}
