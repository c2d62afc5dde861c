//! A stream in the hands of whoever uses it.

use super::Shared;
use crate::error::Error;
use crate::frame::{ResetCode, StreamId};
use crate::headers::Headers;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that the peer has opened and nobody has answered yet. Dropping it refuses it.
#[derive(Debug)]
pub struct Arrival {
    stream: Stream,
}

impl Arrival {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Its number.
    pub fn id(&self) -> StreamId {
        self.stream.id()
    }

    /// What the peer opened it for.
    pub fn headers(&self) -> &Headers {
        self.stream.headers()
    }

    /// Tells the peer that it may go ahead.
    pub fn accept(self) -> Stream {
        let Half { shared, id } = &self.stream.reader.half;
        shared.with(|state| state.reply(*id));
        self.stream
    }

    /// Tells the peer that nothing comes of it.
    pub fn refuse(self, code: ResetCode) {
        self.stream.reset(code);
    }
}

/// A stream: bytes in both directions. A clean end of one direction is the end of reading, or `shutdown` of writing.
#[derive(Debug)]
pub struct Stream {
    headers: Headers,
    reader: ReadHalf,
    writer: WriteHalf,
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId, headers: Headers) -> Self {
        let half = Half { shared, id };
        Self { headers, reader: ReadHalf { half: half.clone() }, writer: WriteHalf { half } }
    }

    /// Its number.
    pub fn id(&self) -> StreamId {
        self.reader.half.id
    }

    /// What it was opened for.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Gives it up in both directions; what is queued for the peer is thrown away.
    pub fn reset(self, code: ResetCode) {
        let Half { shared, id } = &self.reader.half;
        shared.with(|state| state.reset(*id, code));
    }

    /// Its two directions, each of which lives on its own.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.reader, self.writer)
    }
}

#[derive(Debug, Clone)]
struct Half {
    shared: Arc<Shared>,
    id: StreamId,
}

/// What the peer sends. Dropping it throws the rest away without telling the peer.
#[derive(Debug)]
pub struct ReadHalf {
    half: Half,
}

/// What is sent to the peer. Dropping it before `shutdown` resets the stream, so that the peer does not wait for ever.
#[derive(Debug)]
pub struct WriteHalf {
    half: Half,
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.half.shared.with(|state| state.drop_reader(self.half.id));
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.half.shared.with(|state| state.drop_writer(self.half.id));
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Half { shared, id } = &self.half;
        let bytes = ready!(shared.with(|state| state.poll_read(*id, into.remaining(), context.waker())))?;
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Half { shared, id } = &self.half;
        shared.with(|state| state.poll_write(*id, bytes, context.waker())).map_err(Error::into)
    }

    /// Bytes are on their way as soon as they are written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Half { shared, id } = &self.half;
        Poll::Ready(shared.with(|state| state.finish(*id)).map_err(Error::into))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
