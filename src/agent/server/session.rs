//! Exec and attach: a WebSocket in front, a session of the runtime behind.

use super::channels::{self, PROTOCOLS, Received};
use super::query::Query;
use super::{Served, Target, find, of_runtime, refuse};
use crate::limits::{FRAME_BYTES_MAX, SESSION_IDLE_MAX, SESSION_PING};
use crate::pod::view;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use objects::Status;
use runtime::{AttachSpec, ExecSpec, Session, SessionControl, Stdin};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// How long an ended program's exit code may take to be known.
const EXIT_CODE_DEADLINE: Duration = Duration::from_secs(30);

/// Pieces of standard input in flight to the program; beyond it the client waits.
const STDIN_PIECES_MAX: usize = 16;

/// What a session may carry.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wishes {
    /// Reads both the API's words and those of upstream's kubelet.
    fn of(query: &Query) -> Self {
        let tty = query.is(&["tty"]);
        Self {
            stdin: query.is(&["stdin", "input"]),
            stdout: query.is(&["stdout", "output"]),
            // A terminal has one output.
            stderr: query.is(&["stderr", "error"]) && !tty,
            tty,
        }
    }
}

pub(super) async fn exec(
    State(served): State<Served>,
    target: Target,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    let wishes = Wishes::of(&query);
    let command = query.all("command");
    if command.iter().all(String::is_empty) {
        return refuse(&Status::bad_request("you must specify at least one command for the container"));
    }
    let open = |served: Served, id: String| async move {
        let spec = ExecSpec { command, tty: wishes.tty, stdin: wishes.stdin };
        served.context.runtime.exec(&id, spec).await
    };
    answer(served, target, upgrade, wishes, open).await
}

pub(super) async fn attach(
    State(served): State<Served>,
    target: Target,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Response {
    let mut wishes = Wishes::of(&Query::parse(&query.unwrap_or_default()));
    // The container decides whether there is a terminal.
    let Path((namespace, name, container)) = &target;
    let pod = served.context.pod_by_name(namespace, name);
    let own = pod.as_ref().and_then(|pod| view::container(pod, container));
    wishes.tty = own.is_some_and(|it| it.tty == Some(true));
    wishes.stdin &= own.is_some_and(|it| it.stdin == Some(true));
    let open = |served: Served, id: String| async move {
        served.context.runtime.attach(&id, AttachSpec { stdin: wishes.stdin, tty: wishes.tty }).await
    };
    answer(served, target, upgrade, wishes, open).await
}

async fn answer<F>(
    served: Served,
    target: Target,
    upgrade: Upgrade,
    wishes: Wishes,
    open: impl FnOnce(Served, String) -> F,
) -> Response
where
    F: Future<Output = runtime::Result<Session>>,
{
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols(PROTOCOLS).max_message_size(FRAME_BYTES_MAX),
        Err(_) => return refuse(&Status::bad_request("unable to upgrade: a WebSocket request is expected")),
    };
    let v5 = match upgrade.selected_protocol().and_then(|it| it.to_str().ok()) {
        Some(protocol) => protocol == PROTOCOLS[0],
        None => {
            return refuse(&Status::bad_request(format!(
                "unable to upgrade: the subprotocol must be one of {PROTOCOLS:?}"
            )));
        }
    };
    if !(wishes.stdin || wishes.stdout || wishes.stderr) {
        return refuse(&Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let Ok(place) = served.sessions.clone().try_acquire_owned() else {
        return refuse(&Status::unavailable("too many sessions on this node"));
    };
    let id = match find(&served.context, &target) {
        Err(status) => return refuse(&status),
        Ok((_, instances)) => match instances.into_iter().find(|it| it.state.is_running()) {
            Some(instance) => instance.id,
            None => {
                let Path((_, name, container)) = &target;
                let message = format!("container {container} of pod {name} is not running");
                return refuse(&Status::bad_request(message));
            }
        },
    };
    let session = match open(served, id).await {
        Ok(session) => session,
        Err(error) => return refuse(&of_runtime(&error)),
    };
    upgrade.on_upgrade(move |socket| async move {
        let _place = place;
        converse(socket, session, wishes, v5).await;
    })
}

/// Moves bytes both ways until the program or the client ends.
async fn converse(socket: WebSocket, session: Session, wishes: Wishes, v5: bool) {
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
                        runtime::Source::Stdout => wishes.stdout,
                        runtime::Source::Stderr => wishes.stderr,
                    };
                    if wanted && send(&mut sink, channels::output(&piece)).await.is_err() {
                        break None;
                    }
                }
                Some(Err(error)) => break Some(Err(error.to_string())),
                None => break Some(exit_code(&control).await),
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

async fn exit_code(control: &SessionControl) -> Result<i32, String> {
    match tokio::time::timeout(EXIT_CODE_DEADLINE, control.exit_code()).await {
        Ok(code) => code.map_err(|error| error.to_string()),
        Err(_) => Err("the exit code is not known".to_owned()),
    }
}

/// Writes what arrives; the end of the channel is the end of input.
async fn write_stdin(mut stdin: Stdin, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = pieces.recv().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}
