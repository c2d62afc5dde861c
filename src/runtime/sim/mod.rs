//! A runtime that simulates containers: for tests, for benches, and for machines without an engine.
//!
//! Nothing runs. What a container "does" follows from its command by the small language of the module `program`
//! (`echo`, `sleep N`, `exit N`, ...; everything else is taken for a server that runs until it is stopped), so
//! its state at any time can be computed from its start time alone. Logs and exec answer accordingly, and every log starts
//! with a line that says that the container is simulated.
//!
//! - Every image is present, except those with `missing` in their name: they cannot be pulled either.
//! - Sandboxes get addresses from a range; nothing answers there. [`Runtime::dial`] reaches the ports of `listen N` and `web N`.
//! - With a folder, everything is kept on disk: an agent that starts anew finds its containers as far on as if they had
//!   run meanwhile. Without one, they end with the [`Sim`].
//! - Tests interfere by [`Sim::end`] (a container dies by itself) and [`Sim::set_reachable`] (the engine goes away).

mod disk;
mod ended;
mod pods;
mod program;
mod record;
mod talk;
mod web;

use crate::limits::SIM_EVENTS_MAX;
use crate::{
    Answer, AttachSpec, Connection, ContainerSpec, Error, Event, EventStream, ExecSpec, Image, Info, Listing,
    LogOptions, OutputStream, Progress, PullProgress, PullSpec, Result, Runtime, Sandbox, SandboxSpec, Scope, Session,
    image,
};
use disk::Disk;
use jiff::Timestamp;
use record::{Record, image_id};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// Addresses of one simulated node: enough for any number of pods that a node may have.
const RANGE_PREFIX: u32 = 22;

/// How a simulated runtime is set up.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Where containers are kept; `None` keeps them in memory only.
    pub folder: Option<PathBuf>,
    /// How long starting a container takes.
    pub start_delay: Duration,
    /// The first of 1024 addresses for sandboxes; `None` derives it from the names of cluster and node, so that the
    /// nodes of a cluster rarely collide.
    pub first_address: Option<Ipv4Addr>,
    /// Processor capacity in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory capacity in bytes.
    pub memory_bytes: u64,
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            folder: None,
            start_delay: Duration::ZERO,
            first_address: None,
            cpu_millis: 8000,
            memory_bytes: 16 << 30,
        }
    }
}

/// A simulated runtime. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    scope: Scope,
    options: SimOptions,
    clock: Clock,
    first_address: Ipv4Addr,
    state: Mutex<Inner>,
    // Bumped at every change, to wake those who wait for an end.
    changed: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug)]
struct Inner {
    records: BTreeMap<String, Record>,
    disk: Option<Disk>,
    reachable: bool,
    // Addresses are handed out in turn, so that one just freed is not soon taken for its former owner.
    next_address: u32,
}

/// Wall time that follows the monotonic clock of tokio, so that tests with paused time see both move together.
#[derive(Debug, Clone, Copy)]
struct Clock {
    wall: Timestamp,
    instant: Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        record::later(self.wall, self.instant.elapsed()).unwrap_or(self.wall)
    }
}

impl Sim {
    /// Opens the simulated engine of a node. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::State`] when the folder cannot be used.
    pub fn open(scope: Scope, options: SimOptions) -> Result<Self> {
        let (disk, records) = match &options.folder {
            Some(folder) => {
                let (disk, records) = Disk::open(folder, &scope)?;
                (Some(disk), records)
            }
            None => (None, Vec::new()),
        };
        let first_address = options.first_address.unwrap_or_else(|| derived_range(&scope));
        let records = records.into_iter().map(|record| (record.id().to_owned(), record)).collect();
        let shared = Arc::new(Shared {
            scope,
            options,
            clock: Clock { wall: base::clock::now(), instant: Instant::now() },
            first_address,
            state: Mutex::new(Inner { records, disk, reachable: true, next_address: 2 }),
            changed: watch::Sender::new(0),
            events: broadcast::Sender::new(SIM_EVENTS_MAX),
        });
        shared.resume();
        Ok(Sim { shared })
    }

    /// Makes the engine unreachable or reachable again. Containers run on meanwhile, as with a real engine.
    pub fn set_reachable(&self, reachable: bool) {
        self.shared.inner().reachable = reachable;
        if reachable {
            // Nobody listening is fine.
            let _ = self.shared.events.send(Event::Resync);
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the engine is reachable.
    fn reach(&self) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.inner();
        if inner.reachable {
            return Ok(inner);
        }
        Err(Error::EngineUnreachable {
            reason: "the simulated engine was made unreachable".to_owned(),
            remedy: "make it reachable again".to_owned(),
        })
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Inner {
    fn put(&mut self, record: Record) -> Result<()> {
        if let Some(disk) = &self.disk {
            disk.put(&record)?;
        }
        self.records.insert(record.id().to_owned(), record);
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<Option<Record>> {
        if let Some(disk) = &self.disk {
            disk.remove(id)?;
        }
        Ok(self.records.remove(id))
    }
}

impl Runtime for Sim {
    fn info(&self) -> Answer<'_, Info> {
        Box::pin(async {
            let _reachable = self.shared.reach()?;
            let first = self.shared.first_address;
            Ok(Info {
                engine: "sim".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                api_version: String::new(),
                cpu_millis: self.shared.options.cpu_millis,
                memory_bytes: self.shared.options.memory_bytes,
                kernel: "simulated".to_owned(),
                os_image: "simulated".to_owned(),
                architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
                cgroup_version: 0,
                address_range: Some(format!("{first}/{RANGE_PREFIX}")),
            })
        })
    }

    fn ensure_network(&self) -> Answer<'_, String> {
        Box::pin(async {
            let _reachable = self.shared.reach()?;
            Ok(format!("{}/{RANGE_PREFIX}", self.shared.first_address))
        })
    }

    fn ensure_sandbox_image(&self) -> Answer<'_, ()> {
        Box::pin(async { self.shared.reach().map(drop) })
    }

    fn list(&self) -> Answer<'_, Listing> {
        Box::pin(async { self.shared.list() })
    }

    fn run_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Sandbox> {
        Box::pin(async { self.shared.run_sandbox(spec) })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(self.shared.stop(id, grace))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async { self.shared.remove(id) })
    }

    fn create_container(&self, spec: ContainerSpec) -> Answer<'_, String> {
        Box::pin(async { self.shared.create(spec) })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.shared.start(id))
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(self.shared.stop(id, grace))
    }

    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.shared.signal(id, signal) })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async { self.shared.remove(id) })
    }

    fn pull_image(&self, spec: PullSpec, progress: Option<Progress>) -> Answer<'_, Image> {
        Box::pin(async move {
            let reference = spec.reference;
            match self.image_present(&reference).await? {
                Some(image) => {
                    if let Some(progress) = progress {
                        progress(PullProgress { status: "simulated".to_owned(), ..Default::default() });
                    }
                    Ok(image)
                }
                None => {
                    Err(Error::ImagePull { reference, reason: "simulated: its name says it is missing".to_owned() })
                }
            }
        })
    }

    fn image_present<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<Image>> {
        Box::pin(async move {
            let _reachable = self.shared.reach()?;
            image::split_reference(reference)?;
            let id = image_id(reference);
            let image = Image { digests: vec![format!("{reference}@{id}")], id, ..Default::default() };
            Ok((!pods::is_missing(reference)).then_some(image))
        })
    }

    fn logs<'a>(&'a self, id: &'a str, options: LogOptions) -> Answer<'a, OutputStream> {
        Box::pin(async move { self.shared.clone().logs(id, options) })
    }

    fn exec<'a>(&'a self, id: &'a str, spec: ExecSpec) -> Answer<'a, Session> {
        Box::pin(async move { self.shared.clone().exec(id, spec) })
    }

    fn attach<'a>(&'a self, id: &'a str, spec: AttachSpec) -> Answer<'a, Session> {
        Box::pin(async move { self.shared.clone().attach(id, spec) })
    }

    fn dial<'a>(&'a self, sandbox: &'a Sandbox, port: u16) -> Answer<'a, Connection> {
        Box::pin(async move { self.shared.clone().dial(sandbox, port) })
    }

    fn events(&self) -> EventStream {
        self.shared.watch()
    }
}

/// Removes the simulated containers of a cluster and returns how many there were. Agents that still have them open keep
/// them in memory until they end.
///
/// # Errors
/// [`Error::State`] when the folder cannot be read or emptied.
pub fn sweep(folder: &Path, cluster: &str) -> Result<usize> {
    crate::labels::check_name("cluster id", cluster)?;
    disk::remove_cluster(folder, cluster)
}

/// A range within 10.128.0.0/9 that depends on the names alone.
fn derived_range(scope: &Scope) -> Ipv4Addr {
    let hash = image::hex_sha256(format!("{}/{}", scope.cluster, scope.node).as_bytes());
    let hash = u32::from_str_radix(&hash[..8], 16).unwrap_or(0);
    let blocks = 1 << (RANGE_PREFIX - 9);
    let base = u32::from(Ipv4Addr::new(10, 128, 0, 0));
    Ipv4Addr::from(base + ((hash % blocks) << (32 - RANGE_PREFIX)))
}

#[cfg(test)]
mod tests;
