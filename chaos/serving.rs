//! Whether a Deployment serves, looked at without pause from a thread of its own: which pods the API calls ready, and what each
//! of them answers over HTTP at its own address. Never fewer than allowed is a promise about every moment, so each round reads
//! the API twice (through the gateway, then from one master directly) with the pods' answers between: a pod that both reads
//! call ready must have answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::{Address, Call, Client};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Cluster, Error};

/// How long one read of the API may take before it is tried again, as long as a leader is being replaced.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long the API may give no answer at all.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a pod may take for one answer; generous, because a loaded machine is no fault of the pod.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Pause between rounds and between attempts, so that looking does not become the load.
const PAUSE: Duration = Duration::from_millis(30);
/// How many faults are kept: the first tell the story.
const FAULTS_MAX: usize = 20;

/// What is watched, and what must hold in every round.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Path of the list of the pods, with a selector.
    pub pods: String,
    /// The port on which they serve.
    pub port: u16,
    /// What a pod must answer.
    pub page: fn(&Value) -> String,
    /// How many pods are ready at least; one that is being deleted does not count.
    pub at_least: usize,
    /// A node that is not counted, because it is about to die.
    pub except: Option<String>,
}

/// What one round saw.
#[derive(Debug, Clone)]
pub struct Round {
    /// When it began.
    pub began: Instant,
    /// What the pods answered that were ready at its end, by name.
    pub pages: BTreeMap<String, String>,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Number of rounds.
    pub rounds: usize,
    /// The fewest pods that were ready, in any read.
    pub fewest_ready: Option<usize>,
    /// The fewest pods that answered, in any round.
    pub fewest_answers: Option<usize>,
    /// Reads of the API that failed and were repeated.
    pub failed_reads: usize,
    /// What did not hold; the first of them.
    pub faults: Vec<String>,
}

/// The watching thread. Dropping it ends it.
#[derive(Debug)]
pub struct Serving {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    last: Option<Round>,
    report: Report,
}

impl Serving {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`Error::Client`] when the kubeconfig cannot be used, [`Error::System`] without a thread.
    pub fn watch(cluster: &Cluster, promise: Promise) -> Result<Self, Error> {
        let masters = cluster.masters_client()?;
        let shared = Arc::new(Shared::default());
        let eye = Eye {
            promise,
            gateway: cluster.gateway_client()?,
            addresses: masters.endpoints().addresses(),
            masters,
            next: 0,
            revision: 0,
            shared: shared.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::system("start the watching thread"))?;
        let thread = std::thread::spawn(move || runtime.block_on(eye.run()));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits for a round in which `seen` is true.
    ///
    /// # Errors
    /// [`Error::Late`] when there is none in time, with the last round and the faults.
    pub fn until(&self, what: &str, patience: Duration, seen: impl Fn(&Round) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if state.last.as_ref().is_some_and(&seen) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let detail = format!(": the last round was {:?}; {:?}", state.last, state.report);
                return Err(Error::Late { what: what.to_owned(), seconds: patience.as_secs(), detail });
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the watch after its current round.
    pub fn finish(mut self) -> Report {
        self.end();
        self.shared.lock().report.clone()
    }

    fn end(&mut self) {
        self.shared.lock().stop = true;
        if let Some(Err(_)) = self.thread.take().map(std::thread::JoinHandle::join) {
            self.shared.fault("the watching thread panicked".to_owned());
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, what: String) {
        let faults = &mut self.lock().report.faults;
        if faults.len() < FAULTS_MAX {
            faults.push(what);
        }
    }
}

/// One read of the list: the pods that are ready, by uid.
struct Seen {
    ready: BTreeMap<String, Pod>,
}

#[derive(Debug, Clone, PartialEq)]
struct Pod {
    name: String,
    address: IpAddr,
    page: String,
}

type Answers = BTreeMap<String, Result<String, String>>;

struct Eye {
    promise: Promise,
    gateway: Client,
    masters: Client,
    addresses: Vec<Address>,
    next: usize,
    revision: u64,
    shared: Arc<Shared>,
}

impl Eye {
    async fn run(mut self) {
        while !self.shared.lock().stop {
            self.round().await;
            self.shared.news.notify_all();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn round(&mut self) {
        let began = Instant::now();
        let Some(before) = self.read(false).await else { return };
        let mut answers = self.ask(before.ready.values()).await;
        let Some(after) = self.read(true).await else { return };
        for (uid, pod) in &before.ready {
            if let Some(Err(fault)) = answers.get(&pod.name)
                && after.ready.contains_key(uid)
            {
                self.shared.fault(format!("{} was ready before and after it was asked, but: {fault}", pod.name));
            }
        }
        // Whoever took the place of a pod that has gone meanwhile is asked now, so that the count is fair.
        let new = after.ready.iter().filter(|(uid, _)| !before.ready.contains_key(*uid));
        answers.extend(self.ask(new.map(|(_, pod)| pod)).await);
        let count = answers.values().filter(|answer| answer.is_ok()).count();
        if count < self.promise.at_least {
            self.shared.fault(format!("only {count} pods answered: {answers:?}"));
        }
        let pages = after.ready.values().filter_map(|pod| {
            answers.get(&pod.name).and_then(|answer| answer.clone().ok()).map(|page| (pod.name.clone(), page))
        });
        let round = Round { began, pages: pages.collect() };
        let mut state = self.shared.lock();
        state.report.rounds += 1;
        state.report.fewest_answers = Some(state.report.fewest_answers.map_or(count, |fewest| fewest.min(count)));
        state.last = Some(round);
    }

    /// Reads the list until the API answers: through the gateway, or from the masters in turn. `None` when it never does, or
    /// when nobody wants to know any more.
    async fn read(&mut self, directly: bool) -> Option<Seen> {
        let began = Instant::now();
        loop {
            let call = Call::get(&self.promise.pods).deadline(ATTEMPT);
            let answer = if directly {
                self.next = (self.next + 1) % self.addresses.len();
                let answer = self.masters.request_to(&self.addresses[self.next], call).await;
                answer.and_then(|answer| answer.json("the pods"))
            } else {
                self.gateway.json(call).await
            };
            // Error bodies are objects as well: only a list has items.
            match answer.ok().filter(|list| list["items"].is_array()) {
                Some(list) => return Some(self.judge(&list)),
                None => self.shared.lock().report.failed_reads += 1,
            }
            if began.elapsed() > SILENCE_MAX {
                self.shared.fault(format!("the API gave no answer for {} s", SILENCE_MAX.as_secs()));
                return None;
            }
            if self.shared.lock().stop {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Checks what one list alone can show.
    fn judge(&mut self, list: &Value) -> Seen {
        let revision = list["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        if revision < self.revision {
            self.shared.fault(format!("a read went back from revision {} to {revision}", self.revision));
        }
        self.revision = revision;
        let mut ready = BTreeMap::new();
        for pod in list["items"].as_array().map_or(&[][..], Vec::as_slice) {
            let name = pod["metadata"]["name"].as_str().unwrap_or("").to_owned();
            let uncounted = self.promise.except.as_deref().is_some_and(|node| pod["spec"]["nodeName"] == node);
            if uncounted || pod["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let containers = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
            for container in containers.iter().filter(|container| container["restartCount"] != 0) {
                self.shared.fault(format!("{} of {name} was restarted: {container}", container["name"]));
            }
            let address = pod["status"]["podIP"].as_str().and_then(|text| text.parse().ok());
            if let Some(address) = address.filter(|_| is_ready(pod)) {
                let uid = pod["metadata"]["uid"].as_str().unwrap_or("").to_owned();
                ready.insert(uid, Pod { name, address, page: (self.promise.page)(pod) });
            }
        }
        if ready.len() < self.promise.at_least {
            self.shared.fault(format!("only {} pods were ready at revision {revision}: {ready:?}", ready.len()));
        }
        let mut state = self.shared.lock();
        state.report.fewest_ready =
            Some(state.report.fewest_ready.map_or(ready.len(), |fewest| fewest.min(ready.len())));
        Seen { ready }
    }

    /// Asks all pods at once.
    async fn ask(&self, pods: impl Iterator<Item = &Pod>) -> Answers {
        let mut asking = JoinSet::new();
        for pod in pods.cloned() {
            let address = SocketAddr::new(pod.address, self.promise.port);
            asking.spawn(async move {
                let answer = match tokio::time::timeout(ANSWER_DEADLINE, get(address)).await {
                    Ok(Ok(page)) if page == pod.page => Ok(page),
                    Ok(Ok(page)) => Err(format!("{address} answered {page:?} instead of {:?}", pod.page)),
                    Ok(Err(error)) => Err(format!("{address}: {error}")),
                    Err(_) => Err(format!("{address} did not answer within {} s", ANSWER_DEADLINE.as_secs())),
                };
                (pod.name, answer)
            });
        }
        let mut answers = Answers::new();
        while let Some(answer) = asking.join_next().await {
            if let Ok((name, answer)) = answer {
                answers.insert(name, answer);
            }
        }
        answers
    }
}

/// Whether the API calls a pod ready.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The body of `/`, when the status is 200.
async fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("answered {:?}", answer.lines().next().unwrap_or("")))),
    }
}
