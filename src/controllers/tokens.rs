//! Join tokens and bootstrap tokens: the Secret of one that has expired is deleted, whether it was used up before or not.
//!
//! As upstream's `controller/bootstrap/tokencleaner.go`. One that is used up stays until it expires: a joiner whose answer was
//! lost comes back with it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use identity::{TokenRecord, bootstrap, token};
use jiff::{SignedDuration, Timestamp};
use objects::{Key, Resource};
use serde_json::Value;
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
        match end(&value_of(stored)?).map(|end| left(end, now)) {
            Some(left) if left.is_zero() => {
                let mut draft = Draft::new();
                draft.delete(stored, &background(), now)?;
                draft.commit(&self.context.duty).await?;
                tracing::info!(secret = %key, "an expired token is deleted");
                Ok(Next::Rest)
            }
            Some(left) => Ok(Next::After(left.min(WAIT_MAX))),
            // A token without an end, or somebody else's Secret that is named like ours.
            None => Ok(Next::Rest),
        }
    }
}

/// When the token expires that a Secret keeps.
fn end(secret: &Value) -> Option<Timestamp> {
    TokenRecord::of_secret(secret).map(|record| record.expires_at).or_else(|| bootstrap::expires(secret))
}

/// How long the Secret of a token that expires at `end` is still kept.
fn left(end: Timestamp, now: Timestamp) -> Duration {
    // What is negative is no `Duration`.
    Duration::try_from(KEPT.saturating_sub(now.duration_since(end))).unwrap_or(Duration::ZERO)
}

fn is_token(key: &Key) -> bool {
    let named = [token::SECRET_PREFIX, bootstrap::SECRET_PREFIX].iter().any(|prefix| key.name.starts_with(prefix));
    key.resource == resource() && &*key.namespace == token::NAMESPACE && named
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
        for (second, expected) in [(0, 13_600), (10_000, 3_600), (13_599, 1), (13_600, 0), (99_999, 0)] {
            assert_eq!(left(at(10_000), at(second)), Duration::from_secs(expected), "at {second}");
        }
        assert!(left(Timestamp::MAX, Timestamp::MIN) > WAIT_MAX);
        let record = Token::new(Role::Node, "0".repeat(64)).record(at(10_000), Some(0));
        let mut secret = record.secret();
        record.put_into(&mut secret);
        assert_eq!(end(&secret), Some(at(10_000)), "used up or not");
        // "1970-01-01T02:46:40Z"
        let data = serde_json::json!({"expiration": "MTk3MC0wMS0wMVQwMjo0Njo0MFo="});
        let bootstrap = serde_json::json!({"type": "bootstrap.kubernetes.io/token", "data": data});
        assert_eq!((end(&bootstrap), end(&serde_json::json!({"data": data}))), (Some(at(10_000)), None));
    }
}
