//! URLs, as Go's `url.ParseRequestURI` reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Answer, made};
use crate::value::{Key, Map, Value};

/// A parsed URL: absolute, or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    user: String,
    host: String,
    path: String,
    query: Option<String>,
    opaque: bool,
}

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    Some(Ok(match (function, args) {
        ("url", [Value::String(text)]) => match parse(text) {
            Some(url) => Value::Url(Arc::new(url)),
            None => return Some(Err(format!("URL parse error during conversion from string: {text}").into())),
        },
        ("isURL", [Value::String(text)]) => Value::Bool(parse(text).is_some()),
        ("getScheme", [Value::Url(url)]) => Value::from(url.scheme.clone()),
        ("getHost", [Value::Url(url)]) => Value::from(url.host.clone()),
        ("getHostname", [Value::Url(url)]) => {
            let name = url.host_and_port().0;
            Value::from(name.trim_start_matches('[').trim_end_matches(']').to_owned())
        }
        ("getPort", [Value::Url(url)]) => Value::from(url.host_and_port().1.to_owned()),
        ("getEscapedPath", [Value::Url(url)]) => Value::from(url.path.clone()),
        ("getQuery", [Value::Url(url)]) => url.query_map(),
        _ => return None,
    }))
}

impl Url {
    fn host_and_port(&self) -> (&str, &str) {
        match self.host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (&self.host, ""),
        }
    }

    fn query_map<'a>(&self) -> Value<'a> {
        let mut values: BTreeMap<Key<'a>, Vec<Value<'a>>> = BTreeMap::new();
        for part in self.query.iter().flat_map(|query| query.split('&')) {
            if part.is_empty() || part.contains(';') {
                continue;
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // What is not encoded well is left out, as upstream does.
            if let (Some(name), Some(value)) = (unquote(name), unquote(value)) {
                values.entry(Key::String(name.into())).or_default().push(Value::from(value));
            }
        }
        let values = values.into_iter().map(|(name, values)| (name, made(values))).collect();
        Value::Map(Map::Made(Arc::new(values)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(out, "{}:", self.scheme)?;
            if !(self.opaque || self.host.is_empty() && self.user.is_empty() && self.path.is_empty()) {
                out.write_str("//")?;
            }
        }
        if !self.user.is_empty() {
            write!(out, "{}@", self.user)?;
        }
        write!(out, "{}{}", self.host, self.path)?;
        match &self.query {
            Some(query) => write!(out, "?{query}"),
            None => Ok(()),
        }
    }
}

fn parse(text: &str) -> Option<Url> {
    if text.is_empty() || text.chars().any(|character| character.is_ascii_control()) {
        return None;
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (rest, None),
    };
    let mut url = Url { scheme, user: String::new(), host: String::new(), path: String::new(), query, opaque: false };
    if !rest.starts_with('/') {
        if url.scheme.is_empty() {
            return None;
        }
        url.opaque = true;
        url.path = rest.to_owned();
        return Some(url);
    }
    let path = match rest.strip_prefix("//") {
        Some(authority) if !url.scheme.is_empty() => {
            let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            if !sound_host(host) || !sound_escapes(user) {
                return None;
            }
            (url.user, url.host) = (user.to_owned(), host.to_owned());
            path
        }
        _ => rest,
    };
    if !sound_escapes(path) {
        return None;
    }
    url.path = quote_path(path);
    Some(url)
}

fn scheme(text: &str) -> Option<(String, &str)> {
    let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || "+-.".contains(character)));
    match end {
        Some(0) if text.starts_with(':') => None,
        Some(end) if text[end..].starts_with(':') && text.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            Some((text[..end].to_ascii_lowercase(), &text[end + 1..]))
        }
        Some(end) if text[end..].starts_with(':') && end > 0 => None,
        _ => Some((String::new(), text)),
    }
}

fn sound_host(host: &str) -> bool {
    let (name, port) = match host.rfind(']') {
        Some(end) => {
            if !host.starts_with('[') {
                return false;
            }
            (&host[..=end], host[end + 1..].strip_prefix(':').unwrap_or(&host[end + 1..]))
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let plain = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let sound_name = match plain {
        Some(address) => address.split('%').next().unwrap_or("").parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.contains(['[', ']', ' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}', '#']) && sound_escapes(name)
        }
    };
    sound_name && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn sound_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%' || bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The path with everything encoded that a path cannot hold.
fn quote_path(path: &str) -> String {
    let mut quoted = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            quoted += &format!("%{byte:02X}");
        }
    }
    quoted
}

fn unquote(text: &str) -> Option<String> {
    if !sound_escapes(text) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? * 16 + digit(rest.next()?)?
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
