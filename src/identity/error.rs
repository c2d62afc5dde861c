//! What can go wrong around identities.

use crate::token::Role;
use jiff::Timestamp;
use std::path::PathBuf;

/// Errors of this crate. Unless a variant says otherwise, repeating the call does not help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of keys or certificates cannot be read or written. Worth a retry only when the cause is
    /// (a full disk, for example).
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file of keys or certificates is there but does not hold what it should.
    #[error("{} is damaged ({reason}); restore it from a backup or let the member join again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate (or chain) does not parse.
    #[error("the certificate is not usable: {0}")]
    Certificate(String),
    /// A private key does not parse or does not belong to its certificate.
    #[error("the private key is not usable: {0}")]
    Key(String),
    /// A certificate could not be made.
    #[error("cannot issue a certificate: {0}")]
    Issue(String),
    /// A certificate signing request does not parse or its signature is not that of its key.
    #[error("the certificate signing request is refused: {0}")]
    Request(String),
    /// A name cannot stand in a certificate or in a request.
    #[error("{name:?} cannot be used as {purpose}: {reason}")]
    Name {
        /// The name as given.
        name: String,
        /// What it was to name ("a node name").
        purpose: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A TLS set-up could not be built.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A TLS handshake failed: the peer is not who it should be, does not trust us, or went away.
    /// Worth a retry on another address.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
    /// A TLS handshake did not finish in time. Worth a retry on another address.
    #[error("{0}; the peer may be frozen")]
    HandshakeTimeout(#[from] base::Elapsed),
    /// A join token's text is malformed.
    #[error("this is not a join token ({0}); make one with `barque token create`")]
    TokenMalformed(&'static str),
    /// No such join token exists, or its secret is wrong; which of the two is not told.
    #[error("the join token is not known to this cluster; make a new one with `barque token create`")]
    TokenUnknown,
    /// The join token is meant for another role.
    #[error("the join token lets a {of} join, not a {wanted}; make one with `barque token create --role {wanted}`")]
    TokenRole {
        /// The role that the token is for.
        of: Role,
        /// The role that was asked for.
        wanted: Role,
    },
    /// The join token's time is over.
    #[error("the join token expired at {0}; make a new one with `barque token create`")]
    TokenExpired(Timestamp),
    /// A bearer token does not say who its bearer is. The reason quotes nothing of the token.
    #[error("the bearer token is refused: {0}")]
    Bearer(&'static str),
    /// What is sealed does not open, or nothing can be sealed.
    #[error("the seal does not serve: {0}")]
    Seal(&'static str),
    /// The join token was used as often as it may be.
    #[error("the join token is used up; make a new one with `barque token create`")]
    TokenUsedUp,
}

impl Error {
    /// Whether a handshake ended because the other side went away without a word, as port scans and the checks of load
    /// balancers do: nobody was refused.
    pub fn is_hangup(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(self, Self::Handshake(error)
            if matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe))
    }

    pub(crate) fn key(reason: impl std::fmt::Display) -> Self {
        Self::Key(reason.to_string())
    }

    pub(crate) fn certificate(reason: impl std::fmt::Display) -> Self {
        Self::Certificate(reason.to_string())
    }

    pub(crate) fn issue(reason: impl std::fmt::Display) -> Self {
        Self::Issue(reason.to_string())
    }

    pub(crate) fn tls(reason: impl std::fmt::Display) -> Self {
        Self::Tls(reason.to_string())
    }
}
