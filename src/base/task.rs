//! Supervised tasks: a panic or an early error is logged under the task's name and reported to
//! whoever asks, never swallowed.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{Instrument, error, info_span};

/// A task's name in logs.
pub type Name = Cow<'static, str>;

/// How a task came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It returned without an error.
    Finished,
    /// It returned an error, given here as text.
    Failed(String),
    /// It panicked with this message: a defect.
    Panicked(String),
    /// It was aborted from outside.
    Aborted,
}

/// What a supervised future may return: nothing, or a result whose error explains itself.
pub trait Outcome: Send + 'static {
    /// The error as text, if there is one.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display + Send + 'static> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// A running supervised task. Dropping it leaves the task running, still supervised.
#[derive(Debug)]
pub struct Task {
    name: Name,
    handle: JoinHandle<Ending>,
}

/// Runs `future` as a task of the current runtime. A panic or an error is logged under `name`.
///
/// Must be called within a tokio runtime.
pub fn spawn<F>(name: impl Into<Name>, future: F) -> Task
where
    F: Future + Send + 'static,
    F::Output: Outcome,
{
    let name = name.into();
    let handle = tokio::spawn(supervise(name.clone(), future));
    Task { name, handle }
}

impl Task {
    /// The name it was spawned under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks the runtime to drop the task where it next waits.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Waits for the end and says how it came.
    pub async fn join(self) -> Ending {
        self.handle.await.unwrap_or(Ending::Aborted)
    }

    /// Aborts the task and waits until it is gone.
    pub async fn abort_and_join(self) -> Ending {
        self.abort();
        self.join().await
    }
}

/// Called with a critical task's name and ending; expected to bring the process down in order.
type FatalHook = Arc<dyn Fn(&str, &Ending) + Send + Sync>;

/// Tasks that live and end together. Dropping the group aborts them all.
pub struct TaskGroup {
    name: Name,
    fatal: Option<FatalHook>,
    // Set before the group ends its tasks on purpose, so that their end is not taken for a fault.
    closing: Arc<AtomicBool>,
    tasks: Mutex<JoinSet<Ending>>,
}

impl TaskGroup {
    /// An empty group.
    pub fn new(name: impl Into<Name>) -> Self {
        Self { name: name.into(), fatal: None, closing: Arc::default(), tasks: Mutex::default() }
    }

    /// Sets what happens when a critical task ends while the group is meant to run: `hook` gets the
    /// task's name and its ending, once per such task.
    #[must_use]
    pub fn on_fatal(mut self, hook: impl Fn(&str, &Ending) + Send + Sync + 'static) -> Self {
        self.fatal = Some(Arc::new(hook));
        self
    }

    /// Runs a task that may end at any time; a panic or error of it is logged.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let name = self.full_name(name.into());
        self.add(supervise(name, future));
    }

    /// Runs a task whose end, even without an error, calls the fatal hook unless the group is
    /// closing.
    pub fn spawn_critical<F>(&self, name: impl Into<Name>, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let name = self.full_name(name.into());
        let (closing, fatal) = (self.closing.clone(), self.fatal.clone());
        self.add(async move {
            let ending = supervise(name.clone(), future).await;
            if !closing.load(Ordering::SeqCst) {
                error!(task = %name, ?ending, "a critical task ended");
                if let Some(hook) = fatal {
                    hook(&name, &ending);
                }
            }
            ending
        });
    }

    /// How many tasks are running.
    pub fn len(&self) -> usize {
        let mut tasks = self.locked();
        reap(&mut tasks);
        tasks.len()
    }

    /// Whether no task is running.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Declares that tasks now end on purpose: critical ones no longer call the fatal hook.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Waits until every task has ended by itself. Call [`close`](Self::close) first when they were
    /// told to end.
    pub async fn join(self) {
        let mut tasks = std::mem::take(&mut *self.locked());
        while tasks.join_next().await.is_some() {}
    }

    /// Drops every task where it next waits, and returns once all are gone.
    pub async fn abort_and_join(self) {
        self.close();
        let mut tasks = std::mem::take(&mut *self.locked());
        tasks.shutdown().await;
    }

    fn full_name(&self, name: Name) -> Name {
        Cow::Owned(format!("{}/{name}", self.name))
    }

    fn add(&self, future: impl Future<Output = Ending> + Send + 'static) {
        let mut tasks = self.locked();
        // Ended tasks would otherwise stay in the set for as long as the group lives.
        reap(&mut tasks);
        tasks.spawn(future);
    }

    fn locked(&self) -> MutexGuard<'_, JoinSet<Ending>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TaskGroup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TaskGroup").field("name", &self.name).finish_non_exhaustive()
    }
}

fn reap(tasks: &mut JoinSet<Ending>) {
    while tasks.try_join_next().is_some() {}
}

/// Drives `future` to its end, catching a panic, and logs an end that is not a clean one.
async fn supervise<F>(name: Name, future: F) -> Ending
where
    F: Future + Send,
    F::Output: Outcome,
{
    let span = info_span!("task", name = %name);
    let ending = catch(future).instrument(span).await;
    match &ending {
        Ending::Failed(reason) => error!(task = %name, %reason, "task failed"),
        Ending::Panicked(message) => error!(task = %name, %message, "task panicked"),
        Ending::Finished | Ending::Aborted => {}
    }
    ending
}

async fn catch<F>(future: F) -> Ending
where
    F: Future + Send,
    F::Output: Outcome,
{
    let mut future = Some(Box::pin(future));
    poll_fn(move |context| {
        let Some(running) = future.as_mut() else {
            return std::task::Poll::Ready(Ending::Aborted);
        };
        // The future is never polled again after a panic, so no broken state of it is observed.
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(poll) => poll.map(|outcome| outcome.failure().map_or(Ending::Finished, Ending::Failed)),
            Err(panic) => {
                future = None;
                std::task::Poll::Ready(Ending::Panicked(panic_message(panic.as_ref())))
            }
        }
    })
    .await
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is not text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn every_ending_is_reported() {
        assert_eq!(spawn("clean", async {}).join().await, Ending::Finished);
        let failing = spawn("failing", async { Err::<(), _>("no disk") });
        assert_eq!(failing.name(), "failing");
        assert_eq!(failing.join().await, Ending::Failed("no disk".to_owned()));
        let number = 7;
        let panicking = spawn("panicking", async move { assert!(number == 8, "number {number}") });
        assert_eq!(panicking.join().await, Ending::Panicked("number 7".to_owned()));
        let endless = spawn("endless", std::future::pending::<()>());
        assert_eq!(endless.abort_and_join().await, Ending::Aborted);
    }

    #[tokio::test]
    async fn a_critical_end_calls_the_hook_and_a_common_one_does_not() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let group = TaskGroup::new("group").on_fatal(move |name, ending| {
            sender.send((name.to_owned(), ending.clone())).unwrap();
        });
        group.spawn("common", async { Err::<(), _>("harmless") });
        group.spawn_critical("vital", async {});
        let told = tokio::time::timeout(Duration::from_secs(5), receiver.recv()).await.unwrap();
        assert_eq!(told, Some(("group/vital".to_owned(), Ending::Finished)));
        group.join().await;
        assert_eq!(receiver.recv().await, None, "only the critical task may call the hook");
    }

    #[tokio::test]
    async fn closing_is_not_a_fault_and_leaves_nothing_behind() {
        struct Gone(mpsc::UnboundedSender<()>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let group = TaskGroup::new("group").on_fatal(|name, _| panic!("{name} was taken for a fault"));
        for _ in 0..3 {
            let gone = Gone(sender.clone());
            group.spawn_critical("endless", async move {
                let _gone = gone;
                std::future::pending::<()>().await;
            });
        }
        assert_eq!(group.len(), 3);
        group.abort_and_join().await;
        for _ in 0..3 {
            receiver.try_recv().unwrap();
        }
    }
}
