//! Who is who in a cluster: its certificate authorities, the certificates they issue and how they
//! are renewed, TLS set-ups built from them, join tokens, the keys that sign tokens of service
//! accounts, and the caller behind a connection or a token.
//!
//! Deliberately absent: what a caller may do (that is authorization, in the API server), HTTP, and
//! any decision when to renew (callers ask [`Credential::needs_renewal`] and issue again).

pub mod authority;
pub mod bootstrap;
pub mod caller;
pub mod credential;
mod error;
pub mod files;
pub mod handshake;
pub mod names;
pub mod reload;
pub mod sealing;
pub mod service_account;
pub mod signing;
pub mod tls;
pub mod token;
pub mod trust;
mod verify;

pub use authority::{Authority, AuthorityBundle};
pub use bootstrap::BootstrapToken;
pub use caller::Caller;
pub use credential::{Credential, KeyRequest};
pub use error::Error;
pub use reload::ReloadableCert;
pub use sealing::Seal;
pub use signing::KeyRing;
pub use token::{Role, Token, TokenRecord};
pub use trust::Trust;

#[cfg(test)]
mod tests;
