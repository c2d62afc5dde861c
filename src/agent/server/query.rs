//! Reading a query that may name a key several times, as `command=sh&command=-c`.

/// The pairs of a query, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query. What is not decodable stays as it is.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(found, _)| found == key).map(|(_, value)| value.clone()).collect()
    }

    /// Whether any of the keys is set to a true value.
    pub fn is(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| matches!(self.get(key), Some("1" | "true" | "t" | "TRUE" | "True")))
    }

    /// A number; `Err` names the key when the value is none.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.get(key).map(|value| value.parse().map_err(|_| format!("{key}: {value:?} is not a number"))).transpose()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let raw = text.as_bytes();
    let mut position = 0;
    while position < raw.len() {
        let hex = raw.get(position + 1..position + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (raw[position], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                position += 3;
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        position += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("command=sh&command=-c&command=echo+%22a%26b%22%zz&tty=1&tail=7&empty=");
        assert_eq!(query.all("command"), ["sh", "-c", "echo \"a&b\"%zz"]);
        assert!(query.is(&["tty"]) && !query.is(&["stdin"]) && query.get("empty").is_none());
        assert_eq!(query.number::<u64>("tail"), Ok(Some(7)));
        assert!(query.number::<u64>("tty").is_ok() && query.number::<u64>("command").is_err());
    }
}
