//! What a connection knows, and what follows from a frame or a call. No I/O and no clock: the driver moves the bytes, the
//! handles wait, both through [`Shared`](super::Shared).
//!
//! Who waits for what is kept as wakers; those whose wait is over are collected in `due` and woken once the lock is free.

use crate::error::{Error, Result};
use crate::frame::{Frame, GoawayStatus, ResetCode, STREAM_MAX, StreamId};
use crate::headers::Headers;
use crate::limits::{DATA_BYTES, Limits};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::task::{Poll, Waker};

/// Which end of the connection this is: it decides whose streams and pings are odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that dialed.
    Client,
    /// The end that accepted.
    Server,
}

impl Side {
    /// Whether a number is one that this side gives out.
    fn owns(self, number: u32) -> bool {
        number % 2 == self.first() % 2
    }

    fn first(self) -> u32 {
        match self {
            Side::Client => 1,
            Side::Server => 2,
        }
    }
}

/// What the peer has said about its direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    Open,
    Finished,
    Reset(ResetCode),
    /// Reset from here.
    GivenUp,
}

/// One stream, as long as somebody here holds a half of it.
#[derive(Debug)]
struct Slot {
    inbox: BytesMut,
    remote: Remote,
    /// This side has sent its FIN, or may not send at all.
    finished: bool,
    /// The opening was answered, by us or by the peer.
    replied: bool,
    unsent: usize,
    reader_held: bool,
    writer_held: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    opener: Option<Waker>,
}

impl Slot {
    fn new() -> Self {
        Self {
            inbox: BytesMut::new(),
            remote: Remote::Open,
            finished: false,
            replied: false,
            unsent: 0,
            reader_held: true,
            writer_held: true,
            reader: None,
            writer: None,
            opener: None,
        }
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct State {
    side: Side,
    limits: Limits,
    slots: BTreeMap<StreamId, Slot>,
    arrivals: VecDeque<(StreamId, Headers)>,
    last_theirs: StreamId,
    next_ours: StreamId,
    outbox: VecDeque<Frame>,
    unsent: usize,
    controls: usize,
    unread: usize,
    /// A frame has come: from then on the peer surely reads frames too.
    heard: bool,
    /// Our ping that is not answered yet, and the number of the next.
    pinged: Option<u32>,
    next_ping: u32,
    incoming_held: bool,
    draining: bool,
    said_goodbye: bool,
    peer_going: bool,
    ended: Option<Error>,
    /// The driver's two halves, and whoever accepts streams.
    receiver: Option<Waker>,
    sender: Option<Waker>,
    acceptor: Option<Waker>,
    pub(super) due: Vec<Waker>,
}

impl State {
    pub(crate) fn new(side: Side, limits: Limits) -> Self {
        Self {
            side,
            limits,
            slots: BTreeMap::new(),
            arrivals: VecDeque::new(),
            last_theirs: 0,
            next_ours: side.first(),
            outbox: VecDeque::new(),
            unsent: 0,
            controls: 0,
            unread: 0,
            heard: false,
            pinged: None,
            next_ping: side.first(),
            incoming_held: true,
            draining: false,
            said_goodbye: false,
            peer_going: false,
            ended: None,
            receiver: None,
            sender: None,
            acceptor: None,
            due: Vec::new(),
        }
    }

    // What the driver does.

    /// Waits until `frame` can be received without exceeding a limit. After the connection's end there is always room.
    pub(crate) fn poll_room(&mut self, frame: &Frame, waker: &Waker) -> Poll<()> {
        let room = match frame {
            Frame::Data { stream, .. } => self.slots.get(stream).is_none_or(|slot| {
                !slot.reader_held
                    || slot.inbox.is_empty()
                    || slot.inbox.len() < self.limits.unread && self.unread < self.limits.unread_in_all
            }),
            _ => self.controls < self.limits.unsent_controls,
        };
        if room || self.ended.is_some() {
            return Poll::Ready(());
        }
        self.receiver = Some(waker.clone());
        Poll::Pending
    }

    /// Takes in a frame of the peer.
    ///
    /// # Errors
    /// When the peer broke the protocol so that the connection must end.
    pub(crate) fn receive(&mut self, frame: Frame) -> Result<()> {
        self.heard = true;
        match frame {
            Frame::Data { stream, fin, bytes } => self.data(stream, fin, &bytes),
            Frame::SynStream { stream, fin, unidirectional, headers, .. } => {
                self.opened(stream, fin, unidirectional, headers)?;
            }
            Frame::SynReply { stream, fin, .. } => {
                if let Some(slot) = self.slots.get_mut(&stream).filter(|slot| !slot.replied) {
                    slot.replied = true;
                    self.due.extend(slot.opener.take());
                }
                self.finished_by_peer(stream, fin);
            }
            // Nobody sends more headers for a stream; only the flag can matter.
            Frame::Headers { stream, fin, .. } => self.finished_by_peer(stream, fin),
            Frame::RstStream { stream, code } => self.reset_by_peer(stream, code),
            Frame::Ping { id } if self.side.owns(id) => {
                if self.pinged == Some(id) {
                    self.pinged = None;
                }
            }
            Frame::Ping { id } => self.push(Frame::Ping { id }),
            Frame::Goaway { last_good, .. } => {
                self.peer_going = true;
                self.due.extend(self.acceptor.take());
                self.due.extend(self.sender.take());
                // What the peer has not looked at it never will.
                let lost: Vec<StreamId> = self
                    .slots
                    .iter()
                    .filter(|(stream, slot)| self.side.owns(**stream) && **stream > last_good && !slot.replied)
                    .map(|(stream, _)| *stream)
                    .collect();
                for stream in lost {
                    self.reset_by_peer(stream, ResetCode::REFUSED_STREAM);
                }
            }
            // moby/spdystream heeds neither.
            Frame::Settings { .. } | Frame::WindowUpdate { .. } => {}
        }
        Ok(())
    }

    /// The next frame to send; waits while there is none, and says `None` when none will ever come.
    pub(crate) fn poll_frame(&mut self, waker: &Waker) -> Poll<Option<Frame>> {
        match self.take_frame() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.ended.is_some() || self.is_drained() => Poll::Ready(None),
            None => {
                self.sender = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// The next frame to send, if there is one now.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let frame = self.outbox.pop_front()?;
        if let Frame::Data { stream, bytes, .. } = &frame {
            let was_full = self.unsent >= self.limits.unsent_in_all;
            self.unsent -= bytes.len();
            if let Some(slot) = self.slots.get_mut(stream) {
                slot.unsent -= bytes.len();
                self.due.extend(slot.writer.take());
            }
            if was_full {
                self.due.extend(self.slots.values_mut().filter_map(|slot| slot.writer.take()));
            }
        } else {
            self.controls -= 1;
            self.due.extend(self.receiver.take());
        }
        Some(frame)
    }

    /// Asks the peer for a sign of life, unless it has never spoken or still owes one. Go's client drops bytes that
    /// arrive together with the 101 of the upgrade (`RoundTrip` in apimachinery's httpstream/spdy reads the answer
    /// through a buffer that it throws away), so nothing is sent before its first frame.
    pub(crate) fn ping(&mut self) {
        if self.heard && self.pinged.is_none() && self.ended.is_none() {
            let id = self.next_ping;
            self.next_ping = if id >= STREAM_MAX - 1 { self.side.first() } else { id + 2 };
            self.pinged = Some(id);
            self.push(Frame::Ping { id });
        }
    }

    /// Ends everything: waiting calls fail with `error`, what was received can still be read.
    pub(crate) fn end(&mut self, error: Error) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(error);
        self.clear_outbox();
        self.arrivals.clear();
        for slot in self.slots.values_mut() {
            self.due.extend(slot.reader.take());
            self.due.extend(slot.writer.take());
            self.due.extend(slot.opener.take());
        }
        self.due.extend(self.receiver.take());
        self.due.extend(self.sender.take());
        self.due.extend(self.acceptor.take());
    }

    /// The frame that says why the connection ends.
    pub(crate) fn goodbye(&self, status: GoawayStatus) -> Frame {
        Frame::Goaway { last_good: self.last_theirs, status }
    }

    /// Whether the peer has said that it opens and takes no more streams.
    pub(crate) fn is_peer_going(&self) -> bool {
        self.peer_going
    }

    fn is_drained(&self) -> bool {
        (self.said_goodbye || self.peer_going) && self.slots.is_empty() && self.outbox.is_empty()
    }

    // What the owner of the connection does.

    /// Takes no more streams; those that are open go on. The peer is told when the last of them has ended, because Go
    /// reads nothing after a GOAWAY (`Serve` in moby/spdystream's connection.go).
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.due.extend(self.acceptor.take());
        self.say_goodbye_if_due();
    }

    fn say_goodbye_if_due(&mut self) {
        if self.draining && !self.said_goodbye && self.slots.is_empty() {
            self.said_goodbye = true;
            self.push(self.goodbye(GoawayStatus::OK));
        }
    }

    /// Nobody accepts streams any more: those that wait and those that come are refused.
    pub(crate) fn drop_incoming(&mut self) {
        self.incoming_held = false;
        while let Some((stream, _)) = self.arrivals.pop_front() {
            self.refuse(stream, ResetCode::REFUSED_STREAM);
        }
    }

    /// The next stream that the peer wants; `None` when none will come.
    pub(crate) fn poll_arrival(&mut self, waker: &Waker) -> Poll<Option<(StreamId, Headers)>> {
        if let Some(arrival) = self.arrivals.pop_front() {
            return Poll::Ready(Some(arrival));
        }
        if self.ended.is_some() || self.draining || self.peer_going {
            return Poll::Ready(None);
        }
        self.acceptor = Some(waker.clone());
        Poll::Pending
    }

    /// Accepts a stream of the peer.
    pub(crate) fn reply(&mut self, stream: StreamId) {
        if let Some(slot) = self.slots.get_mut(&stream) {
            slot.replied = true;
            if slot.remote == Remote::Open || slot.remote == Remote::Finished {
                self.push(Frame::SynReply { stream, fin: false, headers: Headers::new() });
            }
        }
    }

    /// Refuses a stream of the peer.
    pub(crate) fn refuse(&mut self, stream: StreamId, code: ResetCode) {
        self.reset(stream, code);
        self.drop_reader(stream);
        self.drop_writer(stream);
    }

    /// Opens a stream of this side; the peer has yet to answer.
    ///
    /// # Errors
    /// The connection has ended or is about to, or too many streams are open.
    pub(crate) fn open(&mut self, headers: Headers) -> Result<StreamId> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        if self.draining || self.peer_going {
            return Err(Error::GoingAway);
        }
        if self.slots.len() >= self.limits.streams {
            return Err(Error::TooManyStreams { limit: self.limits.streams });
        }
        let stream = self.next_ours;
        if stream > STREAM_MAX {
            return Err(Error::NumbersUsedUp);
        }
        self.next_ours = stream + 2;
        self.slots.insert(stream, Slot::new());
        let (parent, priority, slot, fin, unidirectional) = (0, 0, 0, false, false);
        self.push(Frame::SynStream { stream, parent, priority, slot, fin, unidirectional, headers });
        Ok(stream)
    }

    /// Waits for the answer to [`open`](Self::open).
    pub(crate) fn poll_reply(&mut self, stream: StreamId, waker: &Waker) -> Poll<Result<()>> {
        let Some(slot) = self.slots.get_mut(&stream) else { return Poll::Ready(Err(Error::GivenUp(stream))) };
        match (slot.remote, &self.ended) {
            (Remote::Reset(code), _) => Poll::Ready(Err(Error::Reset { stream, code })),
            (Remote::GivenUp, _) => Poll::Ready(Err(Error::GivenUp(stream))),
            _ if slot.replied => Poll::Ready(Ok(())),
            (_, Some(error)) => Poll::Ready(Err(error.clone())),
            (_, None) => {
                slot.opener = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    // What the holders of a stream do.

    /// Takes received bytes, at most `most`; none at the end of the stream.
    pub(crate) fn poll_read(&mut self, stream: StreamId, most: usize, waker: &Waker) -> Poll<Result<Bytes>> {
        let Some(slot) = self.slots.get_mut(&stream) else { return Poll::Ready(Err(Error::GivenUp(stream))) };
        if most == 0 {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if !slot.inbox.is_empty() {
            let taken = most.min(slot.inbox.len());
            let bytes = slot.inbox.split_to(taken).freeze();
            if slot.inbox.is_empty() {
                // Gives the memory back: most streams are idle most of the time.
                slot.inbox = BytesMut::new();
            }
            self.unread -= taken;
            self.due.extend(self.receiver.take());
            return Poll::Ready(Ok(bytes));
        }
        match (slot.remote, &self.ended) {
            (Remote::Finished, _) => Poll::Ready(Ok(Bytes::new())),
            (Remote::Reset(code), _) => Poll::Ready(Err(Error::Reset { stream, code })),
            (Remote::GivenUp, _) => Poll::Ready(Err(Error::GivenUp(stream))),
            (Remote::Open, Some(error)) => Poll::Ready(Err(error.clone())),
            (Remote::Open, None) => {
                slot.reader = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Queues some of `bytes` and says how many.
    pub(crate) fn poll_write(&mut self, stream: StreamId, bytes: &[u8], waker: &Waker) -> Poll<Result<usize>> {
        let Some(slot) = self.slots.get_mut(&stream) else { return Poll::Ready(Err(Error::GivenUp(stream))) };
        match (slot.remote, &self.ended) {
            (_, Some(error)) => return Poll::Ready(Err(error.clone())),
            (Remote::Reset(code), _) => return Poll::Ready(Err(Error::Reset { stream, code })),
            (Remote::GivenUp, _) => return Poll::Ready(Err(Error::GivenUp(stream))),
            _ if slot.finished => return Poll::Ready(Err(Error::Finished(stream))),
            _ if bytes.is_empty() => return Poll::Ready(Ok(0)),
            _ => {}
        }
        let own = self.limits.unsent.saturating_sub(slot.unsent);
        let shared = self.limits.unsent_in_all.saturating_sub(self.unsent);
        let taken = bytes.len().min(DATA_BYTES).min(own).min(shared);
        if taken == 0 {
            slot.writer = Some(waker.clone());
            return Poll::Pending;
        }
        slot.unsent += taken;
        self.push(Frame::Data { stream, fin: false, bytes: Bytes::copy_from_slice(&bytes[..taken]) });
        Poll::Ready(Ok(taken))
    }

    /// Says that this side sends nothing more on a stream.
    ///
    /// # Errors
    /// The connection has ended, or the stream was reset: the peer cannot be told.
    pub(crate) fn finish(&mut self, stream: StreamId) -> Result<()> {
        let Some(slot) = self.slots.get_mut(&stream) else { return Err(Error::GivenUp(stream)) };
        match (slot.remote, &self.ended) {
            _ if slot.finished => return Ok(()),
            (_, Some(error)) => return Err(error.clone()),
            (Remote::Reset(code), _) => return Err(Error::Reset { stream, code }),
            (Remote::GivenUp, _) => return Err(Error::GivenUp(stream)),
            (Remote::Open | Remote::Finished, None) => {}
        }
        slot.finished = true;
        self.push(Frame::Data { stream, fin: true, bytes: Bytes::new() });
        Ok(())
    }

    /// Gives a stream up in both directions; what waits to be sent on it is thrown away. A stream that both sides have
    /// finished is over, and is left alone.
    pub(crate) fn reset(&mut self, stream: StreamId, code: ResetCode) {
        let Some(slot) = self.slots.get_mut(&stream) else { return };
        let over = slot.finished && slot.remote == Remote::Finished;
        if over || matches!(slot.remote, Remote::Reset(_) | Remote::GivenUp) || self.ended.is_some() {
            return;
        }
        slot.remote = Remote::GivenUp;
        self.silence(stream);
        self.push(Frame::reset(stream, code));
    }

    /// Nobody reads the stream any more: what comes is thrown away.
    pub(crate) fn drop_reader(&mut self, stream: StreamId) {
        if let Some(slot) = self.slots.get_mut(&stream) {
            slot.reader_held = false;
            self.unread -= slot.inbox.len();
            slot.inbox = BytesMut::new();
            self.due.extend(self.receiver.take());
            self.forget_unheld(stream);
        }
    }

    /// Nobody writes to the stream any more. Without a FIN the peer would wait for ever, so the stream is reset.
    pub(crate) fn drop_writer(&mut self, stream: StreamId) {
        if self.slots.get(&stream).is_some_and(|slot| !slot.finished) {
            self.reset(stream, ResetCode::CANCEL);
        }
        if let Some(slot) = self.slots.get_mut(&stream) {
            slot.writer_held = false;
            self.forget_unheld(stream);
        }
    }

    // What the above share.

    fn push(&mut self, frame: Frame) {
        if self.ended.is_some() {
            return;
        }
        match &frame {
            Frame::Data { bytes, .. } => self.unsent += bytes.len(),
            _ => self.controls += 1,
        }
        self.outbox.push_back(frame);
        self.due.extend(self.sender.take());
    }

    fn data(&mut self, stream: StreamId, fin: bool, bytes: &[u8]) {
        if let Some(slot) = self.slots.get_mut(&stream)
            && slot.remote == Remote::Open
            && slot.reader_held
            && !bytes.is_empty()
        {
            // Copied, because a piece of the receive buffer would keep all of that alive.
            slot.inbox.extend_from_slice(bytes);
            self.unread += bytes.len();
            self.due.extend(slot.reader.take());
        }
        self.finished_by_peer(stream, fin);
    }

    /// A stream that the peer opens. Its numbers grow: one that goes back is refused, and nothing more, because
    /// spdystream of old could mix up the order of two (`CreateStream` in its connection.go). One that is ours or in
    /// use is no mistake.
    fn opened(&mut self, stream: StreamId, fin: bool, unidirectional: bool, headers: Headers) -> Result<()> {
        if self.side.owns(stream) || self.slots.contains_key(&stream) {
            return Err(Error::StreamNumber(stream));
        }
        if stream <= self.last_theirs {
            self.push(Frame::reset(stream, ResetCode::PROTOCOL_ERROR));
            return Ok(());
        }
        self.last_theirs = stream;
        if self.draining || !self.incoming_held || self.slots.len() >= self.limits.streams {
            self.push(Frame::reset(stream, ResetCode::REFUSED_STREAM));
            return Ok(());
        }
        let mut slot = Slot::new();
        slot.finished = unidirectional;
        if fin {
            slot.remote = Remote::Finished;
        }
        self.slots.insert(stream, slot);
        self.arrivals.push_back((stream, headers));
        self.due.extend(self.acceptor.take());
        Ok(())
    }

    fn finished_by_peer(&mut self, stream: StreamId, fin: bool) {
        if let Some(slot) = self.slots.get_mut(&stream)
            && fin
            && slot.remote == Remote::Open
        {
            slot.remote = Remote::Finished;
            self.due.extend(slot.reader.take());
        }
    }

    fn reset_by_peer(&mut self, stream: StreamId, code: ResetCode) {
        let Some(slot) = self.slots.get_mut(&stream) else { return };
        // After both FINs a reset says nothing new: Go sends one when it closes a connection.
        if slot.remote == Remote::GivenUp || slot.finished && slot.remote == Remote::Finished {
            return;
        }
        slot.remote = Remote::Reset(code);
        self.silence(stream);
    }

    /// Wakes whoever waits on a stream that is dead, and takes its bytes out of the outbox.
    fn silence(&mut self, stream: StreamId) {
        if let Some(slot) = self.slots.get_mut(&stream) {
            slot.finished = true;
            slot.unsent = 0;
            self.due.extend(slot.reader.take());
            self.due.extend(slot.writer.take());
            self.due.extend(slot.opener.take());
        }
        let mut freed = 0;
        self.outbox.retain(|frame| match frame {
            Frame::Data { stream: other, bytes, .. } if *other == stream => {
                freed += bytes.len();
                false
            }
            _ => true,
        });
        if freed > 0 {
            self.unsent -= freed;
            self.due.extend(self.slots.values_mut().filter_map(|slot| slot.writer.take()));
        }
    }

    fn clear_outbox(&mut self) {
        self.outbox.clear();
        (self.unsent, self.controls) = (0, 0);
        for slot in self.slots.values_mut() {
            slot.unsent = 0;
        }
    }

    fn forget_unheld(&mut self, stream: StreamId) {
        if self.slots.get(&stream).is_some_and(|slot| !slot.reader_held && !slot.writer_held) {
            self.slots.remove(&stream);
            // This may have been what a drain waited for.
            self.say_goodbye_if_due();
            self.due.extend(self.sender.take());
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
