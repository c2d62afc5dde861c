//! Whether a pod fits on a node beside the pods that are there: by amounts of resources, and by ports of the node.
//!
//! One rule, asked twice: by the scheduler before it binds a pod, and by the agent before it starts one. Pure; which words a
//! refusal is told in is theirs.

pub mod amounts;
pub mod ports;

pub use amounts::{Amounts, Lack};
pub use ports::{HostPort, collision};
