//! Exec and attach over SPDY: one stream each for standard input, output and error, one for how it ended, one for the
//! terminal's size.
//!
//! Upstream: `httpstream.go` in kubelet's cri/streaming/remotecommand for the server's side, `v1.go` to `v4.go` in
//! client-go's tools/remotecommand for the client's.

use crate::connection::{Connection, Incoming, Stream};
use crate::error::Result;
use crate::headers::Headers;
use base::{Elapsed, within};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tracing::debug;

/// The protocols, the preferred one first.
pub const PROTOCOLS: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// Bytes of a terminal's size that are not whole yet; a whole one has some thirty.
const SIZE_BYTES_MAX: usize = 1024;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first: the client cannot tell that its input has ended.
    V1,
    /// The same, repaired.
    V2,
    /// With a stream for the terminal's size.
    V3,
    /// With a `metav1.Status` on the error stream instead of text, so with an exit code.
    V4,
}

impl Version {
    /// By name, one of [`PROTOCOLS`].
    pub fn of(protocol: &str) -> Option<Self> {
        Some(match protocol {
            "v4.channel.k8s.io" => Self::V4,
            "v3.channel.k8s.io" => Self::V3,
            "v2.channel.k8s.io" => Self::V2,
            "channel.k8s.io" => Self::V1,
            _ => return None,
        })
    }

    /// What goes on the error stream when the session ends with `status`, a `metav1.Status`.
    pub fn last_words(self, status: &Value) -> Vec<u8> {
        match (self, status["status"].as_str()) {
            (Self::V4, _) => status.to_string().into_bytes(),
            // The earlier versions know only text, and success has none.
            (_, Some("Success")) => Vec::new(),
            _ => status["message"].as_str().unwrap_or("the session failed").as_bytes().to_vec(),
        }
    }
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// How the session ended.
    Error,
    /// To the program.
    Stdin,
    /// From the program.
    Stdout,
    /// From the program.
    Stderr,
    /// Terminal sizes, to the program.
    Resize,
}

impl Kind {
    /// By the value of the `streamType` header.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Error, Self::Stdin, Self::Stdout, Self::Stderr, Self::Resize]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The value of the `streamType` header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Resize => "resize",
        }
    }
}

/// What the request's parameters ask a session to carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Error output; a terminal has none of its own.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

impl Wishes {
    /// The streams that the client opens, in the order it does.
    pub fn streams(self, version: Version) -> Vec<Kind> {
        let rows = [
            (Kind::Error, true),
            (Kind::Stdin, self.stdin),
            (Kind::Stdout, self.stdout),
            (Kind::Stderr, self.stderr && !self.tty),
            (Kind::Resize, self.tty && version >= Version::V3),
        ];
        rows.into_iter().filter(|(_, wished)| *wished).map(|(kind, _)| kind).collect()
    }
}

/// Collects the streams of a session. Pure.
#[derive(Debug)]
struct Gathering<S> {
    missing: Vec<Kind>,
    found: BTreeMap<Kind, S>,
}

impl<S> Gathering<S> {
    fn new(wishes: Wishes, version: Version) -> Self {
        Self { missing: wishes.streams(version), found: BTreeMap::new() }
    }

    fn is_wanted(&self, kind: Option<Kind>) -> Option<Kind> {
        kind.filter(|kind| self.missing.contains(kind))
    }

    fn add(&mut self, kind: Kind, stream: S) {
        self.missing.retain(|other| *other != kind);
        self.found.insert(kind, stream);
    }

    /// All streams, once they are there.
    fn complete(mut self) -> std::result::Result<Streams<S>, Self> {
        if !self.missing.is_empty() {
            return Err(self);
        }
        let Some(error) = self.found.remove(&Kind::Error) else { return Err(self) };
        let mut take = |kind| self.found.remove(&kind);
        let (stdin, stdout) = (take(Kind::Stdin), take(Kind::Stdout));
        Ok(Streams { error, stdin, stdout, stderr: take(Kind::Stderr), resize: take(Kind::Resize) })
    }
}

/// The streams of a session. Those that were not asked for are `None`.
///
/// On the server's side nothing may be sent on `stdin` or `resize`, and neither may be ended there before the session is:
/// clients take the end of their stdin stream as the end of the session's input (`copyStdin` in client-go's v2.go).
#[derive(Debug)]
pub struct Streams<S = Stream> {
    /// How the session ended.
    pub error: S,
    /// Input.
    pub stdin: Option<S>,
    /// Output.
    pub stdout: Option<S>,
    /// Error output.
    pub stderr: Option<S>,
    /// Terminal sizes, for [`Sizes`].
    pub resize: Option<S>,
}

impl Streams {
    /// Ends a session: says how it ended, then ends every stream. The connection is the caller's to drain after that.
    ///
    /// # Errors
    /// The client does not take the last bytes within `deadline`.
    pub async fn finish(
        self,
        version: Version,
        status: &Value,
        deadline: Duration,
    ) -> std::result::Result<(), Elapsed> {
        let Self { mut error, stdin, stdout, stderr, resize } = self;
        let words = version.last_words(status);
        within(deadline, "the sending of how the session ended", async {
            // First of all, because clients of version 1 are done when their outputs end.
            if let Err(failure) = error.write_all(&words).await {
                debug!(error = %failure, "the client is gone");
            }
            for mut stream in [Some(error), stdout, stderr, stdin, resize].into_iter().flatten() {
                let _ = stream.shutdown().await;
            }
        })
        .await
    }
}

/// Waits for the streams of a session. A stream that was not asked for is accepted and reset, because a client takes a
/// refusal for the failure of everything.
///
/// # Errors
/// [`Error::Elapsed`](crate::Error::Elapsed) when they are not all there within `deadline` (upstream: 30 seconds),
/// [`Error::Closed`](crate::Error::Closed) when none will come.
pub async fn gather(incoming: &mut Incoming, wishes: Wishes, version: Version, deadline: Duration) -> Result<Streams> {
    let gathered = within(deadline, "the client's opening of its streams", async {
        let mut gathering = Gathering::new(wishes, version);
        loop {
            gathering = match gathering.complete() {
                Ok(streams) => return Ok(streams),
                Err(gathering) => gathering,
            };
            let arrival = incoming.next().await.ok_or(crate::Error::Closed)?;
            let kind = arrival.headers().get(crate::STREAM_TYPE).and_then(Kind::of);
            let stream = arrival.accept();
            match gathering.is_wanted(kind) {
                Some(kind) => gathering.add(kind, stream),
                None => debug!(headers = ?stream.headers(), "a stream that nobody asked for"),
            }
        }
    });
    gathered.await?
}

/// The client's side: opens the streams of a session.
///
/// # Errors
/// As [`Connection::open`].
pub async fn open(connection: &Connection, wishes: Wishes, version: Version) -> Result<Streams> {
    let mut gathering = Gathering::new(wishes, version);
    for kind in wishes.streams(version) {
        gathering.add(kind, connection.open(Headers::new().with(crate::STREAM_TYPE, kind.name())).await?);
    }
    gathering.complete().map_err(|_| crate::Error::Closed)
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl TerminalSize {
    /// As it stands on the resize stream.
    pub fn encode(self) -> Vec<u8> {
        format!("{{\"Width\":{},\"Height\":{}}}\n", self.width, self.height).into_bytes()
    }
}

/// Reads the resize stream: JSON objects one after the other, cut anywhere. Pure.
#[derive(Debug, Default)]
pub struct Sizes {
    rest: Vec<u8>,
    broken: bool,
}

impl Sizes {
    /// The newest size in what has arrived, if there is one: earlier ones are outdated. After something that is no size
    /// nothing is read any more, as upstream does.
    pub fn read(&mut self, bytes: &[u8]) -> Option<TerminalSize> {
        if self.broken {
            return None;
        }
        self.rest.extend_from_slice(bytes);
        let mut newest = None;
        let mut values = serde_json::Deserializer::from_slice(&self.rest).into_iter::<Value>();
        let mut taken = 0;
        loop {
            match values.next() {
                Some(Ok(value)) => {
                    taken = values.byte_offset();
                    let side = |name: &str| value[name].as_u64().and_then(|side| u16::try_from(side).ok());
                    match (side("Width"), side("Height")) {
                        (Some(width), Some(height)) => newest = Some(TerminalSize { width, height }),
                        _ => self.broken = true,
                    }
                }
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(_)) => self.broken = true,
                None => {
                    taken = self.rest.len();
                    break;
                }
            }
            if self.broken {
                break;
            }
        }
        self.rest.drain(..taken);
        self.broken |= self.rest.len() > SIZE_BYTES_MAX;
        if self.broken {
            self.rest = Vec::new();
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_streams_follow_from_the_wishes() {
        use Kind::{Error, Resize, Stderr, Stdin, Stdout};
        let all = Wishes { stdin: true, stdout: true, stderr: true, tty: false };
        let rows = [
            (Wishes::default(), Version::V4, vec![Error]),
            (all, Version::V1, vec![Error, Stdin, Stdout, Stderr]),
            (Wishes { tty: true, ..all }, Version::V2, vec![Error, Stdin, Stdout]),
            (Wishes { tty: true, ..all }, Version::V3, vec![Error, Stdin, Stdout, Resize]),
            (Wishes { tty: true, ..all }, Version::V4, vec![Error, Stdin, Stdout, Resize]),
        ];
        for (wishes, version, expected) in rows {
            assert_eq!(wishes.streams(version), expected, "{wishes:?} {version:?}");
        }
    }

    #[test]
    fn names_are_upstreams() {
        for protocol in PROTOCOLS {
            assert!(Version::of(protocol).is_some());
        }
        assert_eq!(Version::of("v5.channel.k8s.io"), None);
        assert_eq!((Kind::of("resize"), Kind::of("data")), (Some(Kind::Resize), None));
    }

    #[test]
    fn a_gathering_wants_each_stream_once() {
        let mut gathering = Gathering::new(Wishes { stdout: true, ..Wishes::default() }, Version::V4);
        assert_eq!(gathering.is_wanted(Some(Kind::Stdin)), None);
        assert_eq!(gathering.is_wanted(None), None);
        gathering.add(Kind::Stdout, 1);
        assert_eq!(gathering.is_wanted(Some(Kind::Stdout)), None);
        gathering = gathering.complete().unwrap_err();
        gathering.add(Kind::Error, 3);
        let streams = gathering.complete().unwrap();
        assert_eq!((streams.error, streams.stdout, streams.stdin), (3, Some(1), None));
    }

    #[test]
    fn how_it_ended_is_said_in_the_versions_words() {
        let success = json!({"metadata": {}, "status": "Success"});
        let failure = json!({"metadata": {}, "status": "Failure", "message": "exit status 3"});
        assert_eq!(Version::V4.last_words(&success), success.to_string().as_bytes());
        assert_eq!(Version::V4.last_words(&failure), failure.to_string().as_bytes());
        for version in [Version::V1, Version::V2, Version::V3] {
            assert_eq!(version.last_words(&success), b"");
            assert_eq!(version.last_words(&failure), b"exit status 3");
        }
    }

    #[test]
    fn sizes_come_in_any_pieces() {
        let size = |width, height| Some(TerminalSize { width, height });
        let mut sizes = Sizes::default();
        let rows: [(&[u8], Option<TerminalSize>); 6] = [
            (b"", None),
            (b"{\"Width\":80,", None),
            (b"\"Height\":24}\n", size(80, 24)),
            (b"{\"Width\":1,\"Height\":2}{\"Width\":3,\"Height\":4} {\"Wid", size(3, 4)),
            (b"th\":5,\"Height\":6}", size(5, 6)),
            (&TerminalSize { width: 7, height: 8 }.encode(), size(7, 8)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(sizes.read(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_size_ends_the_reading() {
        let valid = b"{\"Width\":1,\"Height\":2}";
        for bytes in [
            b"hello".as_slice(),
            b"{\"Width\":-1,\"Height\":2}",
            b"{\"Width\":99999,\"Height\":2}",
            b"[]",
            &[b'['; 2000],
        ] {
            let mut sizes = Sizes::default();
            assert_eq!(sizes.read(bytes), None, "{bytes:?}");
            assert_eq!(sizes.read(valid), None, "after {bytes:?}");
            assert!(sizes.rest.is_empty());
        }
    }
}
