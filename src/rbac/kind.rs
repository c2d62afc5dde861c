//! The four kinds that hold policy.

use objects::Resource;

use crate::GROUP;

/// One of the four kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// Rules in a namespace.
    Role,
    /// Rules for the whole cluster, or for any namespace that binds them.
    ClusterRole,
    /// Gives a role of either kind to subjects, in one namespace.
    RoleBinding,
    /// Gives a cluster role to subjects, everywhere.
    ClusterRoleBinding,
}

impl PolicyKind {
    /// All of them, roles before the bindings that refer to them.
    pub const ALL: [Self; 4] = [Self::ClusterRole, Self::Role, Self::ClusterRoleBinding, Self::RoleBinding];

    /// The kind behind a resource, as `roles.rbac.authorization.k8s.io`.
    pub fn of_resource(resource: &Resource) -> Option<Self> {
        if resource.group() != GROUP {
            return None;
        }
        Self::ALL.into_iter().find(|kind| kind.plural() == resource.plural())
    }

    /// The kind by its name in manifests, as `ClusterRole`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As manifests spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Role => "Role",
            Self::ClusterRole => "ClusterRole",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
        }
    }

    /// As URLs spell it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Role => "roles",
            Self::ClusterRole => "clusterroles",
            Self::RoleBinding => "rolebindings",
            Self::ClusterRoleBinding => "clusterrolebindings",
        }
    }

    /// As messages about a missing one spell it.
    pub fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }

    /// The resource that holds this kind's objects.
    pub fn resource(self) -> Resource {
        Resource::new(GROUP, self.plural())
    }

    /// Whether objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::Role | Self::RoleBinding)
    }

    /// Whether it gives a role to subjects, and holds no rules itself.
    pub fn is_binding(self) -> bool {
        matches!(self, Self::RoleBinding | Self::ClusterRoleBinding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_each_of_their_names() {
        for kind in PolicyKind::ALL {
            assert_eq!(PolicyKind::of_resource(&kind.resource()), Some(kind));
            assert_eq!(PolicyKind::by_name(kind.name()), Some(kind));
            assert_eq!(kind.singular(), kind.name().to_lowercase());
        }
        assert_eq!(PolicyKind::of_resource(&Resource::from("roles")), None);
        assert_eq!(PolicyKind::of_resource(&Resource::new(GROUP, "pods")), None);
    }
}
