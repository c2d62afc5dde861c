//! Frames: a length, a format byte, a kind, the number of the question, and the message.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{self, AsyncRead, AsyncReadExt};

use crate::codec;

/// Longest frame taken: an append is 1 MiB and one entry of at most 1.5 MiB more, a snapshot's chunk is 1 MiB.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Kind and number.
const HEAD_BYTES: usize = 9;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first one of a connection, from each side.
    Hello,
    /// A question.
    Request,
    /// The answer to the question of the same number.
    Response,
}

/// A frame that was read.
#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub number: u64,
    body: Vec<u8>,
}

impl Frame {
    /// The message.
    pub fn message<T: DeserializeOwned>(&self) -> io::Result<T> {
        codec::decode("a peer's message", &self.body).map_err(invalid)
    }
}

/// A message as the bytes of a frame.
pub fn encode<T: Serialize>(kind: Kind, number: u64, message: &T) -> io::Result<Vec<u8>> {
    let body = codec::encode("a message to a peer", message).map_err(invalid)?;
    let length = HEAD_BYTES + body.len();
    if length > FRAME_BYTES_MAX {
        return Err(invalid(format!("a message of {length} bytes is too long for a peer")));
    }
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&u32::try_from(length).map_err(invalid)?.to_le_bytes());
    bytes.push(match kind {
        Kind::Hello => 0,
        Kind::Request => 1,
        Kind::Response => 2,
    });
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The next frame; `None` at the end of the connection.
pub async fn read(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let length = match input.read_u32_le().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if !(HEAD_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let kind = match input.read_u8().await? {
        0 => Kind::Hello,
        1 => Kind::Request,
        2 => Kind::Response,
        other => return Err(invalid(format!("a frame of kind {other}"))),
    };
    let number = input.read_u64_le().await?;
    let mut body = vec![0; length - HEAD_BYTES];
    input.read_exact(&mut body).await?;
    Ok(Some(Frame { kind, number, body }))
}

pub fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let mut bytes = encode(Kind::Request, 7, &"one").unwrap();
        bytes.extend(encode(Kind::Response, 8, &vec![1_u8, 2]).unwrap());
        let mut input = bytes.as_slice();
        let first = read(&mut input).await.unwrap().expect("a frame");
        assert_eq!((first.kind, first.number, first.message::<String>().unwrap()), (Kind::Request, 7, "one".into()));
        let second = read(&mut input).await.unwrap().expect("a frame");
        assert_eq!((second.kind, second.number, second.message::<Vec<u8>>().unwrap()), (Kind::Response, 8, vec![1, 2]));
        assert!(read(&mut input).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let good = encode(Kind::Request, 7, &"one").unwrap();
        let cases: [&[u8]; 4] =
            [&[0xff; 40], &[3, 0, 0, 0, 1, 2, 3], &good[..good.len() - 1], &[9, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]];
        for bytes in cases {
            let mut input = bytes;
            read(&mut input).await.expect_err("refused");
        }
        assert!(encode(Kind::Request, 1, &vec![0_u8; FRAME_BYTES_MAX]).is_err());
        let mut wrong = good.clone();
        wrong[13] = 99;
        let frame = read(&mut wrong.as_slice()).await.unwrap().expect("a frame");
        frame.message::<String>().expect_err("an unknown format");
    }
}
