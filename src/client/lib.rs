//! Speaking to a cluster from outside: the list of masters and their health, calls that fail over,
//! watches that notice a frozen master, mirrored lists, the local gateway, kubeconfig and joining.
//!
//! Deliberately absent: any word about kinds of objects. Objects are JSON values here; what they
//! mean is their reader's business.

mod address;
mod call;
mod client;
mod connection;
pub mod endpoints;
mod error;
pub mod gateway;
mod join;
pub mod kubeconfig;
mod limits;
pub mod reflector;
mod watch;

pub use address::Address;
pub use call::{Call, PatchKind, Response};
pub use client::{Client, Options};
pub use endpoints::Endpoints;
pub use error::Error;
pub use gateway::Gateway;
pub use join::join;
pub use kubeconfig::Kubeconfig;
pub use reflector::{Floor, Reflector, Source};
pub use watch::{EventKind, Watch, WatchEvent};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod scenarios;
