//! ConfigMaps and Secrets, fetched when a pod needs them and remembered for a while. Their content never reaches a log.

use crate::limits::{CONFIG_BYTES_MAX, CONFIG_DEADLINE, CONFIG_MAX};
use crate::volumes::{Bundle, Data, Need};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Call, Client};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

type Key = (String, Need);
type Entry = (Instant, Option<Arc<Data>>);

/// What was fetched.
pub(crate) struct Configs {
    client: Arc<Client>,
    kept: Mutex<HashMap<Key, Entry>>,
}

impl Configs {
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// Everything of `needs` in `namespace`, none of it older than `age`. What the cluster says is absent is left out.
    ///
    /// # Errors
    /// In words, when no master answers and nothing was remembered. Nothing is known about the object then.
    pub async fn bundle(&self, namespace: &str, needs: &BTreeSet<Need>, age: Duration) -> Result<Bundle, String> {
        let mut bundle = Bundle::default();
        for need in needs {
            bundle.put(need, self.fetch(namespace, need, age).await?);
        }
        Ok(bundle)
    }

    async fn fetch(&self, namespace: &str, need: &Need, age: Duration) -> Result<Option<Arc<Data>>, String> {
        let key = (namespace.to_owned(), need.clone());
        let remembered = self.kept().get(&key).cloned();
        // What was absent is always asked for again: a pod waits for it.
        if let Some((at, Some(data))) = &remembered
            && at.elapsed() < age
        {
            return Ok(Some(data.clone()));
        }
        let (plural, name) = match need {
            Need::ConfigMap(name) => ("configmaps", name),
            Need::Secret(name) => ("secrets", name),
        };
        let call = Call::get(format!("/api/v1/namespaces/{namespace}/{plural}/{name}")).deadline(CONFIG_DEADLINE);
        let data = match self.client.json(call).await {
            Ok(object) => Some(Arc::new(data_of(&object, matches!(need, Need::Secret(_)))?)),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                return match remembered {
                    // The last known content is better than a pod that cannot start while masters are away.
                    Some((_, Some(data))) => Ok(Some(data)),
                    _ => Err(format!("cannot get {plural} \"{name}\": {error}")),
                };
            }
        };
        let mut kept = self.kept();
        if kept.len() >= CONFIG_MAX
            && let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(key, (Instant::now(), data.clone()));
        Ok(data)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of an object's data. Errors name the key, never the value.
fn data_of(object: &Value, secret: bool) -> Result<Data, String> {
    let mut data = Data::new();
    let mut size = 0;
    let fields: &[(&str, bool)] = if secret { &[("data", true)] } else { &[("data", false), ("binaryData", true)] };
    for (field, encoded) in fields {
        for (key, value) in object[*field].as_object().into_iter().flatten() {
            let text = value.as_str().ok_or_else(|| format!("the value of {key:?} is not text"))?;
            let bytes = if *encoded {
                STANDARD.decode(text).map_err(|_| format!("the value of {key:?} is not base64"))?
            } else {
                text.as_bytes().to_vec()
            };
            size += key.len() + bytes.len();
            data.insert(key.clone(), bytes);
        }
    }
    if size > CONFIG_BYTES_MAX { Err(format!("it is larger than {CONFIG_BYTES_MAX} bytes")) } else { Ok(data) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_decoded_and_never_quoted() {
        let map = json!({"data": {"a": "1"}, "binaryData": {"b": "AAE="}});
        assert_eq!(data_of(&map, false).unwrap()["b"], [0, 1]);
        let secret = json!({"data": {"a": "aHVudGVyMg=="}});
        assert_eq!(data_of(&secret, true).unwrap()["a"], b"hunter2");
        let broken = data_of(&json!({"data": {"a": "hunter2 !"}}), true).unwrap_err();
        assert!(broken.contains("\"a\"") && !broken.contains("hunter2"));
    }
}
