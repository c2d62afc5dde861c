//! Who wants to do what.

/// Who asks, as authentication (or impersonation) found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'a> {
    /// User name; service accounts are `system:serviceaccount:NAMESPACE:NAME`.
    pub name: &'a str,
    /// All groups, in the order in which messages show them.
    pub groups: &'a [String],
}

impl User<'_> {
    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a special one as `bind`;
    /// for paths that are no resource the HTTP method in lower case.
    pub verb: &'a str,
    /// What it is to be done to.
    pub target: Target<'a>,
}

/// What something is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Objects.
    Resource {
        /// API group; empty for the core group.
        group: &'a str,
        /// Plural.
        resource: &'a str,
        /// Subresource, or empty.
        subresource: &'a str,
        /// Namespace; empty for cluster-scoped objects and for all namespaces at once.
        namespace: &'a str,
        /// Object name, or empty; see [`name`] for what lists and watches have here.
        name: &'a str,
    },
    /// A path that is no resource, as `/version`.
    Path(&'a str),
}

impl<'a> Attributes<'a> {
    /// A request for roles, whose group is this crate's: what `bind` and `escalate` are about.
    pub fn of_role(verb: &'a str, resource: &'a str, namespace: &'a str, name: &'a str) -> Self {
        Self { verb, target: Target::Resource { group: crate::GROUP, resource, subresource: "", namespace, name } }
    }

    /// The namespace, or empty.
    pub fn namespace(&self) -> &'a str {
        match self.target {
            Target::Resource { namespace, .. } => namespace,
            Target::Path(_) => "",
        }
    }
}

/// The object name that a request counts for: that of the URL, or, for a list or a watch, the one to which the field
/// selector `metadata.name=…` binds it; so that a rule with `resourceNames` can allow watching a single object. Other
/// verbs, `deletecollection` among them, have no name unless the URL does.
///
/// Follows upstream's `apiserver/pkg/endpoints/request/requestinfo.go`.
pub fn name<'a>(verb: &str, in_url: &'a str, selected: Option<&'a str>) -> &'a str {
    match selected {
        Some(selected)
            if in_url.is_empty()
                && matches!(verb, "list" | "watch")
                && objects::validation::names::path_segment(selected).is_empty() =>
        {
            selected
        }
        _ => in_url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_selector_names_the_object_of_a_list_or_watch() {
        for (verb, in_url, selected, expected) in [
            ("get", "a", None, "a"),
            ("get", "a", Some("b"), "a"),
            ("list", "", None, ""),
            ("list", "", Some("a"), "a"),
            ("watch", "", Some("a"), "a"),
            ("watch", "a", Some("b"), "a"),
            ("deletecollection", "", Some("a"), ""),
            ("create", "", Some("a"), ""),
            ("list", "", Some("a/b"), ""),
            ("list", "", Some(".."), ""),
        ] {
            assert_eq!(name(verb, in_url, selected), expected, "{verb} {in_url:?} {selected:?}");
        }
    }
}
