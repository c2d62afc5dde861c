//! One pod on this node: what it should be, what is there, and what to do about the difference.

pub(crate) mod admit;
pub(crate) mod backoff;
pub(crate) mod env;
pub(crate) mod memory;
pub(crate) mod prepare;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod sync_tests;
