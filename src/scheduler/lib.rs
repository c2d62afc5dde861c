//! Where pods go: a pure [`plan()`] over a snapshot, filters and scores a file each, and one thin loop ([`run()`]).
//!
//! Filters follow the plugins of upstream's `pkg/scheduler/framework/plugins`, and speak their words. There is no
//! preemption: a pod that fits nowhere waits until a node or a pod changes.

pub mod error;
pub mod facts;
mod filters;
pub mod plan;
mod run;
mod scores;
mod terms;
mod writes;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use facts::{NodeFacts, PodFacts, Snapshot};
pub use filters::{Reason, fits};
pub use plan::{Placement, Plan, Refused, plan};
pub use run::run;

/// The `schedulerName` of the pods that this scheduler places.
pub const NAME: &str = "default-scheduler";
