//! What `format` means.
//!
//! The names are those of upstream's `pkg/apiserver/validation/formats.go`, their meanings those of
//! `kube-openapi/pkg/validation/strfmt`. A format that upstream does not know says nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use crate::schema::Type;

/// A `format`: its text, and what it checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    text: Box<str>,
    known: Option<Known>,
}

/// Formats that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Of numbers: says nothing about numbers, but refuses what is none.
    Number,
    /// Of texts.
    Text(Text),
}

/// Formats of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    BsonObjectId,
    Byte,
    Cidr,
    CreditCard,
    Date,
    DateTime,
    Duration,
    Email,
    HexColor,
    Hostname,
    Ipv4,
    Ipv6,
    Isbn,
    Isbn10,
    Isbn13,
    LongName,
    Mac,
    Password,
    Quantity,
    RgbColor,
    ShortName,
    Ssn,
    Uri,
    Uuid(Option<char>),
}

impl Format {
    /// The format of a schema of a type; `None` is no type, or two.
    pub(crate) fn of(text: &str, ty: Option<Type>) -> Self {
        let known = match ty {
            None | Some(Type::String) => text_format(&text.replace('-', "")).map(Known::Text),
            Some(Type::Integer) => matches!(text, "int32" | "int64").then_some(Known::Number),
            Some(Type::Number) => matches!(text, "float" | "double").then_some(Known::Number),
            _ => None,
        };
        Self { text: text.into(), known }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it says anything; upstream warns of those that do not.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    pub(crate) fn known(&self) -> Option<Known> {
        self.known
    }
}

fn text_format(name: &str) -> Option<Text> {
    Some(match name {
        "bsonobjectid" => Text::BsonObjectId,
        "byte" => Text::Byte,
        "cidr" => Text::Cidr,
        "creditcard" => Text::CreditCard,
        "date" => Text::Date,
        "datetime" => Text::DateTime,
        "duration" => Text::Duration,
        "email" => Text::Email,
        "hexcolor" => Text::HexColor,
        "hostname" => Text::Hostname,
        "ipv4" => Text::Ipv4,
        "ipv6" => Text::Ipv6,
        "isbn" => Text::Isbn,
        "isbn10" => Text::Isbn10,
        "isbn13" => Text::Isbn13,
        "k8slongname" => Text::LongName,
        "k8sshortname" => Text::ShortName,
        "mac" => Text::Mac,
        "password" => Text::Password,
        "quantity" => Text::Quantity,
        "rgbcolor" => Text::RgbColor,
        "ssn" => Text::Ssn,
        "uri" => Text::Uri,
        "uuid" => Text::Uuid(None),
        "uuid3" => Text::Uuid(Some('3')),
        "uuid4" => Text::Uuid(Some('4')),
        "uuid5" => Text::Uuid(Some('5')),
        _ => return None,
    })
}

impl Text {
    /// Whether a text is of the format.
    pub(crate) fn holds(self, text: &str) -> bool {
        match self {
            Self::Password => true,
            Self::BsonObjectId => text.len() == 24 && hex(text),
            Self::Byte => is_base64(text),
            Self::Cidr => is_cidr(text),
            Self::CreditCard => is_credit_card(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Duration => is_duration(text),
            Self::Email => is_email(text),
            Self::HexColor => {
                let digits = text.strip_prefix('#').unwrap_or(text);
                matches!(digits.len(), 3 | 6) && hex(digits)
            }
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.contains('.') && text.parse::<IpAddr>().is_ok(),
            Self::Ipv6 => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
            Self::Isbn => is_isbn10(text) || is_isbn13(text),
            Self::Isbn10 => is_isbn10(text),
            Self::Isbn13 => is_isbn13(text),
            Self::LongName => text.len() <= 253 && text.split('.').all(objects::validation::names::is_dns_label),
            Self::ShortName => text.len() <= 63 && objects::validation::names::is_dns_label(text),
            Self::Mac => is_mac(text),
            Self::Quantity => objects::quantity::Quantity::from_value(&text.into()).is_ok(),
            Self::RgbColor => RGB.is_match(text),
            Self::Ssn => SSN.is_match(text),
            Self::Uri => is_request_uri(text),
            Self::Uuid(version) => is_uuid(text, version),
        }
    }
}

/// A pattern that is part of the program.
fn constant(pattern: &str) -> Regex {
    // Each is compiled by a test; one that matches nothing would refuse, not accept.
    Regex::new(pattern).or_else(|_| Regex::new(r"[^\s\S]")).unwrap_or_else(|_| unreachable!("an empty class compiles"))
}

static RGB: LazyLock<Regex> = LazyLock::new(|| {
    const PART: &str = r"\s*(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\s*";
    constant(&format!(r"^rgb\({PART},{PART},{PART}\)$"))
});
static SSN: LazyLock<Regex> = LazyLock::new(|| constant(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"));
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    const LETTER: &str = r"[a-zA-Z0-9\p{S}\p{L}]";
    const INNER: &str = r"[a-zA-Z0-9\-\p{S}\p{L}]";
    constant(&format!(
        r"^({LETTER}((-?{LETTER}{{0,62}})?)|({LETTER}(({INNER}{{0,61}}{LETTER})?)(\.)){{1,}}({LETTER})(-?{LETTER}){{1,62}})$"
    ))
});
static TIME: LazyLock<Regex> =
    LazyLock::new(|| constant(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(z|[+-][0-9]{2}:?[0-9]{2})?$"));
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    constant("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{12}$")
});
static SPAN: LazyLock<Regex> = LazyLock::new(|| constant(r"([0-9]+)\s*([A-Za-zµ]+)"));

fn hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = if address.parse::<Ipv4Addr>().is_ok() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    !length.is_empty()
        && length.bytes().all(|byte| byte.is_ascii_digit())
        && length.parse::<u32>().is_ok_and(|length| length <= most)
}

fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let starts =
        |prefix: &str| digits.iter().zip(prefix.chars()).all(|(digit, letter)| letter.to_digit(10) == Some(*digit));
    let begins = |low: u32, high: u32| {
        let head = digits.iter().take(2).fold(0, |head, digit| head * 10 + digit);
        (low..=high).contains(&head)
    };
    let issued = match digits.len() {
        13 => starts("4"),
        14 => ["300", "301", "302", "303", "304", "305", "36", "38"].iter().any(|prefix| starts(prefix)),
        15 => ["34", "37", "2131", "1800"].iter().any(|prefix| starts(prefix)),
        16 => starts("4") || begins(51, 55) || starts("6011") || starts("65") || starts("35"),
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    let Some(parts) = TIME.captures(time) else { return false };
    let below = |at: usize, limit: u32| {
        parts.get(at).and_then(|part| part.as_str().parse::<u32>().ok()).is_some_and(|number| number < limit)
    };
    is_date(date) && below(1, 24) && below(2, 60) && below(3, 60)
}

/// Go's `time.ParseDuration`, or spans with the names of units: `22 ns`, `3 days 2 hours`.
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || {
        let mut spans = SPAN.captures_iter(text).peekable();
        spans.peek().is_some()
            && spans.all(|span| {
                let unit = span.get(2).map_or("", |unit| unit.as_str());
                let plain = unit.strip_suffix('s').filter(|plain| plain.len() > 2).unwrap_or(unit);
                matches!(
                    plain,
                    "ns" | "nano"
                        | "nanosecond"
                        | "us"
                        | "µs"
                        | "micro"
                        | "microsecond"
                        | "ms"
                        | "milli"
                        | "millisecond"
                        | "s"
                        | "sec"
                        | "second"
                        | "m"
                        | "min"
                        | "minute"
                        | "h"
                        | "hr"
                        | "hour"
                        | "d"
                        | "day"
                        | "w"
                        | "wk"
                        | "week"
                )
            })
    }
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let fits = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() <= 1;
        let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        if !fits || !matches!(unit, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = after;
    }
    true
}

/// Go's `mail.ParseAddress`, as far as addresses are written: `a@b`, `Name <a@b>`.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(open), Some(inner)) => &inner[open + 1..],
        (None, None) => text,
        _ => return false,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let atoms = |text: &str| {
        text.split('.').all(|atom| {
            !atom.is_empty()
                && atom.chars().all(|letter| {
                    !letter.is_ascii() || letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter)
                })
        })
    };
    (quoted || atoms(local)) && atoms(domain)
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|part| part.len() <= 63) && HOSTNAME.is_match(text)
}

fn isbn_digits(text: &str) -> Vec<u32> {
    let letters = text.chars().filter(|letter| !matches!(letter, ' ' | '-'));
    // 99 stands for what is no digit: no check sum survives it, because the length check asks for it.
    letters.map(|letter| if letter == 'X' { 10 } else { letter.to_digit(10).unwrap_or(99) }).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    digits.len() == 10
        && digits.iter().enumerate().all(|(at, digit)| *digit < 10 || (at == 9 && *digit == 10))
        && digits.iter().zip(1..).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = isbn_digits(text);
    digits.len() == 13
        && digits.iter().all(|digit| *digit < 10)
        && digits.iter().zip([1, 3].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
}

fn is_mac(text: &str) -> bool {
    let (separator, width) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    groups.iter().all(|group| group.len() == width && hex(group)) && matches!(groups.len() * width / 2, 6 | 8 | 20)
}

/// Go's `url.ParseRequestURI`: an absolute URI or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return false;
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    let rest = match scheme {
        Some(scheme) => &text[scheme.len() + 1..],
        None => text,
    };
    if scheme.is_none() && !rest.starts_with('/') {
        return rest == "*";
    }
    let authority = rest.strip_prefix("//").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let fits = authority.is_none_or(|authority| {
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let port = match host.rsplit_once(']') {
            Some((_, port)) => port.strip_prefix(':'),
            None => host.split_once(':').map(|(_, port)| port),
        };
        !host.contains([' ', '<', '>', '"', '^', '`', '{', '}', '|', '\\'])
            && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let path = rest.split('?').next().unwrap_or_default();
    let escapes = path.match_indices('%').all(|(at, _)| path.get(at + 1..at + 3).is_some_and(hex));
    fits && escapes
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let Some(parts) = UUID.captures(text) else { return false };
    let part = |at: usize| parts.get(at).map_or("", |part| part.as_str());
    match version {
        None => true,
        Some(version) => part(1).starts_with(version) && (version == '3' || "89abAB".contains(part(2))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_hold_as_upstreams() {
        for (name, good, bad) in [
            ("bsonobjectid", &["507f1f77bcf86cd799439011"][..], &["507f"][..]),
            ("byte", &["YQ==", "YWI="], &["", "YQ", "Y?=="]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "x/8"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "1"]),
            ("date", &["2024-02-29"], &["2023-02-29", "2023-2-1"]),
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
                &["2014-12-15", "2014-12-15T25:00:00Z"],
            ),
            ("duration", &["1h30m", "22 ns", "3 days", "-1.5s", "0"], &["", "1x", "abc"]),
            ("email", &["a@b.c", "A B <a@b>"], &["a", "@b", "a@"]),
            ("hexcolor", &["#FFF", "aabbcc"], &["#ab", "zzz"]),
            ("hostname", &["a", "a.example.com", "1.example.com"], &["-a", "a..b", "a_b"]),
            ("ipv4", &["1.2.3.4"], &["1.2.3", "::1", "01.2.3.4"]),
            ("ipv6", &["::1", "fe80::1"], &["1.2.3.4", "fe80::1%eth0"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
            ("isbn10", &["0321751043"], &["978-0321751041"]),
            ("isbn13", &["978-0321751041"], &["0321751043"]),
            ("k8s-short-name", &["a-b"], &["a.b", "A"]),
            ("k8s-long-name", &["a.b-c"], &["a..b"]),
            ("mac", &["01:23:45:67:89:ab", "0123.4567.89ab", "01-23-45-67-89-ab"], &["01:23", "g1:23:45:67:89:ab"]),
            ("password", &["", "x"], &[]),
            ("quantity", &["10Gi", "1m"], &["abc"]),
            ("rgbcolor", &["rgb(255,0,12)"], &["rgb(256,0,0)"]),
            ("ssn", &["111-22-3333"], &["1"]),
            ("uri", &["https://a.b/c", "/a", "urn:x"], &["a", "", "http://a b/", "/%zz"]),
            ("uuid", &["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B8109DAD11D180B400C04FD430C8"], &["6ba7b810", "x"]),
            ("uuid4", &["6ba7b810-9dad-41d1-80b4-00c04fd430c8"], &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
        ] {
            let Some(Known::Text(format)) = Format::of(name, Some(Type::String)).known() else { panic!("{name}") };
            for text in good {
                assert!(format.holds(text), "{name} {text}");
            }
            for text in bad {
                assert!(!format.holds(text), "{name} {text}");
            }
        }
    }

    #[test]
    fn unknown_formats_say_nothing() {
        assert!(!Format::of("cron", Some(Type::String)).is_known());
        assert!(!Format::of("int32", Some(Type::String)).is_known());
        assert!(!Format::of("uint32", Some(Type::Integer)).is_known());
        assert!(Format::of("int64", Some(Type::Integer)).is_known());
        assert!(!Format::of("ipv4", Some(Type::Object)).is_known());
    }
}
