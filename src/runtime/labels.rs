//! The labels by which an engine's containers are known to be ours, and to whom they belong.
//!
//! A container without the labels of this cluster and this node does not exist for us. Everything an agent must know
//! about a container after its own restart is in these labels, so that the engine is the only memory it needs.

use crate::model::PodRef;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The cluster a container or network belongs to.
pub const CLUSTER: &str = "io.barque.cluster";
/// The node a container belongs to.
pub const NODE: &str = "io.barque.node";
/// What it is: [`ROLE_SANDBOX`] or [`ROLE_CONTAINER`].
pub const ROLE: &str = "io.barque.role";
/// The namespace of its pod.
pub const POD_NAMESPACE: &str = "io.barque.pod.namespace";
/// The name of its pod.
pub const POD_NAME: &str = "io.barque.pod.name";
/// The uid of its pod.
pub const POD_UID: &str = "io.barque.pod.uid";
/// The container's name within its pod.
pub const CONTAINER_NAME: &str = "io.barque.container.name";
/// How often it was started anew before this one.
pub const ATTEMPT: &str = "io.barque.attempt";
/// The hash of the specification it was made from.
pub const SPEC_HASH: &str = "io.barque.spec-hash";
/// The sandbox a container joined.
pub const SANDBOX_ID: &str = "io.barque.sandbox.id";
/// The image as it was asked for (the engine only remembers what it resolved to).
pub const IMAGE: &str = "io.barque.image";
/// Present on sandboxes that use the node's own network.
pub const HOST_NETWORK: &str = "io.barque.host-network";
/// The value of [`ROLE`] on sandboxes.
pub const ROLE_SANDBOX: &str = "sandbox";
/// The value of [`ROLE`] on containers.
pub const ROLE_CONTAINER: &str = "container";

/// The prefix that callers' own labels must not use.
const RESERVED_PREFIX: &str = "io.barque.";

/// Whose containers a runtime handles: those of one node of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The cluster's id.
    pub cluster: String,
    /// The node's name.
    pub node: String,
}

impl Scope {
    /// A scope for `node` of `cluster`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless both consist of 1 to 253 letters, digits, `-`, `.` and `_`: they become part of
    /// engine names, file names and filters.
    pub fn new(cluster: impl Into<String>, node: impl Into<String>) -> Result<Self> {
        let scope = Scope { cluster: cluster.into(), node: node.into() };
        for (what, name) in [("cluster id", &scope.cluster), ("node name", &scope.node)] {
            check_name(what, name)?;
        }
        Ok(scope)
    }

    /// Whether these labels mark something of this scope.
    pub fn owns(&self, labels: &impl Labels) -> bool {
        labels.value(CLUSTER) == Some(&self.cluster) && labels.value(NODE) == Some(&self.node)
    }
}

/// Fails unless `name` is made of 1 to 253 characters that are safe in engine names and file names.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.len() <= 253 && name.bytes().all(safe) {
        return Ok(());
    }
    Err(Error::invalid(format!("the {what} {name:?} must be 1 to 253 letters, digits, '-', '.' or '_'")))
}

/// A set of labels, whichever map holds it.
pub trait Labels {
    /// The value of a label.
    fn value(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for std::collections::HashMap<String, String> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// Who a container is, as read from its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pod: PodRef,
    /// `None` for a sandbox.
    pub container: Option<String>,
    pub attempt: u32,
    pub spec_hash: String,
}

impl Identity {
    /// Reads an identity; `None` when a label is absent or malformed, as on a container that someone labelled by hand.
    pub fn read(labels: &impl Labels) -> Option<Self> {
        let text = |key| labels.value(key).map(str::to_owned);
        let container = match labels.value(ROLE)? {
            ROLE_SANDBOX => None,
            ROLE_CONTAINER => Some(text(CONTAINER_NAME)?),
            _ => return None,
        };
        Some(Identity {
            pod: PodRef { namespace: text(POD_NAMESPACE)?, name: text(POD_NAME)?, uid: text(POD_UID)? },
            container,
            attempt: labels.value(ATTEMPT)?.parse().ok()?,
            spec_hash: text(SPEC_HASH).unwrap_or_default(),
        })
    }

    /// The labels that say all this, together with the caller's own.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a label of the caller is a reserved one.
    pub fn write(&self, scope: &Scope, extra: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        if let Some(key) = extra.keys().find(|key| key.starts_with(RESERVED_PREFIX)) {
            return Err(Error::invalid(format!(
                "label {key} is reserved: choose another prefix than {RESERVED_PREFIX}"
            )));
        }
        let mut labels = extra.clone();
        let role = if self.container.is_some() { ROLE_CONTAINER } else { ROLE_SANDBOX };
        let own = [
            (CLUSTER, scope.cluster.as_str()),
            (NODE, &scope.node),
            (ROLE, role),
            (POD_NAMESPACE, &self.pod.namespace),
            (POD_NAME, &self.pod.name),
            (POD_UID, &self.pod.uid),
            (ATTEMPT, &self.attempt.to_string()),
            (SPEC_HASH, &self.spec_hash),
        ];
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        if let Some(name) = &self.container {
            labels.insert(CONTAINER_NAME.to_owned(), name.clone());
        }
        Ok(labels)
    }

    /// The engine's name for it: readable, and the same for the same attempt, so that a repeated create is noticed.
    pub fn engine_name(&self, scope: &Scope) -> String {
        let what = self.container.as_deref().unwrap_or(ROLE_SANDBOX);
        let PodRef { namespace, name, uid } = &self.pod;
        let kind = if self.container.is_some() { "c" } else { "s" };
        let raw =
            format!("barque_{kind}_{name}_{namespace}_{what}_{}_{uid}_{}_{}", self.attempt, scope.node, scope.cluster);
        raw.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let pod = PodRef { namespace: "shop".into(), name: "web-0".into(), uid: "u-1".into() };
        Identity { pod, container: Some("app".into()), attempt: 2, spec_hash: "abc".into() }
    }

    #[test]
    fn an_identity_survives_its_labels() {
        let scope = Scope::new("c1", "n1").unwrap();
        let labels = identity().write(&scope, &BTreeMap::from([("team".into(), "blue".into())])).unwrap();
        assert_eq!(Identity::read(&labels), Some(identity()));
        assert_eq!(labels.value("team"), Some("blue"));
        assert!(scope.owns(&labels));
        assert!(!Scope::new("c1", "n2").unwrap().owns(&labels));
        assert!(!Scope::new("c2", "n1").unwrap().owns(&labels));
        let sandbox = Identity { container: None, ..identity() };
        assert_eq!(Identity::read(&sandbox.write(&scope, &BTreeMap::new()).unwrap()), Some(sandbox));
    }

    #[test]
    fn incomplete_labels_are_nobody() {
        let scope = Scope::new("c1", "n1").unwrap();
        let whole = identity().write(&scope, &BTreeMap::new()).unwrap();
        for key in [ROLE, POD_NAMESPACE, POD_NAME, POD_UID, ATTEMPT, CONTAINER_NAME] {
            let mut labels = whole.clone();
            labels.remove(key);
            assert_eq!(Identity::read(&labels), None, "without {key}");
        }
    }

    #[test]
    fn reserved_labels_and_unsafe_names_are_refused() {
        let scope = Scope::new("c1", "n1").unwrap();
        let stolen = BTreeMap::from([(NODE.to_owned(), "other".to_owned())]);
        assert!(matches!(identity().write(&scope, &stolen), Err(Error::Invalid { .. })));
        for bad in ["", "../up", "a/b", "-x", "a b", &"x".repeat(254)] {
            assert!(Scope::new(bad, "n1").is_err() && Scope::new("c1", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_differ_by_attempt_and_are_acceptable_to_an_engine() {
        let scope = Scope::new("c1", "n1").unwrap();
        let (first, second) = (identity(), Identity { attempt: 3, ..identity() });
        assert_eq!(first.engine_name(&scope), "barque_c_web-0_shop_app_2_u-1_n1_c1");
        assert_ne!(first.engine_name(&scope), second.engine_name(&scope));
        let odd = Identity { container: Some("a:b/c".into()), ..identity() };
        assert!(odd.engine_name(&scope).bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)));
    }
}
