//! Randomness: the only place that draws it.
//!
//! Everything comes from the thread's cryptographically secure generator, which the operating
//! system seeds, so that the same functions serve names, identifiers and secrets.

use rand::{Rng, RngCore};
use std::ops::Range;
use std::time::Duration;

/// The letters that Kubernetes uses for generated name suffixes: without vowels, and without digits
/// that look like letters, so that no suffix spells a word or is misread.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A new random UUID (version 4) in its usual text form, 36 characters in lower case.
pub fn uid() -> String {
    let mut raw = bytes::<16>();
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (position, byte) in raw.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(hex_digit(byte >> 4));
        text.push(hex_digit(byte & 0x0f));
    }
    text
}

/// A random suffix of `length` characters from the alphabet of Kubernetes' generated names.
pub fn suffix(length: usize) -> String {
    let mut generator = rand::rng();
    (0..length).map(|_| char::from(SUFFIX_ALPHABET[generator.random_range(0..SUFFIX_ALPHABET.len())])).collect()
}

/// `N` random bytes, fit for secrets.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut raw = [0; N];
    rand::rng().fill_bytes(&mut raw);
    raw
}

/// A random duration within `range` (its end excluded). An empty range yields its start.
pub fn jitter(range: Range<Duration>) -> Duration {
    if range.is_empty() {
        return range.start;
    }
    rand::rng().random_range(range)
}

/// A random number below `limit`; 0 when `limit` is 0.
pub fn below(limit: usize) -> usize {
    if limit == 0 { 0 } else { rand::rng().random_range(0..limit) }
}

/// A random 128-bit number, for request ids.
pub fn u128() -> u128 {
    u128::from_le_bytes(bytes::<16>())
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn uid_is_a_version_four_uuid() {
        let uid = uid();
        assert_eq!(uid.len(), 36);
        let parts: Vec<usize> = uid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]));
        assert!(uid.chars().all(|c| c == '-' || c.is_ascii_hexdigit() && !c.is_ascii_uppercase()));
    }

    #[test]
    fn draws_do_not_repeat() {
        let uids: HashSet<String> = (0..1000).map(|_| uid()).collect();
        assert_eq!(uids.len(), 1000);
        let numbers: HashSet<u128> = (0..1000).map(|_| u128()).collect();
        assert_eq!(numbers.len(), 1000);
    }

    #[test]
    fn suffix_keeps_to_its_alphabet() {
        let drawn = suffix(2000);
        assert_eq!(drawn.len(), 2000);
        assert!(drawn.bytes().all(|letter| SUFFIX_ALPHABET.contains(&letter)));
        assert_eq!(suffix(0), "");
    }

    #[test]
    fn jitter_stays_in_its_range() {
        let (low, high) = (Duration::from_millis(5), Duration::from_millis(9));
        for _ in 0..200 {
            let drawn = jitter(low..high);
            assert!(drawn >= low && drawn < high);
        }
        assert_eq!(jitter(high..high), high);
        assert_eq!(below(0), 0);
        assert!(below(3) < 3);
    }
}
