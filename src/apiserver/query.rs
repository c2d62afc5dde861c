//! Query parameters, and percent-encoding.

use std::time::Duration;

use objects::Status;

/// Most parameters of one request; exec repeats `command` once per argument.
const PARAMETERS_MAX: usize = 1024;

/// Decoded query parameters, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL behind the question mark.
    ///
    /// # Errors
    /// 400 for encodings that do not decode to UTF-8, and for too many parameters.
    pub fn parse(text: Option<&str>) -> Result<Self, Status> {
        let mut pairs = Vec::new();
        for pair in text.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(Status::bad_request(format!("over {PARAMETERS_MAX} query parameters")));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let read = |part: &str| {
                decode(&part.replace('+', " ")).ok_or_else(|| Status::bad_request("the query is not properly encoded"))
            };
            pairs.push((read(key)?, read(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter, empty ones included.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A flag as upstream reads it: absent, `0` and `false` are off; present without a value is on.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Status> {
        match self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()) {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(Status::bad_request(format!("the query parameter {key}={other:?} is no boolean"))),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        self.get(key)
            .map(|text| {
                text.parse()
                    .map_err(|_| Status::bad_request(format!("the query parameter {key}={text:?} is no whole number")))
            })
            .transpose()
    }

    /// A duration as Go writes it: `30s`, `1m30s`, `500ms`; a bare number is seconds.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Status> {
        self.get(key)
            .map(|text| {
                duration(text)
                    .ok_or_else(|| Status::bad_request(format!("the query parameter {key}={text:?} is no duration")))
            })
            .transpose()
    }
}

fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, seconds) = [("ms", 0.001), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total += number * seconds;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Undoes percent-encoding; `None` when it is malformed or no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Percent-encodes everything but unreserved characters.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("7", 7_000), ("0", 0), ("1.5h", 5_400_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["x", "-1s", "1", "1d", "s", "1s2", "1e400s"] {
            assert_eq!(duration(text).is_some(), text == "1", "{text}");
        }
    }

    #[test]
    fn encodings_are_undone_or_refused() {
        let query = Query::parse(Some("a=b%3Dc+d&e&f=%e4%bd%a0")).unwrap();
        assert_eq!((query.get("a"), query.get("e"), query.get("f")), (Some("b=c d"), None, Some("你")));
        assert_eq!(query.flag("e"), Ok(Some(true)));
        for bad in ["a=%", "a=%g0", "a=%ff", "%2"] {
            assert_eq!(Query::parse(Some(bad)).unwrap_err().code, 400, "{bad}");
        }
        assert_eq!(decode(&encode("a/b?ä=%")), Some("a/b?ä=%".into()));
    }
}
