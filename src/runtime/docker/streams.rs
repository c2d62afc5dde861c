//! Logs, exec, attach and events of a Docker engine.

use super::convert::label_filter;
use super::engine::Docker;
use super::faults;
use crate::labels::{CLUSTER, Identity, NODE};
use crate::limits::{
    EVENTS_PING_INTERVAL, EVENTS_REFUSAL, EVENTS_RETRY, EXIT_CODE_DEADLINE, QUESTION_DEADLINE, START_DEADLINE,
};
use crate::session::{Control, bounded};
use crate::{
    Answer, AttachSpec, Change, Error, Event, EventStream, ExecSpec, LogOptions, Output, OutputStream, Result, Session,
    SessionControl, Source, TerminalSize,
};
use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{EventMessage, ExecConfig};
use bollard::query_parameters::{
    AttachContainerOptions, EventsOptions, LogsOptions, ResizeContainerTTYOptions, WaitContainerOptions,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use std::time::Duration;
use tracing::debug;

impl Docker {
    pub(super) async fn read_logs(&self, id: &str, options: LogOptions) -> Result<OutputStream> {
        self.owned(id).await?;
        let client = self.connection().await?.client;
        // The engine counts `since` in whole seconds.
        let since = options.since.map_or(0, |time| i32::try_from(time.as_second()).unwrap_or(i32::MAX).max(0));
        let request = LogsOptions {
            follow: options.follow,
            stdout: true,
            stderr: true,
            since,
            timestamps: options.timestamps,
            tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..Default::default()
        };
        Ok(bounded(self.outputs(client.logs(id, Some(request))), options.limit_bytes))
    }

    pub(super) async fn execute(&self, id: &str, spec: ExecSpec) -> Result<Session> {
        self.owned(id).await?;
        if spec.command.is_empty() {
            return Err(Error::invalid("there is no command to execute"));
        }
        let config = ExecConfig {
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.tty),
            cmd: Some(spec.command),
            ..Default::default()
        };
        let create = |client: bollard::Docker| async move { client.create_exec(id, config).await };
        let exec = self.call("preparing a command", QUESTION_DEADLINE, create).await?.id;
        let start = StartExecOptions { detach: false, tty: spec.tty, output_capacity: None };
        let call = |client: bollard::Docker| {
            let exec = exec.clone();
            async move { client.start_exec(&exec, Some(start)).await }
        };
        match self.call("starting a command", START_DEADLINE, call).await? {
            StartExecResults::Attached { output, input } => Ok(Session {
                stdin: spec.stdin.then_some(input),
                output: self.outputs(output),
                control: SessionControl::new(ExecControl { docker: self.clone(), exec }),
            }),
            StartExecResults::Detached => Err(Error::Engine {
                what: "starting a command".to_owned(),
                status: 0,
                message: "the engine did not attach to it".to_owned(),
            }),
        }
    }

    pub(super) async fn join(&self, id: &str, spec: AttachSpec) -> Result<Session> {
        self.owned(id).await?;
        // Waiting must begin before attaching, or the end of a short program would be missed.
        let client = self.connection().await?.client;
        let running = self.call("inspecting a container", QUESTION_DEADLINE, |client| async move {
            client.inspect_container(id, None).await
        });
        if !running.await?.state.and_then(|state| state.running).unwrap_or(false) {
            return Err(Error::NotRunning { id: id.to_owned() });
        }
        let options = AttachContainerOptions {
            stream: true,
            stdin: spec.stdin,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let call = |client: bollard::Docker| async move { client.attach_container(id, Some(options)).await };
        let attached = self.call("attaching to a container", START_DEADLINE, call).await?;
        let control = AttachControl { docker: self.clone(), client, id: id.to_owned() };
        Ok(Session {
            stdin: spec.stdin.then_some(attached.input),
            output: self.outputs(attached.output),
            control: SessionControl::new(control),
        })
    }

    fn outputs(
        &self,
        stream: impl Stream<Item = std::result::Result<LogOutput, Bollard>> + Send + 'static,
    ) -> OutputStream {
        let docker = self.clone();
        let translated = stream.then(move |item| {
            let docker = docker.clone();
            async move {
                match item {
                    Ok(output) => Ok(output_of(output)),
                    Err(error) => Err(docker.fault("reading output", error).await),
                }
            }
        });
        bounded(translated.boxed(), None)
    }

    pub(super) fn watch(&self) -> EventStream {
        let watch = Watch {
            docker: self.clone(),
            backoff: base::Backoff::doubling(EVENTS_RETRY.0, EVENTS_RETRY.1),
            connected: None,
        };
        stream::unfold(watch, |mut watch| async move { Some((watch.next().await, watch)) }).boxed()
    }
}

fn output_of(output: LogOutput) -> Output {
    let source = if matches!(output, LogOutput::StdErr { .. }) { Source::Stderr } else { Source::Stdout };
    Output { source, bytes: output.into_bytes() }
}

struct ExecControl {
    docker: Docker,
    exec: String,
}

impl Control for ExecControl {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()> {
        let options = ResizeExecOptions { height: size.height, width: size.width };
        let call = move |client: bollard::Docker| async move { client.resize_exec(&self.exec, options).await };
        Box::pin(self.docker.call("resizing a terminal", QUESTION_DEADLINE, call))
    }

    /// The engine offers no wait for an exec. While its output is open the caller knows that it runs; afterwards the
    /// code is there within moments, so that asking again at growing intervals is cheap.
    fn exit_code(&self) -> BoxFuture<'_, Result<i32>> {
        Box::pin(async move {
            let mut backoff = base::Backoff::doubling(Duration::from_millis(5), Duration::from_secs(1));
            loop {
                let call = |client: bollard::Docker| async move { client.inspect_exec(&self.exec).await };
                let state = self.docker.call("asking for an exit code", EXIT_CODE_DEADLINE, call).await?;
                if let (Some(false), Some(code)) = (state.running, state.exit_code) {
                    return Ok(i32::try_from(code).unwrap_or(-1));
                }
                backoff.wait().await;
            }
        })
    }
}

struct AttachControl {
    docker: Docker,
    client: bollard::Docker,
    id: String,
}

impl Control for AttachControl {
    fn resize(&self, size: TerminalSize) -> Answer<'_, ()> {
        let options = ResizeContainerTTYOptions { h: i32::from(size.height), w: i32::from(size.width) };
        let call = move |client: bollard::Docker| async move { client.resize_container_tty(&self.id, options).await };
        Box::pin(self.docker.call("resizing a terminal", QUESTION_DEADLINE, call))
    }

    fn exit_code(&self) -> BoxFuture<'_, Result<i32>> {
        Box::pin(async {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            let mut waiting = self.client.wait_container(&self.id, Some(options)).boxed();
            match waiting.next().await {
                Some(Ok(ended)) => Ok(i32::try_from(ended.status_code).unwrap_or(-1)),
                Some(Err(Bollard::DockerContainerWaitError { code, .. })) => Ok(i32::try_from(code).unwrap_or(-1)),
                Some(Err(error)) => Err(self.docker.fault("waiting for a container", error).await),
                None => Err(Error::not_found(&self.id)),
            }
        })
    }
}

/// The event stream's state: connected, or about to connect.
struct Watch {
    docker: Docker,
    backoff: base::Backoff,
    connected: Option<BoxStream<'static, std::result::Result<EventMessage, Bollard>>>,
}

impl Watch {
    async fn next(&mut self) -> Event {
        loop {
            let Some(events) = &mut self.connected else {
                match self.connect().await {
                    Ok(()) => return Event::Resync,
                    Err(error) => {
                        debug!(%error, "no events from the engine, trying again");
                        self.backoff.wait().await;
                        continue;
                    }
                }
            };
            match tokio::time::timeout(EVENTS_PING_INTERVAL, events.next()).await {
                Ok(Some(Ok(message))) => {
                    self.backoff.reset();
                    if let Some(event) = event(message) {
                        return event;
                    }
                }
                Ok(ended) => {
                    debug!(error = ?ended.and_then(|end| end.err()), "the event stream ended");
                    self.connected = None;
                    self.backoff.wait().await;
                }
                // Silence: a frozen engine keeps the stream open, so ask it for a sign of life.
                Err(_) => {
                    if let Err(error) = self.docker.ping().await {
                        debug!(%error, "the engine behind the event stream does not answer");
                        self.connected = None;
                    }
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let scope = &self.docker.scope;
        let mut filters = label_filter(&[(CLUSTER, &scope.cluster), (NODE, &scope.node)]);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        filters.insert("type".to_owned(), words(&["container"]));
        filters.insert("event".to_owned(), words(&["start", "die", "oom", "destroy"]));
        let client = self.docker.connection().await?.client;
        // The engine replays what happened since then (it shares our clock: the socket is local), so nothing falls
        // between the caller's look at everything and the engine's taking up of this request.
        let since = (base::clock::millis() / 1000 - 1).to_string();
        let options = EventsOptions { filters: Some(filters), since: Some(since), until: None };
        let mut events = client.events(Some(options)).boxed();
        // The request is sent at the first poll; one that fails at once is not a connection.
        let first = tokio::time::timeout(EVENTS_REFUSAL, events.next()).await;
        match first {
            Err(_) => self.connected = Some(events),
            Ok(Some(Ok(message))) => {
                self.connected = Some(stream::once(async { Ok(message) }).chain(events).boxed());
            }
            Ok(Some(Err(error))) => return Err(self.docker.fault("listening for events", error).await),
            Ok(None) => return Err(faults::translate("", "listening for events", Bollard::RequestTimeoutError)),
        }
        Ok(())
    }
}

/// Reads an event; `None` for one of a container whose labels are incomplete.
fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes?;
    let identity = Identity::read(&attributes)?;
    let change = match message.action?.as_str() {
        "start" => Change::Started,
        "die" => Change::Exited { code: attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1) },
        "oom" => Change::OutOfMemory,
        "destroy" => Change::Removed,
        _ => return None,
    };
    Some(Event::Changed { id: actor.id?, pod: identity.pod, container: identity.container, change })
}
