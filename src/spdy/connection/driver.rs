//! Moves a connection's bytes: frames in, frames out, pings, and an orderly end.

use super::{Shared, State};
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::frame::GoawayStatus;
use crate::limits::{BATCH_BYTES, READ_BYTES};
use base::within;
use bytes::{BufMut, BytesMut};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tracing::debug;

/// Does the work of a connection while [`run`](Self::run) is polled. Dropping it ends every stream.
#[derive(Debug)]
pub struct Driver<Io> {
    ending: Ending,
    io: Io,
}

/// Ends the streams of a connection whose driver is gone, whatever the reason.
#[derive(Debug)]
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.with(|state| state.end(Error::Closed));
    }
}

impl<Io: AsyncRead + AsyncWrite> Driver<Io> {
    pub(super) fn new(shared: Arc<Shared>, io: Io) -> Self {
        Self { ending: Ending(shared), io }
    }

    /// Returns when the connection has ended: the peer closed it, it was drained, or its deadline passed.
    ///
    /// # Errors
    /// The peer broke the protocol, closed within a frame, took no bytes or said nothing for too long; the bytes below
    /// failed.
    pub async fn run(self) -> Result<()> {
        let Self { ending, io } = self;
        let shared = &*ending.0;
        let (reader, writer) = tokio::io::split(io);
        let mut sender = Sender { shared, writer, encoder: Encoder::new()?, buffer: BytesMut::new(), midway: false };
        let mut receiving = pin!(receive(shared, reader));
        let outcome = tokio::select! {
            outcome = &mut receiving => outcome.map(|()| End::Peer),
            outcome = sender.run() => outcome.map(|()| End::Drained),
            never = ping(shared) => match never {},
            () = drain_deadline(shared) => Ok(End::Deadline),
        };
        match &outcome {
            Err(error) => {
                debug!(%error, "a connection failed");
                shared.with(|state| state.end(error.clone()));
                if error.is_protocol() {
                    sender.say_goodbye(GoawayStatus::PROTOCOL_ERROR).await;
                }
            }
            Ok(End::Deadline) => sender.say_goodbye(GoawayStatus::OK).await,
            Ok(End::Drained) if !shared.with(|state| state.is_peer_going()) => {
                // The peer is to close: it may yet have to hand on what it has read, and spdystream of old throws that
                // away when it meets the end of the bytes.
                let _ = tokio::time::timeout(shared.limits.linger, receiving).await;
            }
            Ok(End::Drained | End::Peer) => {}
        }
        sender.close().await;
        outcome.map(|_| ())
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Peer,
    Drained,
    Deadline,
}

/// Reads frames until the peer closes.
async fn receive<Io: AsyncRead>(shared: &Shared, mut reader: ReadHalf<Io>) -> Result<()> {
    let limits = &shared.limits;
    let mut decoder = Decoder::new(limits);
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = decoder.decode(&mut buffer)? {
            let room = poll_fn(|context| shared.with(|state| state.poll_room(&frame, context.waker())));
            within(limits.idle, "the reading of a full stream", room).await?;
            shared.with(|state| state.receive(frame))?;
        }
        buffer.reserve(READ_BYTES);
        let mut into = (&mut buffer).limit(READ_BYTES);
        let taken = within(limits.idle, "a frame of the peer", reader.read_buf(&mut into)).await??;
        if taken == 0 {
            return if decoder.is_between_frames(&buffer) { Ok(()) } else { Err(Error::Truncated) };
        }
    }
}

/// Writes frames.
struct Sender<'a, Io> {
    shared: &'a Shared,
    writer: WriteHalf<Io>,
    encoder: Encoder,
    buffer: BytesMut,
    /// A write was begun and not seen through, so the next byte would land within a frame.
    midway: bool,
}

impl<Io: AsyncWrite> Sender<'_, Io> {
    /// Writes frames until none will ever come.
    async fn run(&mut self) -> Result<()> {
        while let Some(first) = poll_fn(|context| self.shared.with(|state| state.poll_frame(context.waker()))).await {
            self.encoder.encode(&first, &mut self.buffer)?;
            while self.buffer.len() < BATCH_BYTES
                && let Some(frame) = self.shared.with(State::take_frame)
            {
                self.encoder.encode(&frame, &mut self.buffer)?;
            }
            self.write(self.shared.limits.stall).await?;
        }
        Ok(())
    }

    async fn write(&mut self, deadline: Duration) -> Result<()> {
        self.midway = true;
        let Self { writer, buffer, .. } = self;
        let write = async {
            writer.write_all(buffer).await?;
            writer.flush().await
        };
        within(deadline, "the peer's taking of bytes", write).await??;
        self.buffer.clear();
        self.midway = false;
        Ok(())
    }

    /// Tells the peer, if that is possible, why the connection ends.
    async fn say_goodbye(&mut self, status: GoawayStatus) {
        let frame = self.shared.with(|state| state.goodbye(status));
        if !self.midway && self.encoder.encode(&frame, &mut self.buffer).is_ok() {
            let _ = self.write(self.shared.limits.linger).await;
        }
    }

    async fn close(&mut self) {
        let _ = tokio::time::timeout(self.shared.limits.linger, self.writer.shutdown()).await;
    }
}

async fn ping(shared: &Shared) -> Infallible {
    let mut ticks = tokio::time::interval(shared.limits.ping);
    ticks.reset();
    loop {
        ticks.tick().await;
        shared.with(State::ping);
    }
}

/// Returns when a drain has taken as long as it may.
async fn drain_deadline(shared: &Shared) {
    shared.deadline_set.notified().await;
    let deadline = *shared.deadline.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::time::sleep(deadline.unwrap_or_default()).await;
}
