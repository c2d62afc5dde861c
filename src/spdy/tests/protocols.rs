//! Port-forward and exec, client against server, plain and tunnelled through messages.

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{Sink, SinkExt, Stream as Messages, StreamExt};
use serde_json::json;
use spdy::portforward::{self, Kind, Options, Wish};
use spdy::remotecommand::{self, Sizes, Streams, TerminalSize, Version, Wishes};
use spdy::{Connection, Headers, Incoming, Limits, Stream, Tunnel};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const PATIENCE: Duration = Duration::from_secs(30);

fn ends() -> (Connection, Incoming, Connection) {
    let (near, far) = duplex(16 * 1024);
    let (client, _, driver) = spdy::connect(near, Limits::default());
    tokio::spawn(driver.run());
    let (server, incoming, driver) = spdy::serve(far, Limits::default());
    tokio::spawn(driver.run());
    (client, incoming, server)
}

/// The two streams of a forwarded connection, opened as client-go does.
async fn forwarded(client: &Connection, port: u16, request: &str) -> (Stream, Stream) {
    let wish = |kind| Wish { kind, port, request: request.to_owned() };
    let mut error = client.open(wish(Kind::Error).headers()).await.expect("an error stream");
    error.shutdown().await.expect("an open connection");
    (error, client.open(wish(Kind::Data).headers()).await.expect("a data stream"))
}

/// A target: port 7 echoes, port 13 says something and closes, everything else refuses.
async fn dial(port: u16) -> Result<DuplexStream, String> {
    let (near, far) = duplex(1000);
    match port {
        7 => {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(far);
                tokio::io::copy(&mut reader, &mut writer).await.expect("an echo");
                writer.shutdown().await.expect("an end");
            });
        }
        13 => {
            tokio::spawn(async move {
                let mut far = far;
                far.write_all(b"it is late").await.expect("a listener");
                far.shutdown().await.expect("an end");
                // Goes on reading, as a half-closed connection does.
                let _ = far.read_to_end(&mut Vec::new()).await;
            });
        }
        _ => return Err("connection refused".to_owned()),
    }
    Ok(near)
}

fn serve(mut incoming: Incoming) {
    tokio::spawn(async move { portforward::serve(&mut incoming, Options::new("pod web, uid 7"), dial).await });
}

async fn text(stream: &mut Stream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text and an end");
    text
}

#[tokio::test]
async fn connections_are_forwarded_side_by_side() {
    let (client, incoming, _server) = ends();
    serve(incoming);
    let calls = (0..20).map(|number| {
        let client = client.clone();
        async move {
            let (mut error, data) = forwarded(&client, 7, &number.to_string()).await;
            let (mut reader, mut writer) = data.into_split();
            let sent = vec![number; 50_000];
            let writing = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut back = Vec::new();
            let (_, read) = tokio::join!(writing, reader.read_to_end(&mut back));
            read.unwrap();
            assert!(back == sent);
            assert_eq!(text(&mut error).await, "");
        }
    });
    futures::future::join_all(calls).await;
}

#[tokio::test]
async fn a_port_that_refuses_is_told_on_the_error_stream() {
    let (client, incoming, _server) = ends();
    serve(incoming);
    let (mut error, mut data) = forwarded(&client, 9, "0").await;
    assert_eq!(text(&mut error).await, "error forwarding port 9 to pod web, uid 7: connection refused");
    assert_eq!(text(&mut data).await, "");
    // One refused connection does not end the others.
    let (_error, mut data) = forwarded(&client, 13, "1").await;
    assert_eq!(text(&mut data).await, "it is late");
}

#[tokio::test]
async fn the_targets_end_is_the_end_of_the_error_stream_too() {
    let (client, incoming, _server) = ends();
    serve(incoming);
    let (mut error, mut data) = forwarded(&client, 13, "0").await;
    assert_eq!(text(&mut data).await, "it is late");
    assert_eq!(text(&mut error).await, "", "a client that keeps its own direction open waits for this");
    data.write_all(b"still open").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lone_stream_is_given_up_in_time() {
    let (client, incoming, _server) = ends();
    serve(incoming);
    let wish = |kind, request: &str| Wish { kind, port: 7, request: request.to_owned() };
    let mut error = client.open(wish(Kind::Error, "5").headers()).await.unwrap();
    let mut data = client.open(wish(Kind::Data, "6").headers()).await.unwrap();
    assert_eq!(text(&mut error).await, "(request=5) timed out waiting for streams");
    assert_eq!(data.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn streams_that_make_no_sense_are_refused() {
    let (client, incoming, _server) = ends();
    serve(incoming);
    for headers in [Headers::new(), Headers::new().with("streamType", "data").with("port", "0")] {
        assert!(matches!(client.open(headers).await, Err(spdy::Error::Reset { .. })));
    }
    let (_error, mut data) = forwarded(&client, 13, "1").await;
    assert_eq!(text(&mut data).await, "it is late");
}

/// One end of a pipe of messages: what a WebSocket looks like to the tunnel.
struct Socket {
    from: mpsc::Receiver<Bytes>,
    to: mpsc::Sender<Bytes>,
}

impl Messages for Socket {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from.poll_next_unpin(context).map(|message| message.map(Ok))
    }
}

impl Sink<Bytes> for Socket {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.poll_ready_unpin(context).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        self.to.start_send_unpin(message).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.poll_flush_unpin(context).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.poll_close_unpin(context).map_err(io::Error::other)
    }
}

#[tokio::test]
async fn a_connection_lives_within_messages() {
    let ((to_server, from_client), (to_client, from_server)) = (mpsc::channel(1), mpsc::channel(1));
    let (client, _, driver) =
        spdy::connect(Tunnel::new(Socket { from: from_server, to: to_server }), Limits::default());
    let client_ended = tokio::spawn(driver.run());
    let (_server, incoming, driver) =
        spdy::serve(Tunnel::new(Socket { from: from_client, to: to_client }), Limits::default());
    let server_ended = tokio::spawn(driver.run());
    serve(incoming);
    let (error, mut data) = forwarded(&client, 7, "0").await;
    data.write_all(b"through it all").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(text(&mut data).await, "through it all");
    drop((client, error, data));
    assert_eq!(client_ended.await.unwrap(), Ok(()));
    assert_eq!(server_ended.await.unwrap(), Ok(()));
}

/// A session that upper-cases its input, with what the client saw.
async fn session(version: Version, wishes: Wishes, status: serde_json::Value) -> (String, String) {
    let (client, mut incoming, server) = ends();
    let served = tokio::spawn(async move {
        let mut streams =
            remotecommand::gather(&mut incoming, wishes, version, PATIENCE).await.expect("a living session");
        let mut input = String::new();
        streams
            .stdin
            .as_mut()
            .expect("a stream that was asked for")
            .read_to_string(&mut input)
            .await
            .expect("a living session");
        streams
            .stdout
            .as_mut()
            .expect("a stream that was asked for")
            .write_all(input.to_uppercase().as_bytes())
            .await
            .expect("a living session");
        if let Some(resize) = &mut streams.resize {
            let (mut sizes, mut piece) = (Sizes::default(), [0; 100]);
            let count = resize.read(&mut piece).await.expect("a living session");
            assert_eq!(sizes.read(&piece[..count]), Some(TerminalSize { width: 80, height: 24 }));
        }
        streams.finish(version, &status, PATIENCE).await.expect("a living session");
        server.drain(PATIENCE);
    });
    let Streams { mut error, stdin, stdout, stderr, mut resize } =
        remotecommand::open(&client, wishes, version).await.expect("a living session");
    assert_eq!((stderr.is_some(), resize.is_some()), (wishes.stderr, wishes.tty && version >= Version::V3));
    if let Some(resize) = &mut resize {
        resize.write_all(&TerminalSize { width: 80, height: 24 }.encode()).await.expect("a living session");
    }
    let mut stdin = stdin.expect("input");
    stdin.write_all(b"hello").await.expect("a living session");
    stdin.shutdown().await.expect("a living session");
    let seen = (text(&mut stdout.expect("output")).await, text(&mut error).await);
    served.await.expect("a living session");
    seen
}

#[tokio::test]
async fn a_session_carries_input_output_and_its_end() {
    let status = json!({"metadata": {}, "status": "Failure", "message": "exit status 3", "reason": "NonZeroExitCode"});
    let wishes = Wishes { stdin: true, stdout: true, ..Wishes::default() };
    for (version, wishes) in [
        (Version::V1, wishes),
        (Version::V2, Wishes { stderr: true, ..wishes }),
        (Version::V3, Wishes { tty: true, ..wishes }),
        (Version::V4, Wishes { tty: true, ..wishes }),
    ] {
        let (output, ending) = session(version, wishes, status.clone()).await;
        assert_eq!(output, "HELLO", "{version:?}");
        let expected = if version == Version::V4 { status.to_string() } else { "exit status 3".to_owned() };
        assert_eq!(ending, expected, "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_its_streams_is_given_up() {
    let (client, mut incoming, _server) = ends();
    let wishes = Wishes { stdout: true, ..Wishes::default() };
    let (gathered, unasked) = tokio::join!(
        remotecommand::gather(&mut incoming, wishes, Version::V4, PATIENCE),
        client.open(Headers::new().with("streamType", "stdin"))
    );
    assert!(matches!(gathered, Err(spdy::Error::Elapsed(_))));
    // It was accepted, because a client takes a refusal for the end, and reset after that.
    assert!(unasked.is_ok() || matches!(unasked, Err(spdy::Error::Reset { .. })));
}
