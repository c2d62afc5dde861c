//! The protobuf wire format: tags, varints, lengths. Knows nothing about Kubernetes.

/// Why bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end inside of something.
    Truncated,
    /// A varint is longer than ten bytes, or does not fit 64 bits.
    Overflow,
    /// A field number is 0 or over the format's limit.
    Tag,
    /// A wire type that does not exist, or ends a group that was not begun.
    WireType(u8),
    /// Groups nest deeper than [`GROUP_DEPTH_MAX`].
    Depth,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => out.write_str("unexpected EOF"),
            Self::Overflow => out.write_str("proto: integer overflow"),
            Self::Tag => out.write_str("proto: illegal tag"),
            Self::WireType(wire) => write!(out, "proto: illegal wireType {wire}"),
            Self::Depth => out.write_str("proto: nested too deep"),
        }
    }
}

/// How deep skipped groups may nest; nobody sends groups at all.
const GROUP_DEPTH_MAX: usize = 32;

/// Largest field number of the format.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// One field as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    /// A varint: integers and booleans.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Length and bytes: texts, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
    /// A group, skipped.
    Group,
}

/// Reads fields off a message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field with its number; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Raw<'a>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire) = self.tag()?;
        let raw = match wire {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => Raw::Bytes(self.bytes()?),
            3 => {
                self.skip_group(0)?;
                Raw::Group
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => return Err(Fault::WireType(other)),
        };
        Ok(Some((number, raw)))
    }

    fn tag(&mut self) -> Result<(u32, u8), Fault> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(Fault::Tag);
        }
        // Both fit: the number was just checked, three bits are left.
        Ok((number as u32, (tag & 7) as u8))
    }

    /// One varint of at most ten bytes.
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for at in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                return Err(Fault::Overflow);
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Overflow)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
        if length > self.rest.len() {
            return Err(Fault::Truncated);
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn skip_group(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > GROUP_DEPTH_MAX {
            return Err(Fault::Depth);
        }
        loop {
            match self.tag()?.1 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.fixed::<8>()?;
                }
                2 => {
                    self.bytes()?;
                }
                3 => self.skip_group(depth + 1)?,
                4 => return Ok(()),
                5 => {
                    self.fixed::<4>()?;
                }
                other => return Err(Fault::WireType(other)),
            }
        }
    }

    /// Whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_bytes_are_refused() {
        for (bytes, fault) in [
            (&b"\x08"[..], Fault::Truncated),
            (b"\x08\x80", Fault::Truncated),
            (b"\x0a\x05abc", Fault::Truncated),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Fault::Truncated),
            (b"\x09\x01\x02", Fault::Truncated),
            (b"\x0d\x01", Fault::Truncated),
            (b"\x00\x00", Fault::Tag),
            (b"\x06\x00", Fault::Tag),
            (b"\xf8\xff\xff\xff\xff\x01\x00", Fault::Tag),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Fault::Overflow),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Fault::Overflow),
            (b"\x0e", Fault::WireType(6)),
            (b"\x0c", Fault::WireType(4)),
            (b"\x0b\x08\x01", Fault::Truncated),
            (&[0x0b; 100], Fault::Depth),
        ] {
            assert_eq!(Reader::new(bytes).next(), Err(fault), "{bytes:?}");
        }
    }

    #[test]
    fn fields_are_read() {
        let mut reader = Reader::new(
            b"\x08\x96\x01\x12\x02hi\x1b\x08\x01\x1c\x25\x01\x00\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00",
        );
        assert_eq!(reader.next(), Ok(Some((1, Raw::Varint(150)))));
        assert_eq!(reader.next(), Ok(Some((2, Raw::Bytes(b"hi")))));
        assert_eq!(reader.next(), Ok(Some((3, Raw::Group))));
        assert_eq!(reader.next(), Ok(Some((4, Raw::Fixed32(1)))));
        assert_eq!(reader.next(), Ok(Some((5, Raw::Fixed64(2)))));
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.is_empty());
        let minus_one = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Reader::new(minus_one).next(), Ok(Some((1, Raw::Varint(u64::MAX)))));
    }
}
