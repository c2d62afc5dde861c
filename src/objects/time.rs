//! Times as upstream writes them: `Time` to the second, `MicroTime` to the microsecond, both RFC 3339 in UTC.
//!
//! Formats and parses only; what time it is comes from the caller.

use jiff::Timestamp;

use crate::Error;

/// `Time`: `2026-07-24T08:00:00Z`, cut to the second.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `MicroTime`: `2026-07-24T08:00:00.000000Z`, cut to the microsecond.
pub fn format_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads RFC 3339 as Go does: `T` in capitals, `Z` or a numeric offset, any number of digits of a second.
///
/// # Errors
/// [`Error::Time`] for anything else, leap seconds included.
pub fn parse(text: &str) -> Result<Timestamp, Error> {
    let fault = || Error::Time(text.chars().take(64).collect());
    let bytes = text.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let shaped = [(0..4), (5..7), (8..10), (11..13), (14..16), (17..19)].into_iter().all(digits)
        && [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].iter().all(|&(at, byte)| bytes[at] == byte)
        && &bytes[17..19] != b"60";
    if !shaped {
        return Err(fault());
    }
    let mut rest = &bytes[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 || count > 9 {
            return Err(fault());
        }
        rest = &fraction[count..];
    }
    let offset = rest == b"Z"
        || matches!(rest, [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()));
    if !offset {
        return Err(fault());
    }
    text.parse().map_err(|_| fault())
}

/// `text` plus whole seconds, as [`format()`] writes it. Times that leave the calendar stay as they are.
///
/// # Errors
/// [`Error::Time`] when `text` is no time.
pub fn plus_seconds(text: &str, seconds: i64) -> Result<String, Error> {
    let time = parse(text)?;
    Ok(format(time.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-07-24",
            "2026-07-24 08:00:00Z",
            "2026-07-24t08:00:00Z",
            "2026-07-24T08:00:00",
            "2026-07-24T08:00:00z",
            "2026-07-24T08:00:60Z",
            "2026-13-24T08:00:00Z",
            "2026-02-30T08:00:00Z",
            "2026-07-24T25:00:00Z",
            "2026-07-24T08:00:00.Z",
            "2026-07-24T08:00:00+0200",
            "2026-07-24T08:00:00Z[UTC]",
            "2026-07-24T08:00:00.1234567890Z",
            "2026-07-24T08:00:00Zé",
            "é026-07-24T08:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        for (text, second, micro) in [
            ("2026-07-24T08:00:00Z", "2026-07-24T08:00:00Z", "2026-07-24T08:00:00.000000Z"),
            ("2026-07-24T08:00:00.1234567Z", "2026-07-24T08:00:00Z", "2026-07-24T08:00:00.123456Z"),
            ("2026-07-24T08:00:00+02:00", "2026-07-24T06:00:00Z", "2026-07-24T06:00:00.000000Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000Z"),
        ] {
            let time = parse(text).unwrap();
            assert_eq!((format(time).as_str(), format_micro(time).as_str()), (second, micro), "{text}");
            assert_eq!(parse(&format(time)).map(format), Ok(second.to_owned()));
        }
    }

    #[test]
    fn seconds_are_added_across_midnight() {
        assert_eq!(plus_seconds("2026-12-31T23:59:50Z", 30).unwrap(), "2027-01-01T00:00:20Z");
        assert_eq!(plus_seconds("2026-12-31T23:59:50Z", i64::MAX).unwrap(), "2026-12-31T23:59:50Z");
    }
}
