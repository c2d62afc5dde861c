//! The registry of kinds: what each is called, where its fields are described, which subresources it has.

use std::sync::{Arc, LazyLock};

use crate::Resource;

/// One kind that the API serves, with everything that differs between kinds and is not code.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resource that holds this kind's objects.
    pub fn resource(&self) -> Resource {
        Resource::new(&self.group, &self.plural)
    }
}

/// All kinds this build serves, in the order discovery lists them.
pub fn all() -> &'static [Arc<Kind>] {
    &KINDS
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
    KINDS.iter().find(|kind| kind.group == resource.group() && kind.plural == resource.plural())
}

static KINDS: LazyLock<Vec<Arc<Kind>>> = LazyLock::new(|| {
    vec![
        core("Namespace", "namespaces", &["ns"]).cluster().status().selects(&["status.phase"]).done(),
        core("Node", "nodes", &["no"]).cluster().status().selects(&["spec.unschedulable"]).done(),
        core("Pod", "pods", &["po"])
            .status()
            .generation()
            .all()
            .selects(&[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.nominatedNodeName",
            ])
            .done(),
        core("ConfigMap", "configmaps", &["cm"]).done(),
        core("Secret", "secrets", &[]).selects(&["type"]).done(),
        core("ServiceAccount", "serviceaccounts", &["sa"]).done(),
        core("Event", "events", &["ev"])
            .selects(&[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ])
            .done(),
        grouped("apps", "Deployment", "deployments", &["deploy"]).status().scale().generation().all().done(),
        grouped("apps", "ReplicaSet", "replicasets", &["rs"])
            .status()
            .scale()
            .generation()
            .all()
            .selects(&["status.replicas"])
            .done(),
        grouped("coordination.k8s.io", "Lease", "leases", &[]).done(),
    ]
});

fn core(kind: &str, plural: &str, short_names: &[&str]) -> Builder {
    grouped("", kind, plural, short_names)
}

fn grouped(group: &str, kind: &str, plural: &str, short_names: &[&str]) -> Builder {
    let package = match group {
        "" => "core",
        other => other.split('.').next().unwrap_or(other),
    };
    Builder(Kind {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: short_names.iter().map(|name| (*name).to_owned()).collect(),
        categories: Vec::new(),
        namespaced: true,
        message: format!("k8s.io.api.{package}.v1.{kind}"),
        has_status: false,
        has_scale: false,
        counts_generation: false,
        field_selectors: Vec::new(),
    })
}

/// Spells a kind in the registry above by what makes it differ from a plain namespaced one.
struct Builder(Kind);

impl Builder {
    fn cluster(mut self) -> Self {
        self.0.namespaced = false;
        self
    }

    fn status(mut self) -> Self {
        self.0.has_status = true;
        self
    }

    fn scale(mut self) -> Self {
        self.0.has_scale = true;
        self
    }

    fn generation(mut self) -> Self {
        self.0.counts_generation = true;
        self
    }

    fn all(mut self) -> Self {
        self.0.categories.push("all".into());
        self
    }

    fn selects(mut self, fields: &[&str]) -> Self {
        self.0.field_selectors = fields.iter().map(|field| (*field).to_owned()).collect();
        self
    }

    fn done(self) -> Arc<Kind> {
        Arc::new(self.0)
    }
}

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
}
