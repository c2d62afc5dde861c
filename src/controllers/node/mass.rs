//! When too many nodes vanish at once the fault is ours, and nothing is moved: pure.
//!
//! Upstream (`controller/nodelifecycle`) slows evictions down per zone at 55 % and stops them when all zones are down.

use std::time::Duration;

/// Share of all nodes, in percent, above which a common silence is not believed.
const SHARE_MAX: usize = 55;
/// Below this many nodes a share says nothing: one of two may well be dead.
const NODES_MIN: usize = 3;

/// Whether evictions are held back.
#[derive(Debug, Default)]
pub(super) struct MassLoss {
    held: bool,
}

impl MassLoss {
    /// Judges by how long each node has been silent; says whether evictions are held.
    ///
    /// Nodes whose silence began within one grace of each other vanished together. Those that are about to be lost count
    /// already when the first one is, so that no pod moves before the whole is seen. It ends when half are back.
    pub fn judge(&mut self, silences: &[Duration], grace: Duration) -> bool {
        let suspect = grace / 2;
        let missing = silences.iter().filter(|silence| **silence >= suspect).count();
        if self.held {
            self.held = missing * 2 > silences.len();
        } else {
            let together = silences.iter().filter(|silence| **silence >= suspect && **silence <= grace * 2).count();
            let lost = silences.iter().any(|silence| *silence >= grace);
            self.held = lost && silences.len() >= NODES_MIN && together * 100 > silences.len() * SHARE_MAX;
        }
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_silence_is_not_believed_until_half_are_back() {
        let grace = Duration::from_secs(4);
        // Tenths of seconds of silence, and whether evictions are held before and after.
        let rows: [(&[u64], bool, bool); 15] = [
            (&[0, 0, 45], false, false),
            (&[0, 45], false, false),
            (&[45, 45], false, false),
            (&[0, 35, 41], false, true),
            (&[35, 35, 41], false, true),
            (&[0, 10, 41], false, false),
            (&[35, 35, 35], false, false),
            (&[0, 900, 45], false, false),
            (&[0, 0, 45, 45], false, false),
            (&[0, 45, 45, 45], false, true),
            (&[45, 45, 900], true, true),
            (&[0, 900, 900], true, true),
            (&[0, 0, 900], true, false),
            (&[0, 0, 900, 900], true, false),
            (&[], true, false),
        ];
        for (silences, before, after) in rows {
            let silences: Vec<Duration> = silences.iter().map(|tenths| Duration::from_millis(tenths * 100)).collect();
            let mut loss = MassLoss { held: before };
            assert_eq!(loss.judge(&silences, grace), after, "{silences:?} {before}");
        }
    }
}
