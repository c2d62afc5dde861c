//! What can keep a controller from doing its work.

use objects::Status;
use state::Refusal;

/// Why a key could not be brought to its desired state. The runner tries again with back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused, or could not: retried from a fresh reading, unless the tenure is over.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A stored object does not read as what it should be; retried when it changes, and now and then.
    #[error(transparent)]
    Object(#[from] objects::Error),
    /// What the controller wants to write is no valid object: the object that asks for it has to be changed.
    #[error("{}", .0.message)]
    Invalid(Box<Status>),
    /// Keys cannot be made or sealed.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The kind is not served by this build.
    #[error("{0} are not served")]
    Unserved(&'static str),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Invalid(Box::new(status))
    }
}

impl Error {
    /// Whether another leader has taken over, so that nothing of this tenure can be written any more.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(store::Error::Refused(Refusal::Fenced(_))))
    }

    /// Whether somebody else was faster: a fresh reading decides anew, and nobody needs to hear of it.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(store::Error::Refused(_))) && !self.is_fenced()
    }
}
