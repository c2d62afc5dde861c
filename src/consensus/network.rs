//! Peers: one connection to each other master, mutual TLS, many questions at once on it.

pub mod frame;
pub mod message;
pub mod peer;
pub mod raft;
pub mod server;

pub use message::{PreVote, ProposeOutcome, Request, Response};
pub use peer::{CallError, Peers};
