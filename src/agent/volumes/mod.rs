//! A pod's volumes: what files they hold (pure), and making them on disk so that no pod can reach outside.
//!
//! Not here: fetching ConfigMaps, Secrets (`configs`) and tokens (`tokens`), and mounting, which is the engine's part.

mod files;
mod make;
mod subpath;
mod write;

pub(crate) use files::{is_refreshed, needs, needs_of, token_needs};
pub(crate) use make::{are_there, last_words_file, make, mount_source, read_last_words, refresh};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The data of a ConfigMap or Secret: bytes by key.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// The ConfigMaps and Secrets that a pod refers to, as fetched. Absent ones are known to be absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    config_maps: BTreeMap<String, Arc<Data>>,
    secrets: BTreeMap<String, Arc<Data>>,
    tokens: BTreeMap<TokenNeed, Arc<str>>,
}

/// A token of a pod's service account, bound to that pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenNeed {
    /// For whom; empty for the API.
    pub audience: String,
    /// How long it is to live.
    pub seconds: i64,
}

/// A ConfigMap or Secret of a pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Need {
    ConfigMap(String),
    Secret(String),
}

impl Bundle {
    /// The data of a ConfigMap, if there is one of that name.
    pub fn config_map(&self, name: &str) -> Option<&Data> {
        self.config_maps.get(name).map(Arc::as_ref)
    }

    /// The data of a Secret, if there is one of that name.
    pub fn secret(&self, name: &str) -> Option<&Data> {
        self.secrets.get(name).map(Arc::as_ref)
    }

    /// Adds what was fetched.
    pub fn put(&mut self, need: &Need, data: Option<Arc<Data>>) {
        let Some(data) = data else { return };
        match need {
            Need::ConfigMap(name) => self.config_maps.insert(name.clone(), data),
            Need::Secret(name) => self.secrets.insert(name.clone(), data),
        };
    }

    /// The token of this kind, if it was given.
    pub fn token(&self, need: &TokenNeed) -> Option<&str> {
        self.tokens.get(need).map(AsRef::as_ref)
    }

    /// Adds a token.
    pub fn put_token(&mut self, need: TokenNeed, token: Arc<str>) {
        self.tokens.insert(need, token);
    }

    #[cfg(test)]
    pub fn put_config_map(&mut self, name: &str, data: Option<Data>) {
        self.put(&Need::ConfigMap(name.to_owned()), data.map(Arc::new));
    }

    #[cfg(test)]
    pub fn put_secret(&mut self, name: &str, data: Option<Data>) {
        self.put(&Need::Secret(name.to_owned()), data.map(Arc::new));
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (maps, secrets, tokens) = (self.config_maps.len(), self.secrets.len(), self.tokens.len());
        write!(formatter, "Bundle({maps} config maps, {secrets} secrets, {tokens} tokens)")
    }
}

#[cfg(test)]
mod tests;
