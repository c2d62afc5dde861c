//! The bytes of one file, and what it takes to bring back those of its last sync.

use std::collections::BTreeMap;
use std::mem;

/// Bytes of one piece of a file: what an overwrite copies at most, once between two syncs.
pub(super) const CHUNK: u64 = 64 << 10;
/// Unit in which a file takes space.
pub(super) const BLOCK: u64 = 4 << 10;

/// Sparse bytes with one level of undo. Bytes below `synced_length` are never changed before their chunk is kept in
/// `before`; appended ones need no copy, since cutting the length takes them away again.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// By number. What is missing, or lies beyond a chunk's end, reads as zeros.
    chunks: BTreeMap<u64, Vec<u8>>,
    length: u64,
    /// End of what was set aside by fallocate, from the start of the file.
    reserved: u64,
    synced_length: u64,
    /// The chunks as last synced, of those that lost synced bytes since; nothing stands for a hole.
    before: BTreeMap<u64, Option<Vec<u8>>>,
    /// Bytes written since the last sync, each write counted.
    unsynced: u64,
    /// A sync failed: see [`Content::fail_sync`].
    condemned: bool,
}

/// A range of bytes that lies in one chunk.
struct Piece {
    chunk: u64,
    /// Where it begins, in the file and in the chunk.
    start: u64,
    within: usize,
    length: usize,
}

fn pieces(offset: u64, length: u64) -> impl Iterator<Item = Piece> {
    let end = offset.saturating_add(length);
    let mut start = offset;
    std::iter::from_fn(move || {
        if start >= end {
            return None;
        }
        let chunk = start / CHUNK;
        let stop = end.min((chunk + 1).saturating_mul(CHUNK));
        let piece = Piece { chunk, start, within: (start % CHUNK) as usize, length: (stop - start) as usize };
        start = stop;
        Some(piece)
    })
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes it takes on the disk, in whole blocks: what is written and what is reserved.
    pub(super) fn space(&self) -> u64 {
        let stored = self.length.next_multiple_of(BLOCK).min(self.chunks.len() as u64 * CHUNK);
        stored.max(self.reserved.next_multiple_of(BLOCK))
    }

    /// Whether a write there would lay bytes where none are yet. What is reserved counts as there if `reserved_counts`.
    pub(super) fn needs_space(&self, offset: u64, length: u64, reserved_counts: bool) -> bool {
        if reserved_counts && offset.saturating_add(length) <= self.reserved {
            return false;
        }
        pieces(offset, length)
            .any(|piece| self.chunks.get(&piece.chunk).is_none_or(|chunk| chunk.len() < piece.within + piece.length))
    }

    pub(super) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let length = length.min(self.length.saturating_sub(offset));
        let mut out = vec![0; length as usize];
        for piece in pieces(offset, length) {
            let stored = self.chunks.get(&piece.chunk).and_then(|chunk| chunk.get(piece.within..)).unwrap_or_default();
            let stored = &stored[..stored.len().min(piece.length)];
            let at = (piece.start - offset) as usize;
            out[at..at + stored.len()].copy_from_slice(stored);
        }
        out
    }

    /// Must be called before synced bytes of a chunk change.
    fn keep(&mut self, chunk: u64) {
        self.before.entry(chunk).or_insert_with(|| self.chunks.get(&chunk).cloned());
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for piece in pieces(offset, data.len() as u64) {
            if piece.start < self.synced_length {
                self.keep(piece.chunk);
            }
            let at = (piece.start - offset) as usize;
            let data = &data[at..at + piece.length];
            let chunk = self.chunks.entry(piece.chunk).or_default();
            if chunk.len() < piece.within {
                chunk.resize(piece.within, 0);
            }
            let (over, beyond) = data.split_at(data.len().min(chunk.len() - piece.within));
            chunk[piece.within..piece.within + over.len()].copy_from_slice(over);
            chunk.extend_from_slice(beyond);
        }
        self.length = self.length.max(offset + data.len() as u64);
        self.unsynced += data.len() as u64;
    }

    /// Cuts or, with zeros, extends. A file cut to nothing starts afresh where a sync of it had failed.
    pub(super) fn resize(&mut self, length: u64) {
        let first = length / CHUNK;
        let within = (length % CHUNK) as usize;
        for (number, mut chunk) in self.chunks.split_off(&first) {
            let stays = number == first && within > 0;
            let loses_synced = (number * CHUNK).max(length) < self.synced_length && !self.before.contains_key(&number);
            if stays {
                if loses_synced {
                    self.before.insert(number, Some(chunk.clone()));
                }
                chunk.truncate(within);
                self.chunks.insert(number, chunk);
            } else if loses_synced {
                self.before.insert(number, Some(chunk));
            }
        }
        self.length = length;
        self.reserved = self.reserved.min(length);
        self.condemned &= length > 0;
    }

    /// Sets space aside, and extends the file over it unless `keep_length`.
    pub(super) fn reserve(&mut self, offset: u64, length: u64, keep_length: bool) {
        let end = offset.saturating_add(length);
        self.reserved = self.reserved.max(end);
        if !keep_length {
            self.length = self.length.max(end);
        }
    }

    /// Makes the range a hole; the length stays.
    pub(super) fn punch(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length).min(self.length);
        let stored: Vec<u64> =
            self.chunks.range(offset.min(end) / CHUNK..end.div_ceil(CHUNK)).map(|(&number, _)| number).collect();
        let ranges = stored.into_iter().map(|number| (offset.max(number * CHUNK), end.min((number + 1) * CHUNK)));
        for piece in ranges.flat_map(|(start, stop)| pieces(start, stop.saturating_sub(start))) {
            if piece.start < self.synced_length {
                self.keep(piece.chunk);
            }
            if piece.length as u64 == CHUNK {
                self.chunks.remove(&piece.chunk);
            } else if let Some(range) =
                self.chunks.get_mut(&piece.chunk).and_then(|chunk| chunk.get_mut(piece.within..))
            {
                range.iter_mut().take(piece.length).for_each(|byte| *byte = 0);
            }
        }
        if offset.saturating_add(length) >= self.reserved {
            self.reserved = self.reserved.min(offset);
        }
    }

    /// From here on, a cut leaves it as it is now.
    pub(super) fn sync(&mut self) {
        if !self.condemned {
            self.synced_length = self.length;
            self.before.clear();
            self.unsynced = 0;
        }
    }

    /// What Linux does with bytes that the disk refused: the error is told once, then they count as clean. So later
    /// syncs succeed and make nothing durable, until a cut or until the file is emptied.
    pub(super) fn fail_sync(&mut self) {
        self.condemned |= self.unsynced > 0 || self.length != self.synced_length || !self.before.is_empty();
    }

    /// Back to the last sync; the bytes written since, as counted by the writes.
    pub(super) fn cut(&mut self) -> u64 {
        for (number, chunk) in mem::take(&mut self.before) {
            match chunk {
                Some(chunk) => self.chunks.insert(number, chunk),
                None => self.chunks.remove(&number),
            };
        }
        // Nothing is left to be kept: the resize below only takes appended bytes away.
        self.resize(self.synced_length);
        self.condemned = false;
        mem::take(&mut self.unsynced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain reading of the same: whole copies.
    #[derive(Default)]
    struct Plain {
        now: Vec<u8>,
        synced: Vec<u8>,
    }

    #[test]
    fn undo_equals_a_full_copy_for_any_order_of_operations() {
        // A fixed linear congruence: the same operations in each run.
        let mut seed = 20_261_124_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut content = Content::default();
        let mut plain = Plain::default();
        for step in 0..20_000_u32 {
            let offset = next(4 * CHUNK);
            let length = next(if step % 7 == 0 { 2 * CHUNK } else { 300 });
            match next(12) {
                0..=3 => {
                    let data = vec![step as u8; length as usize];
                    let end = (offset + length) as usize;
                    plain.now.resize(plain.now.len().max(end), 0);
                    plain.now[offset as usize..end].copy_from_slice(&data);
                    content.write(offset, &data);
                }
                4..=6 => {
                    let data = vec![step as u8; length as usize % 5000];
                    content.write(content.length(), &data);
                    plain.now.extend_from_slice(&data);
                }
                7 => {
                    content.resize(offset);
                    plain.now.resize(offset as usize, 0);
                }
                8 => {
                    content.punch(offset, length);
                    plain.now.iter_mut().skip(offset as usize).take(length as usize).for_each(|byte| *byte = 0);
                }
                9 => content.reserve(offset, length, true),
                10 => {
                    content.sync();
                    plain.synced = plain.now.clone();
                }
                _ => {
                    content.cut();
                    plain.now = plain.synced.clone();
                }
            }
            assert_eq!(content.length(), plain.now.len() as u64, "step {step}");
            if step % 16 == 0 {
                assert!(content.read(0, 1 << 40) == plain.now, "step {step}");
            }
        }
    }

    #[test]
    fn appending_keeps_no_copies() {
        let mut content = Content::default();
        for _ in 0..1000 {
            content.write(content.length(), &[7; 999]);
            content.sync();
            content.write(content.length(), &[8; 500]);
            assert!(content.before.is_empty());
        }
    }

    #[test]
    fn space_is_needed_where_nothing_was_written() {
        let mut content = Content::default();
        content.write(0, b"abc");
        assert!(!content.needs_space(0, 3, false));
        assert!(content.needs_space(0, 4, false));
        content.reserve(0, 100, true);
        assert!(content.needs_space(3, 97, false));
        assert!(!content.needs_space(3, 97, true));
        assert!(content.needs_space(3, 98, true));
    }

    #[test]
    fn bytes_of_a_failed_sync_stay_lost() {
        let mut content = Content::default();
        content.write(0, b"good");
        content.sync();
        content.write(4, b"lost");
        content.fail_sync();
        content.sync();
        assert_eq!(content.cut(), 4);
        assert_eq!(content.read(0, 100), b"good");
        content.write(4, b"more");
        content.sync();
        content.cut();
        assert_eq!(content.read(0, 100), b"goodmore");
    }
}
