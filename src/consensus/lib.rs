//! One log for all masters: openraft wired to the disk, to the peers and to the store. The only user of openraft.
//!
//! - `writer`, `log_store`, `machine`, `snapshot`: from raft to the disk and to the state.
//! - `network`: peers over mutual TLS.
//! - `election`, `leadership`, `handover`, `membership`: who leads, who votes.
//! - `coalescer`, `forward`, `read_index`, `commits`, `proposing`: from the store to the log.
//!
//! What is decided by arithmetic alone (when to campaign, what to batch, whom to promote) is a plain function; the loops
//! around them only wait and call.
#![allow(clippy::result_large_err, reason = "openraft's errors are that large, and its traits return them")]

mod coalescer;
mod codec;
mod commits;
mod consensus;
mod contact;
mod counters;
mod durability;
mod election;
mod error;
mod forward;
mod handover;
mod leadership;
mod log_store;
mod machine;
mod membership;
mod network;
mod options;
mod proposing;
mod read_index;
mod requests;
mod snapshot;
mod status;
mod types;
mod writer;

#[cfg(test)]
mod tests;

pub use consensus::Consensus;
pub use error::Error;
pub use leadership::Leadership;
pub use options::{Options, Timers};
pub use status::{MemberStatus, Role, Status};
pub use types::Member;
