//! Exec and attach over SPDY: a stream each for input, outputs, the terminal's size and how it ended.

use super::channels;
use super::session::Talk;
use super::upgrade::serve;
use crate::limits::{SESSION_IDLE_MAX, SESSION_LINGER, SESSION_STREAMS_MAX, SPDY_UNREAD_MAX, STREAMS_DEADLINE};
use futures::StreamExt;
use runtime::{OutputStream, Session, SessionControl, Source, Stdin, TerminalSize};
use spdy::remotecommand::{Sizes, Streams, Version, gather};
use spdy::{Limits, Stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Most bytes of input taken at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Holds the conversation until the program or the client ends.
pub(super) async fn converse<Io>(io: Io, session: Session, talk: Talk, version: Version)
where
    Io: AsyncRead + AsyncWrite,
{
    let limits = Limits { streams: SESSION_STREAMS_MAX, unread_in_all: SPDY_UNREAD_MAX, ..Limits::default() };
    serve(io, limits, async |mut incoming| {
        let mut streams = match gather(&mut incoming, talk.wishes, version, STREAMS_DEADLINE).await {
            Ok(streams) => streams,
            Err(error) => return tracing::debug!(%error, "a client did not open the streams of its session"),
        };
        // From here on no stream is welcome.
        drop(incoming);
        if let Some(code) = carry(session, &mut streams, talk, SESSION_IDLE_MAX).await {
            let finished = streams.finish(version, &channels::status(code), SESSION_LINGER).await;
            if let Err(error) = finished {
                tracing::debug!(%error, "a client did not take how its session ended");
            }
        }
    })
    .await;
}

/// Moves bytes both ways until the program ends; `None` when nothing moved for `idle`, or the client takes no more.
async fn carry(session: Session, streams: &mut Streams, talk: Talk, idle: Duration) -> Option<Result<i32, String>> {
    let Session { stdin, output, control } = session;
    let Streams { stdin: from, stdout, stderr, resize, .. } = streams;
    let moved = Notify::new();
    let lull = async { while tokio::time::timeout(idle, moved.notified()).await.is_ok() {} };
    tokio::select! {
        ended = read_output(output, stdout.as_mut(), stderr.as_mut(), &moved) => match ended {
            Ok(()) => Some(talk.ending(&control).await),
            Err(Broken::Program(reason)) => Some(Err(reason)),
            Err(Broken::Client(error)) => {
                tracing::debug!(%error, "a client takes no more output");
                None
            }
        },
        never = write_input(from.as_mut(), stdin, &moved) => match never {},
        never = resize_terminal(resize.as_mut(), &control) => match never {},
        () = lull => None,
    }
}

/// Why output goes no further.
enum Broken {
    Program(String),
    Client(std::io::Error),
}

async fn read_output(
    mut output: OutputStream,
    mut stdout: Option<&mut Stream>,
    mut stderr: Option<&mut Stream>,
    moved: &Notify,
) -> Result<(), Broken> {
    while let Some(piece) = output.next().await {
        let piece = piece.map_err(|error| Broken::Program(error.to_string()))?;
        moved.notify_one();
        let stream = match piece.source {
            Source::Stdout => &mut stdout,
            Source::Stderr => &mut stderr,
        };
        // Held up here, the program waits for a client that is slow, as it would for a slow terminal.
        if let Some(stream) = stream {
            stream.write_all(&piece.bytes).await.map_err(Broken::Client)?;
        }
    }
    Ok(())
}

/// The end of the client's stream is the end of the program's input, and not that of the session.
async fn write_input(from: Option<&mut Stream>, to: Option<Stdin>, moved: &Notify) -> Infallible {
    if let (Some(from), Some(mut to)) = (from, to) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece).await.unwrap_or(0);
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            moved.notify_one();
            if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
                // The program reads no more; what it yet says is still to be told.
                return std::future::pending().await;
            }
        }
        let _ = to.shutdown().await;
        // Kept: what is dropped may be taken for the end of the session by the engine.
        return hold(to).await;
    }
    std::future::pending().await
}

async fn hold(_kept: Stdin) -> Infallible {
    std::future::pending().await
}

async fn resize_terminal(from: Option<&mut Stream>, control: &SessionControl) -> Infallible {
    if let Some(from) = from {
        let (mut sizes, mut piece) = (Sizes::default(), [0; 256]);
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let newest = piece.get(..count).and_then(|bytes| sizes.read(bytes));
            if let Some(spdy::remotecommand::TerminalSize { width, height }) = newest {
                // A program that has just ended needs no size.
                let _ = control.resize(TerminalSize { width, height }).await;
            }
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::{Sim, SimOptions};
    use runtime::{ContainerSpec, ExecSpec, PodRef, Runtime, SandboxSpec, Scope};
    use spdy::remotecommand::Wishes;
    use tokio::io::duplex;
    use tokio::time::Instant;

    async fn sleeper() -> Session {
        let sim = Sim::open(Scope::new("c", "n").unwrap(), SimOptions::default()).unwrap();
        let pod = PodRef { namespace: "ns".into(), name: "p".into(), uid: "u".into() };
        let sandbox = sim.run_sandbox(SandboxSpec { pod: pod.clone(), ..Default::default() }).await.unwrap();
        let spec = ContainerSpec {
            pod,
            name: "a".into(),
            sandbox_id: sandbox.id,
            image: "web:1".into(),
            ..Default::default()
        };
        let id = sim.create_container(spec).await.unwrap();
        sim.start_container(&id).await.unwrap();
        let command = vec!["sleep".to_owned(), "infinity".to_owned()];
        sim.exec(&id, ExecSpec { command, ..Default::default() }).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_of_clients_that_do_nothing_end() {
        let wishes = Wishes { stdout: true, ..Wishes::default() };
        for (opens, least) in [(false, STREAMS_DEADLINE), (true, SESSION_IDLE_MAX)] {
            let (near, far) = duplex(1024);
            let (client, _incoming, driver) = spdy::connect(near, Limits::default());
            tokio::spawn(driver.run());
            let began = Instant::now();
            let talk = Talk { wishes, tells_code: true };
            let served = tokio::spawn(converse(far, sleeper().await, talk, Version::V4));
            let streams =
                if opens { Some(spdy::remotecommand::open(&client, wishes, Version::V4).await.unwrap()) } else { None };
            served.await.unwrap();
            let took = began.elapsed();
            assert!(took >= least && took < least + 3 * SESSION_LINGER, "{took:?} instead of {least:?}");
            if let Some(mut stdout) = streams.and_then(|streams| streams.stdout) {
                assert!(stdout.read_u8().await.is_err());
            }
        }
    }
}
