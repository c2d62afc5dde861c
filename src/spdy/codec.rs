//! Frames to bytes and back. Pure: bytes are pushed in, frames are pulled out.
//!
//! Every frame has a head of eight bytes. A control frame's says: one bit 1, 15 bits of version, 16 bits of type, eight
//! of flags, 24 of length. A DATA frame's: one bit 0, 31 bits of stream, eight of flags, 24 of length (SPDY draft 3.1,
//! section 2.2). What is refused is what Go's framer refuses (moby/spdystream, `spdy/read.go`), except that types which
//! nobody knows are skipped, as the draft demands. Lengths and counts are checked before anything is made room for: that
//! they were not is CVE-2026-35469 of spdystream before 0.5.1.

use crate::compression::{Compressor, Decompressor};
use crate::error::{Error, Result};
use crate::frame::{Frame, GoawayStatus, ResetCode, STREAM_MAX, Setting, StreamId};
use crate::headers::Headers;
use crate::limits::Limits;
use bytes::{Buf, BufMut, Bytes, BytesMut};

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
/// The most that the 24 bits of a length can say.
const LENGTH_MAX: usize = 0xff_ffff;

const FLAG_FIN: u8 = 1;
const FLAG_UNIDIRECTIONAL: u8 = 2;
const FLAG_CLEAR_SETTINGS: u8 = 1;

/// The types of control frames that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    SynStream,
    SynReply,
    RstStream,
    Settings,
    Ping,
    Goaway,
    Headers,
    WindowUpdate,
}

impl Type {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::SynStream,
            2 => Self::SynReply,
            3 => Self::RstStream,
            4 => Self::Settings,
            6 => Self::Ping,
            7 => Self::Goaway,
            8 => Self::Headers,
            9 => Self::WindowUpdate,
            _ => return None,
        })
    }

    fn number(self) -> u16 {
        match self {
            Self::SynStream => 1,
            Self::SynReply => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::Ping => 6,
            Self::Goaway => 7,
            Self::Headers => 8,
            Self::WindowUpdate => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SynStream => "SYN_STREAM",
            Self::SynReply => "SYN_REPLY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::Ping => "PING",
            Self::Goaway => "GOAWAY",
            Self::Headers => "HEADERS",
            Self::WindowUpdate => "WINDOW_UPDATE",
        }
    }

    /// Whether a payload can have this length at all; the limit comes on top.
    fn fits(self, length: usize) -> bool {
        match self {
            Self::SynStream => length >= 10,
            Self::SynReply | Self::Headers => length >= 4,
            Self::Settings => length >= 4 && (length - 4).is_multiple_of(8),
            Self::Ping => length == 4,
            Self::RstStream | Self::Goaway | Self::WindowUpdate => length == 8,
        }
    }
}

/// Turns frames into bytes. Header blocks depend on those before, so frames leave in the order they were encoded.
#[derive(Debug)]
pub struct Encoder {
    compressor: Compressor,
}

impl Encoder {
    /// For a new connection.
    ///
    /// # Errors
    /// [`Error::Compression`] when zlib cannot be set up.
    pub fn new() -> Result<Self> {
        Ok(Self { compressor: Compressor::new()? })
    }

    /// Appends `frame` to `out`.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the frame has more than 2²⁴−1 bytes; [`Error::Compression`]. Nothing more can be encoded
    /// then.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<()> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut payload = Vec::new();
        let (kind, flags) = match frame {
            Frame::Data { stream, fin, bytes } => {
                out.put_u32(*stream & STREAM_MAX);
                put_flags_and_length(out, "DATA", flag(*fin, FLAG_FIN), bytes.len())?;
                out.put_slice(bytes);
                return Ok(());
            }
            Frame::SynStream { stream, parent, priority, slot, fin, unidirectional, headers } => {
                payload.put_u32(*stream);
                payload.put_u32(*parent);
                payload.put_u8(*priority << 5);
                payload.put_u8(*slot);
                self.put_headers(headers, &mut payload)?;
                (Type::SynStream, flag(*fin, FLAG_FIN) | flag(*unidirectional, FLAG_UNIDIRECTIONAL))
            }
            Frame::SynReply { stream, fin, headers } => {
                payload.put_u32(*stream);
                self.put_headers(headers, &mut payload)?;
                (Type::SynReply, flag(*fin, FLAG_FIN))
            }
            Frame::Headers { stream, fin, headers } => {
                payload.put_u32(*stream);
                self.put_headers(headers, &mut payload)?;
                (Type::Headers, flag(*fin, FLAG_FIN))
            }
            Frame::RstStream { stream, code } => {
                payload.put_u32(*stream);
                payload.put_u32(code.0);
                (Type::RstStream, 0)
            }
            Frame::Settings { clear, values } => {
                payload.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
                for Setting { flags, id, value } in values {
                    payload.put_u32(u32::from(*flags) << 24 | id & 0xff_ffff);
                    payload.put_u32(*value);
                }
                (Type::Settings, flag(*clear, FLAG_CLEAR_SETTINGS))
            }
            Frame::Ping { id } => {
                payload.put_u32(*id);
                (Type::Ping, 0)
            }
            Frame::Goaway { last_good, status } => {
                payload.put_u32(*last_good);
                payload.put_u32(status.0);
                (Type::Goaway, 0)
            }
            Frame::WindowUpdate { stream, delta } => {
                payload.put_u32(*stream);
                payload.put_u32(*delta);
                (Type::WindowUpdate, 0)
            }
        };
        out.put_u16(0x8000 | VERSION);
        out.put_u16(kind.number());
        put_flags_and_length(out, kind.name(), flags, payload.len())?;
        out.put_slice(&payload);
        Ok(())
    }

    fn put_headers(&mut self, headers: &Headers, payload: &mut Vec<u8>) -> Result<()> {
        let mut block = Vec::new();
        headers.encode(&mut block)?;
        self.compressor.block(&block, payload)
    }
}

fn put_flags_and_length(out: &mut BytesMut, frame: &'static str, flags: u8, length: usize) -> Result<()> {
    match u32::try_from(length) {
        Ok(short) if length <= LENGTH_MAX => {
            out.put_u32(u32::from(flags) << 24 | short);
            Ok(())
        }
        _ => Err(Error::TooLong { frame, length, limit: LENGTH_MAX }),
    }
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    /// The rest of a DATA frame.
    Data {
        stream: StreamId,
        fin: bool,
        left: usize,
    },
    /// The rest of a frame that means nothing.
    Skipped {
        left: usize,
    },
}

/// Turns bytes into frames. After an error nothing more can be decoded.
#[derive(Debug)]
pub struct Decoder {
    decompressor: Decompressor,
    part: Part,
    control: usize,
    headers: usize,
}

impl Decoder {
    /// For a new connection; of the limits, those on control frames and headers count here.
    pub fn new(limits: &Limits) -> Self {
        let decompressor = Decompressor::new(limits.header_block);
        Self { decompressor, part: Part::Head, control: limits.control, headers: limits.headers }
    }

    /// Takes a frame, or a piece of a DATA frame, off the front of `buffer`; `None` when more bytes are needed. The
    /// buffer never needs to hold more than one control frame.
    ///
    /// # Errors
    /// Those for which [`Error::is_protocol`] holds.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>> {
        loop {
            match self.part {
                Part::Head => {
                    if buffer.len() < HEAD_BYTES {
                        return Ok(None);
                    }
                    let mut head = &buffer[..HEAD_BYTES];
                    let (first, second) = (head.get_u32(), head.get_u32());
                    let (flags, length) = ((second >> 24) as u8, (second & 0xff_ffff) as usize);
                    if first & 0x8000_0000 == 0 {
                        buffer.advance(HEAD_BYTES);
                        let (stream, fin) = (on_stream("DATA", first)?, flags & FLAG_FIN != 0);
                        if length == 0 {
                            return Ok(Some(Frame::Data { stream, fin, bytes: Bytes::new() }));
                        }
                        self.part = Part::Data { stream, fin, left: length };
                        continue;
                    }
                    let version = (first >> 16 & 0x7fff) as u16;
                    if version != VERSION {
                        return Err(Error::Version(version));
                    }
                    let Some(kind) = Type::of((first & 0xffff) as u16) else {
                        buffer.advance(HEAD_BYTES);
                        self.part = Part::Skipped { left: length };
                        continue;
                    };
                    if !kind.fits(length) {
                        return Err(Error::malformed(kind.name(), "its length is not one that it can have"));
                    }
                    if length > self.control {
                        return Err(Error::TooLong { frame: kind.name(), length, limit: self.control });
                    }
                    if buffer.len() < HEAD_BYTES + length {
                        return Ok(None);
                    }
                    buffer.advance(HEAD_BYTES);
                    let payload = buffer.split_to(length);
                    return self.control(kind, flags, &payload).map(Some);
                }
                Part::Data { stream, fin, left } => {
                    if buffer.is_empty() {
                        return Ok(None);
                    }
                    let bytes = buffer.split_to(left.min(buffer.len())).freeze();
                    let left = left - bytes.len();
                    self.part = if left == 0 { Part::Head } else { Part::Data { stream, fin, left } };
                    return Ok(Some(Frame::Data { stream, fin: fin && left == 0, bytes }));
                }
                Part::Skipped { left } => {
                    let skipped = left.min(buffer.len());
                    buffer.advance(skipped);
                    if skipped < left {
                        self.part = Part::Skipped { left: left - skipped };
                        return Ok(None);
                    }
                    self.part = Part::Head;
                }
            }
        }
    }

    /// Whether the bytes so far, of which `left` are not decoded yet, end where a frame ends.
    pub fn is_between_frames(&self, left: &[u8]) -> bool {
        self.part == Part::Head && left.is_empty()
    }

    /// Reads a payload, whose length has been checked.
    fn control(&mut self, kind: Type, flags: u8, mut payload: &[u8]) -> Result<Frame> {
        let name = kind.name();
        let fin = flags & FLAG_FIN != 0;
        let mut number = || payload.try_get_u32().map_err(|_| Error::malformed(name, "it is too short"));
        let unflagged = || match flags {
            0 => Ok(()),
            _ => Err(Error::malformed(name, "it has flags, which it cannot have")),
        };
        Ok(match kind {
            Type::SynStream => {
                let (stream, parent) = (on_stream(name, number()?)?, number()? & STREAM_MAX);
                let [priority, slot, block @ ..] = payload else {
                    return Err(Error::malformed(name, "it is too short"));
                };
                let headers = self.headers(block)?;
                let unidirectional = flags & FLAG_UNIDIRECTIONAL != 0;
                let (priority, slot) = (*priority >> 5, *slot);
                Frame::SynStream { stream, parent, priority, slot, fin, unidirectional, headers }
            }
            Type::SynReply => {
                let stream = on_stream(name, number()?)?;
                Frame::SynReply { stream, fin, headers: self.headers(payload)? }
            }
            Type::Headers => {
                let stream = on_stream(name, number()?)?;
                Frame::Headers { stream, fin, headers: self.headers(payload)? }
            }
            Type::RstStream => {
                let (stream, code) = (on_stream(name, number()?)?, number()?);
                if code == 0 {
                    return Err(Error::malformed(name, "it gives no reason"));
                }
                Frame::RstStream { stream, code: ResetCode(code) }
            }
            Type::Settings => {
                let count = number()? as usize;
                if payload.len() != count.saturating_mul(8) {
                    return Err(Error::malformed(name, "it has another number of settings than it says"));
                }
                let mut values = Vec::with_capacity(count);
                while let Ok(key) = payload.try_get_u32() {
                    let value = payload.try_get_u32().map_err(|_| Error::malformed(name, "it is too short"))?;
                    values.push(Setting { flags: (key >> 24) as u8, id: key & 0xff_ffff, value });
                }
                Frame::Settings { clear: flags & FLAG_CLEAR_SETTINGS != 0, values }
            }
            Type::Ping => {
                unflagged()?;
                match number()? {
                    0 => return Err(Error::malformed(name, "its number is 0")),
                    id => Frame::Ping { id },
                }
            }
            Type::Goaway => {
                unflagged()?;
                Frame::Goaway { last_good: number()? & STREAM_MAX, status: GoawayStatus(number()?) }
            }
            Type::WindowUpdate => {
                unflagged()?;
                Frame::WindowUpdate { stream: number()? & STREAM_MAX, delta: number()? & STREAM_MAX }
            }
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<Headers> {
        Headers::decode(self.decompressor.block(block)?, self.headers)
    }
}

/// A stream's number as it stands in `frame`.
fn on_stream(frame: &'static str, number: u32) -> Result<StreamId> {
    match number & STREAM_MAX {
        0 => Err(Error::malformed(frame, "it is about stream 0")),
        stream => Ok(stream),
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
