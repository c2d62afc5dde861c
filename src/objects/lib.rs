//! Kubernetes objects as values: what they are called, how they are stored, changed, checked and shown.
//!
//! Everything here is a pure function of its arguments: no async, no clock, no I/O. The wall clock, uids and random
//! suffixes come in from the caller, so that a decision made here can be replayed.

pub mod allocation;
pub mod canonical;
pub mod columns;
pub mod custom;
pub mod defaulting;
pub mod error;
pub mod fields;
pub mod fields_v1;
pub mod key;
pub mod kind;
mod kinds;
pub mod lifecycle;
pub mod managed;
pub mod object;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod selector;
pub mod status;
pub mod structure;
pub mod time;
pub mod typed;
pub mod validation;

pub use custom::Custom;
pub use error::Error;
pub use key::{Key, Resource};
pub use kind::Kind;
pub use object::{Face, Object, Owner};
pub use status::{Cause, Status};
