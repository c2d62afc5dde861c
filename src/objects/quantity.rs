//! Quantities: `100m`, `1.5Gi`, `2e3`, with upstream's meaning and canonical spelling.
//!
//! The rules are those of `apimachinery/pkg/api/resource/quantity.go`: nothing finer than a billionth (rounded away from
//! zero), nothing beyond 2^63-1 (capped). Exponents and texts of absurd size are refused instead of computed.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Digits that a quantity may have: more cannot change a value between 1e-9 and 2^63 in any way that matters.
const DIGITS_MAX: usize = 100;
/// Largest decimal exponent that is computed; upstream caps anything over 2^63-1 anyway.
const EXPONENT_MAX: i64 = 64;
/// Billionths per unit: the scale of the inner number.
const NANOS: i128 = 1_000_000_000;
/// The cap, 2^63-1 units, in billionths.
const CAP: i128 = i64::MAX as i128 * NANOS;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// An amount of something, exact to a billionth.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The family of suffixes in which a quantity was written, and is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Whole units.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::DecimalSi }
    }

    /// Thousandths, as CPU time is counted.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// Bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, format: Format::BinarySi }
    }

    /// Reads a JSON string or number.
    ///
    /// # Errors
    /// [`Error::Quantity`] for any other JSON type and for text that [`FromStr`] refuses.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, Error> {
        match value {
            serde_json::Value::String(text) => text.trim().parse(),
            serde_json::Value::Number(number) => number.to_string().parse(),
            other => Err(fault(&other.to_string(), "write it as text, as \"500m\" or \"1Gi\"")),
        }
    }

    /// Thousandths, rounded away from zero; saturates.
    pub fn to_milli(self) -> i64 {
        saturate(round_away(self.nanos, NANOS / 1000))
    }

    /// Whole units (bytes, for memory), rounded away from zero; saturates.
    pub fn to_bytes(self) -> i64 {
        saturate(round_away(self.nanos, NANOS))
    }

    /// The sum, capped at 2^63-1, written like `self` (like `other` when `self` is zero).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-CAP, CAP), format }
    }

    /// The difference, capped likewise.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, format: other.format })
    }

    /// Rounded away from zero to thousandths, as upstream stores resource lists.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        let step = NANOS / 1000;
        Self { nanos: round_away(self.nanos, step) * step, format: self.format }
    }

    /// Units, as the nearest double.
    pub fn to_f64(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Whether the amount is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    /// -1, 0 or 1.
    pub fn sign(self) -> i32 {
        self.nanos.signum() as i32
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = Error;

    /// # Errors
    /// [`Error::Quantity`] when the text does not follow upstream's grammar, or has over 100 digits or an exponent over 64.
    fn from_str(text: &str) -> Result<Self, Error> {
        const GRAMMAR: &str =
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(fault(text, GRAMMAR));
        }
        if number.len() > DIGITS_MAX {
            return Err(fault(text, "it has more than 100 digits"));
        }
        let (format, ten, two) = scale(suffix).map_err(|reason| fault(text, reason.unwrap_or(GRAMMAR)))?;
        let digits = format!("{whole}{fraction}");
        // The value is digits * 10^exponent * 2^two billionths.
        let exponent = i64::from(ten) + 9 - fraction.len() as i64;
        let nanos = billionths(digits.trim_start_matches('0'), exponent, two);
        // Upstream writes binary fractions of a unit with decimal suffixes.
        let format = if format == Format::BinarySi && nanos > 0 && nanos < NANOS { Format::DecimalSi } else { format };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

impl fmt::Display for Quantity {
    /// The canonical spelling: no fraction, and the largest suffix that allows it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return out.write_str("0");
        }
        if self.format == Format::BinarySi && self.nanos.abs() >= 1024 * NANOS {
            let mut units = round_away(self.nanos, NANOS);
            let mut suffix = "";
            for (name, _) in BINARY {
                if units % 1024 != 0 {
                    break;
                }
                units /= 1024;
                suffix = name;
            }
            return write!(out, "{units}{suffix}");
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(out, "{mantissa}") } else { write!(out, "{mantissa}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(name, _)| name);
        write!(out, "{mantissa}{suffix}")
    }
}

/// What a suffix multiplies by: its family, a power of ten and a power of two. `Err(None)` is a breach of the grammar.
fn scale(suffix: &str) -> Result<(Format, i32, u32), Option<&'static str>> {
    if let Some((_, ten)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::DecimalSi, *ten, 0));
    }
    if let Some((_, two)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::BinarySi, 0, *two));
    }
    let Some(digits) = suffix.strip_prefix(['e', 'E']) else {
        return Err(None);
    };
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(None);
    }
    match digits.parse::<i64>() {
        Ok(exponent) if exponent.abs() <= EXPONENT_MAX => Ok((Format::DecimalExponent, exponent as i32, 0)),
        _ => Err(Some("its exponent is beyond 64")),
    }
}

/// `digits * 10^exponent * 2^two`, rounded up and capped.
fn billionths(digits: &str, exponent: i64, two: u32) -> i128 {
    if digits.is_empty() {
        return 0;
    }
    // A power of two times a decimal fraction still has to be rounded only once: keep what is cut off as "more than zero".
    let keep = (digits.len() as i64 + exponent.min(0)).max(0) as usize;
    if exponent < 0 && two > 0 && digits.len() <= 18 && -exponent <= 18 {
        // Exact: at most 10^18 * 2^60 is under 2^120.
        let number: i128 = digits.parse().unwrap_or(0);
        return round_away(number << two, 10_i128.pow((-exponent) as u32)).min(CAP);
    }
    let (kept, cut) = digits.split_at(keep.min(digits.len()));
    let mut number: i128 = 0;
    for byte in kept.bytes() {
        number = number * 10 + i128::from(byte - b'0');
        if number > CAP {
            return CAP;
        }
    }
    if exponent < 0 && (cut.bytes().any(|byte| byte != b'0')) {
        number += 1;
    }
    for _ in 0..exponent.max(0) {
        number *= 10;
        if number > CAP {
            return CAP;
        }
    }
    for _ in 0..two {
        number *= 2;
        if number > CAP {
            return CAP;
        }
    }
    number.min(CAP)
}

fn round_away(number: i128, step: i128) -> i128 {
    let whole = number / step;
    if number % step == 0 { whole } else { whole + number.signum() }
}

fn saturate(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

fn fault(text: &str, reason: &'static str) -> Error {
    Error::Quantity { text: text.chars().take(64).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_quantity_is_refused() {
        let long = "1".repeat(101);
        for text in [
            "",
            " ",
            "m",
            "Gi",
            "-",
            "+",
            ".",
            "1.2.3",
            "1 Gi",
            "1gi",
            "1GI",
            "1K",
            "1KB",
            "1mm",
            "1e",
            "1e+",
            "1e1.5",
            "1e65",
            "1e-65",
            "1e999999999999999999999",
            "1E2147483648",
            "--1",
            "0x10",
            "1_000",
            "٣",
            "1µ",
            "NaN",
            "inf",
            &long,
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn spelling_is_canonical() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("1.", "1"),
            (".5", "500m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1000000", "1M"),
            ("12345", "12345"),
            ("0.001", "1m"),
            ("0.0001", "100u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("0.0000000001", "1n"),
            ("-1.5", "-1500m"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("1023Mi", "1023Mi"),
            ("0.5Ki", "512"),
            ("0.5Gi", "512Mi"),
            ("0.3Ki", "307200m"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1500e3", "1500e3"),
            ("1e2", "100"),
            ("1e-3", "1e-3"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("9223372036854775807", "9223372036854775807"),
            ("100E", "9223372036854775807"),
            ("16Ei", "9223372036854775807"),
            ("1e60", "9223372036854775807"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("000123", "123"),
            ("1.0", "1"),
            ("2.50", "2500m"),
        ] {
            let quantity: Quantity = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(quantity.to_string(), canonical, "{text}");
            let again: Quantity = canonical.parse().unwrap();
            assert_eq!(again.to_string(), canonical, "canonical form of {text} is stable");
        }
    }

    #[test]
    fn amounts_compare_and_add() {
        let of = |text: &str| text.parse::<Quantity>().unwrap();
        for (text, milli, units) in [
            ("100m", 100, 1),
            ("1.5", 1500, 2),
            ("1n", 1, 1),
            ("-1n", -1, -1),
            ("1Gi", 1 << 30, 1 << 30),
            ("9E", 9_000_000_000_000_000_000, 9_000_000_000_000_000_000),
        ] {
            let quantity = of(text);
            assert_eq!(quantity.to_bytes(), units, "{text}");
            if text != "1Gi" {
                assert_eq!(quantity.to_milli(), if text == "9E" { i64::MAX } else { milli }, "{text}");
            }
        }
        assert_eq!(of("1Ki"), of("1024"));
        assert!(of("1G") < of("1Gi"));
        assert!(of("-1") < of("0"));
        assert_eq!(of("1Gi").plus(of("512Mi")).to_string(), "1536Mi");
        assert_eq!(of("0").plus(of("512Mi")).to_string(), "512Mi");
        assert_eq!(of("1").minus(of("250m")).to_string(), "750m");
        assert_eq!(of("9E").plus(of("9E")).to_string(), "9223372036854775807");
        assert_eq!(of("1u").rounded_to_milli().to_string(), "1m");
        assert_eq!(Quantity::from_milli(2500).to_string(), "2500m");
        assert_eq!(Quantity::from_bytes(2048).to_string(), "2Ki");
    }

    #[test]
    fn every_milli_amount_survives_its_spelling() {
        let mut milli: i64 = 1;
        while milli < i64::MAX / 7 {
            for value in [milli, -milli, milli * 5, milli + 1] {
                let quantity = Quantity::from_milli(value);
                let again: Quantity = quantity.to_string().parse().unwrap();
                assert_eq!((again, again.to_milli()), (quantity, value));
            }
            milli = milli * 7 + 3;
        }
    }
}
