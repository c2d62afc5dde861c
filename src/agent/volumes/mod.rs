//! A pod's volumes: what files they hold (pure), and making them on disk so that no pod can reach outside.
//!
//! Not here: fetching ConfigMaps and Secrets (`configs`), and mounting, which is the engine's part.

mod files;
mod make;
mod subpath;
mod write;

pub(crate) use files::{is_refreshed, needs, needs_of};
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
        write!(formatter, "Bundle({} config maps, {} secrets)", self.config_maps.len(), self.secrets.len())
    }
}

#[cfg(test)]
mod tests;
