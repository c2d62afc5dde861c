//! What can go wrong on a SPDY connection.

use crate::frame::{ResetCode, StreamId};
use std::io;

/// The outcome of a call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a frame, a stream or a whole connection failed. It is cloned to every stream that a connection's end ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A control frame of a protocol version that nobody speaks any more, or bytes that are no SPDY at all.
    #[error("a frame of SPDY version {0} arrived; only version 3 is spoken")]
    Version(u16),
    /// A frame that contradicts itself.
    #[error("a {frame} frame is malformed: {reason}")]
    Malformed {
        /// The frame's name in the protocol.
        frame: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A control frame that is longer than anybody has reason to send, or a frame of ours that cannot be expressed.
    #[error("a {frame} frame of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// The frame's name in the protocol.
        frame: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A header block that grows beyond the limit when it is decompressed.
    #[error("a header block is larger than {limit} bytes when decompressed")]
    HeadersTooLarge {
        /// The most allowed, in bytes.
        limit: usize,
    },
    /// The compressed header blocks do not make up one zlib stream with SPDY's dictionary.
    #[error("the compression of the headers is broken: {0}")]
    Compression(String),
    /// The peer opened a stream under a number that is in use, or not its to use.
    #[error("the peer opened stream {0}, which is not its to open")]
    StreamNumber(StreamId),
    /// The connection ended in the middle of a frame.
    #[error("the connection ended within a frame")]
    Truncated,
    /// The peer gave up a stream.
    #[error("stream {stream} was reset by the peer: {code}")]
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why, in the peer's words.
        code: ResetCode,
    },
    /// The stream was given up on this side.
    #[error("stream {0} was given up here")]
    GivenUp(StreamId),
    /// This side has said that it sends no more on the stream.
    #[error("stream {0} is finished: nothing more can be sent on it")]
    Finished(StreamId),
    /// One side is about to end the connection, so no stream can be opened.
    #[error("the connection is going away and takes no new streams")]
    GoingAway,
    /// As many streams are open as may be.
    #[error("{limit} streams are open on the connection, which is the most allowed")]
    TooManyStreams {
        /// The most allowed.
        limit: usize,
    },
    /// Every number for a stream has been used; only a new connection helps.
    #[error("the connection has used every stream number")]
    NumbersUsedUp,
    /// The connection has ended, in order or because its driver was dropped.
    #[error("the connection has ended")]
    Closed,
    /// The bytes below failed.
    #[error("the connection broke: {text}")]
    Io {
        /// What kind of failure.
        kind: io::ErrorKind,
        /// The failure in words.
        text: String,
    },
    /// The peer, or whoever reads one of the streams here, did nothing for too long.
    #[error(transparent)]
    Elapsed(#[from] base::Elapsed),
}

impl Error {
    pub(crate) fn malformed(frame: &'static str, reason: &'static str) -> Self {
        Error::Malformed { frame, reason }
    }

    /// Whether the peer broke the protocol, so that it is told so before the connection ends.
    pub fn is_protocol(&self) -> bool {
        matches!(
            self,
            Error::Version(_)
                | Error::Malformed { .. }
                | Error::TooLong { .. }
                | Error::HeadersTooLarge { .. }
                | Error::Compression(_)
                | Error::StreamNumber(_)
        )
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io { kind: error.kind(), text: error.to_string() }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Reset { .. } => io::ErrorKind::ConnectionReset,
            Error::Finished(_) | Error::GivenUp(_) => io::ErrorKind::BrokenPipe,
            Error::Elapsed(_) => io::ErrorKind::TimedOut,
            Error::Io { kind, .. } => *kind,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}
