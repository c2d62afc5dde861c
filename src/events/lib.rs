//! Events: what the leader's duties tell people about an object, with counts instead of repetitions.
//!
//! Telling is free for the teller: [`Recorder::record`] never waits and never fails, because no decision may hang on a
//! note about it. Not here: who forgets old events (the controllers do).

mod note;
mod spam;
mod writer;

pub use note::{Note, Regarding};
pub use writer::{Recorder, recorder};
