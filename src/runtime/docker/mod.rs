//! The runtime on a Docker engine: the only user of `bollard`.
//!
//! This file holds the connection and maps each verb of [`Runtime`] to its place: `engine` speaks to the engine with
//! deadlines, `convert` turns our values into the engine's and back (pure), `faults` its errors (pure), `pods`
//! has sandboxes and containers, `network`, `images` and `streams` the rest.
//!
//! Any engine from API 1.40 (Docker 19.03) on will do; the version is negotiated. Podman's Docker socket is not tested.

mod convert;
mod engine;
mod faults;
mod images;
mod network;
mod pods;
mod streams;

pub use engine::{DEFAULT_SOCKET, Docker};

use crate::{
    Answer, AttachSpec, Connection, ContainerSpec, EventStream, ExecSpec, Image, Info, Listing, LogOptions,
    OutputStream, Progress, PullSpec, Result, Runtime, Sandbox, SandboxSpec, Scope, Session, Swept,
};
use std::time::Duration;

impl Runtime for Docker {
    fn info(&self) -> Answer<'_, Info> {
        Box::pin(self.describe())
    }

    fn ensure_network(&self) -> Answer<'_, String> {
        Box::pin(async { Ok(self.network().await?.range) })
    }

    fn ensure_sandbox_image(&self) -> Answer<'_, ()> {
        Box::pin(async { self.sandbox_image().await.map(drop) })
    }

    fn list(&self) -> Answer<'_, Listing> {
        Box::pin(self.list_own())
    }

    fn run_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Sandbox> {
        Box::pin(self.run_pod(spec))
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(self.stop(id, grace))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(id))
    }

    fn create_container(&self, spec: ContainerSpec) -> Answer<'_, String> {
        Box::pin(self.create(spec))
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.start(id))
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()> {
        Box::pin(self.stop(id, grace))
    }

    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> Answer<'a, ()> {
        Box::pin(self.signal(id, signal))
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(id))
    }

    fn pull_image(&self, spec: PullSpec, progress: Option<Progress>) -> Answer<'_, Image> {
        Box::pin(self.pull(spec, progress))
    }

    fn image_present<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<Image>> {
        Box::pin(self.image(reference))
    }

    fn logs<'a>(&'a self, id: &'a str, options: LogOptions) -> Answer<'a, OutputStream> {
        Box::pin(self.read_logs(id, options))
    }

    fn exec<'a>(&'a self, id: &'a str, spec: ExecSpec) -> Answer<'a, Session> {
        Box::pin(self.execute(id, spec))
    }

    fn attach<'a>(&'a self, id: &'a str, spec: AttachSpec) -> Answer<'a, Session> {
        Box::pin(self.join(id, spec))
    }

    fn dial<'a>(&'a self, sandbox: &'a Sandbox, port: u16) -> Answer<'a, Connection> {
        Box::pin(network::dial(sandbox, port))
    }

    fn events(&self) -> EventStream {
        self.watch()
    }
}

/// Removes every container and network of a cluster from the engine, whichever node they belong to.
///
/// # Errors
/// [`Error::EngineUnreachable`](crate::Error::EngineUnreachable), and the first refusal after everything was tried.
pub async fn sweep(docker_host: Option<&str>, cluster: &str) -> Result<Swept> {
    // The node of the scope plays no part: a sweep goes by the cluster's label alone.
    let docker = Docker::new(Scope::new(cluster, "sweep")?, docker_host)?;
    let containers = docker.remove_cluster_containers().await?;
    let networks = docker.remove_cluster_networks().await?;
    Ok(Swept { containers, networks })
}
