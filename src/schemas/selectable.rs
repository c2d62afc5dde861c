//! Fields that field selectors may name, and paths into a schema.
//!
//! Follows upstream's `ValidateCustomResourceSelectableFields` (`pkg/apis/apiextensions/validation/validation.go`) and
//! `ValidFieldPath` (`pkg/apiserver/schema/cel/validation.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::faults::{Faults, duplicate, too_many};
use crate::place::Place;
use crate::schema::{Additional, Schema, Type};

/// Most selectable fields of one version; upstream's.
pub const FIELDS_MAX: usize = 8;

/// What a path leads to.
pub(crate) struct Found<'a> {
    /// The path as causes spell it, as `spec.a[key]`.
    pub(crate) path: String,
    /// Its first name.
    root: String,
    /// The schema of the field.
    pub(crate) schema: &'a Schema,
}

/// Follows `.spec.a` (and `['key']`, where `brackets` are allowed) through a schema.
///
/// # Errors
/// What is wrong, in upstream's words.
pub(crate) fn resolve<'a>(path: &str, schema: &'a Schema, brackets: bool) -> Result<Found<'a>, String> {
    let mut found = Found { path: String::new(), root: String::new(), schema };
    let mut rest = path;
    while !rest.is_empty() {
        let name = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if after.is_empty() {
                return Err("unexpected end of JSON path".into());
            }
            // Two delimiters in a row name the second one.
            let (name, after) = after.split_at(end.max(1));
            rest = after;
            name.to_owned()
        } else if let Some(after) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".into());
            }
            let (name, after) = quoted(after)?;
            rest = after;
            name
        } else {
            let word = rest.split_inclusive(['.', '[', ']']).next().unwrap_or(rest);
            let word = word.strip_suffix(['.', '[', ']']).filter(|word| !word.is_empty()).unwrap_or(word);
            return Err(format!("expected [ or . but got: {word}"));
        };
        let next = if !found.schema.properties.is_empty() {
            found.path.push_str(if found.path.is_empty() { "" } else { "." });
            found.path.push_str(&name);
            found.schema.properties.get(&name)
        } else if let Additional::Schema(child) = &found.schema.additional {
            found.path.push_str(&format!("[{name}]"));
            Some(&**child)
        } else {
            None
        };
        found.schema = next.ok_or("does not refer to a valid field")?;
        if found.root.is_empty() {
            found.root = name;
        }
    }
    Ok(found)
}

/// A quoted name and the bracket behind it; gives what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('\'') else {
        let end = text.find(['.', '[', ']']).unwrap_or(text.len());
        return Err(format!("expected single quoted string but got {}", &text[..end]));
    };
    let mut name = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => {
                let after = &inner[at + 1..];
                let after = after.strip_prefix(']').ok_or_else(|| match after.chars().next() {
                    None => "unexpected end of JSON path".to_owned(),
                    Some(other) => format!("expected ] but got {other}"),
                })?;
                return Ok((name, after));
            }
            '\\' => match letters.next() {
                Some((_, escaped @ ('\\' | '\''))) => name.push(escaped),
                Some((_, 'n')) => name.push('\n'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, 't')) => name.push('\t'),
                Some((_, other)) => return Err(format!("invalid string literal: invalid escape char \\{other}")),
                None => return Err("unexpected end of JSON path".into()),
            },
            other => name.push(other),
        }
    }
    Err("unexpected end of JSON path".into())
}

/// What is wrong with the selectable fields of a version; each is `{"jsonPath": ".spec.a"}`.
pub(crate) fn check(fields: &[Value], schema: &Schema, place: &Place<'_>, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (at, field) in fields.iter().enumerate() {
        let (element, path) = (place.index(at), field["jsonPath"].as_str().unwrap_or_default());
        let place = element.field("jsonPath");
        if path.is_empty() {
            faults.required(&place, "");
            continue;
        }
        match resolve(path, schema, false) {
            Err(reason) => faults.invalid_text(&place, path, format!("is an invalid path: {reason}")),
            Ok(found) => {
                if found.root == "metadata" {
                    faults.invalid_text(&place, path, "must not point to fields in metadata");
                }
                if !matches!(found.schema.ty, Some(Type::String | Type::Boolean | Type::Integer)) {
                    let detail = "must point to a field of type string, boolean or integer. Enum string fields and \
                                  strings with formats are allowed.";
                    faults.invalid_text(&place, path, detail);
                }
                if !seen.insert(found.path) {
                    faults.push(duplicate(&place.to_string(), &path.into()));
                }
            }
        }
    }
    if seen.len() > FIELDS_MAX {
        faults.push(too_many(&place.to_string(), seen.len(), FIELDS_MAX as u64));
    }
}

/// The name by which a selector names a field: the path without its first dot. [`objects::Face`] reads values by it.
pub fn label(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

/// The values of selectable fields in an object, as selectors compare them: texts as they are, numbers and booleans as
/// they are written. Fields that the object lacks are left out; selectors read them as the empty text.
pub fn values(paths: &[String], object: &Value) -> Vec<(String, String)> {
    paths
        .iter()
        .filter_map(|path| {
            let value = label(path).split('.').try_fold(object, |value, step| value.get(step))?;
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => return None,
            };
            Some((label(path).to_owned(), text))
        })
        .collect()
}
