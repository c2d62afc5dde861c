//! The API server of one master: every kind on one generic path, in the Kubernetes API's own words.
//!
//! `server` owns connections, `route` reads a path, `router` decides who answers, a file per verb answers. Nothing is kept
//! here between requests but an index of the roles: what a cluster knows is in the store, and what only this master knows
//! comes from [`Cluster`].
//!
//! Deliberately absent: aggregated API servers, admission webhooks, conversion webhooks.

mod accounts;
mod admission;
mod agent_proxy;
mod allocation;
mod api;
mod authentication;
mod authorization;
mod body;
mod cluster;
mod create;
mod custom_kinds;
mod definitions;
mod delete;
pub(crate) mod discovery;
pub(crate) mod document;
mod error;
mod errors;
mod escalation;
mod get;
mod impersonation;
mod list;
pub(crate) mod metrics;
mod negotiate;
mod node_access;
mod openapi;
mod options;
mod own;
mod patch;
mod policy;
mod query;
mod reply;
mod reviews;
mod revision;
mod route;
mod router;
mod rules;
mod server;
mod signing;
mod subresource;
mod table;
mod token_review;
mod update;
mod version;
mod watch;
mod write;
mod yaml;

#[cfg(test)]
mod scenarios;

pub use cluster::{Cluster, Readiness};
pub use error::Error;
pub use options::Options;
pub use server::serve;
