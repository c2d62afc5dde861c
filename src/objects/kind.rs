//! The registry of kinds: what each is called, where its fields are described, which subresources it has.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::kinds::{ALL, Declaration};
use crate::{Custom, Resource};

/// One kind in one version that the API serves.
#[derive(Clone)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version of this shape of the kind, as `v1`.
    pub version: String,
    /// Kind as manifests spell it, as `Pod`.
    pub kind: String,
    /// Plural, as in URLs.
    pub plural: String,
    /// Singular, as `kubectl get pod` spells it.
    pub singular: String,
    /// Kind of lists, as `PodList`.
    pub list_kind: String,
    /// Short names, as `po`.
    pub short_names: Vec<String>,
    /// Categories, as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Name of the kind's message in the field table, as `k8s.io.api.core.v1.Pod`.
    pub message: String,
    /// Whether `/status` exists: then main writes ignore status, and status writes ignore the rest.
    pub has_status: bool,
    /// Whether `/scale` exists (autoscaling/v1).
    pub has_scale: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub counts_generation: bool,
    /// Fields that field selectors may name, besides `metadata.name` and `metadata.namespace`; dotted JSON paths.
    pub field_selectors: Vec<String>,
    /// Subresources that are neither `/status` nor `/scale`.
    pub subresources: &'static [Subresource],
    /// What the kind does, where a definition describes it.
    pub custom: Option<Arc<dyn Custom>>,
    pub(crate) declared: &'static Declaration,
}

/// A subresource with a name and verbs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Name behind the slash.
    pub name: &'static str,
    /// Group of what is sent and answered; empty for the parent's own.
    pub group: &'static str,
    /// Version of it.
    pub version: &'static str,
    /// Kind of it.
    pub kind: &'static str,
    /// What can be done with it, in upstream's words.
    pub verbs: &'static [&'static str],
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resource that holds this kind's objects.
    pub fn resource(&self) -> Resource {
        match self.declared.stored {
            Some((group, plural)) => Resource::new(group, plural),
            None => Resource::new(&self.group, &self.plural),
        }
    }

    /// Whether the bytes that are stored are those that are shown. Custom resources are brought into the form of their
    /// definition whenever they are read.
    pub fn shows_what_is_stored(&self) -> bool {
        self.is_stored() && self.custom.is_none()
    }

    /// Whether objects are stored in this very form; other forms of the same objects are converted.
    pub fn is_stored(&self) -> bool {
        self.declared.convert.is_none()
    }

    /// What whoever writes an object of a kind should know that is only kept: nothing acts upon it.
    pub fn stored_only(&self) -> Option<String> {
        let told = || format!("this version of Barque stores {} and nothing acts upon them yet", self.resource());
        self.declared.stored_only.then(told)
    }

    /// The form in which this kind's objects are stored: itself for most kinds.
    pub fn stored(&self) -> &Kind {
        let stored = self.declared.convert.and_then(|convert| by_kind(convert.of.0, convert.of.1));
        stored.map_or(self, |kind| &**kind)
    }

    /// Turns an object of this form into the stored one, with its `apiVersion` and `kind`.
    pub fn to_stored(&self, value: &mut Value) {
        if let (Some(convert), Some(map)) = (self.declared.convert, value.as_object_mut()) {
            (convert.to_stored)(map);
            map.insert("apiVersion".into(), Value::from(convert.of.0));
            map.insert("kind".into(), Value::from(convert.of.1));
        }
    }

    /// Turns a stored object into this form, with its `apiVersion` and `kind`.
    pub fn from_stored(&self, value: &mut Value) {
        if let Some(custom) = &self.custom {
            return custom.read(value);
        }
        if let (Some(convert), Some(map)) = (self.declared.convert, value.as_object_mut()) {
            (convert.from_stored)(map);
            map.insert("apiVersion".into(), Value::from(self.api_version()));
            map.insert("kind".into(), Value::from(self.kind.as_str()));
        }
    }

    /// A kind that no code here declares, as a custom resource is: it has nothing special but its names, which and the rest
    /// the caller fills in. Of its objects only the metadata is known.
    pub fn undeclared(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        static PLAIN: Declaration = Declaration {
            status_keeps: &["labels", "annotations", "finalizers", "ownerReferences", "generateName"],
            ..Declaration::plain("", "", "", "")
        };
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            list_kind: format!("{kind}List"),
            namespaced,
            message: String::new(),
            ..Self::of(&PLAIN)
        }
    }

    fn of(declared: &'static Declaration) -> Self {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let package = match (declared.package, declared.group) {
            ("", "") => "k8s.io.api.core".to_owned(),
            ("", group) => format!("k8s.io.api.{}", group.split('.').next().unwrap_or(group)),
            (package, _) => package.to_owned(),
        };
        Self {
            group: declared.group.into(),
            version: declared.version.into(),
            kind: declared.kind.into(),
            plural: declared.plural.into(),
            singular: declared.kind.to_lowercase(),
            list_kind: format!("{}List", declared.kind),
            short_names: strings(declared.short_names),
            categories: strings(declared.categories),
            namespaced: declared.namespaced,
            message: format!("{package}.{}.{}", declared.version, declared.kind),
            has_status: declared.status,
            has_scale: declared.scale,
            counts_generation: declared.generation,
            field_selectors: strings(declared.selects),
            subresources: declared.subresources,
            custom: None,
            declared,
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (&self.group, &self.version, &self.kind) == (&other.group, &other.version, &other.kind)
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.api_version(), self.kind)
    }
}

/// All kinds this build serves, in the order discovery lists them; the stored form of a kind before its others.
pub fn all() -> &'static [Arc<Kind>] {
    &KINDS
}

/// All kinds in the form in which they are stored: each object is of exactly one of them.
pub fn stored() -> impl Iterator<Item = &'static Arc<Kind>> {
    KINDS.iter().filter(|kind| kind.is_stored())
}

/// The kind behind `/apis/GROUP/VERSION/PLURAL`; the core group is empty.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Kind>> {
    KINDS.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind that a manifest names with `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Arc<Kind>> {
    KINDS.iter().find(|candidate| candidate.kind == kind && candidate.api_version() == api_version)
}

/// The kind (in its stored version) of a resource.
pub fn by_resource(resource: &Resource) -> Option<&'static Arc<Kind>> {
    stored().find(|kind| kind.group == resource.group() && kind.plural == resource.plural())
}

static KINDS: LazyLock<Vec<Arc<Kind>>> =
    LazyLock::new(|| ALL.iter().map(|declared| Arc::new(Kind::of(declared))).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_each_of_their_names() {
        let deployment = by_kind("apps/v1", "Deployment").expect("served");
        assert_eq!(deployment.message, "k8s.io.api.apps.v1.Deployment");
        assert_eq!(by_plural("apps", "v1", "deployments"), Some(deployment));
        assert_eq!(by_resource(&deployment.resource()), Some(deployment));
        assert_eq!(by_kind("v1", "Deployment"), None);
    }

    #[test]
    fn no_name_stands_twice() {
        let mut plurals: Vec<(&str, &str, &str)> = Vec::new();
        for kind in all() {
            let plural = (kind.group.as_str(), kind.version.as_str(), kind.plural.as_str());
            assert!(!plurals.contains(&plural), "{kind:?}");
            plurals.push(plural);
            assert_eq!(by_kind(&kind.api_version(), &kind.kind), Some(kind));
            // A resource leads to the one form that is stored, also from the other forms.
            let stored = by_resource(&kind.resource()).unwrap_or_else(|| panic!("{kind:?} is stored nowhere"));
            assert_eq!(stored.resource(), kind.resource());
            assert_eq!(**stored, *kind.stored());
        }
    }
}
