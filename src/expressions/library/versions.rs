//! Semantic versions.

use std::cmp::Ordering;
use std::sync::Arc;

use semver::Version;

use super::Answer;
use crate::error::Error;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let part = |number: u64| i64::try_from(number).map(Value::Int).map_err(|_| Error::from("integer overflow"));
    Some(match (function, args) {
        ("semver", [Value::String(text)]) => parse(text, false),
        ("semver", [Value::String(text), Value::Bool(normalize)]) => parse(text, *normalize),
        ("isSemver", [Value::String(text)]) => Ok(Value::Bool(parse(text, false).is_ok())),
        ("isSemver", [Value::String(text), Value::Bool(normalize)]) => Ok(Value::Bool(parse(text, *normalize).is_ok())),
        ("major", [Value::Semver(version)]) => part(version.major),
        ("minor", [Value::Semver(version)]) => part(version.minor),
        ("patch", [Value::Semver(version)]) => part(version.patch),
        ("isGreaterThan", [Value::Semver(one), Value::Semver(two)]) => {
            Ok(Value::Bool(one.cmp_precedence(two) == Ordering::Greater))
        }
        ("isLessThan", [Value::Semver(one), Value::Semver(two)]) => {
            Ok(Value::Bool(one.cmp_precedence(two) == Ordering::Less))
        }
        ("compareTo", [Value::Semver(one), Value::Semver(two)]) => Ok(Value::Int(one.cmp_precedence(two) as i64)),
        _ => return None,
    })
}

/// `text` as a version; normalized, it may start with `v`, lack minor and patch, and have leading zeros.
fn parse<'a>(text: &str, normalize: bool) -> Result<Value<'a>, Error> {
    let whole = if normalize { normalized(text) } else { text.to_owned() };
    match Version::parse(&whole) {
        Ok(version) => Ok(Value::Semver(Arc::new(version))),
        Err(error) => Err(format!("invalid semantic version \"{text}\": {error}").into()),
    }
}

fn normalized(text: &str) -> String {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, suffix) = text.split_at(end);
    let mut parts: Vec<&str> = numbers
        .split('.')
        .map(|part| {
            let bare = part.trim_start_matches('0');
            if bare.is_empty() && !part.is_empty() { "0" } else { bare }
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0");
    }
    parts.join(".") + suffix
}
