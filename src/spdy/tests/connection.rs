//! Client against server, and server against peers that do not behave, over bytes in memory.

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use spdy::codec::{Decoder, Encoder};
use spdy::frame::{Frame, GoawayStatus};
use spdy::{Arrival, Connection, Error, Headers, Incoming, Limits, ResetCode, Stream};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

type Ended = JoinHandle<spdy::Result<()>>;

struct Ends {
    client: Connection,
    incoming: Incoming,
    server: Connection,
    client_ended: Ended,
    server_ended: Ended,
}

fn ends(limits: Limits) -> Ends {
    let (near, far) = duplex(16 * 1024);
    let (client, _, driver) = spdy::connect(near, limits.clone());
    let client_ended = tokio::spawn(driver.run());
    let (server, incoming, driver) = spdy::serve(far, limits);
    Ends { client, incoming, server, client_ended, server_ended: tokio::spawn(driver.run()) }
}

/// A server, and the bare bytes of its peer.
fn exposed(limits: Limits) -> (DuplexStream, Connection, Incoming, Ended) {
    let (near, far) = duplex(4096);
    let (server, incoming, driver) = spdy::serve(far, limits);
    (near, server, incoming, tokio::spawn(driver.run()))
}

async fn arrival(incoming: &mut Incoming) -> Arrival {
    incoming.next().await.expect("a stream")
}

/// Opens a stream on one side and accepts it on the other.
async fn stream(ends: &mut Ends) -> (Stream, Stream) {
    let (opened, accepted) =
        tokio::join!(ends.client.open(Headers::new()), async { arrival(&mut ends.incoming).await.accept() });
    (opened.expect("an open stream"), accepted)
}

fn opening(stream: u32) -> Frame {
    let (parent, priority, slot, fin, unidirectional) = (0, 0, 0, false, false);
    Frame::SynStream { stream, parent, priority, slot, fin, unidirectional, headers: Headers::new().with("a", "b") }
}

fn encoded(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut bytes) = (Encoder::new().expect("zlib"), BytesMut::new());
    frames.iter().for_each(|frame| encoder.encode(frame, &mut bytes).expect("a frame that fits"));
    bytes
}

/// Every frame that comes until the end.
async fn frames(peer: &mut DuplexStream) -> Vec<Frame> {
    let (mut bytes, mut found) = (Vec::new(), Vec::new());
    peer.read_to_end(&mut bytes).await.expect("an orderly end");
    let (mut decoder, mut buffer) = (Decoder::new(&Limits::default()), BytesMut::from(bytes.as_slice()));
    while let Some(frame) = decoder.decode(&mut buffer).expect("frames") {
        found.push(frame);
    }
    found
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill(bytes.as_mut_slice());
    bytes
}

#[tokio::test]
async fn many_streams_carry_their_own_bytes_both_ways() {
    let ends = ends(Limits::default());
    let mut incoming = ends.incoming;
    let echo = tokio::spawn(async move {
        while let Some(arrival) = incoming.next().await {
            tokio::spawn(async move {
                assert_eq!(arrival.headers().get("streamType"), Some("data"));
                let (mut reader, mut writer) = arrival.accept().into_split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
    let calls = (0..100_u64).map(|seed| {
        let client = ends.client.clone();
        async move {
            let sent = noise(seed, (seed * 3001) as usize);
            let stream = client.open(Headers::new().with("streamType", "data")).await.unwrap();
            let (mut reader, mut writer) = stream.into_split();
            let mut back = Vec::new();
            let writing = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(writing, reader.read_to_end(&mut back));
            read.unwrap();
            assert!(back == sent, "stream {seed}");
        }
    });
    join_all(calls).await;
    drop(ends.client);
    // The last owner is gone and every stream has ended, so the connection ends by itself.
    assert_eq!(ends.client_ended.await.unwrap(), Ok(()));
    echo.await.unwrap();
    assert_eq!(ends.server_ended.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn each_half_ends_on_its_own() {
    let mut ends = ends(Limits::default());
    let (mut near, mut far) = stream(&mut ends).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    text.clear();
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "answer");
    assert_eq!(near.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_and_no_other_stream() {
    let mut ends = ends(Limits::default());
    let (near, mut far) = stream(&mut ends).await;
    let (mut other_near, mut other_far) = stream(&mut ends).await;
    near.reset(ResetCode::CANCEL);
    assert_eq!(far.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(far.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    other_near.write_u8(7).await.unwrap();
    assert_eq!(other_far.read_u8().await.unwrap(), 7);
    // A half that is dropped without an end is a reset too.
    let (_reader, writer) = other_far.into_split();
    drop(writer);
    assert_eq!(other_near.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_refused_stream_is_an_error_for_whoever_opens_it() {
    let mut ends = ends(Limits::default());
    for refuse in [true, false] {
        let (opened, ()) = tokio::join!(ends.client.open(Headers::new()), async {
            let arrival = arrival(&mut ends.incoming).await;
            if refuse {
                arrival.refuse(ResetCode::REFUSED_STREAM);
            }
        });
        let code = if refuse { ResetCode::REFUSED_STREAM } else { ResetCode::CANCEL };
        assert!(matches!(opened, Err(Error::Reset { code: found, .. }) if found == code));
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_nobody_answers_ends_in_time() {
    let ends = ends(Limits::default());
    assert!(matches!(ends.client.open(Headers::new()).await, Err(Error::Elapsed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_costs_bounded_memory_and_loses_nothing() {
    let limits = Limits { unread: 50_000, unsent: 30_000, ..Limits::default() };
    let mut ends = ends(limits);
    let (mut near, mut far) = stream(&mut ends).await;
    let piece = noise(1, 10_000);
    let mut written = 0;
    while let Ok(outcome) = tokio::time::timeout(Duration::from_secs(1), near.write_all(&piece)).await {
        outcome.unwrap();
        written += piece.len();
        assert!(written < 10_000_000, "nothing holds the writer up");
    }
    // Unread, unsent, both write batches and the pipe between.
    assert!(written < 50_000 + 30_000 + 2 * 64 * 1024 + 2 * 16 * 1024 + 50_000, "{written} bytes are held");
    // While it is full nothing else comes through, as upstream; what was dropped lets the others go on.
    let mut back = vec![0; 10_000];
    for _ in 0..written / piece.len() {
        far.read_exact(&mut back).await.unwrap();
        assert!(back == piece);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_reader_is_gone_holds_nobody_up() {
    let limits = Limits { unread: 1000, ..Limits::default() };
    let mut ends = ends(limits);
    let (mut near, far) = stream(&mut ends).await;
    let (mut other_near, mut other_far) = stream(&mut ends).await;
    let (reader, _writer) = far.into_split();
    drop(reader);
    near.write_all(&noise(1, 1_000_000)).await.unwrap();
    other_near.write_u8(7).await.unwrap();
    assert_eq!(other_far.read_u8().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_that_nobody_reads_ends_the_connection_in_time() {
    let limits =
        Limits { unread: 1000, idle: Duration::from_secs(60), ping: Duration::from_secs(7), ..Limits::default() };
    let mut ends = ends(limits);
    let (mut near, _far) = stream(&mut ends).await;
    let failure = near.write_all(&noise(1, 1_000_000)).await.unwrap_err();
    assert!(matches!(failure.kind(), ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe), "{failure}");
    assert!(matches!(ends.server_ended.await.unwrap(), Err(Error::Elapsed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_or_says_nothing_is_left() {
    let limits = Limits { stall: Duration::from_secs(20), idle: Duration::from_secs(60), ..Limits::default() };
    let (mut peer, _server, mut incoming, ended) = exposed(limits.clone());
    peer.write_all(&encoded(&[opening(1)])).await.unwrap();
    let mut stream = arrival(&mut incoming).await.accept();
    let writing = tokio::spawn(async move { stream.write_all(&noise(1, 1_000_000)).await });
    let Err(Error::Elapsed(elapsed)) = ended.await.unwrap() else { panic!("the connection goes on") };
    assert_eq!(elapsed.after, limits.stall);
    assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    let (_peer, _server, _incoming, ended) = exposed(limits.clone());
    let Err(Error::Elapsed(elapsed)) = ended.await.unwrap() else { panic!("the connection goes on") };
    assert_eq!(elapsed.after, limits.idle);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_without_reading_is_not_read() {
    let (mut peer, _server, _incoming, _ended) = exposed(Limits::default());
    let flood = encoded(&vec![Frame::Ping { id: 1 }; 1000]);
    let mut written = 0;
    while let Ok(outcome) = tokio::time::timeout(Duration::from_secs(1), peer.write_all(&flood)).await {
        outcome.unwrap();
        written += flood.len();
        assert!(written < 1_000_000, "the flood is read for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_peer_speaks_and_pings_after() {
    let (mut peer, server, _incoming, _ended) = exposed(Limits::default());
    let mut byte = [0; 12];
    let silence = tokio::time::timeout(Duration::from_secs(600), peer.read_exact(&mut byte)).await;
    assert!(silence.is_err(), "Go's client would lose these bytes: {byte:?}");
    peer.write_all(&encoded(&[Frame::Ping { id: 1 }])).await.unwrap();
    for expected in [1, 2] {
        peer.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, encoded(&[Frame::Ping { id: expected }])[..]);
    }
    drop(server);
}

#[tokio::test]
async fn a_drain_ends_the_connection_after_its_streams() {
    let mut ends = ends(Limits::default());
    let (mut near, mut far) = stream(&mut ends).await;
    ends.server.drain(Duration::from_secs(60));
    assert!(ends.incoming.next().await.is_none());
    let refused = ends.client.open(Headers::new()).await;
    assert!(matches!(refused, Err(Error::Reset { code: ResetCode::REFUSED_STREAM, .. })));
    far.write_all(b"the last words").await.unwrap();
    far.shutdown().await.unwrap();
    drop(far);
    let mut text = String::new();
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "the last words");
    drop(near);
    assert_eq!(ends.client_ended.await.unwrap(), Ok(()));
    assert_eq!(ends.server_ended.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_whatever_is_open() {
    let mut ends = ends(Limits::default());
    let (_near, mut far) = stream(&mut ends).await;
    ends.server.drain(Duration::from_secs(60));
    assert_eq!(ends.server_ended.await.unwrap(), Ok(()));
    assert_eq!(far.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn the_end_of_the_connection_ends_its_streams() {
    let mut ends = ends(Limits::default());
    let (mut near, mut far) = stream(&mut ends).await;
    ends.client_ended.abort();
    assert_eq!(far.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(near.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(ends.incoming.next().await.is_none());
    assert_eq!(ends.server_ended.await.unwrap(), Ok(()));
    assert!(ends.server.open(Headers::new()).await.is_err());
}

#[tokio::test]
async fn hostile_frames_end_the_connection_and_are_named() {
    let rows: [(Vec<u8>, Error); 4] = [
        (encoded(&[opening(3), opening(3)]).to_vec(), Error::StreamNumber(3)),
        (encoded(&[opening(2)]).to_vec(), Error::StreamNumber(2)),
        (b"GET / HTTP/1.1\r\n\r\n\0\0\0\0\xff\xff\xff\xff\xff\xff".to_vec(), Error::Closed),
        (b"\x80\x01\0\x01\0\0\0\x00".to_vec(), Error::Version(1)),
    ];
    for (bytes, expected) in rows {
        let (mut peer, _server, _incoming, ended) = exposed(Limits::default());
        peer.write_all(&bytes).await.unwrap();
        if expected == Error::Closed {
            // An HTTP request reads as a long DATA frame of a stream that nobody opened.
            drop(peer);
            assert_eq!(ended.await.unwrap(), Err(Error::Truncated));
            continue;
        }
        assert_eq!(ended.await.unwrap(), Err(expected.clone()));
        let told = frames(&mut peer).await;
        let accused = |frame: &Frame| matches!(frame, Frame::Goaway { status: GoawayStatus::PROTOCOL_ERROR, .. });
        assert!(told.last().is_some_and(accused), "{expected}: {told:?}");
    }
}

#[tokio::test]
async fn a_stream_whose_number_goes_back_is_refused_and_the_others_go_on() {
    let (mut peer, _server, mut incoming, ended) = exposed(Limits::default());
    peer.write_all(&encoded(&[opening(5), opening(3), opening(7)])).await.unwrap();
    let accepted = [arrival(&mut incoming).await.accept(), arrival(&mut incoming).await.accept()];
    assert_eq!(accepted.each_ref().map(Stream::id), [5, 7]);
    let refusal = encoded(&[Frame::RstStream { stream: 3, code: ResetCode::PROTOCOL_ERROR }]);
    let mut told = [0; 16];
    peer.read_exact(&mut told).await.unwrap();
    assert_eq!(told, refusal[..]);
    assert!(!ended.is_finished());
}

#[tokio::test]
async fn frames_of_streams_that_never_were_mean_nothing() {
    let (mut peer, _server, mut incoming, ended) = exposed(Limits::default());
    let odd = [
        Frame::Data { stream: 9, fin: true, bytes: Bytes::from_static(b"x") },
        Frame::RstStream { stream: 9, code: ResetCode::CANCEL },
        Frame::SynReply { stream: 9, fin: true, headers: Headers::new() },
        Frame::Headers { stream: 9, fin: true, headers: Headers::new() },
        Frame::WindowUpdate { stream: 9, delta: 1 },
        opening(1),
    ];
    peer.write_all(&encoded(&odd)).await.unwrap();
    assert_eq!(arrival(&mut incoming).await.id(), 1);
    peer.shutdown().await.unwrap();
    assert_eq!(ended.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn random_bytes_end_a_connection_and_nothing_else() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = encoded(&[opening(1), opening(3)]);
        let length = random.random_range(0..3000);
        let at = random.random_range(0..bytes.len());
        bytes.truncate(at);
        bytes.extend_from_slice(&noise(seed, length));
        let (peer, _server, mut incoming, ended) = exposed(Limits::default());
        let (mut from_server, mut to_server) = tokio::io::split(peer);
        let accepting = async { while incoming.next().await.is_some() {} };
        let feeding = async {
            // The server may end before all is said.
            let _ = to_server.write_all(&bytes).await;
            let _ = to_server.shutdown().await;
            let _ = from_server.read_to_end(&mut Vec::new()).await;
        };
        let (ended, (), ()) = tokio::join!(ended, accepting, feeding);
        assert!(ended.is_ok(), "seed {seed}: a panic");
    }
}
