//! Names of fields that are no identifiers, and the identifiers that stand for them.

use crate::lexer::RESERVED;

/// The identifier by which expressions reach the JSON field `name`: `a.b` is `a__dot__b`, `namespace` is
/// `__namespace__`. `None` when expressions cannot reach it.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '_' if rest.peek() == Some(&'_') => {
                rest.next();
                escaped += "__underscores__";
            }
            '.' => escaped += "__dot__",
            '-' => escaped += "__dash__",
            '/' => escaped += "__slash__",
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => escaped.push(character),
            _ => return None,
        }
    }
    Some(escaped)
}

/// The JSON field for which the identifier `escaped` stands: what [`escape`] undoes. `None` for an unknown escape.
pub fn unescape(escaped: &str) -> Option<String> {
    if let Some(word) = escaped.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return Some(word.to_owned());
    }
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(start) = rest.find("__") {
        let inner = &rest[start + 2..];
        let Some(end) = inner.find("__").filter(|end| *end > 0 && !inner[..*end].contains('_')) else { break };
        name += &rest[..start];
        name += match &inner[..end] {
            "underscores" => "__",
            "dot" => ".",
            "dash" => "-",
            "slash" => "/",
            _ => return None,
        };
        rest = &inner[end + 2..];
    }
    Some(name + rest)
}
