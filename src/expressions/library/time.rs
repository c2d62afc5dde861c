//! Points and lengths of time: their texts, their bounds, their parts.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::Answer;
use crate::error::Error;
use crate::value::Value;

/// The first and the last second that a timestamp may have: years 1 to 9999. (The last day of 9999 is beyond what `jiff` holds,
/// and so is an overflow here.)
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::Timestamp(at)] => timestamp_part(function, *at, &TimeZone::UTC),
        [Value::Timestamp(at), Value::String(name)] if function.starts_with("get") => match zone(name) {
            Ok(zone) => timestamp_part(function, *at, &zone),
            Err(message) => Some(Err(message.into())),
        },
        [Value::Duration(length)] => duration_part(function, *length),
        _ => None,
    }
}

fn timestamp_part<'a>(function: &str, at: Timestamp, zone: &TimeZone) -> Answer<'a> {
    let at = at.to_zoned(zone.clone());
    Some(Ok(Value::Int(match function {
        "getFullYear" => at.year().into(),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDate" => at.day().into(),
        "getDayOfWeek" => at.weekday().to_sunday_zero_offset().into(),
        "getHours" => at.hour().into(),
        "getMinutes" => at.minute().into(),
        "getSeconds" => at.second().into(),
        "getMilliseconds" => at.millisecond().into(),
        _ => return None,
    })))
}

fn duration_part<'a>(function: &str, length: SignedDuration) -> Answer<'a> {
    let whole = |number: i128| i64::try_from(number).map(Value::Int).map_err(|_| Error::from("integer overflow"));
    Some(match function {
        "getHours" => whole(i128::from(length.as_hours())),
        "getMinutes" => whole(i128::from(length.as_mins())),
        "getSeconds" => whole(i128::from(length.as_secs())),
        "getMilliseconds" => whole(length.as_millis()),
        _ => return None,
    })
}

/// The time zone of a fixed offset, as `+01:30`, or UTC. Named zones would need a database, which another master may have
/// in another version.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    if matches!(name, "" | "UTC" | "Etc/UTC" | "GMT") {
        return Ok(TimeZone::UTC);
    }
    let (sign, rest) = match name.as_bytes().first() {
        Some(b'-') => (-1, &name[1..]),
        Some(b'+') => (1, &name[1..]),
        _ => (1, name),
    };
    let offset = rest.split_once(':').and_then(|(hours, minutes)| {
        let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hours) || !digits(minutes) {
            return None;
        }
        let (hours, minutes) =
            (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok().filter(|minutes| *minutes < 60)?);
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
    });
    offset.map(TimeZone::fixed).ok_or_else(|| format!("unknown time zone {name}"))
}

/// `at`, if CEL has such a timestamp.
pub(crate) fn checked_timestamp(at: Timestamp) -> Result<Timestamp, String> {
    if SECONDS.contains(&at.as_second()) { Ok(at) } else { Err("timestamp overflow".into()) }
}

/// `length`, if CEL has such a duration: 64 bits of nanoseconds.
pub(crate) fn checked_duration<'a>(length: SignedDuration) -> Result<Value<'a>, String> {
    match i64::try_from(length.as_nanos()) {
        Ok(_) => Ok(Value::Duration(length)),
        Err(_) => Err("duration overflow".into()),
    }
}

/// RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, String> {
    let fault = || format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": it is not RFC 3339");
    // The parser takes more: a blank or a small t between date and time, no seconds, names of zones.
    let shape = text.as_bytes();
    let strict = shape.len() >= 20
        && shape[10] == b'T'
        && shape[13] == b':'
        && shape[16] == b':'
        && !text.contains('[')
        && (text.ends_with('Z') || matches!(shape.get(shape.len() - 6), Some(b'+' | b'-')));
    if !strict {
        return Err(fault());
    }
    text.parse().map_err(|_| fault()).and_then(checked_timestamp)
}

/// RFC 3339, or its date alone: what a schema's `date` and `date-time` hold.
pub(crate) fn parse_timestamp_or_date(text: &str) -> Result<Timestamp, String> {
    if text.len() == 10 { parse_timestamp(&format!("{text}T00:00:00Z")) } else { parse_timestamp(text) }
}

/// RFC 3339 in UTC.
pub(crate) fn show_timestamp(at: Timestamp) -> String {
    at.to_string()
}

/// Go's notation, as `1h30m` or `-1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let fault = || format!("time: invalid duration \"{text}\"");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(fault());
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
            return Err(fault());
        }
        let end = tail.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(fault()),
        };
        nanos += whole.parse::<i128>().unwrap_or(0) * unit;
        let mut scale = unit;
        for digit in fraction.bytes().take(18) {
            scale /= 10;
            nanos += i128::from(digit - b'0') * scale;
        }
        if nanos > i128::from(i64::MAX) + 1 {
            return Err(fault());
        }
        rest = tail;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).map_err(|_| fault())?;
    Ok(SignedDuration::from_nanos(nanos))
}

/// Seconds, as `90s` or `1.5s`.
pub(crate) fn show_duration(length: SignedDuration) -> String {
    let nanos = length.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}
