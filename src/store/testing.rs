//! A proposer for tests: no log and no peers, each transaction is applied at once.
//!
//! Only tests have it: it is behind the feature `testing`, which only `dev-dependencies` ask for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use state::{Applied, Change, Command, Committed, Origin, State, Token, Transaction};
use tokio::time::Instant;

use crate::proposer::Boxed;
use crate::{Beat, Error, Liveness, Proposer, Replica, Store};

/// A writer that gets in before the next proposal.
type Intruder = Box<dyn FnOnce(&Direct) + Send>;

/// Applies each transaction to its replica directly; can be told to fail, and to let another writer in first.
pub struct Direct {
    /// The copy that is written to.
    pub replica: Arc<Replica>,
    /// Who was heard of.
    pub liveness: Arc<Liveness>,
    index: Mutex<u64>,
    failure: Mutex<Option<Error>>,
    intruder: Mutex<Option<Intruder>>,
}

impl Direct {
    /// A door to an empty state, and what stands behind it.
    pub fn start() -> (Store, Arc<Self>) {
        let replica = Replica::new(State::default());
        let direct = Arc::new(Self {
            replica: Arc::clone(&replica),
            liveness: Arc::default(),
            index: Mutex::default(),
            failure: Mutex::default(),
            intruder: Mutex::default(),
        });
        (Store::new(replica, Arc::clone(&direct) as Arc<dyn Proposer>), direct)
    }

    /// Applies a command as the next entry of the log.
    ///
    /// # Panics
    /// When the state does not take it.
    pub fn apply(&self, command: &Command) -> Applied {
        let mut index = lock(&self.index);
        *index += 1;
        let mut state = self.replica.current();
        let applied = state.apply(*index, command).expect("the command applies");
        self.replica.publish(state, &applied.events);
        applied
    }

    /// Begins the tenure of a master; gives the token of its duties.
    pub fn lead(&self, master: u64) -> Token {
        self.apply(&Command::Lead { master, incarnation: u128::from(master) });
        self.replica.current().tenure().expect("somebody leads").token
    }

    /// Makes changes as a client that demands nothing.
    ///
    /// # Panics
    /// When the state refuses them.
    pub fn write(&self, changes: Vec<Change>) -> Committed {
        let origin = Origin::Client("test".into());
        let transaction = Store::prepare(origin, Vec::new(), changes).expect("not too large");
        self.transact(transaction).expect("nothing was demanded")
    }

    /// From now on every proposal, read and heartbeat fails like this; none does with `None`.
    pub fn fail(&self, failure: Option<Error>) {
        *lock(&self.failure) = failure;
    }

    /// Lets another writer in just before the next proposal: after whoever proposes has read, and before it has written.
    pub fn intrude(&self, intruder: impl FnOnce(&Self) + Send + 'static) {
        *lock(&self.intruder) = Some(Box::new(intruder));
    }

    fn transact(&self, transaction: Transaction) -> Result<Committed, Error> {
        let applied = self.apply(&Command::Transact(vec![transaction]));
        Ok(applied.answers.into_iter().next().expect("one answer")?)
    }

    fn failing(&self) -> Result<(), Error> {
        lock(&self.failure).clone().map_or(Ok(()), Err)
    }
}

impl Proposer for Direct {
    fn propose(&self, transaction: Transaction, _: Instant) -> Boxed<'_, Result<Committed, Error>> {
        let outcome = self.failing().and_then(|()| {
            let intruder = lock(&self.intruder).take();
            if let Some(intruder) = intruder {
                intruder(self);
            }
            self.transact(transaction)
        });
        Box::pin(async move { outcome })
    }

    fn read_barrier(&self, _: Instant) -> Boxed<'_, Result<(), Error>> {
        let outcome = self.failing();
        Box::pin(async move { outcome })
    }

    fn heartbeat(&self, beat: Beat, _: Instant) -> Boxed<'_, Result<(), Error>> {
        let outcome = self.failing().map(|()| self.liveness.beat(beat));
        Box::pin(async move { outcome })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked has failed already; the others have a double of their own.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
