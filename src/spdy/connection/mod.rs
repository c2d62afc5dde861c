//! A SPDY connection over any pair of byte streams.
//!
//! [`serve`] and [`connect`] make three things: a [`Connection`] to open streams with and to end it by, an [`Incoming`]
//! that yields the streams of the peer, and a [`Driver`] that moves the bytes while it is polled. When the driver ends,
//! or is dropped, every stream ends. When the last of `Connection` and `Incoming` is dropped, the connection drains: no
//! more streams, and the end once those that are open have ended.

mod driver;
mod state;
mod stream;

pub use driver::Driver;
pub use stream::{Arrival, ReadHalf, Stream, WriteHalf};

use crate::error::Result;
use crate::headers::Headers;
use crate::limits::Limits;
use base::within;
use state::{Side, State};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

/// The state behind its lock, which is never held across a wait.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    limits: Limits,
    /// When a drain must be over, told once.
    deadline: Mutex<Option<Duration>>,
    deadline_set: Notify,
}

impl Shared {
    /// Looks at or changes the state; wakes those whose wait is over after the lock is released, because a waker may
    /// drop what takes the lock again.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (outcome, due) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = act(&mut state);
            (outcome, std::mem::take(&mut state.due))
        };
        for waker in due {
            waker.wake();
        }
        outcome
    }
}

/// Drains the connection when the last of its owners is gone.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.with(State::drain);
    }
}

/// The end that accepted `io`, for example the bytes behind a 101 that says `Upgrade: SPDY/3.1`.
pub fn serve<Io: AsyncRead + AsyncWrite>(io: Io, limits: Limits) -> (Connection, Incoming, Driver<Io>) {
    new(io, Side::Server, limits)
}

/// The end that dialed.
pub fn connect<Io: AsyncRead + AsyncWrite>(io: Io, limits: Limits) -> (Connection, Incoming, Driver<Io>) {
    new(io, Side::Client, limits)
}

fn new<Io: AsyncRead + AsyncWrite>(io: Io, side: Side, limits: Limits) -> (Connection, Incoming, Driver<Io>) {
    let state = Mutex::new(State::new(side, limits.clone()));
    let shared = Arc::new(Shared { state, limits, deadline: Mutex::default(), deadline_set: Notify::new() });
    let owner = Arc::new(Owner(Arc::clone(&shared)));
    (Connection { owner: Arc::clone(&owner) }, Incoming { owner }, Driver::new(shared, io))
}

/// Opens streams and ends the connection. Clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection {
    owner: Arc<Owner>,
}

impl Connection {
    /// Opens a stream and waits until the peer has accepted it.
    ///
    /// # Errors
    /// [`Error::Reset`](crate::Error::Reset) when the peer refuses it, [`Error::Elapsed`](crate::Error::Elapsed) when
    /// it does not answer within [`Limits::reply`], [`Error::TooManyStreams`](crate::Error::TooManyStreams),
    /// [`Error::GoingAway`](crate::Error::GoingAway), or why the connection has ended.
    pub async fn open(&self, headers: Headers) -> Result<Stream> {
        let shared = &self.owner.0;
        let id = shared.with(|state| state.open(headers.clone()))?;
        // Made at once, so that a wait which is given up takes the stream with it.
        let stream = Stream::new(Arc::clone(shared), id, headers);
        let answer = poll_fn(|context| shared.with(|state| state.poll_reply(id, context.waker())));
        within(shared.limits.reply, format!("the peer's answer to stream {id}"), answer).await??;
        Ok(stream)
    }

    /// Takes no more streams: those the peer opens are refused. The driver ends when the open ones have, or after
    /// `deadline`.
    pub fn drain(&self, deadline: Duration) {
        let shared = &self.owner.0;
        shared.with(State::drain);
        *shared.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        shared.deadline_set.notify_one();
    }
}

/// The streams that the peer opens. Dropping it refuses those that come.
#[derive(Debug)]
pub struct Incoming {
    owner: Arc<Owner>,
}

impl Incoming {
    /// The next stream the peer wants, yet to be accepted or refused. `None` when none will come: the connection has
    /// ended, is drained, or the peer has said that it opens no more.
    pub async fn next(&mut self) -> Option<Arrival> {
        let shared = &self.owner.0;
        let (id, headers) = poll_fn(|context| shared.with(|state| state.poll_arrival(context.waker()))).await?;
        Some(Arrival::new(Stream::new(Arc::clone(shared), id, headers)))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.owner.0.with(State::drop_incoming);
    }
}
