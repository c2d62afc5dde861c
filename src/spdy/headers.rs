//! The name/value block that opens a stream, uncompressed. Pure.
//!
//! Layout (SPDY draft 3, section 2.6.10): the number of pairs, then for each its name and its value, every one a 32-bit
//! big-endian length and that many bytes. Several values of one name are one value with NUL between them.

use crate::error::{Error, Result};
use bytes::{Buf, BufMut};

const BLOCK: &str = "header block";

/// Headers of a stream, in the order they were sent. Names are lower case, as the protocol demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    pairs: Vec<(String, String)>,
}

impl Headers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `name` set to `value`; an earlier value is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let name = name.to_ascii_lowercase();
        self.pairs.retain(|(other, _)| *other != name);
        self.pairs.push((name, value.into()));
        self
    }

    /// The first value of `name`, whatever the case `name` is written in.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.split('\0').next())
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends the block.
    ///
    /// # Errors
    /// [`Error::TooLong`] when a name or value is longer than the protocol can say.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let length = |it: usize| {
            u32::try_from(it).map_err(|_| Error::TooLong { frame: BLOCK, length: it, limit: u32::MAX as usize })
        };
        out.put_u32(length(self.pairs.len())?);
        for text in self.pairs.iter().flat_map(|(name, value)| [name, value]) {
            out.put_u32(length(text.len())?);
            out.put_slice(text.as_bytes());
        }
        Ok(())
    }

    /// Reads a whole block of at most `most` pairs. Nothing is allocated on the word of a length: a length that lies is
    /// found before its bytes are taken.
    ///
    /// # Errors
    /// [`Error::Malformed`]: a length beyond the block's end, bytes left over, text that is not UTF-8, a name that is
    /// empty, not in lower case or there twice, too many pairs.
    pub fn decode(mut block: &[u8], most: usize) -> Result<Self> {
        let count = block.try_get_u32().map_err(|_| Error::malformed(BLOCK, "it ends within its number of headers"))?;
        if count as usize > most {
            return Err(Error::malformed(BLOCK, "it has too many headers"));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let (name, value) = (text(&mut block)?, text(&mut block)?);
            if name.is_empty() {
                return Err(Error::malformed(BLOCK, "a name is empty"));
            }
            if name.chars().any(char::is_uppercase) {
                return Err(Error::malformed(BLOCK, "a name is not in lower case"));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Error::malformed(BLOCK, "a name is there twice"));
            }
            pairs.push((name, value));
        }
        if !block.is_empty() {
            return Err(Error::malformed(BLOCK, "bytes are left over"));
        }
        Ok(Self { pairs })
    }
}

fn text(block: &mut &[u8]) -> Result<String> {
    let length = block.try_get_u32().map_err(|_| Error::malformed(BLOCK, "it ends within a length"))? as usize;
    let Some((bytes, rest)) = block.split_at_checked(length) else {
        return Err(Error::malformed(BLOCK, "a length reaches beyond its end"));
    };
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::malformed(BLOCK, "text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_counts_lengths_and_text() {
        let headers = Headers::new().with("streamType", "old").with("Port", "80").with("streamType", "data");
        let mut block = Vec::new();
        headers.encode(&mut block).unwrap();
        assert_eq!(block, b"\0\0\0\x02\0\0\0\x04port\0\0\0\x0280\0\0\0\x0astreamtype\0\0\0\x04data");
        assert_eq!(Headers::decode(&block, 2).unwrap(), headers);
        assert_eq!(
            (headers.get("STREAMTYPE"), headers.get("port"), headers.get("x")),
            (Some("data"), Some("80"), None)
        );
    }

    #[test]
    fn the_first_of_several_values_counts() {
        let headers = Headers::decode(b"\0\0\0\x01\0\0\0\x01a\0\0\0\x03x\0y", 1).unwrap();
        assert_eq!(headers.get("a"), Some("x"));
    }

    #[test]
    fn blocks_that_lie_are_refused() {
        let rows: [(&[u8], &str); 10] = [
            (b"", "it ends within its number of headers"),
            (b"\0\0\0", "it ends within its number of headers"),
            (b"\xff\xff\xff\xff", "it has too many headers"),
            (b"\0\0\0\x01\0\0", "it ends within a length"),
            (b"\0\0\0\x01\xff\xff\xff\xffa", "a length reaches beyond its end"),
            (b"\0\0\0\x01\0\0\0\0\0\0\0\0", "a name is empty"),
            (b"\0\0\0\x01\0\0\0\x01A\0\0\0\0", "a name is not in lower case"),
            (b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0", "a name is there twice"),
            (b"\0\0\0\0x", "bytes are left over"),
            (b"\0\0\0\x01\0\0\0\x01\xff\0\0\0\0", "text is not UTF-8"),
        ];
        for (block, reason) in rows {
            assert_eq!(Headers::decode(block, 8).unwrap_err(), Error::malformed(BLOCK, reason), "{block:?}");
        }
    }
}
