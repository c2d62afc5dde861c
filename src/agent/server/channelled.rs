//! Port-forward over a WebSocket that carries no SPDY, as the Python client asks for it: two channels for each port, one for the
//! bytes and one for an error, both begun by the number of the port.
//!
//! Upstream: `websocket.go` in kubelet's cri/streaming/portforward.

use super::forward::Ports;
use super::query::Query;
use crate::limits::{FORWARD_PIECES_MAX, FORWARD_PORTS_MAX, SESSION_LINGER, SESSION_PING};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use objects::Status;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// The subprotocol.
pub(super) const PROTOCOL: &str = "v4.channel.k8s.io";

/// Most bytes of one message to the client.
const PIECE_BYTES: usize = 32 * 1024;

/// The ports that a request names, each of which may hold several.
///
/// # Errors
/// 400 when there is none, one is no port, or there are more than anybody needs.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    // The API's word, and that of upstream's kubelet.
    let named = [query.all("ports"), query.all("port")].concat();
    let mut ports = Vec::new();
    for text in named.iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty()) {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        ports.push(port.ok_or_else(|| Status::bad_request(format!("query parameter \"port\": {text:?} is no port")))?);
    }
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"port\" is required")),
        1..=FORWARD_PORTS_MAX => Ok(ports),
        _ => Err(Status::bad_request(format!("query parameter \"port\": at most {FORWARD_PORTS_MAX} ports"))),
    }
}

/// Forwards until each port's connection has ended, the client ends, or no byte was moved for `idle`.
pub(super) async fn forward(socket: WebSocket, target: String, numbers: Vec<u16>, ports: Ports, idle: Duration) {
    let (mut sink, incoming) = socket.split();
    let (outgoing, mut messages) = mpsc::channel(FORWARD_PIECES_MAX);
    let mut inputs = Vec::new();
    let mut connections = Vec::new();
    for (channel, number) in (0..=u8::MAX).step_by(2).zip(numbers) {
        let (input, pieces) = mpsc::channel(FORWARD_PIECES_MAX);
        inputs.push(input);
        let line = Line { channel, number, outgoing: outgoing.clone() };
        connections.push(line.join(&target, &ports, pieces));
    }
    drop(outgoing);
    let sending = async {
        let mut ping = tokio::time::interval(SESSION_PING);
        ping.reset();
        loop {
            let message = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => Message::Binary(message),
                    None => return,
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if !matches!(tokio::time::timeout(idle, sink.send(message)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let lull = async { while tokio::time::timeout(idle, ports.moved()).await.is_ok() {} };
    tokio::select! {
        // The lines hold the ends of the messages: once all have ended and their last is sent, this is over.
        ((), _) = async { tokio::join!(sending, futures::future::join_all(connections)) } => {}
        () = receive(incoming, inputs) => {}
        () = lull => {}
    }
    let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    let _ = tokio::time::timeout(SESSION_LINGER, sink.send(Message::Close(Some(normal)))).await;
}

/// Hands the client's bytes to their connections until the client ends, or says nothing in spite of pings.
async fn receive(mut incoming: SplitStream<WebSocket>, inputs: Vec<Sender<Bytes>>) {
    loop {
        let Ok(message) = tokio::time::timeout(SESSION_PING * 3, incoming.next()).await else { return };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        };
        // Nothing can be said on a channel for errors, nor on one that nobody asked for.
        let Some((channel, _)) = bytes.split_first().filter(|(channel, _)| *channel % 2 == 0) else { continue };
        if let Some(input) = inputs.get(usize::from(channel / 2)) {
            // A connection that has ended takes nothing, and one that is slow holds up the others, as it does upstream.
            let _ = input.send(bytes.slice(1..)).await;
        }
    }
}

/// One port's two channels.
struct Line {
    channel: u8,
    number: u16,
    outgoing: Sender<Bytes>,
}

impl Line {
    async fn join(self, target: &str, ports: &Ports, pieces: Receiver<Bytes>) {
        for channel in [self.channel, self.channel + 1] {
            self.say(channel, &self.number.to_le_bytes()).await;
        }
        if let Err(reason) = self.carry(ports, pieces).await {
            let text = format!("error forwarding port {} to {target}: {reason}", self.number);
            self.say(self.channel + 1, text.as_bytes()).await;
        }
    }

    /// Moves bytes both ways until the pod ends its direction: a client has no way to end its own alone.
    async fn carry(&self, ports: &Ports, mut pieces: Receiver<Bytes>) -> Result<(), String> {
        let (mut reader, mut writer) = tokio::io::split(ports.dial(self.number).await?);
        let up = async {
            while let Some(bytes) = pieces.recv().await {
                writer.write_all(&bytes).await?;
            }
            std::future::pending::<std::io::Result<()>>().await
        };
        let down = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let count = reader.read(&mut piece).await?;
                match piece.get(..count) {
                    Some(bytes) if !bytes.is_empty() => self.say(self.channel, bytes).await,
                    _ => return Ok(()),
                }
            }
        };
        let ended: std::io::Result<()> = tokio::select! {
            ended = up => ended,
            ended = down => ended,
        };
        ended.map_err(|error| error.to_string())
    }

    async fn say(&self, channel: u8, bytes: &[u8]) {
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        // Nobody listens once the client is gone, and then all of this is about to be dropped.
        let _ = self.outgoing.send(message.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_bounded() {
        let read = |text: &str| ports(&Query::parse(text)).map_err(|status| (status.code, status.message));
        assert_eq!(read("port=80&port=443,8080"), Ok(vec![80, 443, 8080]));
        let many = vec!["7"; FORWARD_PORTS_MAX + 1].join(",");
        let rows = [
            ("", "is required"),
            ("port=", "is required"),
            ("port=0", "\"0\" is no port"),
            ("port=80,-1", "\"-1\" is no port"),
            ("port=70000", "\"70000\" is no port"),
            (&format!("port={many}"), "at most"),
        ];
        for (query, words) in rows {
            let (code, message) = read(query).expect_err(query);
            assert!(code == 400 && message.contains(words), "{query}: {message}");
        }
    }
}
