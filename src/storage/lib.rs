//! Bytes on disk: the raft log, the vote, the rows of the state, and snapshot files. The only user of RocksDB.
//!
//! It knows neither raft nor the state: keys and values are bytes, and every call blocks. Who calls it from an async
//! runtime does so on a thread of its own. There is one RocksDB instance, so one write-ahead log, so one order in which
//! everything becomes durable: what is written later is never on disk without what was written before.

mod batch;
mod blame;
mod database;
mod error;
mod log;
mod manifest;
mod owner;
mod rows;
pub mod snapshot;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Durability, Table};
pub use database::{Closed, Storage};
pub use error::Error;
pub use owner::Owner;
