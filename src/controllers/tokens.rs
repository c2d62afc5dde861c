//! Join tokens: the Secret of one that has expired is deleted, whether it was used up before or not.
//!
//! As upstream's `controller/bootstrap/tokencleaner.go`. One that is used up stays until it expires: a joiner whose answer was
//! lost comes back with it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use identity::{TokenRecord, token};
use jiff::{SignedDuration, Timestamp};
use objects::{Key, Resource};
use state::{Event, State};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, value_of};
use crate::{Context, Error};

/// How long a token is kept after it has expired: whoever comes late is told so, not that nobody knows the token.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// The longest wait for the end of a token, so that a clock that was set wrong does no lasting harm.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// The controller.
pub(crate) struct Tokens {
    context: Context,
}

impl Tokens {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let Some(stored) = state.get(key) else {
            return Ok(Next::Rest);
        };
        match TokenRecord::of_secret(&value_of(stored)?).map(|record| left(&record, now)) {
            Some(left) if left.is_zero() => {
                let mut draft = Draft::new();
                draft.delete(stored, &background(), now)?;
                draft.commit(&self.context.duty).await?;
                tracing::info!(secret = %key, "an expired join token is deleted");
                Ok(Next::Rest)
            }
            Some(left) => Ok(Next::After(left.min(WAIT_MAX))),
            // Somebody else's Secret that is named like ours.
            None => Ok(Next::Rest),
        }
    }
}

/// How long a token's Secret is still kept.
fn left(record: &TokenRecord, now: Timestamp) -> Duration {
    // What is negative is no `Duration`.
    Duration::try_from(KEPT.saturating_sub(now.duration_since(record.expires_at))).unwrap_or(Duration::ZERO)
}

fn is_token(key: &Key) -> bool {
    key.resource == resource() && &*key.namespace == token::NAMESPACE && key.name.starts_with(token::SECRET_PREFIX)
}

impl Controller for Tokens {
    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    fn resources(&self) -> Vec<Resource> {
        vec![resource()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let secrets = state.list_in(&resource(), token::NAMESPACE);
        secrets.map(|secret| secret.key.clone()).filter(is_token).collect()
    }

    fn concerns(&self, event: &Event, _: &State) -> Vec<Key> {
        Some(event.key()).filter(|key| is_token(key)).cloned().into_iter().collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}

fn resource() -> Resource {
    "secrets".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{Role, Token};

    #[test]
    fn a_token_is_kept_for_an_hour_after_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let token = Token::new(Role::Node, "0".repeat(64));
        for uses in [None, Some(1), Some(0)] {
            let record = token.record(at(10_000), uses);
            for (second, expected) in [(0, 13_600), (10_000, 3_600), (13_599, 1), (13_600, 0), (99_999, 0)] {
                assert_eq!(left(&record, at(second)), Duration::from_secs(expected), "{uses:?} at {second}");
            }
        }
        let end = token.record(Timestamp::MAX, None);
        assert!(left(&end, Timestamp::MIN) > WAIT_MAX);
    }
}
