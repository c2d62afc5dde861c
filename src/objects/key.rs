//! How an object is named inside the store.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource in upstream's `GroupResource` form: `pods`, `deployments.apps`.
///
/// Two API versions of one kind share a resource, because they share their objects.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The resource `plural` of `group`; the core group is the empty string.
    pub fn new(group: &str, plural: &str) -> Self {
        if group.is_empty() { Self(plural.into()) } else { Self(format!("{plural}.{group}").into()) }
    }

    /// `plural` or `plural.group`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plural alone.
    pub fn plural(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(plural, _)| plural)
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, group)| group)
    }
}

impl From<&str> for Resource {
    /// Takes the `plural.group` form as it stands.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Names one object: resource, namespace (empty for cluster-scoped kinds), name.
///
/// The order is the order of lists: by resource, then namespace, then name, as etcd orders upstream's keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which resource.
    pub resource: Resource,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name within resource and namespace.
    pub name: Arc<str>,
}

impl Key {
    /// The key of `name` in `namespace` (empty for cluster-scoped kinds).
    pub fn new(resource: impl Into<Resource>, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(out, "{}/{}", self.resource, self.name)
        } else {
            write!(out, "{}/{}/{}", self.resource, self.namespace, self.name)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_knows_its_group() {
        let deployments = Resource::new("apps", "deployments");
        assert_eq!(deployments.as_str(), "deployments.apps");
        assert_eq!((deployments.plural(), deployments.group()), ("deployments", "apps"));
        let pods = Resource::new("", "pods");
        assert_eq!((pods.plural(), pods.group()), ("pods", ""));
    }

    #[test]
    fn keys_order_as_lists_do() {
        let mut keys = [Key::new("pods", "b", "a"), Key::new("pods", "a", "z"), Key::new("nodes", "", "n")];
        keys.sort();
        assert_eq!(keys.map(|k| k.to_string()), ["nodes/n", "pods/a/z", "pods/b/a"]);
    }
}
