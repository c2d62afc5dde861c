//! Frames as bytes: what each looks like, that all come back, and that nothing else gets in.

use super::*;
use crate::dictionary::DICTIONARY;
use flate2::{Compress, Compression, FlushCompress};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn encoded(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut out) = (Encoder::new().unwrap(), BytesMut::new());
    frames.iter().for_each(|frame| encoder.encode(frame, &mut out).unwrap());
    out
}

fn decoder() -> Decoder {
    Decoder::new(&Limits::default())
}

/// Everything that `bytes` hold.
fn decoded(bytes: &[u8]) -> Result<Vec<Frame>> {
    let (mut decoder, mut buffer, mut frames) = (decoder(), BytesMut::from(bytes), Vec::new());
    while let Some(frame) = decoder.decode(&mut buffer)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn data(stream: StreamId, fin: bool, bytes: &[u8]) -> Frame {
    Frame::Data { stream, fin, bytes: Bytes::copy_from_slice(bytes) }
}

#[test]
fn frames_without_headers_are_these_bytes() {
    let setting = Setting { flags: 1, id: 4, value: 100 };
    let rows: [(Frame, &[u8]); 8] = [
        (data(1, false, b"hi"), b"\0\0\0\x01\0\0\0\x02hi"),
        (data(0x7fff_ffff, true, b""), b"\x7f\xff\xff\xff\x01\0\0\0"),
        (Frame::reset(5, ResetCode::CANCEL), b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x05\0\0\0\x05"),
        (
            Frame::Settings { clear: true, values: vec![setting] },
            b"\x80\x03\0\x04\x01\0\0\x0c\0\0\0\x01\x01\0\0\x04\0\0\0\x64",
        ),
        (Frame::Ping { id: 2 }, b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x02"),
        (
            Frame::Goaway { last_good: 7, status: GoawayStatus::PROTOCOL_ERROR },
            b"\x80\x03\0\x07\0\0\0\x08\0\0\0\x07\0\0\0\x01",
        ),
        (Frame::WindowUpdate { stream: 3, delta: 65536 }, b"\x80\x03\0\x09\0\0\0\x08\0\0\0\x03\0\x01\0\0"),
        (Frame::WindowUpdate { stream: 0, delta: 1 }, b"\x80\x03\0\x09\0\0\0\x08\0\0\0\0\0\0\0\x01"),
    ];
    for (frame, bytes) in rows {
        assert_eq!(encoded(std::slice::from_ref(&frame)), bytes, "{frame:?}");
        assert_eq!(decoded(bytes).unwrap(), [frame]);
    }
}

/// Two openings as another implementation of zlib writes them, the second leaning on the first.
#[test]
fn header_blocks_of_another_zlib_are_read() {
    let opening = |stream: u8, block: &[u8]| {
        let mut bytes = vec![0x80, 3, 0, 1, 0, 0, 0, 10 + block.len() as u8, 0, 0, 0, stream, 0, 0, 0, 0, 0xe0, 0];
        bytes.extend_from_slice(block);
        bytes
    };
    let first =
        b"\x78\xf9\xe3\xc6\xa7\xc2\x02\x25\x3a\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x86\x14\xcb\
        \x45\xe0\x1c\x60\x61\x60\x61\x00\xa4\x39\x8b\x20\xd1\x98\x09\x4a\xde\x8c\x06\x00\x00\x00\x00\xff\xff";
    let second = b"\xc2\xaa\x19\x54\x0e\x25\x12\xd6\x0b\x00\x00\x00\xff\xff";
    let bytes = [opening(1, first), opening(3, second)].concat();
    let expected = [(1, "error"), (3, "data")].map(|(stream, kind)| Frame::SynStream {
        stream,
        parent: 0,
        priority: 7,
        slot: 0,
        fin: false,
        unidirectional: false,
        headers: Headers::new().with("streamType", kind).with("port", "8080").with("requestID", "0"),
    });
    assert_eq!(decoded(&bytes).unwrap(), expected);
}

#[test]
fn frames_that_lie_are_refused() {
    let lie = |frame, reason| Error::Malformed { frame, reason };
    let length = "its length is not one that it can have";
    let rows: [(&[u8], Error); 17] = [
        (b"\x80\x02\0\x06\0\0\0\x04\0\0\0\x02", Error::Version(2)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", Error::Version(0x7fff)),
        (b"\x80\x03\0\x01\0\0\0\x09", lie("SYN_STREAM", length)),
        (b"\x80\x03\0\x02\0\0\0\x03", lie("SYN_REPLY", length)),
        (b"\x80\x03\0\x03\0\0\0\x09", lie("RST_STREAM", length)),
        (b"\x80\x03\0\x04\0\0\0\x05", lie("SETTINGS", length)),
        (b"\x80\x03\0\x06\0\0\0\0", lie("PING", length)),
        (b"\x80\x03\0\x07\0\0\0\x04", lie("GOAWAY", length)),
        (b"\x80\x03\0\x08\0\0\0\0", lie("HEADERS", length)),
        (b"\x80\x03\0\x09\0\xff\xff\xff", lie("WINDOW_UPDATE", length)),
        (
            b"\x80\x03\0\x04\0\0\0\x04\xff\xff\xff\xff",
            lie("SETTINGS", "it has another number of settings than it says"),
        ),
        (b"\x80\x03\0\x03\0\0\0\x08\0\0\0\0\0\0\0\x05", lie("RST_STREAM", "it is about stream 0")),
        (b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x01\0\0\0\0", lie("RST_STREAM", "it gives no reason")),
        (b"\x80\x03\0\x06\0\0\0\x04\0\0\0\0", lie("PING", "its number is 0")),
        (b"\x80\x03\0\x07\x01\0\0\x08\0\0\0\0\0\0\0\0", lie("GOAWAY", "it has flags, which it cannot have")),
        (b"\0\0\0\0\0\0\0\x01x", lie("DATA", "it is about stream 0")),
        // Refused by its head alone: nobody waits for 16 MiB of headers.
        (
            b"\x80\x03\0\x08\0\xff\xff\xff",
            Error::TooLong { frame: "HEADERS", length: 0xff_ffff, limit: Limits::default().control },
        ),
    ];
    for (bytes, expected) in rows {
        assert_eq!(decoded(bytes).unwrap_err(), expected, "{bytes:?}");
        assert!(expected.is_protocol());
    }
}

#[test]
fn types_that_nobody_knows_are_skipped_without_being_kept() {
    let mut decoder = decoder();
    let mut buffer = BytesMut::from(b"\x80\x03\0\x0a\0\xff\xff\xff".as_slice());
    for _ in 0..0xff_ffff / 4095 {
        buffer.extend_from_slice(&[0x80; 4095]);
        assert_eq!(decoder.decode(&mut buffer).unwrap(), None);
        assert!(buffer.is_empty());
    }
    buffer.extend_from_slice(b"\x80\x03\0\x05\0\0\0\0");
    buffer.extend_from_slice(&encoded(&[Frame::Ping { id: 1 }]));
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Some(Frame::Ping { id: 1 }));
    assert!(decoder.is_between_frames(&buffer));
}

#[test]
fn data_of_any_length_comes_in_pieces() {
    let mut decoder = decoder();
    let mut buffer = BytesMut::from(b"\0\0\0\x03\x01\0\0\x05ab".as_slice());
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Some(data(3, false, b"ab")));
    assert_eq!(decoder.decode(&mut buffer).unwrap(), None);
    assert!(!decoder.is_between_frames(&buffer));
    buffer.extend_from_slice(b"cde\0");
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Some(data(3, true, b"cde")));
    assert_eq!(decoder.decode(&mut buffer).unwrap(), None);
    assert!(!decoder.is_between_frames(&buffer), "a head has begun");
}

#[test]
fn a_bomb_of_headers_is_refused() {
    let mut zlib = Compress::new(Compression::best(), true);
    zlib.set_dictionary(&DICTIONARY).unwrap();
    // One header, with a value of 20 MB.
    let mut plain = b"\0\0\0\x01\0\0\0\x01a".to_vec();
    plain.extend_from_slice(&20_000_000_u32.to_be_bytes());
    plain.resize(20_000_000, b'x');
    let mut packed = Vec::with_capacity(60_000);
    zlib.compress_vec(&plain, &mut packed, FlushCompress::Sync).unwrap();
    let mut bytes = vec![0x80, 3, 0, 8];
    bytes.extend_from_slice(&(packed.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1]);
    bytes.extend_from_slice(&packed);
    let limit = Limits::default().header_block;
    assert_eq!(decoded(&bytes).unwrap_err(), Error::HeadersTooLarge { limit });
}

#[test]
fn a_frame_that_cannot_be_expressed_is_not_sent() {
    let long = Frame::Data { stream: 1, fin: false, bytes: Bytes::from(vec![0; LENGTH_MAX + 1]) };
    let outcome = Encoder::new().unwrap().encode(&long, &mut BytesMut::new());
    assert_eq!(outcome.unwrap_err(), Error::TooLong { frame: "DATA", length: LENGTH_MAX + 1, limit: LENGTH_MAX });
}

fn any_text(random: &mut StdRng, most: usize) -> String {
    let length = random.random_range(1..=most);
    (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}

fn any_headers(random: &mut StdRng) -> Headers {
    let count = random.random_range(0..6);
    (0..count).fold(Headers::new(), |headers, _| {
        let (name, value) = (any_text(random, 12), any_text(random, 400));
        headers.with(&name, if random.random_bool(0.1) { String::new() } else { value })
    })
}

fn any_frame(random: &mut StdRng) -> Frame {
    let stream = random.random_range(1..=STREAM_MAX);
    let fin = random.random();
    match random.random_range(0..9) {
        0 => Frame::SynStream {
            stream,
            parent: random.random_range(0..=STREAM_MAX),
            priority: random.random_range(0..8),
            slot: random.random(),
            fin,
            unidirectional: random.random(),
            headers: any_headers(random),
        },
        1 => Frame::SynReply { stream, fin, headers: any_headers(random) },
        2 => Frame::RstStream { stream, code: ResetCode(random.random_range(1..=u32::MAX)) },
        3 => {
            let one = |random: &mut StdRng| Setting {
                flags: random.random(),
                id: random.random_range(0..=0xff_ffff),
                value: random.random(),
            };
            let count = random.random_range(0..20);
            Frame::Settings { clear: fin, values: (0..count).map(|_| one(random)).collect() }
        }
        4 => Frame::Ping { id: random.random_range(1..=u32::MAX) },
        5 => Frame::Goaway { last_good: random.random_range(0..=STREAM_MAX), status: GoawayStatus(random.random()) },
        6 => Frame::Headers { stream, fin, headers: any_headers(random) },
        7 => Frame::WindowUpdate {
            stream: random.random_range(0..=STREAM_MAX),
            delta: random.random_range(0..=STREAM_MAX),
        },
        _ => {
            let mut bytes = vec![0; random.random_range(0..3000)];
            random.fill(bytes.as_mut_slice());
            Frame::Data { stream, fin, bytes: Bytes::from(bytes) }
        }
    }
}

#[test]
fn every_frame_comes_back() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let frames: Vec<Frame> = (0..30).map(|_| any_frame(&mut random)).collect();
        assert_eq!(decoded(&encoded(&frames)).unwrap(), frames, "seed {seed}");
    }
}

/// Puts pieces of one DATA frame together again.
fn joined(frames: Vec<Frame>, pieces: &mut Vec<bool>) -> Vec<Frame> {
    let mut whole: Vec<Frame> = Vec::new();
    for (frame, goes_on) in frames.into_iter().zip(pieces.drain(..)) {
        match (whole.last_mut(), frame) {
            (Some(Frame::Data { fin, bytes, .. }), Frame::Data { fin: last, bytes: more, .. }) if goes_on => {
                *bytes = [bytes.as_ref(), more.as_ref()].concat().into();
                *fin = last;
            }
            (_, frame) => whole.push(frame),
        }
    }
    whole
}

#[test]
fn every_frame_comes_back_from_any_pieces() {
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let frames: Vec<Frame> = (0..20).map(|_| any_frame(&mut random)).collect();
        let mut bytes = encoded(&frames);
        let (mut decoder, mut buffer) = (decoder(), BytesMut::new());
        let (mut found, mut pieces) = (Vec::new(), Vec::new());
        while !bytes.is_empty() {
            buffer.extend_from_slice(&bytes.split_to(random.random_range(1..=bytes.len().min(700))));
            loop {
                let goes_on = matches!(decoder.part, Part::Data { .. });
                let Some(frame) = decoder.decode(&mut buffer).unwrap() else { break };
                pieces.push(goes_on);
                found.push(frame);
            }
        }
        assert_eq!(joined(found, &mut pieces), frames, "seed {seed}");
        assert!(decoder.is_between_frames(&buffer));
    }
}

/// Feeds bytes as a connection would and checks what is held on to.
fn survive(bytes: &[u8], random: &mut StdRng) {
    let limits = Limits { control: 4096, header_block: 4096, ..Limits::default() };
    let (mut decoder, mut buffer) = (Decoder::new(&limits), BytesMut::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(512)));
        rest = later;
        buffer.extend_from_slice(now);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!(error.is_protocol(), "{error}");
                    return;
                }
            }
        }
        assert!(buffer.len() <= HEAD_BYTES + limits.control, "{} bytes are held", buffer.len());
    }
}

#[test]
fn random_bytes_neither_panic_nor_pile_up() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..3000 {
        let mut bytes = vec![0; random.random_range(0..2000)];
        random.fill(bytes.as_mut_slice());
        survive(&bytes, &mut random);
        // Most random bytes fail at the version: so the same with a head that gets further.
        let kind = random.random_range(0..12);
        let head = [0x80, 3, 0, kind, random.random(), 0, random.random_range(0..18), random.random()];
        survive(&[&head[..], &bytes].concat(), &mut random);
    }
}

#[test]
fn valid_frames_with_flipped_bits_neither_panic_nor_pile_up() {
    for seed in 0..2000 {
        let mut random = StdRng::seed_from_u64(seed);
        let frames: Vec<Frame> = (0..5).map(|_| any_frame(&mut random)).collect();
        let mut bytes = encoded(&frames);
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        survive(&bytes, &mut random);
    }
}
