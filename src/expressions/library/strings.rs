//! CEL's own functions of strings, and version 2 of the strings extension. Positions count code points.

use super::{Answer, texts};
use crate::cost::Meter;
use crate::error::Error;
use crate::value::{List, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
    let result = match (function, args) {
        ("contains", [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        ("startsWith", [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        ("endsWith", [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        ("charAt", [Value::String(text), Value::Int(at)]) => char_at(text, *at),
        ("indexOf", [Value::String(text), Value::String(part)]) => Ok(index(text, part)),
        ("indexOf", [Value::String(text), Value::String(part), Value::Int(from)]) => index_from(text, part, *from),
        ("lastIndexOf", [Value::String(text), Value::String(part)]) => Ok(last_index(text, part)),
        ("lastIndexOf", [Value::String(text), Value::String(part), Value::Int(to)]) => last_index_to(text, part, *to),
        ("lowerAscii", [Value::String(text)]) => Ok(Value::from(text.to_ascii_lowercase())),
        ("upperAscii", [Value::String(text)]) => Ok(Value::from(text.to_ascii_uppercase())),
        ("trim", [Value::String(text)]) => Ok(Value::from(text.trim().to_owned())),
        ("replace", [Value::String(text), Value::String(old), Value::String(new)]) => {
            replace(text, old, new, -1, meter)
        }
        ("replace", [Value::String(text), Value::String(old), Value::String(new), Value::Int(times)]) => {
            replace(text, old, new, *times, meter)
        }
        ("split", [Value::String(text), Value::String(by)]) => split(text, by, -1, meter),
        ("split", [Value::String(text), Value::String(by), Value::Int(most)]) => split(text, by, *most, meter),
        ("substring", [Value::String(text), Value::Int(from)]) => substring(text, *from, None),
        ("substring", [Value::String(text), Value::Int(from), Value::Int(to)]) => substring(text, *from, Some(*to)),
        ("join", [Value::List(list)]) => join(list, "", meter),
        ("join", [Value::List(list), Value::String(separator)]) => join(list, separator, meter),
        ("strings.quote", [Value::String(text)]) => Ok(Value::from(quote(text))),
        ("jsonpatch.escapeKey", [Value::String(key)]) => Ok(Value::from(key.replace('~', "~0").replace('/', "~1"))),
        _ => return None,
    };
    Some(result)
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// The byte at which code point `at` starts; the end for the number of code points.
fn byte(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at)
}

fn position(text: &str, byte: usize) -> Value<'static> {
    Value::Int(count(&text[..byte]))
}

fn out_of_range(at: i64) -> Error {
    format!("index out of range: {at}").into()
}

fn char_at<'a>(text: &str, at: i64) -> Result<Value<'a>, Error> {
    let start = byte(text, at).ok_or_else(|| out_of_range(at))?;
    Ok(Value::from(text[start..].chars().next().map(String::from).unwrap_or_default()))
}

fn index<'a>(text: &str, part: &str) -> Value<'a> {
    text.find(part).map_or(Value::Int(-1), |found| position(text, found))
}

fn index_from<'a>(text: &str, part: &str, from: i64) -> Result<Value<'a>, Error> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let start = byte(text, from).ok_or_else(|| out_of_range(from))?;
    Ok(text[start..].find(part).map_or(Value::Int(-1), |found| position(text, start + found)))
}

fn last_index<'a>(text: &str, part: &str) -> Value<'a> {
    text.rfind(part).map_or(Value::Int(-1), |found| position(text, found))
}

fn last_index_to<'a>(text: &str, part: &str, to: i64) -> Result<Value<'a>, Error> {
    if part.is_empty() {
        return Ok(Value::Int(to));
    }
    let start = byte(text, to).ok_or_else(|| out_of_range(to))?;
    // The part has to start at `to` or before.
    let mut end = (start + part.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let found = text[..end].rmatch_indices(part).map(|(found, _)| found).find(|found| *found <= start);
    Ok(found.map_or(Value::Int(-1), |found| position(text, found)))
}

fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Result<Value<'a>, Error> {
    let start = byte(text, from).ok_or_else(|| out_of_range(from))?;
    let end = match to {
        None => text.len(),
        Some(to) => byte(text, to).ok_or_else(|| out_of_range(to))?,
    };
    if start > end {
        return Err(format!("invalid substring range. start: {from}, end: {}", to.unwrap_or_default()).into());
    }
    Ok(Value::from(text[start..end].to_owned()))
}

fn replace<'a>(text: &str, old: &str, new: &str, times: i64, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let most = usize::try_from(times).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).take(most).count() };
    meter.work((text.len() as u64).saturating_add((found.min(most) as u64).saturating_mul(new.len() as u64)))?;
    Ok(Value::from(text.replacen(old, new, most)))
}

fn split<'a>(text: &str, by: &str, most: i64, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let pieces: Vec<&str> = if by.is_empty() {
        text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()]).collect()
    } else {
        text.split(by).collect()
    };
    meter.work(pieces.len() as u64 * 48)?;
    let most = match usize::try_from(most) {
        Ok(most) => most.min(pieces.len()),
        Err(_) => pieces.len(),
    };
    let mut kept: Vec<String> = pieces.iter().take(most).map(|piece| (*piece).to_owned()).collect();
    if let Some(last) = kept.last_mut()
        && most < pieces.len()
    {
        *last = pieces[most - 1..].join(by);
    }
    texts(kept, meter)
}

fn join<'a>(list: &List<'a>, separator: &str, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let mut joined = String::new();
    for (place, item) in list.iter().enumerate() {
        let Value::String(text) = item? else { return Err("no such overload".into()) };
        // Asked for before it is allocated: a list may name one long text a million times.
        meter.work((text.len() + separator.len()) as u64)?;
        if place > 0 {
            joined += separator;
        }
        joined += &text;
    }
    Ok(Value::from(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\u{7}' => quoted += "\\a",
            '\u{8}' => quoted += "\\b",
            '\u{c}' => quoted += "\\f",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '\u{b}' => quoted += "\\v",
            '\\' => quoted += "\\\\",
            '"' => quoted += "\\\"",
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
