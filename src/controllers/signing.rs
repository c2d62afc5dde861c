//! The keys that sign tokens of service accounts: made when there are none, replaced by age, and dropped when no token of
//! theirs can still count. What is due when, `identity` decides.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use identity::signing::SECRET_NAME;
use identity::{KeyRing, token};
use objects::{Key, Resource};
use state::{Event, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, kind_named, value_of};
use crate::{Context, Error};

/// How often the age of the keys is looked at; it is counted in months.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The controller.
pub(crate) struct SigningKeys {
    context: Context,
}

impl SigningKeys {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let (stored, seal) = (state.get(key), &self.context.options.seal);
        let ring = match stored
            .map(|stored| Ok::<_, Error>(KeyRing::of_secret(&value_of(stored)?, seal)))
            .transpose()?
        {
            Some(Ok(ring)) => ring,
            Some(Err(error)) => {
                tracing::error!(secret = %key, %error, "the signing keys are made anew: all tokens so far are refused");
                KeyRing::default()
            }
            None => KeyRing::default(),
        };
        let Some(renewed) = ring.renewed(now)? else { return Ok(Next::After(LOOK_EVERY)) };
        let mut secret = renewed.secret(seal)?;
        let mut draft = Draft::new();
        match stored {
            Some(stored) => {
                draft.edit(stored, |value| value["data"] = secret["data"].take())?;
            }
            None => {
                draft.create(&state, kind_named("v1", "Secret")?, secret, now)?;
            }
        }
        draft.commit(&self.context.duty).await?;
        tracing::info!(secret = %key, before = ?ring, after = ?renewed, "the signing keys were renewed");
        Ok(Next::After(LOOK_EVERY))
    }
}

impl Controller for SigningKeys {
    fn name(&self) -> &'static str {
        "signing-keys-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["secrets".into()]
    }

    fn all(&self, _: &State) -> Vec<Key> {
        vec![Key::new("secrets", token::NAMESPACE, SECRET_NAME)]
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        self.all(state).into_iter().filter(|key| key == event.key()).collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
