//! The four ways to change an object by saying what differs: JSON patch, merge patch, strategic merge patch, apply.
//!
//! Each takes the object and the patch as values and gives the changed object; none of them defaults, validates or
//! brings the result into canonical form. Ownership of fields for the first three is `managed`'s business.

mod apply;
mod json;
mod merge;
mod shape;
mod strategic;
mod typed;

pub use apply::apply;
pub use json::json;
pub use merge::merge;
pub(crate) use shape::{Shape, skeleton_of};
pub use strategic::{strategic, strategic_message};
pub(crate) use typed::{Diff, compare, merge as overlay};

use serde_json::Value;

use crate::Status;

/// How deep a patch may nest: deeper than any served kind reaches, shallow enough for the stack of a small thread.
pub const DEPTH_MAX: usize = 256;

/// Most operations in one JSON patch; upstream's limit.
pub const JSON_OPERATIONS_MAX: usize = 10_000;

/// How many bytes the `copy` operations of one JSON patch may add; upstream's limit (its largest request body).
pub const JSON_COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Refuses what nests deeper than [`DEPTH_MAX`].
fn check_depth(value: &Value) -> Result<(), Status> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|item| fits(item, left - 1)),
            _ => true,
        }
    }
    if fits(value, DEPTH_MAX) {
        Ok(())
    } else {
        Err(Status::bad_request(format!("the patch nests deeper than {DEPTH_MAX} levels")))
    }
}

#[cfg(test)]
mod property_tests;
