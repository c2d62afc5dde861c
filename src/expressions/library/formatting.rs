//! `text.format([values])`.

use super::conversions::{show, show_double};
use super::{Answer, time};
use crate::cost::Meter;
use crate::error::Error;
use crate::value::{List, Value};

/// Most digits after the point that a clause may ask for.
const PRECISION_MAX: usize = 100;
/// How deep lists in lists are written.
const NESTING_MAX: usize = 64;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
    match (function, args) {
        ("format", [Value::String(template), Value::List(values)]) => Some(format(template, values, meter)),
        _ => None,
    }
}

fn format<'a>(template: &str, values: &List<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = template.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            meter.work(character.len_utf8() as u64)?;
            out.push(character);
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if rest.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let wanted: usize = digits.parse().map_err(|_| "error while parsing precision")?;
            if wanted > PRECISION_MAX {
                return Err(format!("precision {wanted} exceeds {PRECISION_MAX}").into());
            }
            precision = Some(wanted);
        }
        let Some(verb) = rest.next() else { return Err("unexpected end of string".into()) };
        let value = values.get(next).ok_or_else(|| format!("index {next} out of range"))??;
        next += 1;
        let before = out.len();
        clause(verb, precision, &value, &mut out, meter)?;
        meter.work((out.len() - before) as u64)?;
    }
    if next < values.len() {
        return Err(
            format!("too many arguments supplied to string.format (expected {next}, got {})", values.len()).into()
        );
    }
    Ok(Value::from(out))
}

fn clause(
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
    out: &mut String,
    meter: &mut Meter,
) -> Result<(), Error> {
    let misfit = || {
        let name = value.type_name();
        Error::from(format!("error during formatting: %{verb} cannot be applied to {name}"))
    };
    let text = match (verb, value) {
        ('s', value) => return plain(value, out, 0, meter),
        ('d', Value::Int(number)) => number.to_string(),
        ('d', Value::Uint(number)) => number.to_string(),
        ('d' | 'f' | 'e', Value::Double(number)) if !number.is_finite() => match number {
            number if number.is_nan() => "NaN".into(),
            number if *number > 0.0 => "Infinity".into(),
            _ => "-Infinity".into(),
        },
        ('f', Value::Double(number)) => format!("{number:.*}", precision.unwrap_or(6)),
        ('e', Value::Double(number)) => {
            let text = format!("{number:.*e}", precision.unwrap_or(6));
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or_default();
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        ('b', Value::Bool(truth)) => u8::from(*truth).to_string(),
        ('b' | 'x' | 'X' | 'o', Value::Int(number)) => {
            let sign = if *number < 0 { "-" } else { "" };
            format!("{sign}{}", radix(verb, number.unsigned_abs()))
        }
        ('b' | 'x' | 'X' | 'o', Value::Uint(number)) => radix(verb, *number),
        ('x' | 'X', Value::String(text)) => hex(verb, text.as_bytes()),
        ('x' | 'X', Value::Bytes(bytes)) => hex(verb, bytes),
        ('d' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o', _) => return Err(misfit()),
        _ => return Err(format!("unrecognized formatting clause \"{verb}\"").into()),
    };
    *out += &text;
    Ok(())
}

fn radix(verb: char, number: u64) -> String {
    match verb {
        'b' => format!("{number:b}"),
        'o' => format!("{number:o}"),
        'x' => format!("{number:x}"),
        _ => format!("{number:X}"),
    }
}

fn hex(verb: char, bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") }).collect()
}

/// `%s`: any value.
fn plain(value: &Value<'_>, out: &mut String, depth: usize, meter: &mut Meter) -> Result<(), Error> {
    if depth > NESTING_MAX {
        return Err("values nest too deeply to be formatted".into());
    }
    meter.work(value.size().saturating_mul(4))?;
    match value {
        Value::Null => *out += "null",
        Value::Double(number) => *out += &show_double(*number),
        Value::Bytes(bytes) => *out += &String::from_utf8_lossy(bytes),
        Value::Type(name) => *out += name,
        Value::Duration(length) => *out += &time::show_duration(*length),
        Value::List(list) => {
            out.push('[');
            for (place, item) in list.iter().enumerate() {
                if place > 0 {
                    *out += ", ";
                }
                plain(&item?, out, depth + 1, meter)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut keys = map.keys();
            keys.sort();
            out.push('{');
            for (place, key) in keys.iter().enumerate() {
                if place > 0 {
                    *out += ", ";
                }
                plain(&key.value(), out, depth + 1, meter)?;
                *out += ": ";
                if let Some(value) = map.get(key) {
                    plain(&value?, out, depth + 1, meter)?;
                }
            }
            out.push('}');
        }
        other => match show(other) {
            Some(text) => *out += &text,
            None => {
                return Err(format!("error during formatting: %s cannot be applied to {}", other.type_name()).into());
            }
        },
    }
    Ok(())
}
