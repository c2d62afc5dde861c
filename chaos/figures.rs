//! Samples and the tables that show them.

use std::fmt::Write;
use std::time::Duration;

pub use crate::probe::longest;

/// Readings of one kind, in milliseconds.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a reading.
    pub fn add(&mut self, reading: Duration) {
        self.0.push(reading.as_secs_f64() * 1_000.0);
    }

    /// Number of readings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value below which this part of the readings lies; 0.5 is the median. Zero without readings.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        // Rounded to the nearest reading; the table shows whole milliseconds anyway.
        let at = (part.clamp(0.0, 1.0) * last as f64).round();
        sorted.get(at as usize).copied().unwrap_or(0.0)
    }

    /// The largest reading.
    pub fn worst(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// A Markdown table, columns as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: Vec<&str>| {
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(out, "| {cell:<width$} ");
        }
        out.push_str("|\n");
    };
    line(header.to_vec());
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(rule.iter().map(String::as_str).collect());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_readings() {
        let mut samples = Samples::default();
        assert_eq!(samples.worst(), 0.0);
        for reading in [5, 1, 3, 2, 4] {
            samples.add(Duration::from_millis(reading));
        }
        assert_eq!((samples.quantile(0.5), samples.worst(), samples.len()), (3.0, 5.0, 5));
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let text = table(&["a", "bb"], &[vec!["1".into(), "2".into()], vec!["333".into(), "4".into()]]);
        assert_eq!(text, "| a   | bb |\n| --- | -- |\n| 1   | 2  |\n| 333 | 4  |\n");
    }
}
