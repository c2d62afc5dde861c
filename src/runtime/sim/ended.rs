//! How simulated containers end: by themselves when their time has come, or by someone else; and who is told.

use super::program::CourseEnd;
use super::record::{Record, later};
use super::{Shared, Sim};
use crate::{Change, Error, Event, EventStream, Exit, Result, State};
use futures::stream::{self, StreamExt};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

impl Sim {
    /// Ends a running container from outside, as if its program had ended or the kernel had killed it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotRunning`].
    pub fn end(&self, id: &str, code: i32, oom_killed: bool) -> Result<()> {
        self.shared.end(id, code, oom_killed)
    }
}

impl Shared {
    /// Takes up the timers of containers that a former process started.
    pub(super) fn resume(self: &Arc<Self>) {
        let now = self.clock.now();
        // What ended while nobody was there is found in the list, not announced.
        let running = |record: &Record| match record {
            Record::Container(record) if record.state(now).is_running() => Some(record.id.clone()),
            _ => None,
        };
        let ids: Vec<String> = self.inner().records.values().filter_map(running).collect();
        for id in ids {
            self.schedule_end(&id);
        }
    }

    /// Announces a container's own end when it comes. Its state needs no timer: it follows from the time.
    pub(super) fn schedule_end(self: &Arc<Self>, id: &str) {
        let Some((wait, _)) = self.own_end(id) else { return };
        let shared: Weak<Shared> = Arc::downgrade(self);
        let id = id.to_owned();
        base::task::spawn("simulated-end", async move {
            tokio::time::sleep(wait).await;
            if let Some(shared) = shared.upgrade() {
                shared.announce_own_end(&id);
            }
        });
    }

    /// Tells that a container's time has come, once, unless it was ended otherwise: that was announced then.
    pub(super) fn announce_own_end(&self, id: &str) {
        let Some((_, end)) = self.own_end(id) else { return };
        if let Some(Record::Container(record)) = self.inner().records.get_mut(id) {
            if record.announced {
                return;
            }
            record.announced = true;
        }
        if end.oom_killed {
            self.announce(id, Change::OutOfMemory);
        }
        self.announce(id, Change::Exited { code: end.code });
    }

    /// How long until a started container ends by itself (nothing if it already has), and how; `None` if it does not.
    fn own_end(&self, id: &str) -> Option<(Duration, CourseEnd)> {
        let inner = self.inner();
        let Some(Record::Container(record)) = inner.records.get(id) else { return None };
        if record.ended.is_some() {
            return None;
        }
        let now = self.clock.now();
        let end = record.course().end?;
        let finished = later(record.started?, end.at)?;
        let wait = Duration::try_from(finished.duration_since(now)).unwrap_or_default();
        Some((wait, end))
    }

    /// Ends a running sandbox or container now.
    pub(super) fn end(&self, id: &str, code: i32, oom_killed: bool) -> Result<()> {
        {
            let mut inner = self.inner();
            let now = self.clock.now();
            let mut record = inner.records.get(id).cloned().ok_or_else(|| Error::not_found(id))?;
            let (state, ended) = match &mut record {
                Record::Sandbox(record) => (record.state(), &mut record.ended),
                Record::Container(record) => (record.state(now), &mut record.ended),
            };
            let State::Running { started } = state else { return Err(Error::NotRunning { id: id.to_owned() }) };
            *ended = Some(Exit {
                code,
                signal: Exit::signal_of(code),
                oom_killed,
                started,
                finished: Some(now),
                message: String::new(),
            });
            inner.put(record)?;
        }
        if oom_killed {
            self.announce(id, Change::OutOfMemory);
        }
        self.announce(id, Change::Exited { code });
        Ok(())
    }

    /// Tells listeners and wakes those who wait.
    pub(super) fn announce(&self, id: &str, change: Change) {
        let told = match self.inner().records.get(id) {
            Some(Record::Sandbox(record)) => Some((record.spec.pod.clone(), None)),
            Some(Record::Container(record)) => Some((record.spec.pod.clone(), Some(record.spec.name.clone()))),
            None => None,
        };
        if let Some((pod, container)) = told {
            // Nobody listening is fine.
            let _ = self.events.send(Event::Changed { id: id.to_owned(), pod, container, change });
        }
        self.wake();
    }

    /// Waits until a container has ended.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is removed first.
    pub(super) async fn wait_end(&self, id: &str) -> Result<Exit> {
        let mut changed = self.changed.subscribe();
        loop {
            let state = match self.inner().records.get(id) {
                Some(Record::Sandbox(record)) => record.state(),
                Some(Record::Container(record)) => record.state(self.clock.now()),
                None => return Err(Error::not_found(id)),
            };
            if let State::Exited(exit) = state {
                return Ok(exit);
            }
            let own_end = self.own_end(id).map_or(Duration::MAX, |(wait, _)| wait);
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(own_end) => {}
            }
        }
    }

    pub(super) fn watch(self: &Arc<Self>) -> EventStream {
        let receiver = self.events.subscribe();
        let first = stream::once(async { Event::Resync });
        let rest = stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                // Too slow a listener has missed some.
                Err(RecvError::Lagged(_)) => Some((Event::Resync, receiver)),
                // The engine is gone: a real event stream would try again for ever.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        });
        first.chain(rest).boxed()
    }
}

/// Sleeps; for ever if it is too long for the timer.
pub(super) async fn sleep(duration: Duration) {
    if duration == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(duration).await;
}
