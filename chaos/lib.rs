//! Real clusters under faults: started as processes, hurt, observed, and always removed again.
//!
//! The programs beside this library measure; the integration tests of the root package assert. Both drive the same
//! [`Cluster`].

mod cluster;
mod error;
pub mod figures;
mod image;
mod probe;

pub use cluster::{Cluster, Master, Node, Shape};
pub use error::Error;
pub use image::{IMAGE, ensure_image};
pub use probe::{Probe, Written};
