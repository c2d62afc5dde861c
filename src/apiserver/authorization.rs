//! Who may do what.
//!
//! Three sorts of callers: administrators and masters may do everything, a node's agent what its node needs, everybody
//! else nothing but ask about themselves. Roles (RBAC) are not served yet; the refusals already read as upstream's.

use identity::{Caller, names};
use objects::{Resource, Status};

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Object name, or empty.
    pub name: &'a str,
    /// The node that the field selector binds the request to, if it does.
    pub selected_node: Option<&'a str>,
    /// The name that the field selector binds the request to, if it does.
    pub selected_name: Option<&'a str>,
}

/// What authorization says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, for this reason (may be empty).
    Deny(String),
    /// If the state relates the object to this caller's node; see `node_access`.
    IfRelated,
}

/// Whether a caller may do everything.
pub fn is_almighty(caller: &Caller) -> bool {
    caller.is_in(names::GROUP_ADMINISTRATORS) || caller.is_in(names::GROUP_MASTERS)
}

/// Decides without looking at any object.
pub fn decide(caller: &Caller, wanted: &Attributes<'_>) -> Decision {
    if is_almighty(caller) {
        return Decision::Allow;
    }
    // Everybody may ask who they are and what they may do.
    if wanted.verb == "create"
        && matches!(
            (wanted.group, wanted.resource),
            ("authentication.k8s.io", "selfsubjectreviews")
                | ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
        )
    {
        return Decision::Allow;
    }
    match caller.node() {
        Some(node) => node_may(node, wanted),
        None => Decision::Deny(String::new()),
    }
}

fn node_may(node: &str, wanted: &Attributes<'_>) -> Decision {
    let own = wanted.name == node;
    let deny = |why: &str| Decision::Deny(format!("node '{node}' {why}"));
    match (wanted.group, wanted.resource, wanted.subresource, wanted.verb) {
        // Whose Node or Lease is created is for admission to say: the name is in the body.
        ("", "nodes", "", "create") => Decision::Allow,
        ("", "nodes", "", "list" | "watch") if wanted.selected_name == Some(node) => Decision::Allow,
        ("", "nodes", "" | "status", "get" | "update" | "patch") if own => Decision::Allow,
        ("", "nodes", ..) => deny("can only access its own Node"),
        ("coordination.k8s.io", "leases", "", verb) if wanted.namespace == "kube-node-lease" => match verb {
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" if own => Decision::Allow,
            _ => deny("can only access its own Lease"),
        },
        ("", "pods", "", "list" | "watch") => {
            if wanted.selected_node == Some(node) {
                Decision::Allow
            } else {
                deny("can only list and watch pods with the field selector spec.nodeName of its own")
            }
        }
        ("", "pods", "", "get" | "delete") | ("", "pods", "status", "get" | "update" | "patch") => Decision::IfRelated,
        ("", "secrets" | "configmaps" | "serviceaccounts", "", "get") => Decision::IfRelated,
        // For which pod, and for whom, is for the handler to check: that is in the body.
        ("", "serviceaccounts", "token", "create") => Decision::IfRelated,
        ("", "secrets" | "configmaps" | "serviceaccounts", ..) => {
            deny("can only read individual resources of this type")
        }
        ("", "events", "", "create" | "update" | "patch") => Decision::Allow,
        _ => Decision::Deny(String::new()),
    }
}

/// 403, in upstream's words.
pub fn forbidden(caller: &Caller, wanted: &Attributes<'_>, why: &str) -> Status {
    let full = if wanted.subresource.is_empty() {
        wanted.resource.to_owned()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let place = if wanted.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", wanted.namespace)
    };
    let mut text = format!(
        "User {:?} cannot {} resource {full:?} in API group {:?} {place}",
        caller.user, wanted.verb, wanted.group
    );
    if !why.is_empty() {
        text.push_str(&format!(": {why}"));
    }
    let mut status = Status::forbidden(wanted.group, wanted.resource, wanted.name, text);
    // A subresource belongs into the name of the resource, which `forbidden` builds from the plural.
    if !wanted.subresource.is_empty() {
        let resource = Resource::new(wanted.group, wanted.resource);
        status.message = status.message.replacen(resource.as_str(), &Resource::new(wanted.group, &full).to_string(), 1);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes<'a>(verb: &'a str, full: &'a str, namespace: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
        Attributes { verb, group, resource, subresource, namespace, name, selected_node: None, selected_name: None }
    }

    #[test]
    fn a_node_may_touch_only_its_own() {
        let node = Caller::authenticated("system:node:n1", ["system:nodes".to_owned()]);
        let rows = [
            ("get", "nodes", "", "n1", "allow"),
            ("patch", "nodes/status", "", "n1", "allow"),
            ("get", "nodes", "", "n2", "deny"),
            ("patch", "nodes/status", "", "n2", "deny"),
            ("delete", "nodes", "", "n1", "deny"),
            ("list", "nodes", "", "", "deny"),
            ("create", "leases", "kube-node-lease", "", "allow"),
            ("update", "leases", "kube-node-lease", "n1", "allow"),
            ("update", "leases", "kube-node-lease", "n2", "deny"),
            ("update", "leases", "default", "n1", "deny"),
            ("list", "pods", "", "", "deny"),
            ("get", "pods", "d", "p", "related"),
            ("create", "pods", "d", "", "deny"),
            ("update", "pods", "d", "p", "deny"),
            ("patch", "pods/status", "d", "p", "related"),
            ("create", "pods/binding", "d", "p", "deny"),
            ("create", "pods/exec", "d", "p", "deny"),
            ("get", "secrets", "d", "s", "related"),
            ("list", "secrets", "d", "", "deny"),
            ("watch", "secrets", "d", "", "deny"),
            ("update", "configmaps", "d", "c", "deny"),
            ("create", "serviceaccounts/token", "d", "s", "related"),
            ("create", "serviceaccounts", "d", "", "deny"),
            ("update", "serviceaccounts/token", "d", "s", "deny"),
            ("create", "tokenreviews", "", "", "deny"),
            ("create", "events", "d", "", "allow"),
            ("delete", "events", "d", "e", "deny"),
            ("get", "namespaces", "", "d", "deny"),
        ];
        for (verb, full, namespace, name, wanted) in rows {
            let found = match decide(&node, &attributes(verb, full, namespace, name)) {
                Decision::Allow => "allow",
                Decision::Deny(_) => "deny",
                Decision::IfRelated => "related",
            };
            assert_eq!(found, wanted, "{verb} {full} {namespace}/{name}");
        }
        let mut selected = attributes("watch", "pods", "", "");
        selected.selected_node = Some("n1");
        assert_eq!(decide(&node, &selected), Decision::Allow);
        selected.selected_node = Some("n2");
        assert_ne!(decide(&node, &selected), Decision::Allow);
    }

    #[test]
    fn a_user_name_alone_makes_no_node() {
        let pretender = Caller::authenticated("system:node:n1", Vec::new());
        assert_ne!(decide(&pretender, &attributes("get", "nodes", "", "n1")), Decision::Allow);
    }

    #[test]
    fn refusals_are_upstreams() {
        let user = Caller::authenticated("u", Vec::new());
        let list = forbidden(&user, &attributes("list", "pods", "n", ""), "");
        assert_eq!(
            list.message,
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"n\""
        );
        let log = forbidden(&user, &attributes("get", "pods/log", "n", "p"), "");
        assert!(
            log.message.starts_with("pods/log \"p\" is forbidden: User \"u\" cannot get resource \"pods/log\""),
            "{log}"
        );
    }
}
