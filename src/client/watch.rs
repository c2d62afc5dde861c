//! A stream of changes from one master: JSON objects, one on each line.

use crate::call::status_error;
use crate::client::encode;
use crate::connection::explain;
use crate::limits::{WATCH_IDLE_MAX, WATCH_IDLE_MAX_HTTP1, WATCH_LINE_BYTES_MAX};
use crate::{Address, Endpoints, Error};
use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// It is new to the watched set.
    Added,
    /// It changed.
    Modified,
    /// It left the watched set; the object is its last state.
    Deleted,
    /// Nothing; only the revision in the object counts.
    Bookmark,
    /// The watch ends; the object is a Status. [`Watch::next`] returns it as an error.
    Error,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WatchEvent {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The object concerned.
    pub object: Value,
}

impl WatchEvent {
    /// The revision of the event: the object's `resourceVersion` as a number, where it is one.
    pub fn revision(&self) -> Option<u64> {
        revision_of(&self.object)
    }
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    lines: Lines,
    idle_max: Duration,
    master: Address,
    endpoints: Endpoints,
    over: bool,
}

impl Watch {
    pub(crate) fn new(body: Incoming, pinged: bool, master: Address, endpoints: Endpoints) -> Self {
        let idle_max = if pinged { WATCH_IDLE_MAX } else { WATCH_IDLE_MAX_HTTP1 };
        Self { body, lines: Lines::new(WATCH_LINE_BYTES_MAX), idle_max, master, endpoints, over: false }
    }

    /// The master that it runs on.
    pub fn master(&self) -> &Address {
        &self.master
    }

    /// The next change; `None` when the server ended the watch in order (its time was over: start
    /// another from the last revision). After an error or `None` nothing more comes.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Api`] when the server ends it with a Status (410: list anew), [`Error::WatchBroken`]
    /// when the connection breaks or brings nothing for too long, [`Error::Answer`] for a line that is
    /// no event.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        if self.over {
            return None;
        }
        let outcome = self.advance().await;
        self.over = !matches!(outcome, Some(Ok(_)));
        if let Some(Err(Error::WatchBroken(reason))) = &outcome {
            self.endpoints.failed(&self.master, reason);
        }
        outcome
    }

    /// The changes as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent, Error>> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
    }

    async fn advance(&mut self) -> Option<Result<WatchEvent, Error>> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Some(self.decode(&line)),
                Ok(None) => {}
                Err(error) => return Some(Err(self.unusable(&error.to_string()))),
            }
            let frame = match tokio::time::timeout(self.idle_max, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Some(Err(Error::WatchBroken(explain(&error)))),
                Ok(None) if self.lines.is_empty() => return None,
                Ok(None) => return Some(Err(Error::WatchBroken("it ended in the middle of an event".to_owned()))),
                Err(_) => {
                    let reason = format!("it brought nothing for {:?}", self.idle_max);
                    return Some(Err(Error::WatchBroken(reason)));
                }
            };
            if let Ok(data) = frame.into_data() {
                self.lines.push(&data);
            }
        }
    }

    fn decode(&self, line: &[u8]) -> Result<WatchEvent, Error> {
        let event: WatchEvent = serde_json::from_slice(line).map_err(|error| self.unusable(&error.to_string()))?;
        match event.kind {
            EventKind::Error => Err(status_error(&event.object)),
            _ => Ok(event),
        }
    }

    fn unusable(&self, reason: &str) -> Error {
        Error::Answer { what: format!("a watch on {}", self.master), reason: reason.to_owned() }
    }
}

/// The `resourceVersion` of an object or list as a number, where it is one.
pub(crate) fn revision_of(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// The path and query of a watch.
pub(crate) fn watch_path(path: &str, from: Option<&str>) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    let from = from.map(|from| format!("&resourceVersion={}", encode(from))).unwrap_or_default();
    format!("{path}{separator}watch=true&allowWatchBookmarks=true{from}")
}

/// Splits arriving bytes into lines of bounded length.
#[derive(Debug)]
struct Lines {
    buffer: BytesMut,
    // Everything before this position is known to hold no line feed.
    searched: usize,
    bytes_max: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {0} bytes")]
struct LineTooLong(usize);

impl Lines {
    fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, bytes_max }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn is_empty(&self) -> bool {
        self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    /// The next whole line that is not blank, without its end.
    fn next(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(offset) = found else {
                self.searched = self.buffer.len();
                return if self.buffer.len() > self.bytes_max { Err(LineTooLong(self.bytes_max)) } else { Ok(None) };
            };
            let line = self.buffer.split_to(self.searched + offset).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if line.len() > self.bytes_max {
                return Err(LineTooLong(self.bytes_max));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_arrive() {
        let mut lines = Lines::new(10);
        for chunk in ["ab", "c\n\nde", "f\n", " \n", "tail"] {
            lines.push(chunk.as_bytes());
        }
        assert_eq!(lines.next().unwrap().unwrap(), "abc");
        assert_eq!(lines.next().unwrap().unwrap(), "def");
        assert_eq!(lines.next(), Ok(None));
        assert!(!lines.is_empty());
        lines.push(b"\n");
        assert_eq!(lines.next().unwrap().unwrap(), "tail");
        assert!(lines.is_empty());
    }

    #[test]
    fn lines_have_a_limit() {
        let mut lines = Lines::new(4);
        lines.push(b"abcd\nabcde");
        assert_eq!(lines.next().unwrap().unwrap(), "abcd");
        assert_eq!(lines.next(), Err(LineTooLong(4)));
    }

    #[test]
    fn paths_carry_the_revision() {
        assert_eq!(watch_path("/pods", None), "/pods?watch=true&allowWatchBookmarks=true");
        let path = watch_path("/pods?fieldSelector=a", Some("7"));
        assert_eq!(path, "/pods?fieldSelector=a&watch=true&allowWatchBookmarks=true&resourceVersion=7");
    }
}
