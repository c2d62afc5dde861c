//! The protocol of exec and attach over WebSocket: each message begins with the number of its channel; and how a session's
//! end is told. Pure.

use runtime::{Output, Source, TerminalSize};
use serde_json::{Value, json};

/// The protocols spoken, the preferred one first.
pub(super) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In version 5: the next byte names a channel that is closed.
const CLOSE: u8 = 255;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received<'a> {
    Stdin(&'a [u8]),
    StdinClosed,
    Resize(TerminalSize),
    /// Of no meaning to us.
    Ignored,
}

/// Reads a message; `v5` says whether channels may be closed.
pub(super) fn read(message: &[u8], v5: bool) -> Received<'_> {
    match message {
        [STDIN, bytes @ ..] => Received::Stdin(bytes),
        [CLOSE, STDIN, ..] if v5 => Received::StdinClosed,
        [RESIZE, bytes @ ..] => {
            let size: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let side = |name: &str| size[name].as_u64().and_then(|it| u16::try_from(it).ok());
            match (side("Width"), side("Height")) {
                (Some(width), Some(height)) => Received::Resize(TerminalSize { width, height }),
                _ => Received::Ignored,
            }
        }
        _ => Received::Ignored,
    }
}

/// A piece of output as a message.
pub(super) fn output(piece: &Output) -> Vec<u8> {
    let channel = match piece.source {
        Source::Stdout => STDOUT,
        Source::Stderr => STDERR,
    };
    let mut message = Vec::with_capacity(piece.bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(&piece.bytes);
    message
}

/// How a program ended, as a Status in upstream's words.
pub(super) fn status(code: Result<i32, String>) -> Value {
    match code {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(reason) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {reason}"),
        }),
    }
}

/// The last message: how the program ended.
pub(super) fn ending(code: Result<i32, String>) -> Vec<u8> {
    let mut message = vec![ERROR];
    message.extend_from_slice(status(code).to_string().as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn messages_are_read_by_channel() {
        let size = TerminalSize { width: 80, height: 24 };
        let cases: [(&[u8], bool, Received<'_>); 8] = [
            (b"\0hello", true, Received::Stdin(b"hello")),
            (b"\0", true, Received::Stdin(b"")),
            (&[255, 0], true, Received::StdinClosed),
            (&[255, 0], false, Received::Ignored),
            (b"\x04{\"Width\":80,\"Height\":24}", true, Received::Resize(size)),
            (b"\x04{\"Width\":-1}", true, Received::Ignored),
            (b"", true, Received::Ignored),
            (b"\x01x", true, Received::Ignored),
        ];
        for (message, v5, expected) in cases {
            assert_eq!(read(message, v5), expected, "{message:?}");
        }
    }

    #[test]
    fn output_and_ending_have_their_channels() {
        let piece = Output { source: Source::Stderr, bytes: Bytes::from_static(b"x") };
        assert_eq!(output(&piece), b"\x02x");
        let failed = ending(Ok(3));
        let status: Value = serde_json::from_slice(&failed[1..]).unwrap();
        assert_eq!((failed[0], &status["reason"]), (3, &json!("NonZeroExitCode")));
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        assert!(String::from_utf8(ending(Ok(0))).unwrap().contains("Success"));
        assert!(String::from_utf8(ending(Err("x".into()))).unwrap().contains("InternalError"));
    }
}
