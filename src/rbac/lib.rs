//! Role-based access control, as values: what roles allow, to whom bindings give them, and who may write them.
//!
//! Everything here is a pure function of its arguments or of an [`Index`] that somebody else feeds: no async, no clock,
//! no I/O. Nothing here refuses a request by itself: RBAC only ever adds permissions, and what it does not allow is for
//! another authorizer, or for nobody.

pub mod aggregation;
pub mod bootstrap;
pub mod cover;
pub mod error;
pub mod escalation;
pub mod index;
pub mod kind;
pub mod reconcile;
pub mod request;
pub mod review;
pub mod rule;
pub mod subject;

#[cfg(test)]
mod property_tests;

pub use error::Error;
pub use index::{Decision, Grant, Index, Resolved};
pub use kind::PolicyKind;
pub use request::{Attributes, Target, User};
pub use rule::Rule;
pub use subject::{RoleRef, Subject};

/// The API group of the four kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// The group whose members nothing stops: escalation checks do not apply to them.
pub const GROUP_MASTERS: &str = "system:masters";
