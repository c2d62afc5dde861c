//! What a duty of the leader holds: the door, and the token without which it cannot write.

use state::{Change, Committed, Origin, Precondition, State, Token};
use tokio::time::Instant;

use crate::{DEADLINE, Error, Store, Watch};

/// The door as the leader's own loops see it, for one tenure. Cheap to clone.
#[derive(Clone)]
pub struct Duty {
    store: Store,
    token: Token,
}

impl Duty {
    /// The duties of the tenure that `token` names.
    pub fn new(store: Store, token: Token) -> Self {
        Self { store, token }
    }

    /// The state as it stands on this master, which holds at least all that was committed before the tenure began.
    pub fn current(&self) -> State {
        self.store.current()
    }

    /// Wakes at every change.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<state::Revision> {
        self.store.changes()
    }

    /// Changes of one resource after `from`.
    pub fn watch(&self, resource: impl Into<objects::Resource>, from: state::Revision) -> Watch {
        self.store.watch(resource, from)
    }

    /// Does all of `changes` or nothing, within the tenure.
    ///
    /// # Errors
    /// As [`Store::transact`]; [`state::Refusal::Fenced`] once another leader has taken over.
    pub async fn transact(&self, preconditions: Vec<Precondition>, changes: Vec<Change>) -> Result<Committed, Error> {
        self.store.transact(Origin::Duty(self.token), preconditions, changes, Instant::now() + DEADLINE).await
    }

    /// The tenure's name.
    pub fn token(&self) -> Token {
        self.token
    }
}
