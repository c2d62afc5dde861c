//! This node in the cluster: its object, its heartbeats and its lease.

mod describe;
mod heartbeat;
mod lease;
mod register;

pub(crate) use describe::Facts;
pub(crate) use heartbeat::beat;
pub(crate) use lease::renew;
pub(crate) use register::register;
