//! The node agent: runs the pods that the cluster gives to this node, looks after them, and tells how they are.
//!
//! The heart is a pure function (`pod::sync`) from what should be, what is and what is remembered to the next steps; one
//! worker for each pod calls it after everything that happens. Around it: what the engine shows (`observer`), what the
//! cluster wants (`dispatcher`), volumes, probes, statuses and events, this node's own object and heartbeats, and a server
//! for logs, exec, attach and port-forward.
//!
//! Above all the agent fails static: it stops a container only because its pod is deleted, has come to its end, or is
//! unknown to a list of the cluster that is not older than anything seen before. Masters that are away, young, empty or
//! behind stop nothing.
//!
//! Deliberately absent: which pod goes where (the scheduler), whether a node lives (the leader judges heartbeats), and how
//! containers are run (`runtime`).

mod act;
mod configs;
mod context;
mod disk;
mod dispatcher;
mod error;
mod limits;
mod node;
mod notes;
mod observer;
mod options;
mod pod;
mod probes;
mod reporter;
mod run;
mod server;
mod tokens;
mod volumes;
mod worker;

pub use disk::{forget_memory, read_masters};
pub use error::Error;
pub use options::{GatewayOptions, Options};
pub use run::run;

#[cfg(test)]
mod scenarios;
