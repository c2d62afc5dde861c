//! Values that are messages on the wire and scalars in JSON: numbers or texts, times, durations.

use serde_json::Value;

use super::wire::{Raw, Reader};
use super::{fault, utf8};

/// A number or a text: which of them, then both.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number_value, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next().map_err(fault)? {
        match (number, raw) {
            (1, Raw::Varint(kind)) => is_text = kind == 1,
            (2, Raw::Varint(value)) => number_value = value as u32 as i32,
            (3, Raw::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text.into()) } else { Value::from(number_value) })
}

/// Seconds and nanos; an empty message is no time at all.
pub(super) fn timestamp(bytes: &[u8]) -> Result<Option<jiff::Timestamp>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next().map_err(fault)? {
        match (number, raw) {
            (1, Raw::Varint(value)) => seconds = value as i64,
            (2, Raw::Varint(value)) => nanos = value as u32 as i32,
            _ => {}
        }
    }
    jiff::Timestamp::new(seconds, nanos).map(Some).map_err(|_| "a time is out of range".to_owned())
}

/// A duration as Go writes it: `1h2m3.5s`, `15ms`, `0s`.
pub(super) fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| -> String {
        let (whole, rest) = (value / unit, value % unit);
        if rest == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
    };
    let text = match nanos {
        0 => "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let minute = 60_000_000_000;
            let seconds = fraction(nanos % minute, 1_000_000_000);
            let minutes = nanos / minute;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}
