//! The replicated machine: what a cluster knows, and how one committed command changes it.
//!
//! Deterministic and synchronous. `apply` is arithmetic: time, uids and random numbers arrive inside the command, so
//! that every master that applies the same log holds the same state, byte for byte ([`State::chain`] proves it).

pub mod command;
pub mod error;
pub mod history;
mod machine;
mod requests;
pub mod rows;
pub mod stored;

#[cfg(test)]
mod tests;

pub use command::{Change, Command, Committed, Origin, Precondition, Refusal, RequestId, Token, Transaction};
pub use error::Error;
pub use history::{Event, EventKind, HistoryLimits};
pub use machine::{Applied, State, Tenure};
pub use rows::{Row, Table, Write};
pub use stored::{Revision, Stored};
