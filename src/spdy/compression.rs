//! Header blocks on the wire: one zlib stream for each direction, for as long as the connection lives. Pure.
//!
//! Each block ends with a sync flush, so that it can be read without the next one (SPDY draft 3, section 2.6.10.1).
//! Because the state goes on from block to block, a block that cannot be read ends the connection: nothing after it
//! could be.

use crate::dictionary::DICTIONARY;
use crate::error::{Error, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Room made for each step of the compressor; header blocks are rarely longer.
const STEP: usize = 512;

/// Writes header blocks.
#[derive(Debug)]
pub(crate) struct Compressor {
    stream: Compress,
}

impl Compressor {
    pub(crate) fn new() -> Result<Self> {
        let mut stream = Compress::new(Compression::default(), true);
        stream.set_dictionary(&DICTIONARY).map_err(|error| Error::Compression(error.to_string()))?;
        Ok(Self { stream })
    }

    /// Appends a block in compressed form.
    pub(crate) fn block(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        loop {
            out.reserve(STEP);
            let before = self.stream.total_in();
            let status = self.stream.compress_vec(plain, out, FlushCompress::Sync);
            status.map_err(|error| Error::Compression(error.to_string()))?;
            plain = &plain[usize::try_from(self.stream.total_in() - before).unwrap_or(plain.len())..];
            // Room that is left over means that the flush is complete.
            if plain.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

/// Reads header blocks of a bounded size.
#[derive(Debug)]
pub(crate) struct Decompressor {
    stream: Decompress,
    // One byte more than a block may have, so that a block of exactly the limit is told from a larger one.
    plain: Box<[u8]>,
}

impl Decompressor {
    /// For blocks of at most `limit` bytes after decompression.
    pub(crate) fn new(limit: usize) -> Self {
        Self { stream: Decompress::new(true), plain: vec![0; limit + 1].into_boxed_slice() }
    }

    /// The block that `packed` stands for.
    ///
    /// # Errors
    /// [`Error::HeadersTooLarge`], [`Error::Compression`]; the stream cannot be read any further then.
    pub(crate) fn block(&mut self, mut packed: &[u8]) -> Result<&[u8]> {
        let mut filled = 0;
        loop {
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let outcome = self.stream.decompress(packed, &mut self.plain[filled..], FlushDecompress::Sync);
            let taken = usize::try_from(self.stream.total_in() - before_in).unwrap_or(usize::MAX);
            let given = usize::try_from(self.stream.total_out() - before_out).unwrap_or(usize::MAX);
            packed = packed.get(taken..).unwrap_or_default();
            filled += given;
            match outcome {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => return Err(Error::Compression("the zlib stream ended".to_owned())),
                Err(error) if error.needs_dictionary().is_some() => {
                    // Refuses any other dictionary than the one the stream names.
                    let set = self.stream.set_dictionary(&DICTIONARY);
                    set.map_err(|error| Error::Compression(error.to_string()))?;
                    continue;
                }
                Err(error) => return Err(Error::Compression(error.to_string())),
            }
            if filled == self.plain.len() {
                return Err(Error::HeadersTooLarge { limit: filled - 1 });
            }
            if packed.is_empty() {
                return Ok(&self.plain[..filled]);
            }
            if taken == 0 && given == 0 {
                return Err(Error::Compression("the zlib stream does not go on".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(compressor: &mut Compressor, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compressor.block(plain, &mut out).unwrap();
        out
    }

    #[test]
    fn blocks_come_back_one_by_one() {
        let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::new(64 * 1024));
        let long: Vec<u8> =
            (0..60_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()).take(60_000).collect();
        let first = packed(&mut compressor, b"content-type");
        assert_eq!(first[2..6], [0xe3, 0xc6, 0xa7, 0xc2], "the dictionary is named");
        assert_eq!(decompressor.block(&first).unwrap(), b"content-type");
        for plain in [b"content-type".as_slice(), &long, b"the end"] {
            let block = packed(&mut compressor, plain);
            assert!(block.ends_with(&[0, 0, 0xff, 0xff]), "a sync flush ends a block");
            assert_eq!(decompressor.block(&block).unwrap(), plain);
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        for (size, fits) in [(1000, true), (1001, false), (50_000_000, false)] {
            let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::new(1000));
            let bomb = packed(&mut compressor, &vec![0; size]);
            let outcome = decompressor.block(&bomb);
            match fits {
                true => assert_eq!(outcome.unwrap().len(), size),
                false => assert_eq!(outcome.unwrap_err(), Error::HeadersTooLarge { limit: 1000 }),
            }
        }
    }

    #[test]
    fn another_dictionary_garbage_and_an_ended_stream_are_refused() {
        let mut other = Compress::new(Compression::default(), true);
        other.set_dictionary(b"another dictionary").unwrap();
        let mut foreign = Vec::with_capacity(100);
        other.compress_vec(b"x", &mut foreign, FlushCompress::Sync).unwrap();
        let mut ending = Compress::new(Compression::default(), true);
        ending.set_dictionary(&DICTIONARY).unwrap();
        let mut ended = Vec::with_capacity(100);
        ending.compress_vec(b"x", &mut ended, FlushCompress::Finish).unwrap();
        for block in [foreign.as_slice(), &ended, &[0xff; 40], b"hello"] {
            let outcome = Decompressor::new(1000).block(block).map(<[u8]>::to_vec);
            assert!(matches!(outcome, Err(Error::Compression(_))), "{block:?}: {outcome:?}");
        }
    }
}
