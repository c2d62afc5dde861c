//! The keys that sign tokens, as this master's copy of the state has them, and what is published about them.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CACHE_CONTROL, HeaderValue};
use identity::service_account::ISSUER;
use identity::signing::SECRET_NAME;
use identity::{KeyRing, Seal, token};
use objects::{Key, Status};
use serde_json::json;
use state::{Revision, State};

use crate::errors;
use crate::reply::{self, Response};
use crate::route::Issuer;
use crate::router::Call;

/// Opens the keys once for each change of theirs.
pub struct SigningKeys {
    seal: Arc<Seal>,
    opened: Mutex<Option<(Revision, Option<Arc<KeyRing>>)>>,
}

impl SigningKeys {
    /// Keys under a seal, of which none was opened yet.
    pub fn new(seal: Arc<Seal>) -> Self {
        Self { seal, opened: Mutex::default() }
    }

    /// The keys in `state`; `None` when the leader has made none yet, or they do not open.
    pub fn ring(&self, state: &State) -> Option<Arc<KeyRing>> {
        let stored = state.get(&Key::new("secrets", token::NAMESPACE, SECRET_NAME))?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, ring)) = &*opened
            && *revision == stored.revision
        {
            return ring.clone();
        }
        let ring = stored.to_value().ok().and_then(|secret| match KeyRing::of_secret(&secret, &self.seal) {
            Ok(ring) if !ring.is_empty() => Some(Arc::new(ring)),
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "the signing keys do not open: no token is taken until the leader has made others");
                None
            }
        });
        *opened = Some((stored.revision, ring.clone()));
        ring
    }
}

/// Answers what others need in order to check our tokens (OpenID Connect discovery): who issues them, and the public keys.
///
/// # Errors
/// 503 while there are no keys.
pub async fn issuer(call: &Call, which: Issuer) -> Result<Response, Status> {
    let (media, body) = match which {
        Issuer::Configuration => (
            "application/json",
            json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        ),
        Issuer::Keys => {
            let key = Key::new("secrets", token::NAMESPACE, SECRET_NAME);
            let state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &key))?;
            let ring = call.api.signing.ring(&state).ok_or_else(no_keys)?;
            ("application/jwk-set+json", ring.key_set())
        }
    };
    let mut response = reply::of(200, media, body.to_string());
    // Keys are published hours before they sign.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}

/// 503: there are no keys.
pub fn no_keys() -> Status {
    Status::unavailable("the cluster has no keys for signing tokens yet; the leader makes them, try again soon")
}
