//! Custom resources: what a CustomResourceDefinition may say, and what its objects may hold.
//!
//! The deciding half only: everything here is a pure function of its arguments. [`definition`] judges definitions and
//! decides their status; a [`Schema`] prunes, defaults and checks objects; [`object`] puts these together in the order in
//! which a write and a read need them. Rules and texts are those of upstream's `apiextensions-apiserver`; each module
//! names the file that its rules come from.

pub mod columns;
pub mod conversion;
pub mod definition;
mod error;
mod faults;
mod format;
pub mod jsonpath;
pub mod object;
pub mod openapi;
mod ownership;
mod pattern;
mod place;
pub mod rules;
pub mod scale;
pub mod schema;
pub mod selectable;
pub mod served;

pub use definition::Definition;
pub use error::Error;
pub use rules::Rules;
pub use schema::Schema;

#[cfg(test)]
mod property_tests;
