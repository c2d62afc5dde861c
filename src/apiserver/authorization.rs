//! Who may do what.
//!
//! Three authorizers, one after the other: administrators and masters may do everything; a node's agent what its node
//! needs; everybody what roles give them (`rbac`). The first that says yes decides; what nobody allows is refused, in
//! upstream's words (`apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).

use identity::{Caller, names};
use objects::{Key, Resource, Status};
use rbac::{Target, User};
use tokio::time::Instant;

use crate::api::Api;
use crate::{errors, node_access};

/// Paths that everybody may read, known or not, whatever roles say: a cluster without roles must be seen to live.
const OPEN: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
/// Of Barque's own paths the one that agents read.
const STATUS: &str = "/barque/v1/status";

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `impersonate`; for a path that is no
    /// resource the HTTP method in lower case.
    pub verb: &'a str,
    /// What it is to be done to.
    pub target: Target<'a>,
    /// The node that the field selector binds the request to, if it does.
    pub selected_node: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// A request for objects, or for one.
    pub fn of(verb: &'a str, target: Target<'a>) -> Self {
        Self { verb, target, selected_node: None }
    }

    /// A request for a path that is no resource.
    pub fn path(verb: &'a str, path: &'a str) -> Self {
        Self::of(verb, Target::Path(path))
    }

    fn of_roles(&self) -> rbac::Attributes<'a> {
        rbac::Attributes { verb: self.verb, target: self.target }
    }
}

/// What authorization says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason (empty where upstream gives none).
    Allow(String),
    /// No, for this reason (may be empty).
    Deny(String),
}

/// What the node authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Opinion {
    /// Yes.
    Allow,
    /// Nothing, for this reason (may be empty): roles may still allow it.
    None(String),
    /// Yes if the state relates the object to the node; see `node_access`.
    IfRelated,
}

/// Whether a caller may do everything.
pub fn is_almighty(caller: &Caller) -> bool {
    caller.is_in(names::GROUP_ADMINISTRATORS) || caller.is_in(names::GROUP_MASTERS)
}

/// A caller as roles know them.
pub fn user(caller: &Caller) -> User<'_> {
    User { name: &caller.user, groups: &caller.groups }
}

/// Decides, by the state of this master; for objects of a node by one that holds every acknowledged write.
///
/// # Errors
/// 503 when it takes such a state, and there is none by `patience`.
pub async fn decide(
    api: &Api,
    patience: Instant,
    caller: &Caller,
    wanted: &Attributes<'_>,
) -> Result<Decision, Status> {
    if is_almighty(caller) || is_open(wanted) {
        return Ok(Decision::Allow(String::new()));
    }
    let mut reasons = Vec::new();
    if let Some(node) = caller.node() {
        let opinion = match (node_may(node, wanted), wanted.target) {
            (Opinion::IfRelated, Target::Resource { group, resource, namespace, name, .. }) => {
                let key = Key::new(Resource::new(group, resource), namespace, name);
                let state = api.store.fresh(patience).await.map_err(|error| errors::status(error, &key))?;
                if node_access::related(&state, node, &key) {
                    Opinion::Allow
                } else {
                    Opinion::None(format!("no relationship found between node '{node}' and this object"))
                }
            }
            (opinion, _) => opinion,
        };
        match opinion {
            Opinion::Allow => return Ok(Decision::Allow(String::new())),
            Opinion::None(why) => reasons.push(why),
            Opinion::IfRelated => {}
        }
    }
    let decision = api.policy.index(&api.store).authorize(&user(caller), &wanted.of_roles());
    reasons.push(decision.reason());
    if decision.is_allowed() {
        return Ok(Decision::Allow(decision.reason()));
    }
    reasons.retain(|reason| !reason.is_empty());
    Ok(Decision::Deny(reasons.join("\n")))
}

/// Refuses what [`decide`] does not allow.
///
/// # Errors
/// 403; and as [`decide`].
pub async fn demand(api: &Api, patience: Instant, caller: &Caller, wanted: &Attributes<'_>) -> Result<(), Status> {
    match decide(api, patience, caller, wanted).await? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) => Err(forbidden(caller, wanted, &why)),
    }
}

fn is_open(wanted: &Attributes<'_>) -> bool {
    matches!(wanted.target, Target::Path(path) if OPEN.contains(&path) && matches!(wanted.verb, "get" | "head"))
}

fn node_may(node: &str, wanted: &Attributes<'_>) -> Opinion {
    let none = |why: &str| Opinion::None(format!("node '{node}' {why}"));
    let (group, resource, subresource, namespace, name) = match wanted.target {
        Target::Path(STATUS) if wanted.verb == "get" => return Opinion::Allow,
        Target::Path(_) => return Opinion::None(String::new()),
        Target::Resource { group, resource, subresource, namespace, name } => {
            (group, resource, subresource, namespace, name)
        }
    };
    let own = name == node;
    match (group, resource, subresource, wanted.verb) {
        // Whose Node or Lease is created is for admission to say: the name is in the body.
        ("", "nodes", "", "create") => Opinion::Allow,
        // Of a list or a watch the name is that which the field selector binds it to.
        ("", "nodes", "", "get" | "list" | "watch" | "update" | "patch") if own => Opinion::Allow,
        ("", "nodes", "status", "get" | "update" | "patch") if own => Opinion::Allow,
        ("", "nodes", ..) => none("can only access its own Node"),
        ("coordination.k8s.io", "leases", "", verb) if namespace == "kube-node-lease" => match verb {
            "create" => Opinion::Allow,
            "get" | "update" | "patch" | "delete" if own => Opinion::Allow,
            _ => none("can only access its own Lease"),
        },
        ("", "pods", "", "list" | "watch") => {
            if wanted.selected_node == Some(node) {
                Opinion::Allow
            } else {
                none("can only list and watch pods with the field selector spec.nodeName of its own")
            }
        }
        ("", "pods", "", "get" | "delete") | ("", "pods", "status", "get" | "update" | "patch") => Opinion::IfRelated,
        ("", "secrets" | "configmaps" | "serviceaccounts", "", "get") => Opinion::IfRelated,
        // For which pod, and for whom, is for the handler to check: that is in the body.
        ("", "serviceaccounts", "token", "create") => Opinion::IfRelated,
        ("", "secrets" | "configmaps" | "serviceaccounts", ..) => {
            none("can only read individual resources of this type")
        }
        ("", "events", "", "create" | "update" | "patch") => Opinion::Allow,
        _ => Opinion::None(String::new()),
    }
}

/// 403, in upstream's words.
fn forbidden(caller: &Caller, wanted: &Attributes<'_>, why: &str) -> Status {
    let who = format!("User {:?} cannot {}", caller.user, wanted.verb);
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    match wanted.target {
        Target::Path(path) => Status::new(403, "Forbidden", format!("forbidden: {who} path {path:?}{because}")),
        Target::Resource { group, resource, subresource, namespace, name } => {
            let full = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            let text = format!("{who} resource {full:?} in API group {group:?} {place}{because}");
            Status::forbidden(group, resource, name, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes<'a>(verb: &'a str, full: &'a str, namespace: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
        Attributes::of(verb, Target::Resource { group, resource, subresource, namespace, name })
    }

    #[test]
    fn a_node_may_touch_only_its_own() {
        let rows = [
            ("get", "nodes", "", "n1", "allow"),
            ("patch", "nodes/status", "", "n1", "allow"),
            ("get", "nodes", "", "n2", "none"),
            ("patch", "nodes/status", "", "n2", "none"),
            ("delete", "nodes", "", "n1", "none"),
            ("list", "nodes", "", "", "none"),
            ("list", "nodes", "", "n1", "allow"),
            ("watch", "nodes", "", "n2", "none"),
            ("create", "leases", "kube-node-lease", "", "allow"),
            ("update", "leases", "kube-node-lease", "n1", "allow"),
            ("update", "leases", "kube-node-lease", "n2", "none"),
            ("update", "leases", "default", "n1", "none"),
            ("list", "pods", "", "", "none"),
            ("get", "pods", "d", "p", "related"),
            ("create", "pods", "d", "", "none"),
            ("update", "pods", "d", "p", "none"),
            ("patch", "pods/status", "d", "p", "related"),
            ("create", "pods/binding", "d", "p", "none"),
            ("create", "pods/exec", "d", "p", "none"),
            ("get", "secrets", "d", "s", "related"),
            ("list", "secrets", "d", "", "none"),
            ("watch", "secrets", "d", "", "none"),
            ("list", "secrets", "d", "s", "none"),
            ("update", "configmaps", "d", "c", "none"),
            ("create", "serviceaccounts/token", "d", "s", "related"),
            ("create", "serviceaccounts", "d", "", "none"),
            ("update", "serviceaccounts/token", "d", "s", "none"),
            ("create", "tokenreviews", "", "", "none"),
            ("create", "events", "d", "", "allow"),
            ("delete", "events", "d", "e", "none"),
            ("get", "namespaces", "d", "d", "none"),
            ("impersonate", "users", "", "admin", "none"),
        ];
        for (verb, full, namespace, name, wanted) in rows {
            let found = match node_may("n1", &attributes(verb, full, namespace, name)) {
                Opinion::Allow => "allow",
                Opinion::None(_) => "none",
                Opinion::IfRelated => "related",
            };
            assert_eq!(found, wanted, "{verb} {full} {namespace}/{name}");
        }
        let mut selected = attributes("watch", "pods", "", "");
        selected.selected_node = Some("n1");
        assert_eq!(node_may("n1", &selected), Opinion::Allow);
        selected.selected_node = Some("n2");
        assert_ne!(node_may("n1", &selected), Opinion::Allow);
        assert_eq!(node_may("n1", &Attributes::path("get", STATUS)), Opinion::Allow);
        assert_ne!(node_may("n1", &Attributes::path("get", "/metrics")), Opinion::Allow);
    }

    #[test]
    fn health_and_version_are_open_to_read() {
        assert!(is_open(&Attributes::path("get", "/version")));
        for wanted in [
            Attributes::path("post", "/version"),
            Attributes::path("get", "/metrics"),
            Attributes::path("get", "/healthz/etcd"),
            attributes("get", "/version", "", ""),
        ] {
            assert!(!is_open(&wanted), "{wanted:?}");
        }
    }

    #[test]
    fn refusals_are_upstreams() {
        let user = Caller::authenticated("u", Vec::new());
        for (wanted, why, message) in [
            (
                attributes("list", "pods", "n", ""),
                "",
                r#"pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "n""#,
            ),
            (
                attributes("get", "pods/log", "n", "p"),
                "",
                r#"pods "p" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "n""#,
            ),
            (
                attributes("update", "leases", "", "l"),
                "RBAC: why",
                "leases.coordination.k8s.io \"l\" is forbidden: User \"u\" cannot update resource \"leases\" in API group \
                 \"coordination.k8s.io\" at the cluster scope: RBAC: why",
            ),
            (Attributes::path("get", "/metrics"), "", r#"forbidden: User "u" cannot get path "/metrics""#),
        ] {
            let status = forbidden(&user, &wanted, why);
            assert_eq!((status.message.as_str(), status.code, status.reason.as_str()), (message, 403, "Forbidden"));
        }
    }
}
