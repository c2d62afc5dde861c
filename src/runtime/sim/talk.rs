//! What simulated containers say: logs, exec and attach.

use super::Shared;
use super::ended::sleep;
use super::program::{self, Course, Step};
use super::record::{ContainerRecord, Record, later};
use super::web;
use crate::limits::{SIM_OUTPUT_CHUNKS, SIM_PIPE_BYTES};
use crate::session::{Control, bounded};
use crate::{
    Answer, AttachSpec, Connection, Error, ExecSpec, LogOptions, Output, OutputStream, Result, Sandbox, Session,
    SessionControl, Source, Stdin, TerminalSize,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::{mpsc, watch};

/// A line and when it was printed.
type Line = (Timestamp, Source, String);

impl Shared {
    pub(super) fn logs(self: Arc<Self>, id: &str, options: LogOptions) -> Result<OutputStream> {
        let lines = self.lines(id)?;
        let now = self.clock.now();
        let since = options.since.unwrap_or(Timestamp::MIN);
        let there: Vec<&Line> = lines.iter().filter(|(time, ..)| *time <= now && *time >= since).collect();
        let skip =
            options.tail.map_or(0, |tail| there.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
        let ready: VecDeque<Line> = there.into_iter().skip(skip).cloned().collect();
        let limit = options.limit_bytes;
        let printed = lines.iter().filter(|(time, ..)| *time <= now).count();
        let follow = Follow { shared: self, id: id.to_owned(), ready, printed, options };
        let stream = stream::unfold(follow, |mut follow| async move {
            let line = follow.next().await?;
            let output = follow.output(line);
            Some((Ok(output), follow))
        });
        Ok(bounded(stream.boxed(), limit))
    }

    /// All lines that a container prints in its life so far planned, in order.
    fn lines(&self, id: &str) -> Result<Vec<Line>> {
        let inner = self.reach()?;
        let Some(Record::Container(record)) = inner.records.get(id) else { return Err(Error::not_found(id)) };
        Ok(planned_lines(record))
    }

    pub(super) fn exec(self: Arc<Self>, id: &str, spec: ExecSpec) -> Result<Session> {
        if spec.command.is_empty() {
            return Err(Error::invalid("there is no command to execute"));
        }
        let course = {
            let record = self.running(id)?;
            match program::parse(&spec.command, record.surroundings()) {
                Ok(program) => {
                    let mut course = program.course();
                    // A server makes no sense here: say so, and succeed.
                    if let Some(Step::Serve(words)) = program.steps.last()
                        && course.end.is_none()
                    {
                        let line = format!("simulated: {words}: nothing ran");
                        let at = course.lines.last().map_or(Duration::ZERO, |(at, ..)| *at);
                        course.lines.push((at, Source::Stdout, line));
                        course.end = Some(program::CourseEnd { at, code: 0, oom_killed: false });
                    }
                    course
                }
                Err(reason) => Course {
                    lines: vec![(Duration::ZERO, Source::Stdout, reason)],
                    end: Some(program::CourseEnd { at: Duration::ZERO, code: 127, oom_killed: false }),
                    ..Course::default()
                },
            }
        };
        let (stdin, input) = pipe(spec.stdin);
        let (output, receiver) = mpsc::channel(SIM_OUTPUT_CHUNKS);
        let (code, ended) = watch::channel(None);
        let id = id.to_owned();
        let tty = spec.tty;
        base::task::spawn("simulated-exec", async move {
            let end = tokio::select! {
                code = play(course, input, output, tty) => code,
                // The container's end is the end of everything in it.
                _ = self.wait_end(&id) => 137,
            };
            code.send_replace(Some(end));
        });
        Ok(Session { stdin, output: outputs(receiver), control: SessionControl::new(ExecControl { ended, tty }) })
    }

    pub(super) fn attach(self: Arc<Self>, id: &str, spec: AttachSpec) -> Result<Session> {
        let record = self.running(id)?;
        let control = AttachControl { shared: self.clone(), id: id.to_owned(), tty: record.spec.tty };
        let (stdin, input) = pipe(spec.stdin && record.spec.stdin);
        let follow = LogOptions { follow: true, tail: Some(0), ..Default::default() };
        let logged = self.clone().logs(id, follow)?;
        let output = if record.course().copies {
            let (output, receiver) = mpsc::channel(SIM_OUTPUT_CHUNKS);
            let (shared, id, once) = (self, id.to_owned(), record.spec.stdin_once);
            base::task::spawn("simulated-attach", async move {
                tokio::select! {
                    () = copy(input, &output) => {
                        if once {
                            // Gone or ended meanwhile is as good.
                            let _ = shared.end(&id, 0, false);
                        }
                    }
                    _ = shared.wait_end(&id) => {}
                }
            });
            outputs(receiver)
        } else {
            logged
        };
        Ok(Session { stdin, output, control: SessionControl::new(control) })
    }

    pub(super) fn dial(self: Arc<Self>, sandbox: &Sandbox, port: u16) -> Result<Connection> {
        let now = self.clock.now();
        let listener = {
            let inner = self.reach()?;
            let listens = |record: &Record| match record {
                Record::Container(record) if record.spec.sandbox_id == sandbox.id && record.state(now).is_running() => {
                    let open = record.course().listens.filter(|open| open.number == port)?;
                    let since = later(record.started?, open.at)?;
                    (since <= now).then(|| (record.id.clone(), open.http))
                }
                _ => None,
            };
            inner.records.values().find_map(listens)
        };
        let Some((listener, http)) = listener else {
            let host = sandbox.address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
            let reason = "connect: connection refused (simulated)".to_owned();
            return Err(Error::PortClosed { address: format!("{host}:{port}"), reason });
        };
        let (ours, theirs) = tokio::io::duplex(SIM_PIPE_BYTES);
        base::task::spawn("simulated-port", async move {
            let answering = async {
                // Whoever hangs up midway has heard enough.
                let _ = if http { web::answer(theirs).await } else { web::echo(theirs).await };
            };
            tokio::select! {
                () = answering => {}
                _ = self.wait_end(&listener) => {}
            }
        });
        Ok(Box::pin(ours))
    }

    fn running(&self, id: &str) -> Result<ContainerRecord> {
        let inner = self.reach()?;
        let Some(Record::Container(record)) = inner.records.get(id) else { return Err(Error::not_found(id)) };
        if record.state(self.clock.now()).is_running() {
            return Ok((**record).clone());
        }
        Err(Error::NotRunning { id: id.to_owned() })
    }
}

fn planned_lines(record: &ContainerRecord) -> Vec<Line> {
    let Some(started) = record.started else { return Vec::new() };
    let intro = format!("simulated: container {} of image {}: no program runs", record.spec.name, record.spec.image);
    let end = record.ended.as_ref().and_then(|exit| exit.finished).unwrap_or(Timestamp::MAX);
    let lines = record.course().lines;
    let timed = lines.into_iter().filter_map(|(at, source, line)| Some((later(started, at)?, source, line)));
    std::iter::once((started, Source::Stdout, intro)).chain(timed).filter(|(time, ..)| *time <= end).collect()
}

/// Reads a log to its end, or follows it.
struct Follow {
    shared: Arc<Shared>,
    id: String,
    ready: VecDeque<Line>,
    /// How many of the planned lines are in `ready` or were handed out or left out.
    printed: usize,
    options: LogOptions,
}

impl Follow {
    async fn next(&mut self) -> Option<Line> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if !self.options.follow {
                return None;
            }
            let (ended, lines) = match self.shared.inner().records.get(&self.id) {
                Some(Record::Container(record)) => {
                    (record.state(self.shared.clock.now()).exit().is_some(), planned_lines(record))
                }
                _ => return None,
            };
            let now = self.shared.clock.now();
            let due = lines.iter().filter(|(time, ..)| *time <= now).count();
            if due > self.printed {
                self.ready.extend(lines[self.printed..due].iter().cloned());
                self.printed = due;
                continue;
            }
            if ended {
                return None;
            }
            let next = lines.get(self.printed).map(|(time, ..)| time.duration_since(now));
            let wait = next.map_or(Duration::MAX, |wait| Duration::try_from(wait).unwrap_or_default());
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    fn output(&self, (time, source, line): Line) -> Output {
        let text = if self.options.timestamps { format!("{time:.9} {line}\n") } else { format!("{line}\n") };
        Output { source, bytes: Bytes::from(text) }
    }
}

/// Plays a program in an exec session and returns its exit code.
async fn play(course: Course, input: Option<DuplexStream>, output: mpsc::Sender<Output>, tty: bool) -> i32 {
    let start = tokio::time::Instant::now();
    for (at, source, line) in course.lines {
        tokio::time::sleep_until(start + at).await;
        let (source, end) = if tty { (Source::Stdout, "\r\n") } else { (source, "\n") };
        // A caller that stopped reading does not stop the program.
        let _ = output.send(Output { source, bytes: Bytes::from(format!("{line}{end}")) }).await;
    }
    if course.copies {
        copy(input, &output).await;
        return 0;
    }
    match course.end {
        Some(end) => {
            sleep(end.at.saturating_sub(start.elapsed())).await;
            end.code
        }
        None => std::future::pending().await,
    }
}

/// Copies input to output until either ends; without an input, for ever.
async fn copy(input: Option<DuplexStream>, output: &mpsc::Sender<Output>) {
    let Some(mut input) = input else { return std::future::pending().await };
    let mut buffer = vec![0; 8192];
    loop {
        match input.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                if output.send(Output { source: Source::Stdout, bytes }).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn pipe(wanted: bool) -> (Option<Stdin>, Option<DuplexStream>) {
    if !wanted {
        return (None, None);
    }
    let (ours, theirs) = tokio::io::duplex(SIM_PIPE_BYTES);
    (Some(Box::pin(ours)), Some(theirs))
}

fn outputs(receiver: mpsc::Receiver<Output>) -> OutputStream {
    stream::unfold(receiver, |mut receiver| async move { Some((Ok(receiver.recv().await?), receiver)) }).boxed()
}

fn resized(tty: bool) -> Result<()> {
    if tty { Ok(()) } else { Err(Error::invalid("there is no terminal to resize")) }
}

struct ExecControl {
    ended: watch::Receiver<Option<i32>>,
    tty: bool,
}

impl Control for ExecControl {
    fn resize(&self, _size: TerminalSize) -> Answer<'_, ()> {
        Box::pin(async { resized(self.tty) })
    }

    fn exit_code(&self) -> BoxFuture<'_, Result<i32>> {
        Box::pin(async {
            let mut ended = self.ended.clone();
            let code = ended.wait_for(Option::is_some).await.map(|code| *code);
            code.ok().flatten().ok_or_else(|| Error::not_found("of the session"))
        })
    }
}

struct AttachControl {
    shared: Arc<Shared>,
    id: String,
    tty: bool,
}

impl Control for AttachControl {
    fn resize(&self, _size: TerminalSize) -> Answer<'_, ()> {
        Box::pin(async { resized(self.tty) })
    }

    fn exit_code(&self) -> BoxFuture<'_, Result<i32>> {
        Box::pin(async { self.shared.wait_end(&self.id).await.map(|exit| exit.code) })
    }
}
