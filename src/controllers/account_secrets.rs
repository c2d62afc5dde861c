//! Secrets of type `kubernetes.io/service-account-token`: filled with a token, the CA and the namespace.
//!
//! As upstream's `controller/serviceaccount/tokens_controller.go`, but that such a token does not live for ever: it is bound
//! to its Secret, lives as long as any may, and is replaced in good time, as it is when its key is gone.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use identity::service_account::{Bound, Claims, ISSUER, Reference};
use identity::signing::{SECRET_NAME, TOKEN_LIFE_MAX};
use identity::{KeyRing, token};
use jiff::Timestamp;
use objects::{Key, Resource};
use serde_json::{Value, json};
use state::{Event, EventKind, State, Stored};

use crate::runner::{Controller, Next};
use crate::writes::{Draft, background, map_at, value_of};
use crate::{Context, Error};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// A token is replaced when it has less than this to live.
const RENEWED_BEFORE: Duration = Duration::from_hours(24 * 60);
/// How often the age of a token is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How soon the signing keys are looked for again, while there are none.
const KEYS_SOON: Duration = Duration::from_secs(1);

/// The controller.
pub(crate) struct AccountSecrets {
    context: Context,
}

impl AccountSecrets {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn bring(&self, key: &Key) -> Result<Next, Error> {
        let (state, now) = (self.context.duty.current(), base::clock::now());
        let Some(stored) = state.get(key).filter(|stored| !stored.face().deleting) else { return Ok(Next::Rest) };
        let secret = value_of(stored)?;
        if secret["type"] != TYPE {
            return Ok(Next::Rest);
        }
        let annotation = |name: &str| secret["metadata"]["annotations"][name].as_str().unwrap_or("");
        let account = state.get(&Key::new("serviceaccounts", &key.namespace, annotation(ACCOUNT_NAME)));
        let account = account.filter(|account| !account.face().deleting);
        let (uid, mut draft) = (annotation(ACCOUNT_UID), Draft::new());
        let Some(account) = account.filter(|account| uid.is_empty() || uid == &*account.face().uid) else {
            // What was filled for an account goes with it; what waits for its account waits.
            if !uid.is_empty() {
                draft.delete(stored, &background(), now)?;
                draft.commit(&self.context.duty).await?;
            }
            return Ok(Next::Rest);
        };
        let Some(ring) = self.ring(&state)? else { return Ok(Next::After(KEYS_SOON)) };
        let fresh = if is_good(&ring, &secret, now) { None } else { Some(issue(&ring, stored, account, now)?) };
        let ca = STANDARD.encode(&*self.context.options.root_ca_pem);
        draft.edit(stored, |value| {
            map_at(map_at(value, "metadata"), "annotations")[ACCOUNT_UID] = json!(&*account.face().uid);
            let data = map_at(value, "data");
            data["ca.crt"] = json!(ca);
            data["namespace"] = json!(STANDARD.encode(&*key.namespace));
            if let Some(token) = fresh {
                data["token"] = json!(STANDARD.encode(token));
            }
        })?;
        draft.commit(&self.context.duty).await?;
        Ok(Next::After(LOOK_EVERY))
    }

    /// The signing keys, if they are there.
    fn ring(&self, state: &State) -> Result<Option<KeyRing>, Error> {
        let Some(stored) = state.get(&Key::new("secrets", token::NAMESPACE, SECRET_NAME)) else { return Ok(None) };
        Ok(KeyRing::of_secret(&value_of(stored)?, &self.context.options.seal).ok().filter(|ring| !ring.is_empty()))
    }
}

/// Whether a Secret holds a token that will count for a while.
fn is_good(ring: &KeyRing, secret: &Value, now: Timestamp) -> bool {
    let text = secret["data"]["token"].as_str().and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    let claims = text.and_then(|token| Claims::read(&ring.verify(&token).ok()?, &[ISSUER], now).ok());
    claims.is_some_and(|(claims, _)| {
        Duration::try_from(claims.expires().duration_since(now)).is_ok_and(|left| left > RENEWED_BEFORE)
    })
}

fn issue(ring: &KeyRing, secret: &Stored, account: &Stored, now: Timestamp) -> Result<String, Error> {
    let reference =
        |stored: &Stored| Reference { name: stored.key.name.to_string(), uid: stored.face().uid.to_string() };
    let bound = Bound {
        namespace: secret.key.namespace.to_string(),
        node: None,
        pod: None,
        secret: Some(reference(secret)),
        account: reference(account),
    };
    Ok(ring.sign(&Claims::new(bound, vec![ISSUER.to_owned()], now, TOKEN_LIFE_MAX), now)?)
}

fn is_ours(secret: &Stored) -> bool {
    secret.face().field("type") == TYPE
}

impl Controller for AccountSecrets {
    fn name(&self) -> &'static str {
        "service-account-token-controller"
    }

    fn resources(&self) -> Vec<Resource> {
        vec!["secrets".into(), "serviceaccounts".into()]
    }

    fn all(&self, state: &State) -> Vec<Key> {
        let secrets = state.list(&"secrets".into()).filter(|secret| is_ours(secret));
        secrets.map(|secret| secret.key.clone()).collect()
    }

    fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if *key == Key::new("secrets", token::NAMESPACE, SECRET_NAME) {
            // Tokens whose key is gone have to be replaced.
            return self.all(state);
        }
        if key.resource.as_str() == "secrets" {
            return Some(key).filter(|_| is_ours(&event.current)).cloned().into_iter().collect();
        }
        if event.kind == EventKind::Updated {
            return Vec::new();
        }
        let secrets = state.list_in(&"secrets".into(), &key.namespace).filter(|secret| is_ours(secret));
        secrets.map(|secret| secret.key.clone()).collect()
    }

    fn sync<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Next, Error>> {
        self.bring(key).boxed()
    }
}
