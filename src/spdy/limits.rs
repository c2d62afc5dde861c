//! Every bound and deadline of a connection, each with the reason for its size.

use std::time::Duration;

/// Most bytes of one DATA frame that this side sends: what Go's `io.Copy` sends too.
pub(crate) const DATA_BYTES: usize = 32 * 1024;

/// Most bytes asked of the connection below in one read, which is also the most that a stream gets beyond its limit: a
/// TLS record.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Bytes gathered for one write of the connection below.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// Bounds of one connection. All sizes are bytes.
///
/// SPDY/3.1 has windows for flow control; moby/spdystream neither sends nor heeds them. What bounds memory instead is
/// that nothing more is read from the connection while a frame has no room. So a stream that nobody reads holds up its
/// neighbours, as it does upstream; a stream whose reader was dropped does not, because its bytes are thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload of a control frame, as it arrives. DATA may be as long as the protocol can say (16 MiB), because
    /// it is taken in pieces.
    pub control: usize,
    /// Largest header block after decompression.
    pub header_block: usize,
    /// Most headers in one block.
    pub headers: usize,
    /// Most streams open at once; the peer's next is refused.
    pub streams: usize,
    /// Received bytes of one stream that wait for its reader.
    pub unread: usize,
    /// Received bytes of all streams together. A stream with none waiting gets its next piece (16 KiB) all the same, so
    /// that many full streams do not starve it.
    pub unread_in_all: usize,
    /// Written bytes of one stream that wait for the connection; beyond it the writer waits.
    pub unsent: usize,
    /// Written bytes of all streams together.
    pub unsent_in_all: usize,
    /// Frames other than DATA that wait to be sent; while there are more nothing is read that could add to them.
    pub unsent_controls: usize,
    /// How long the peer may take to answer a new stream (`createStreamResponseTimeout` in apimachinery's
    /// httpstream/spdy).
    pub reply: Duration,
    /// How long the peer may take no bytes at all. As long as `idle`: somebody may be looking at a pager.
    pub stall: Duration,
    /// How long the peer may say nothing, and how long a full stream may have a reader that does not read: upstream's
    /// kubelet allows four hours (`streamingConnectionIdleTimeout`).
    pub idle: Duration,
    /// How often the peer is pinged, so that a connection which died unnoticed fails in a write.
    pub ping: Duration,
    /// How long the peer may take to close a drained connection, because closing it here could cost the peer what it
    /// has not read yet; and how long the last write may take.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            control: 64 * 1024,
            header_block: 32 * 1024,
            headers: 64,
            streams: 512,
            unread: 256 * 1024,
            unread_in_all: 4 * 1024 * 1024,
            unsent: 128 * 1024,
            unsent_in_all: 1024 * 1024,
            unsent_controls: 1024,
            reply: Duration::from_secs(30),
            stall: Duration::from_secs(4 * 3600),
            idle: Duration::from_secs(4 * 3600),
            ping: Duration::from_secs(30),
            linger: Duration::from_secs(30),
        }
    }
}
