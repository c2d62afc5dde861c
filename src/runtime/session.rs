//! Conversations with a running container: output streams, exec and attach sessions, events.

use crate::model::PodRef;
use crate::{Answer, Error, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where a piece of output came from. With a terminal everything is [`Source::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output; not necessarily a whole line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where it came from.
    pub source: Source,
    /// What was written.
    pub bytes: Bytes,
}

/// Output as it comes. After an error nothing more follows.
pub type OutputStream = BoxStream<'static, Result<Output>>;

/// Which part of a container's output is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Goes on with what is written later, until the container ends.
    pub follow: bool,
    /// Only this many lines from the end of what is there.
    pub tail: Option<u64>,
    /// Only what was written at this second or later.
    pub since: Option<Timestamp>,
    /// Puts the time (RFC 3339, nanoseconds) and a space before each line.
    pub timestamps: bool,
    /// Ends after this many bytes, if need be within a line.
    pub limit_bytes: Option<u64>,
}

/// A program to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Gives it a terminal; its output is then one stream.
    pub tty: bool,
    /// Gives it a standard input.
    pub stdin: bool,
}

/// How to join a running container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachSpec {
    /// Also writes to its standard input; the container must have been created with one.
    pub stdin: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// Standard input of a session. `shutdown` sends the end of input; dropping it does not.
pub type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection to a port of a pod. `shutdown` ends the direction to the pod; dropping it ends both.
pub type Connection = Pin<Box<dyn Duplex>>;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A conversation with a program: dropping it ends the conversation, not the program.
pub struct Session {
    /// Standard input, if it was asked for.
    pub stdin: Option<Stdin>,
    /// The output; it ends when the program has ended.
    pub output: OutputStream,
    /// The rest: size and exit code.
    pub control: SessionControl,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// Resizes a session's terminal and learns its exit code, from any task.
#[derive(Clone)]
pub struct SessionControl {
    inner: Arc<dyn Control>,
}

impl SessionControl {
    pub(crate) fn new(inner: impl Control) -> Self {
        SessionControl { inner: Arc::new(inner) }
    }

    /// Tells the terminal its size.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a terminal; [`Error::NotFound`] or [`Error::NotRunning`] after the program's end.
    pub async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.inner.resize(size).await
    }

    /// The program's exit code. Waits for its end, however long that takes; a caller sets the deadline.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the container is removed before the code was read.
    pub async fn exit_code(&self) -> Result<i32> {
        self.inner.exit_code().await
    }
}

impl fmt::Debug for SessionControl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionControl")
    }
}

/// The engine's side of [`SessionControl`].
pub(crate) trait Control: Send + Sync + 'static {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()>;
    fn exit_code(&self) -> BoxFuture<'_, Result<i32>>;
}

/// Something that happened on this node's engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The stream is connected (again): what happened before it may be missing, so look at the whole list.
    Resync,
    /// A container or sandbox changed.
    Changed {
        /// The engine's id.
        id: String,
        /// Its pod.
        pod: PodRef,
        /// Its name within the pod; `None` for the sandbox.
        container: Option<String>,
        /// What happened.
        change: Change,
    },
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its program started.
    Started,
    /// Its program ended.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// The kernel killed one of its processes for lack of memory.
    OutOfMemory,
    /// It is gone from the engine.
    Removed,
}

/// Events, without end.
pub type EventStream = BoxStream<'static, Event>;

/// Cuts a stream of output after `limit` bytes, and after an error.
pub(crate) fn bounded(stream: OutputStream, limit: Option<u64>) -> OutputStream {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut ended = false;
    let cut = stream.map(move |item| {
        let mut output = match item {
            Ok(output) => output,
            Err(error) => {
                ended = true;
                return (Some(Err::<Output, Error>(error)), false);
            }
        };
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(output.bytes.len());
        output.bytes.truncate(length);
        left = left.saturating_sub(length as u64);
        (Some(Ok(output)), left > 0 && !ended)
    });
    // `take_while` would wait for one more piece before it sees the limit; a followed log may never bring it.
    futures::stream::unfold(Some(cut.boxed()), move |state| async move {
        if limit == Some(0) {
            return None;
        }
        let mut stream = state?;
        let (item, more) = stream.next().await?;
        item.map(|item| (item, more.then_some(stream)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Result<Output> {
        Ok(Output { source: Source::Stdout, bytes: Bytes::copy_from_slice(text.as_bytes()) })
    }

    async fn read(items: Vec<Result<Output>>, limit: Option<u64>) -> (String, bool) {
        // An endless tail: a bounded stream must end without asking for more than its limit.
        let stream = futures::stream::iter(items).chain(futures::stream::pending()).boxed();
        let (mut text, mut failed) = (String::new(), false);
        let mut stream = bounded(stream, limit);
        while let Some(item) = stream.next().await {
            match item {
                Ok(output) => text.push_str(std::str::from_utf8(&output.bytes).unwrap()),
                Err(_) => failed = true,
            }
        }
        (text, failed)
    }

    #[tokio::test]
    async fn a_bounded_stream_ends_at_its_limit_and_at_an_error() {
        assert_eq!(read(vec![output("abc"), output("def")], Some(4)).await, ("abcd".into(), false));
        assert_eq!(read(vec![output("abc"), output("def")], Some(3)).await, ("abc".into(), false));
        assert_eq!(read(vec![output("abc")], Some(0)).await, (String::new(), false));
        let broken = vec![output("abc"), Err(Error::not_found("x")), output("def")];
        assert_eq!(read(broken, None).await, ("abc".into(), true));
    }
}
