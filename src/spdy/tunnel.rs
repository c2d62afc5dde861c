//! A byte stream carried in messages: SPDY inside a WebSocket (`SPDY/3.1+portforward.k8s.io`, KEP-4006).
//!
//! Message borders mean nothing: client-go's framer writes every field of a frame in a message of its own
//! (`TunnelingConnection.Write` in client-go's tools/portforward).

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes put in one message.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Any stream and sink of binary messages as [`AsyncRead`] and [`AsyncWrite`].
///
/// With axum or tungstenite: `socket.filter_map(...)` leaves of the messages what is binary (a text message should
/// become an error, as upstream has it, and a close message the end), `.with(...)` makes binary messages of bytes. How
/// long a message may be is for that library to bound. `shutdown` closes the sink; Go takes only a close with code 1000
/// for an orderly end, so whoever adapts the sink sends that first.
#[derive(Debug)]
pub struct Tunnel<S> {
    messages: S,
    front: Bytes,
}

impl<S> Tunnel<S> {
    /// Around messages.
    pub fn new(messages: S) -> Self {
        Self { messages, front: Bytes::new() }
    }
}

impl<S, E> AsyncRead for Tunnel<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A message without bytes is no end.
        while self.front.is_empty() {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(message) => self.front = message.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.front.len().min(into.remaining());
        into.put_slice(&self.front[..taken]);
        self.front.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S, E> AsyncWrite for Tunnel<S>
where
    S: Sink<Bytes, Error = E> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut self.messages).poll_ready(context)).map_err(io::Error::other)?;
        let taken = bytes.len().min(MESSAGE_BYTES);
        let message = Bytes::copy_from_slice(&bytes[..taken]);
        Pin::new(&mut self.messages).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(context).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(context).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc;
    use futures::{SinkExt, StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    type Message = Result<Bytes, io::Error>;

    /// A stream and a sink as one, as a WebSocket is, and what is sent to it.
    fn socket(
        messages: Vec<Message>,
    ) -> (impl Stream<Item = Message> + Sink<Bytes, Error = io::Error> + Unpin, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let sink = sender.sink_map_err(io::Error::other);
        (Both { stream: stream::iter(messages), sink }, receiver)
    }

    struct Both<A, B> {
        stream: A,
        sink: B,
    }

    impl<A: Stream + Unpin, B: Unpin> Stream for Both<A, B> {
        type Item = A::Item;
        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<A::Item>> {
            Pin::new(&mut self.stream).poll_next(context)
        }
    }

    impl<A: Unpin, B: Sink<Bytes> + Unpin> Sink<Bytes> for Both<A, B> {
        type Error = B::Error;
        fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
            Pin::new(&mut self.sink).poll_ready(context)
        }
        fn start_send(mut self: Pin<&mut Self>, item: Bytes) -> Result<(), B::Error> {
            Pin::new(&mut self.sink).start_send(item)
        }
        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
            Pin::new(&mut self.sink).poll_flush(context)
        }
        fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
            Pin::new(&mut self.sink).poll_close(context)
        }
    }

    #[tokio::test]
    async fn borders_of_messages_mean_nothing() {
        let message = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let (socket, _sent) = socket(vec![message("a"), message(""), message("bcd"), message("e")]);
        let mut tunnel = Tunnel::new(socket);
        let mut two = [0; 2];
        tunnel.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ab");
        let mut rest = String::new();
        tunnel.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "cde");
    }

    #[tokio::test]
    async fn a_failure_of_the_messages_is_one_of_reading() {
        let (socket, _sent) = socket(vec![Err(io::Error::other("a text message"))]);
        assert_eq!(Tunnel::new(socket).read_u8().await.unwrap_err().to_string(), "a text message");
    }

    #[tokio::test]
    async fn writes_become_messages_of_a_bounded_size() {
        let (socket, sent) = socket(Vec::new());
        let mut tunnel = Tunnel::new(socket);
        let writing = async {
            tunnel.write_all(&vec![7; MESSAGE_BYTES + 1]).await.unwrap();
            tunnel.shutdown().await.unwrap();
        };
        let (_, sizes) = tokio::join!(writing, sent.map(|message| message.len()).collect::<Vec<_>>());
        assert_eq!(sizes, [MESSAGE_BYTES, 1]);
    }
}
