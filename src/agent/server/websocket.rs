//! Exec and attach over a WebSocket.

use super::channels::{self, Received};
use super::session::{Talk, write_stdin};
use crate::limits::{SESSION_IDLE_MAX, SESSION_PING, STDIN_PIECES_MAX};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use runtime::Session;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Moves bytes both ways until the program or the client ends.
pub(super) async fn converse(socket: WebSocket, session: Session, talk: Talk, v5: bool) {
    let (mut sink, mut incoming) = socket.split();
    let Session { stdin, mut output, control } = session;
    let (input, pieces) = mpsc::channel(STDIN_PIECES_MAX);
    // Dropped with this conversation.
    let writing = stdin.map(|stdin| tokio::spawn(write_stdin(stdin, pieces)));
    let mut input = writing.as_ref().map(|_| input);
    let mut ping = tokio::time::interval(SESSION_PING);
    ping.reset();
    let (mut active, mut heard) = (Instant::now(), Instant::now());
    let ended = loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(Ok(piece)) => {
                    active = Instant::now();
                    let wanted = match piece.source {
                        runtime::Source::Stdout => talk.wishes.stdout,
                        runtime::Source::Stderr => talk.wishes.stderr,
                    };
                    if wanted && send(&mut sink, channels::output(&piece)).await.is_err() {
                        break None;
                    }
                }
                Some(Err(error)) => break Some(Err(error.to_string())),
                None => break Some(talk.ending(&control).await),
            },
            message = incoming.next() => {
                heard = Instant::now();
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                };
                active = heard;
                match channels::read(&bytes, v5) {
                    Received::Stdin(bytes) => {
                        if let Some(input) = &input {
                            let _ = input.send(Bytes::copy_from_slice(bytes)).await;
                        }
                    }
                    Received::StdinClosed => input = None,
                    Received::Resize(size) => {
                        let _ = control.resize(size).await;
                    }
                    Received::Ignored => {}
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SESSION_PING * 3 || active.elapsed() > SESSION_IDLE_MAX {
                    break None;
                }
                if tokio::time::timeout(SESSION_PING, sink.send(Message::Ping(Bytes::new()))).await.is_err() {
                    break None;
                }
            }
        }
    };
    if let Some(code) = ended
        && send(&mut sink, channels::ending(code)).await.is_ok()
    {
        // A close without a code reads as an error in client-go.
        let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        let _ = tokio::time::timeout(SESSION_PING, sink.send(Message::Close(Some(normal)))).await;
    }
    if let Some(writing) = writing {
        writing.abort();
    }
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, message: Vec<u8>) -> Result<(), ()> {
    match tokio::time::timeout(SESSION_IDLE_MAX, sink.send(Message::Binary(message.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}
