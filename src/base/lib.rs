//! What every other crate may lean on and nothing more: the clock, randomness, back-off, shutdown,
//! supervised tasks, deadlines, telemetry set-up and a limit on log lines.
//!
//! No word of the domain belongs here: a line that knows what a pod, a master or a revision is
//! lives in a higher crate.

pub mod backoff;
pub mod clock;
pub mod deadline;
mod error;
pub mod log_limit;
pub mod random;
pub mod shutdown;
pub mod task;
pub mod telemetry;

pub use backoff::Backoff;
pub use deadline::{Elapsed, within};
pub use error::Error;
pub use log_limit::LogLimit;
pub use shutdown::{Shutdown, Stopping};
pub use task::{Ending, Task, TaskGroup};
