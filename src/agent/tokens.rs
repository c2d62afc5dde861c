//! Tokens of pods' service accounts: asked for when a pod needs them, kept in memory, and renewed in good time. None ever
//! reaches a log.

use crate::limits::{TOKEN_AGE_MAX, TOKEN_DEADLINE, TOKENS_MAX};
use crate::pod::view;
use crate::volumes::{Bundle, TokenNeed, token_needs};
use client::{Call, Client};
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A pod's uid, and what it needs.
type Key = (String, TokenNeed);

/// The tokens of this node's pods.
pub(crate) struct Tokens {
    client: Arc<Client>,
    kept: Mutex<HashMap<Key, Kept>>,
}

#[derive(Clone)]
struct Kept {
    token: Arc<str>,
    renewed_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// Adds the tokens that a pod's volumes need. One that still counts is good enough while no master gives another.
    ///
    /// # Errors
    /// In words, when there is none for a volume.
    pub async fn add_to(&self, bundle: &mut Bundle, pod: &Pod) -> Result<(), String> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        for need in token_needs(pod) {
            let key = (uid.clone(), need);
            let known = self.kept().get(&key).cloned();
            let now = Instant::now();
            let token = match known {
                Some(kept) if now < kept.renewed_at => kept.token,
                known => match self.ask(pod, &key.1).await {
                    Ok(kept) => {
                        self.keep(key.clone(), kept.clone());
                        kept.token
                    }
                    Err(reason) => match known.filter(|kept| now < kept.ends_at) {
                        Some(kept) => {
                            tracing::debug!(pod = %view::pod_ref(pod), reason, "a token could not be renewed yet");
                            kept.token
                        }
                        None => return Err(format!("failed to fetch token: {reason}")),
                    },
                },
            };
            bundle.put_token(key.1, token);
        }
        Ok(())
    }

    /// Forgets the tokens of a pod.
    pub fn forget(&self, uid: &str) {
        self.kept().retain(|(of, _), _| of != uid);
    }

    async fn ask(&self, pod: &Pod, need: &TokenNeed) -> Result<Kept, String> {
        let pod_ref = view::pod_ref(pod);
        let account = view::spec(pod).service_account_name.as_deref().filter(|name| !name.is_empty());
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{}/token",
            pod_ref.namespace,
            account.unwrap_or(objects::defaulting::ACCOUNT_DEFAULT)
        );
        let mut spec = json!({
            "expirationSeconds": need.seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod_ref.name, "uid": pod_ref.uid},
        });
        if !need.audience.is_empty() {
            spec["audiences"] = json!([need.audience]);
        }
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        // Two tokens instead of one do no harm.
        let call = Call::new(Method::POST, path).json(&request).deadline(TOKEN_DEADLINE).repeatable();
        let asked_at = Instant::now();
        let answer = self.client.json(call).await.map_err(|error| error.to_string())?;
        kept(&answer, asked_at)
    }

    fn keep(&self, key: Key, fresh: Kept) {
        let mut kept = self.kept();
        if kept.len() >= TOKENS_MAX
            && let Some(first) = kept.iter().min_by_key(|(_, kept)| kept.ends_at).map(|(key, _)| key.clone())
        {
            kept.remove(&first);
        }
        kept.insert(key, fresh);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token in an answer, and when it is to be renewed: after 80 % of its life or a day, as upstream's kubelet does. The
/// life counts from when it was asked for, so that clocks may differ.
fn kept(answer: &Value, asked_at: Instant) -> Result<Kept, String> {
    let token = answer["status"]["token"].as_str().filter(|token| !token.is_empty());
    let seconds = answer["spec"]["expirationSeconds"].as_u64().filter(|seconds| *seconds > 0);
    let (Some(token), Some(seconds)) = (token, seconds) else {
        return Err("the answer holds no token, or does not say how long it lives".to_owned());
    };
    let life = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
    Ok(Kept { token: token.into(), renewed_at: asked_at + (life * 4 / 5).min(TOKEN_AGE_MAX), ends_at: asked_at + life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_are_renewed_before_they_end() {
        let asked_at = Instant::now();
        for (seconds, renewed, ends) in [(600, 480, 600), (3607, 2885, 3607), (864_000, 86_400, 864_000)] {
            let answer = json!({"spec": {"expirationSeconds": seconds}, "status": {"token": "t"}});
            let kept = kept(&answer, asked_at).unwrap_or_else(|reason| panic!("{reason}"));
            assert_eq!((kept.renewed_at - asked_at).as_secs(), renewed);
            assert_eq!((kept.ends_at - asked_at).as_secs(), ends);
        }
        for answer in [
            json!(null),
            json!({"spec": {"expirationSeconds": 600}, "status": {}}),
            json!({"spec": {"expirationSeconds": 600}, "status": {"token": ""}}),
            json!({"spec": {"expirationSeconds": 0}, "status": {"token": "hunter2"}}),
            json!({"spec": {"expirationSeconds": -1}, "status": {"token": "hunter2"}}),
            json!({"spec": {}, "status": {"token": "hunter2"}}),
        ] {
            let refused = kept(&answer, asked_at).err().unwrap_or_else(|| panic!("{answer}"));
            assert!(!refused.contains("hunter2"));
        }
        let huge = json!({"spec": {"expirationSeconds": u64::MAX}, "status": {"token": "t"}});
        assert!(kept(&huge, asked_at).is_ok());
    }
}
