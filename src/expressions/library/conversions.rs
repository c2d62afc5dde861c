//! Conversions between types, and how values are written as text.

use super::{Answer, time};
use crate::cost::Meter;
use crate::error::Error;
use crate::value::{Text, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], meter: &mut Meter) -> Answer<'a> {
    let [value] = args else { return None };
    let result = match function {
        "type" => Ok(Value::Type(Text::from(value.type_name().to_owned()))),
        "dyn" => Ok(value.clone()),
        "int" => int(value),
        "uint" => uint(value),
        "double" => double(value),
        "bool" => truth(value),
        "string" => text(value, meter),
        "bytes" => bytes(value, meter),
        "timestamp" => timestamp(value),
        "duration" => duration(value),
        _ => return None,
    };
    Some(result)
}

fn misfit(value: &Value<'_>, to: &str) -> Error {
    format!("type conversion error from '{}' to '{to}'", value.type_name()).into()
}

fn int<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    let overflow = || Error::from("integer overflow");
    Ok(Value::Int(match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).map_err(|_| overflow())?,
        Value::Double(number) if number.abs() < 9_223_372_036_854_775_808.0 => *number as i64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|_| misfit(value, "int"))?,
        Value::Timestamp(at) => at.as_second(),
        Value::Duration(length) => i64::try_from(length.as_nanos()).map_err(|_| overflow())?,
        _ => return Err(misfit(value, "int")),
    }))
}

fn uint<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    let overflow = || Error::from("unsigned integer overflow");
    Ok(Value::Uint(match value {
        Value::Uint(number) => *number,
        Value::Int(number) => u64::try_from(*number).map_err(|_| overflow())?,
        Value::Double(number) if *number > -1.0 && *number < 18_446_744_073_709_551_616.0 => *number as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|_| misfit(value, "uint"))?,
        _ => return Err(misfit(value, "uint")),
    }))
}

fn double<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    Ok(Value::Double(match value {
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::String(text) => text.parse().map_err(|_| misfit(value, "double"))?,
        _ => return Err(misfit(value, "double")),
    }))
}

fn truth<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(match value {
        Value::Bool(truth) => *truth,
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(misfit(value, "bool")),
        },
        _ => return Err(misfit(value, "bool")),
    }))
}

fn text<'a>(value: &Value<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    Ok(match value {
        Value::String(_) => value.clone(),
        Value::Bytes(bytes) => {
            meter.work(bytes.len() as u64)?;
            let text = std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8 in bytes, cannot convert to string")?;
            Value::from(text.to_owned())
        }
        other => Value::from(show(other).ok_or_else(|| misfit(other, "string"))?),
    })
}

/// How `string()` writes a value that is no text; `None` for what has no such form.
pub(super) fn show(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => show_double(*number),
        Value::String(text) => text.to_string(),
        Value::Timestamp(at) => time::show_timestamp(*at),
        Value::Duration(length) => time::show_duration(*length),
        Value::Url(url) => url.to_string(),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        _ => return None,
    })
}

/// The shortest decimal, with an exponent outside of 1e-4 to 1e21: Go's `%g`.
pub(super) fn show_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn bytes<'a>(value: &Value<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => {
            meter.work(text.len() as u64)?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => Err(misfit(value, "bytes")),
    }
}

fn timestamp<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    Ok(match value {
        Value::Timestamp(_) => value.clone(),
        Value::String(text) => Value::Timestamp(time::parse_timestamp(text)?),
        Value::Int(seconds) => {
            let at = jiff::Timestamp::from_second(*seconds).map_err(|_| "timestamp overflow")?;
            Value::Timestamp(time::checked_timestamp(at)?)
        }
        _ => return Err(misfit(value, "google.protobuf.Timestamp")),
    })
}

fn duration<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    Ok(match value {
        Value::Duration(_) => value.clone(),
        Value::String(text) => Value::Duration(time::parse_duration(text)?),
        Value::Int(nanos) => Value::Duration(jiff::SignedDuration::from_nanos(*nanos)),
        _ => return Err(misfit(value, "google.protobuf.Duration")),
    })
}
