//! What an HTTP request asks to become, and which protocol is chosen. Pure.
//!
//! Upstream: `Handshake` and `IsUpgradeRequest` in apimachinery's httpstream, `IsWebSocketRequest` in its wsstream.

use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// What `Upgrade` says when SPDY is asked for, and what the answer says.
pub const SPDY: &str = "SPDY/3.1";

/// The header with the protocols that a SPDY client speaks, and in the answer the one chosen.
pub const PROTOCOL_VERSION: &str = "x-stream-protocol-version";

/// The header of a refusal (403) with the protocols that would have been accepted.
pub const ACCEPTED_VERSIONS: &str = "x-accepted-stream-protocol-versions";

/// What stands before a protocol's name in a WebSocket subprotocol when SPDY is tunnelled.
pub const TUNNEL_PREFIX: &str = "SPDY/3.1+";

/// What a request asks to become, with the protocols it offers, the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A SPDY connection.
    Spdy(Vec<String>),
    /// A WebSocket.
    WebSocket(Vec<String>),
    /// Nothing that is known here.
    Nothing,
}

/// Reads a request's headers.
pub fn asked(headers: &HeaderMap) -> Asked {
    let says = |name, what: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_ascii_lowercase).any(|value| value.contains(what))
    };
    if !says(CONNECTION, "upgrade") {
        Asked::Nothing
    } else if says(UPGRADE, "websocket") {
        Asked::WebSocket(listed(headers, SEC_WEBSOCKET_PROTOCOL.as_str()))
    } else if says(UPGRADE, "spdy/3.1") {
        Asked::Spdy(listed(headers, PROTOCOL_VERSION))
    } else {
        Asked::Nothing
    }
}

/// The first protocol of the client that the server speaks too.
pub fn choose<'a>(offered: &[String], spoken: &[&'a str]) -> Option<&'a str> {
    offered.iter().find_map(|one| spoken.iter().find(|other| *other == one).copied())
}

/// Removes the headers that are about one connection and not about the message (RFC 9110, section 7.6.1), and those that `Connection`
/// names: whoever passes a message on does not pass them.
pub fn strip_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = listed(headers, CONNECTION.as_str())
        .iter()
        .filter_map(|name| HeaderName::try_from(name.as_str()).ok())
        .collect();
    let always = [CONNECTION, UPGRADE, TE, TRAILER, TRANSFER_ENCODING, PROXY_AUTHENTICATE];
    let more = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in named.into_iter().chain(always).chain(more) {
        headers.remove(name);
    }
}

/// The values of a header that may be there several times, each a list.
fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn a_request_says_what_it_wants_to_become() {
        let spdy = |list: &[&str]| Asked::Spdy(list.iter().map(|it| (*it).to_owned()).collect());
        let rows = [
            (headers(&[]), Asked::Nothing),
            (headers(&[("upgrade", "SPDY/3.1")]), Asked::Nothing),
            (headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "h2c")]), Asked::Nothing),
            (headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]), spdy(&[])),
            (
                headers(&[
                    ("connection", "upgrade"),
                    ("upgrade", "spdy/3.1"),
                    ("x-stream-protocol-version", "v4.channel.k8s.io, v3.channel.k8s.io"),
                    ("x-stream-protocol-version", "channel.k8s.io"),
                ]),
                spdy(&["v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io"]),
            ),
            (
                headers(&[
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io"),
                ]),
                Asked::WebSocket(vec!["SPDY/3.1+portforward.k8s.io".to_owned()]),
            ),
        ];
        for (headers, expected) in rows {
            assert_eq!(asked(&headers), expected);
        }
    }

    #[test]
    fn what_is_about_a_connection_ends_with_it() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "upgrade"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("x-private", "2"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/plain"),
        ]);
        strip_hops(&mut given);
        assert_eq!(given, headers(&[("content-type", "text/plain")]));
    }

    #[test]
    fn the_clients_order_decides() {
        let offered = ["x", "b", "a"].map(str::to_owned);
        assert_eq!(choose(&offered, &["a", "b"]), Some("b"));
        assert_eq!(choose(&offered, &["c"]), None);
    }
}
