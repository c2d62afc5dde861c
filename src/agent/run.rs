//! Starting an agent: opens what it needs, then runs its parts until it is told to stop.

use crate::context::Context;
use crate::disk::Disk;
use crate::node::{self, Facts};
use crate::notes::{Notes, post_all};
use crate::{Error, Options, dispatcher, server};
use base::{Shutdown, Stopping, TaskGroup};
use client::{Client, Floor, Gateway};
use runtime::Runtime;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Runs a node agent until `stopping`. Containers go on without it, and another start with the same data folder takes
/// them up again.
///
/// `client` speaks to the cluster under the node's own certificate; `tls` is that of the agent's server and must admit
/// masters only (`identity::tls::agent_server`).
///
/// # Errors
/// [`Error::Options`], [`Error::Disk`], [`Error::OtherCluster`], [`Error::Listen`] and [`Error::Runtime`] before anything
/// was done; [`Error::Task`] when a part of the agent ended by a defect.
pub async fn run(
    options: Options,
    runtime: Arc<dyn Runtime>,
    client: Arc<Client>,
    tls: Arc<rustls::ServerConfig>,
    stopping: Stopping,
) -> Result<(), Error> {
    options.check()?;
    let opening = options.clone();
    let (disk, revision) = tokio::task::spawn_blocking(move || Disk::open(&opening))
        .await
        .map_err(|error| Error::Task(format!("opening the data folder: {error}")))??;
    let listener = listen("the agent", options.listen).await?;
    let port = options.port.or(listener.local_addr().ok().map(|address| address.port())).unwrap_or_default();
    let gateway = match &options.gateway {
        Some(gateway) => Some((listen("the gateway", gateway.listen).await?, gateway.tls.clone())),
        None => None,
    };
    let info = runtime.info().await?;
    let room = Facts::room(&options, &info);
    let machine = (read_id("/etc/machine-id"), read_id("/proc/sys/kernel/random/boot_id"));
    let facts = Facts { options: options.clone(), info, room: room.clone(), port, machine };
    let (notes, noted) = Notes::new();
    let context = Arc::new(Context::new(options, runtime, client.clone(), disk, notes, room));
    let floor = Floor::new(revision);

    let ending = stopping.child();
    let failed: Arc<Mutex<Option<String>>> = Arc::default();
    let tasks = fatal_group(ending.clone(), failed.clone());
    let (uid, known_uid) = watch::channel(None);
    let looking = context.clone();
    tasks.spawn_critical("observer", async move {
        looking.observer.run(&*looking.runtime, looking.options.engine_patience).await;
    });
    tasks.spawn("events", post_all(client.clone(), context.options.node.clone(), noted));
    tasks.spawn("node", node::register(context.clone(), facts, floor.clone(), uid, ending.stopping()));
    tasks.spawn("heartbeat", node::beat(context.clone(), known_uid.clone(), ending.stopping()));
    tasks.spawn("lease", node::renew(context.clone(), known_uid, ending.stopping()));
    tasks.spawn("server", server::serve(context.clone(), listener, tls, ending.stopping()));
    if let Some((listener, tls)) = gateway {
        let gateway = Gateway::new(client.endpoints().clone(), tls);
        let stopping = ending.stopping();
        tasks.spawn("gateway", async move { gateway.serve(listener, stopping).await });
    }
    let outcome = dispatcher::dispatch(context, floor, ending.stopping()).await;
    ending.trigger();
    tasks.abort_and_join().await;
    outcome?;
    match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(task) => Err(Error::Task(task)),
        None => Ok(()),
    }
}

fn fatal_group(ending: Shutdown, failed: Arc<Mutex<Option<String>>>) -> TaskGroup {
    TaskGroup::new("agent").on_fatal(move |task, _| {
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.to_owned());
        ending.trigger();
    })
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { what, address, source })
}

/// A machine's id; not every machine has one.
fn read_id(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
