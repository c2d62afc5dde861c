//! Exec and attach: a WebSocket or SPDY streams in front, a session of the runtime behind.

use super::channels;
use super::query::Query;
use super::upgrade::{Agreed, Spoken, to_spdy};
use super::{Served, Target, find, of_runtime, refuse, streams, websocket};
use crate::context::Context;
use crate::limits::EXIT_CODE_DEADLINE;
use crate::pod::view;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use bytes::Bytes;
use objects::Status;
use runtime::{AttachSpec, ExecSpec, Session, SessionControl, Stdin};
use spdy::remotecommand::{self, Version, Wishes};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

const SPOKEN: Spoken = Spoken { websocket: &channels::PROTOCOLS, spdy: &remotecommand::PROTOCOLS };

/// What a conversation carries, and how it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    pub wishes: Wishes,
    /// Whether it ends with the program's exit code. Whoever is attached hears that the output has ended, as upstream has it: the
    /// code stands in the pod's status, and `kubectl run` takes anything but success for a failure to attach.
    pub tells_code: bool,
}

impl Talk {
    /// How a program whose output has ended is told to have ended.
    pub async fn ending(self, control: &SessionControl) -> Result<i32, String> {
        if !self.tells_code {
            return Ok(0);
        }
        match tokio::time::timeout(EXIT_CODE_DEADLINE, control.exit_code()).await {
            Ok(code) => code.map_err(|error| error.to_string()),
            Err(_) => Err("the exit code is not known".to_owned()),
        }
    }
}

/// Reads both the API's words and those of upstream's kubelet.
fn wishes(query: &Query) -> Wishes {
    let tty = query.is(&["tty"]);
    Wishes {
        stdin: query.is(&["stdin", "input"]),
        stdout: query.is(&["stdout", "output"]),
        // A terminal has one output.
        stderr: query.is(&["stderr", "error"]) && !tty,
        tty,
    }
}

pub(super) async fn exec(
    State(served): State<Served>,
    target: Target,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    let wishes = wishes(&query);
    let command = query.all("command");
    if command.iter().all(String::is_empty) {
        return refuse(&Status::bad_request("you must specify at least one command for the container"));
    }
    let open = |served: Served, id: String| async move {
        let spec = ExecSpec { command, tty: wishes.tty, stdin: wishes.stdin };
        served.context.runtime.exec(&id, spec).await
    };
    let talk = Talk { wishes, tells_code: true };
    answer(served, target, request, talk, open).await.unwrap_or_else(|status| refuse(&status))
}

pub(super) async fn attach(
    State(served): State<Served>,
    target: Target,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let wishes = wishes(&Query::parse(&query.unwrap_or_default()));
    // The container decides whether there is a terminal, and whether it reads.
    let Path((namespace, name, container)) = &target;
    let pod = served.context.pod_by_name(namespace, name);
    let own = pod.as_ref().and_then(|pod| view::container(pod, container));
    let terminal = own.is_some_and(|it| it.tty == Some(true));
    let reads = own.is_some_and(|it| it.stdin == Some(true));
    let open = |served: Served, id: String| async move {
        served.context.runtime.attach(&id, AttachSpec { stdin: wishes.stdin && reads, tty: terminal }).await
    };
    let talk = Talk { wishes, tells_code: false };
    answer(served, target, request, talk, open).await.unwrap_or_else(|status| refuse(&status))
}

/// Begins a session. Everything that can be refused is, before the connection becomes another, and in the same words whatever
/// it was to become.
async fn answer<F>(
    served: Served,
    target: Target,
    request: Request,
    talk: Talk,
    open: impl FnOnce(Served, String) -> F,
) -> Result<Response, Status>
where
    F: Future<Output = runtime::Result<Session>>,
{
    let wishes = talk.wishes;
    if !(wishes.stdin || wishes.stdout || wishes.stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let id = running(&served.context, &target)?;
    let agreed = Agreed::on(request, &SPOKEN).await?;
    let place = served.place()?;
    let stopping = served.stopping.clone();
    let session = open(served, id).await.map_err(|error| of_runtime(&error))?;
    Ok(match agreed {
        Agreed::WebSocket(upgrade, protocol) => upgrade.on_upgrade(move |socket| async move {
            let _place = place;
            let v5 = protocol == channels::PROTOCOLS[0];
            stopping.unless(websocket::converse(socket, session, talk, v5)).await;
        }),
        Agreed::Spdy(upgrading, protocol) => to_spdy(upgrading, protocol, move |io| async move {
            let _place = place;
            let version = Version::of(protocol).unwrap_or(Version::V1);
            stopping.unless(streams::converse(io, session, talk, version)).await;
        }),
    })
}

/// The instance of the container that runs.
fn running(context: &Context, target: &Target) -> Result<String, Status> {
    let (_, instances) = find(context, target)?;
    let running = instances.into_iter().find(|it| it.state.is_running());
    running.map(|instance| instance.id).ok_or_else(|| {
        let Path((_, _, container)) = target;
        let message = format!("unable to upgrade connection: container not found ({container:?}): it is not running");
        Status::new(500, "InternalError", message)
    })
}

/// Writes what arrives; the end of the channel is the end of input.
pub(super) async fn write_stdin(mut stdin: Stdin, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = pieces.recv().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}
