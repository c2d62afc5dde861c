//! The loop that all controllers share: watches wake keys, a few keys are worked on at a time, failures wait.

use std::any::Any;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Ending, Shutdown, task};
use futures::future::{BoxFuture, select_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use objects::{Key, Resource};
use state::{Event, Revision, State};
use store::{Duty, Watch};
use tokio::time::Instant;

use crate::Error;
use crate::queue::Queue;

/// Keys of one controller worked on at once: their writes then share log entries.
const CONCURRENCY: usize = 4;
/// A controller that fell over comes back after at least and at most this.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What a key needs after it was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something changes.
    Rest,
    /// A look at once: one step of several is done.
    Again,
    /// A look after this time, because a rule is about time.
    After(Duration),
}

/// Something that brings objects, each named by a key, to their desired state.
pub(crate) trait Controller: Send + Sync + 'static {
    /// Its name in logs.
    fn name(&self) -> &'static str;

    /// What it watches.
    fn resources(&self) -> Vec<Resource>;

    /// What it watches besides, as the state has it, and from which change on; looked at again after every change.
    fn also(&self, _: &State) -> Vec<(Resource, Revision)> {
        Vec::new()
    }

    /// Every key it has to look at when it starts, or when its watches have lost their place.
    fn all(&self, state: &State) -> Vec<Key>;

    /// The keys that a change may concern; too many do no harm.
    fn concerns(&self, event: &Event, state: &State) -> Vec<Key>;

    /// Takes one key a step nearer to what is desired. An object that is gone is no error.
    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>>;
}

/// Keeps a controller running until its tenure is over; a controller that falls over is restarted with back-off.
pub(crate) async fn supervise(controller: Arc<dyn Controller>, duty: Duty, tenure: Shutdown) {
    let mut backoff = Backoff::doubling(RESTART.0, RESTART.1);
    loop {
        let (stopping, name) = (tenure.stopping(), controller.name());
        let (working, duty) = (Arc::clone(&controller), duty.clone());
        let task = task::spawn(name, async move {
            stopping.unless(work(working, duty)).await;
        });
        match task.join().await {
            // The work ends by itself only when the tenure is over.
            Ending::Finished | Ending::Aborted => break,
            Ending::Failed(_) | Ending::Panicked(_) => backoff.wait().await,
        }
    }
    tenure.trigger();
}

async fn work(controller: Arc<dyn Controller>, duty: Duty) {
    let mut lost = Backoff::doubling(RESTART.0, RESTART.1);
    while lap(&*controller, &duty).await == Lap::Lost {
        lost.wait().await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Lap {
    /// A watch lost its place in history: look at everything anew.
    Lost,
    /// The tenure is over.
    Over,
}

/// From a full look until a watch is lost.
async fn lap(controller: &dyn Controller, duty: &Duty) -> Lap {
    let state = duty.current();
    let mut watched: HashSet<Resource> = controller.resources().into_iter().collect();
    watched.extend(controller.also(&state).into_iter().map(|(resource, _)| resource));
    let mut watches: Vec<Watch> = watched.iter().map(|one| duty.watch(one.clone(), state.revision())).collect();
    let mut queue = Queue::default();
    controller.all(&state).into_iter().for_each(|key| queue.add(key));
    drop(state);
    let mut running = FuturesUnordered::new();
    loop {
        queue.advance(Instant::now());
        while running.len() < CONCURRENCY
            && let Some(key) = queue.take()
        {
            running.push(one(controller, key));
        }
        let due = queue.next_due();
        let timer = async move {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((key, outcome)) = running.next(), if !running.is_empty() => {
                if settle(controller.name(), &mut queue, key, outcome) == Settled::Over {
                    return Lap::Over;
                }
            }
            events = changed(&mut watches) => match events {
                Ok(events) => {
                    let state = duty.current();
                    for (resource, since) in controller.also(&state) {
                        if watched.insert(resource.clone()) {
                            watches.push(duty.watch(resource, since));
                        }
                    }
                    for event in events {
                        controller.concerns(&event, &state).into_iter().for_each(|key| queue.add(key));
                    }
                }
                Err(error) => {
                    tracing::info!(controller = controller.name(), %error, "reading everything anew");
                    return Lap::Lost;
                }
            },
            () = timer => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    Noted,
    Over,
}

enum Outcome {
    Next(Next),
    Failed(Error),
    Panicked(String),
}

async fn one(controller: &dyn Controller, key: Key) -> (Key, Outcome) {
    let outcome = match AssertUnwindSafe(controller.sync(&key)).catch_unwind().await {
        Ok(Ok(next)) => Outcome::Next(next),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(panic) => Outcome::Panicked(words(&*panic)),
    };
    (key, outcome)
}

fn settle(name: &str, queue: &mut Queue, key: Key, outcome: Outcome) -> Settled {
    let now = Instant::now();
    match outcome {
        Outcome::Next(Next::Rest) => queue.done(key),
        Outcome::Next(Next::Again) => {
            queue.done(key.clone());
            queue.add(key);
        }
        Outcome::Next(Next::After(delay)) => {
            queue.done(key.clone());
            queue.add_at(key, now + delay);
        }
        Outcome::Failed(error) if error.is_fenced() => {
            tracing::info!(controller = name, %error, "the tenure is over");
            return Settled::Over;
        }
        Outcome::Failed(error) => {
            if error.is_conflict() {
                tracing::debug!(controller = name, %key, %error, "somebody was faster");
            } else {
                tracing::warn!(controller = name, %key, %error, "tried again later");
            }
            queue.failed(key, now);
        }
        // One object that makes a controller fall over must not keep it from all others.
        Outcome::Panicked(message) => {
            tracing::error!(controller = name, %key, message, "a controller fell over an object");
            queue.failed(key, now);
        }
    }
    Settled::Noted
}

async fn changed(watches: &mut [Watch]) -> Result<Vec<Arc<Event>>, store::Error> {
    if watches.is_empty() {
        return std::future::pending().await;
    }
    select_all(watches.iter_mut().map(|watch| watch.next().boxed())).await.0
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&'static str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is not text".into())
}
