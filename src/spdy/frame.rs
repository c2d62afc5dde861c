//! The frames of SPDY/3.1 as values.
//!
//! What they mean: SPDY draft 3.1, section 2.6. Which of them a peer really sends: moby/spdystream, `spdy/types.go`.

use crate::headers::Headers;
use bytes::Bytes;
use std::fmt;

/// A stream's number: 31 bits, odd for streams of the client, even for streams of the server.
pub type StreamId = u32;

/// The largest number a stream can have.
pub const STREAM_MAX: StreamId = 0x7fff_ffff;

/// One frame. DATA may be a piece of a longer frame: then only the last piece carries `fin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// Its number.
        stream: StreamId,
        /// A stream it belongs to; 0 for none.
        parent: StreamId,
        /// 0 (highest) to 7.
        priority: u8,
        /// Index into a vector of certificates; nobody uses it.
        slot: u8,
        /// The opener sends nothing more.
        fin: bool,
        /// The other side sends nothing at all.
        unidirectional: bool,
        /// What the stream is for.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// Its number.
        stream: StreamId,
        /// The sender sends nothing more.
        fin: bool,
        /// Anything the accepting side has to say.
        headers: Headers,
    },
    /// Ends a stream in both directions at once.
    RstStream {
        /// Its number.
        stream: StreamId,
        /// Why.
        code: ResetCode,
    },
    /// Settings, which nobody heeds.
    Settings {
        /// Earlier ones are forgotten.
        clear: bool,
        /// The settings.
        values: Vec<Setting>,
    },
    /// Asks for the same frame back; odd numbers are the client's.
    Ping {
        /// Its number, not 0.
        id: u32,
    },
    /// The sender accepts no more streams.
    Goaway {
        /// The last stream that it looked at.
        last_good: StreamId,
        /// Why.
        status: GoawayStatus,
    },
    /// More headers for a stream.
    Headers {
        /// Its number.
        stream: StreamId,
        /// The sender sends nothing more.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Room for more bytes, which nobody heeds.
    WindowUpdate {
        /// The stream; 0 for the whole connection.
        stream: StreamId,
        /// Bytes, 31 bits.
        delta: u32,
    },
    /// Bytes of a stream.
    Data {
        /// Its number.
        stream: StreamId,
        /// The sender sends nothing more.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
}

impl Frame {
    /// A reset.
    pub(crate) fn reset(stream: StreamId, code: ResetCode) -> Self {
        Frame::RstStream { stream, code }
    }
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Whether it is to be remembered, or was.
    pub flags: u8,
    /// Which one, 24 bits.
    pub id: u32,
    /// Its value.
    pub value: u32,
}

/// Why a stream was reset. Numbers that nobody defined are kept as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// The peer broke the protocol on this stream.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// There is no such stream.
    pub const INVALID_STREAM: Self = Self(2);
    /// Nothing was done for the stream yet, and nothing will be.
    pub const REFUSED_STREAM: Self = Self(3);
    /// The stream is no longer wanted.
    pub const CANCEL: Self = Self(5);
    /// The sender failed.
    pub const INTERNAL_ERROR: Self = Self(6);
}

impl fmt::Display for ResetCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "protocol error",
            2 => "invalid stream",
            3 => "refused stream",
            4 => "unsupported version",
            5 => "cancelled",
            6 => "internal error",
            7 => "flow control error",
            8 => "stream in use",
            9 => "stream already closed",
            10 => "invalid credentials",
            11 => "frame too large",
            other => return write!(formatter, "code {other}"),
        };
        formatter.write_str(name)
    }
}

/// Why a connection ends. Numbers that nobody defined are kept as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoawayStatus(pub u32);

impl GoawayStatus {
    /// It is time.
    pub const OK: Self = Self(0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// The sender failed.
    pub const INTERNAL_ERROR: Self = Self(2);
}
