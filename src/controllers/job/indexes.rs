//! Indexes of a Job's pods as its status writes them: `1,3-5,7`. Pure.

use std::collections::BTreeSet;

/// Reads a list of indexes; what is no index below `limit` is left out.
pub(super) fn parse(text: &str, limit: i64) -> BTreeSet<i64> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            indexes.extend(first.max(0)..=last.min(limit.saturating_sub(1)));
        }
    }
    indexes
}

/// Writes a list of indexes; more than two in a row become a range.
pub(super) fn print(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let show = |(first, last): &(i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, limit, shown) in [
            ("", 10, ""),
            ("0", 10, "0"),
            ("1,3-5,7", 10, "1,3-5,7"),
            ("0-1,2", 10, "0-2"),
            ("4,5", 10, "4,5"),
            ("0-9", 3, "0-2"),
            ("5,9999999999999", 7, "5"),
            ("0-9223372036854775807", 2, "0,1"),
            ("x,-1,3-,-,2", 10, "2"),
            ("5-3", 10, ""),
            ("1", 0, ""),
        ] {
            assert_eq!(print(&parse(text, limit)), shown, "{text}");
        }
    }
}
