//! Field selectors, checked against what a kind supports.

use super::{REQUIREMENTS_MAX, TEXT_MAX};
use crate::{Face, Key, Kind, Status};

/// A field selector, checked against what its kind supports: all terms must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

/// Selectable fields that are no texts upstream, with what absence reads as.
const ABSENT: [(&str, &str); 4] = [
    ("spec.unschedulable", "false"),
    ("spec.hostNetwork", "false"),
    ("status.replicas", "0"),
    ("status.succeeded", "0"),
];

impl Fields {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads `metadata.name=a,status.phase!=Running`; `\` escapes `,`, `=` and itself in values.
    ///
    /// # Errors
    /// 400 in upstream's words for text outside the grammar and for fields that `kind` does not support.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, Status> {
        if text.len() > TEXT_MAX {
            return Err(Status::bad_request(format!("the field selector is longer than {TEXT_MAX} bytes")));
        }
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let invalid = || Status::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let at = part.find(['=', '!']).ok_or_else(invalid)?;
            let (field, rest) = part.split_at(at);
            let (equal, value) = [("!=", false), ("==", true), ("=", true)]
                .into_iter()
                .find_map(|(operator, equal)| rest.strip_prefix(operator).map(|value| (equal, value)))
                .ok_or_else(invalid)?;
            let value = unescape(value)
                .map_err(|reason| Status::bad_request(format!("invalid field selector: {reason} in '{part}'")))?;
            let other_name = kind.declared.selects_as.iter().find(|(name, _)| *name == field);
            let known = other_name.is_some()
                || field == "metadata.name"
                || (field == "metadata.namespace" && kind.namespaced)
                || kind.field_selectors.iter().any(|name| name == field);
            if !known {
                return Err(Status::bad_request(
                    if kind.field_selectors.is_empty() && kind.declared.selects_as.is_empty() {
                        format!(
                            "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                        )
                    } else {
                        format!("field label not supported: {field}")
                    },
                ));
            }
            let field = other_name.map_or(field, |(_, stored)| stored);
            terms.push(Term { field: field.to_owned(), equal, value });
            if terms.len() > REQUIREMENTS_MAX {
                return Err(Status::bad_request(format!("more than {REQUIREMENTS_MAX} terms in the field selector")));
            }
        }
        Ok(Self { terms })
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether anything but name and namespace is looked at.
    pub fn look_inside(&self) -> bool {
        self.terms.iter().any(|term| !matches!(term.field.as_str(), "metadata.name" | "metadata.namespace"))
    }

    /// The value that a field must have, when one term says so: lists by `metadata.name` or `spec.nodeName` can then go
    /// straight to what they want.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object satisfies every term; absent fields read as the empty string (`false` for flags, `0` for numbers).
    pub fn matches(&self, key: &Key, face: &Face) -> bool {
        self.terms.iter().all(|term| {
            let found = match term.field.as_str() {
                "metadata.name" => &*key.name,
                "metadata.namespace" => &*key.namespace,
                field => match face.field(field) {
                    "" => ABSENT.iter().find(|(name, _)| *name == field).map_or("", |(_, none)| none),
                    value => value,
                },
            };
            (found == term.value) == term.equal
        })
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(format!("invalid escape sequence \\{other}")),
                None => return Err("invalid escape sequence at the end".into()),
            },
            ',' | '=' => return Err(format!("unescaped '{character}'")),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind;

    #[test]
    fn fields_match_what_the_kind_supports() {
        let of = |name: &str| kind::all().iter().find(|kind| kind.kind == name).unwrap();
        for (kind, text, message) in [
            ("Pod", "spec.foo=a", "field label not supported: spec.foo"),
            ("Node", "metadata.namespace=a", "field label not supported: metadata.namespace"),
            (
                "Deployment",
                "status.replicas=1",
                "\"status.replicas\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            ("Pod", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            ("Pod", "metadata.name!a", "invalid selector: 'metadata.name!a'; can't understand 'metadata.name!a'"),
            ("Pod", r"metadata.name=a\x", r"invalid field selector: invalid escape sequence \x in 'metadata.name=a\x'"),
            ("Pod", "metadata.name=a=b", "invalid field selector: unescaped '=' in 'metadata.name=a=b'"),
        ] {
            assert_eq!(Fields::parse(of(kind), text).expect_err(text).message, message);
        }
        let value = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        let face = Face::of(of("Pod"), &value);
        let key = Key::new("pods", "default", "a");
        for (text, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==b", false),
            ("metadata.name!=b", true),
            ("metadata.namespace=default", true),
            ("spec.nodeName=n1,status.phase!=Succeeded", true),
            ("spec.nodeName=n1,status.phase=Failed", false),
            ("status.podIP=", true),
            ("status.podIP!=", false),
            ("spec.hostNetwork=false", true),
            (r"spec.nodeName=n\=1", false),
        ] {
            let fields = Fields::parse(of("Pod"), text).unwrap_or_else(|status| panic!("{text}: {status}"));
            assert_eq!(fields.matches(&key, &face), expected, "{text}");
        }
        let fields = Fields::parse(of("Pod"), "spec.nodeName=n1").unwrap();
        assert_eq!(fields.exact("spec.nodeName"), Some("n1"));
        assert_eq!(fields.exact("metadata.name"), None);
    }
}
