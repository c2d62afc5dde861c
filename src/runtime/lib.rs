//! The container runtime of a node: what an agent may ask of a container engine, and the two engines that answer.
//!
//! [`Runtime`] is the seam. [`docker`] speaks to a Docker engine and is the only user of `bollard`; [`sim`] keeps
//! simulated containers in memory, for tests, benches and machines without an engine. Both pass one set of contract
//! tests.
//!
//! Not here: what should run (that is the agent's decision), and probes, volumes and image policies. A runtime obeys, and
//! reports what is. It handles only what carries the labels of its own cluster and node ([`labels`]); the engine is
//! its only memory, so an agent that starts anew finds everything by [`Runtime::list`].

mod connect;
pub mod docker;
mod error;
pub mod image;
pub mod labels;
mod limits;
mod model;
mod sandbox_program;
mod session;
pub mod sim;

#[cfg(test)]
mod contract;

pub use connect::{Backend, Options, Swept, connect, sweep};
pub use error::{Error, Result};
pub use labels::Scope;
pub use model::{
    Container, ContainerSpec, Credentials, Dns, EnvVar, Exit, Image, ImageUser, Info, IpcNamespace, Listing, Mount,
    MountSource, PidNamespace, PodRef, PortMapping, Progress, Propagation, Protocol, PullProgress, PullSpec, Resources,
    Sandbox, SandboxSpec, Seccomp, Security, State,
};
pub use session::{
    AttachSpec, Change, Connection, Duplex, Event, EventStream, ExecSpec, LogOptions, Output, OutputStream, Session,
    SessionControl, Source, Stdin, TerminalSize,
};

use futures::future::BoxFuture;
use std::time::Duration;

/// The answer to a runtime call.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// A container engine, as seen by one node of one cluster. Used as `Arc<dyn Runtime>`.
///
/// Every call ends by a deadline of its own; [`Error::Timeout`] then means that its effect is unknown. Any call may
/// fail with [`Error::EngineUnreachable`]. Ids are those of [`Listing`]; an id of a container that is not this node's
/// counts as not found. Dropping a call may leave its effect half done, to be seen in the next list.
pub trait Runtime: Send + Sync + 'static {
    /// What the engine and the machine are.
    fn info(&self) -> Answer<'_, Info>;

    /// Makes sure that the cluster's network exists on this engine and returns its address range (CIDR).
    /// Called implicitly by [`run_sandbox`](Self::run_sandbox).
    fn ensure_network(&self) -> Answer<'_, String>;

    /// Makes sure that the sandbox's image is on this engine. Called implicitly by
    /// [`run_sandbox`](Self::run_sandbox).
    ///
    /// # Errors
    /// [`Error::Invalid`] on a processor architecture for which there is no sandbox program.
    fn ensure_sandbox_image(&self) -> Answer<'_, ()>;

    /// Everything of this cluster and node, whatever its state.
    fn list(&self) -> Answer<'_, Listing>;

    /// Creates and starts a sandbox and returns it with its address.
    ///
    /// # Errors
    /// [`Error::PortInUse`]; [`Error::NameConflict`] when this attempt exists; [`Error::Invalid`];
    /// [`Error::StartFailed`]. A sandbox that cannot start is removed again.
    fn run_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Sandbox>;

    /// Stops a sandbox; its containers must have been stopped before. One that is stopped or gone is fine.
    fn stop_sandbox<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()>;

    /// Removes a sandbox, running or not. One that is gone is fine.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Creates a container in a running sandbox and returns its id.
    ///
    /// # Errors
    /// [`Error::ImageMissing`]; [`Error::NameConflict`] when this attempt exists; [`Error::NotFound`] when the sandbox is
    /// gone; [`Error::Invalid`].
    fn create_container(&self, spec: ContainerSpec) -> Answer<'_, String>;

    /// Starts a created container. Each container is started at most once; a restart is a new container.
    ///
    /// # Errors
    /// [`Error::StartFailed`] when its program cannot be started; [`Error::NotFound`].
    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Asks a container to stop and kills it after `grace` (rounded up to seconds). Returns when it has ended.
    /// One that is stopped or gone is fine.
    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Answer<'a, ()>;

    /// Sends a signal by name (`SIGKILL`, `SIGHUP`).
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::NotFound`]; [`Error::Invalid`] for an unknown signal.
    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> Answer<'a, ()>;

    /// Removes a container with its anonymous volumes and logs, running or not. One that is gone is fine.
    fn remove_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Pulls an image and returns it. Without a tag it is `latest`.
    ///
    /// # Errors
    /// [`Error::ImagePull`]; [`Error::Invalid`] for a malformed reference.
    fn pull_image(&self, spec: PullSpec, progress: Option<Progress>) -> Answer<'_, Image>;

    /// The image of that name on this engine, or `None`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed reference.
    fn image_present<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<Image>>;

    /// A container's output. The stream is read only as fast as it is polled, and ends when all is read or, with
    /// `follow`, when the container has ended.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    fn logs<'a>(&'a self, id: &'a str, options: LogOptions) -> Answer<'a, OutputStream>;

    /// Runs a program in a running container. A program that cannot be found shows as exit code 126 or 127.
    /// The engine offers no way to end it from outside: it goes on when the session is dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotRunning`]; [`Error::Invalid`] for an empty command.
    fn exec<'a>(&'a self, id: &'a str, spec: ExecSpec) -> Answer<'a, Session>;

    /// Joins the program of a running container; its exit code is the container's.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotRunning`].
    fn attach<'a>(&'a self, id: &'a str, spec: AttachSpec) -> Answer<'a, Session>;

    /// Connects to a TCP port of a running sandbox, at the address that the engine gave it; with host networking at the
    /// node's own loopback address, which is where upstream looks too. What listens on the loopback address of a pod with an
    /// address of its own is not reached.
    ///
    /// # Errors
    /// [`Error::PortClosed`] when nothing takes the connection in time; [`Error::NotRunning`] for a sandbox without an address.
    fn dial<'a>(&'a self, sandbox: &'a Sandbox, port: u16) -> Answer<'a, Connection>;

    /// What happens to containers of this node, so that nobody needs to poll. The stream never ends and reconnects by
    /// itself; it starts with [`Event::Resync`], which is repeated whenever something may have been missed.
    fn events(&self) -> EventStream;
}
