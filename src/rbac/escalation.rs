//! Who may write roles and bindings: nobody gives away what they do not hold.
//!
//! Follows upstream's `pkg/registry/rbac/escalation_check.go`, `pkg/registry/rbac/validation/rule.go` and the
//! `policybased` storages beside them. This check comes on top of authorization: whoever gets here may write the object
//! as such.

use std::collections::BTreeSet;

use objects::Status;
use serde_json::Value;

use crate::rule::quoted;
use crate::{Attributes, Error, GROUP, GROUP_MASTERS, Index, PolicyKind, RoleRef, Rule, User, cover};

/// A write of a role or binding that authorization has let through.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Which kind.
    pub kind: PolicyKind,
    /// Namespace; empty for the cluster-scoped kinds.
    pub namespace: &'a str,
    /// Name in the URL; empty for a POST to a collection: then no rule with `resourceNames` lets `escalate` through.
    pub name: &'a str,
    /// What is there, for an update.
    pub old: Option<&'a Value>,
    /// What is to be there, with defaults filled in.
    pub new: &'a Value,
}

/// Decides a write. `authorized` asks all authorizers of the server, not only RBAC, about the special verbs `escalate`
/// (on roles) and `bind` (on the role that a binding refers to); it is asked at most once.
///
/// # Errors
/// 403 in upstream's words when the writer does not hold what the role gives; 404 when a binding refers to a role that
/// does not exist, since nobody can be shown to hold it; 500 when the role cannot be read.
pub fn check(
    index: &Index,
    user: &User<'_>,
    write: &Write<'_>,
    authorized: impl FnOnce(&Attributes<'_>) -> bool,
) -> Result<(), Status> {
    if user.is_in(GROUP_MASTERS) {
        return Ok(());
    }
    let is_upkeep = || write.old.is_some_and(|old| is_only_for_collection(old, write.new));
    if write.kind.is_binding() {
        let role = RoleRef::parse(&write.new["roleRef"]);
        if is_upkeep() || may_bind(write, &role, authorized) {
            return Ok(());
        }
        let rules = index.role_rules(&role, write.namespace).map_err(|error| error.status())?;
        return confirm(index, user, write.namespace, rules).map_err(|error| forbidden(write, error));
    }
    let escalate = Attributes::of_role("escalate", write.kind.plural(), write.namespace, write.name);
    if authorized(&escalate) || is_upkeep() {
        return Ok(());
    }
    let rules = Rule::parse_all(&write.new["rules"]).map_err(|error| error.status())?;
    confirm(index, user, write.namespace, &rules).map_err(|error| forbidden(write, error))?;
    let aggregates = |value: &Value| {
        let selectors = &value["aggregationRule"]["clusterRoleSelectors"];
        selectors.as_array().is_some_and(|selectors| !selectors.is_empty())
    };
    // An aggregated role gathers whatever anybody labels so, which can be anything; and whoever takes the aggregation
    // away keeps what was gathered from ever shrinking.
    let touches_aggregation =
        write.kind == PolicyKind::ClusterRole && (aggregates(write.new) || write.old.is_some_and(aggregates));
    if touches_aggregation && confirm(index, user, write.namespace, &everything()).is_err() {
        return Err(forbidden(write, "must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

/// Whether a user holds some rules in a namespace (empty: everywhere). `Ok` means that they may give them away.
///
/// # Errors
/// [`Error::Escalation`] with what is missing, merged and sorted, one rule a line; and with the roles that could not be
/// read, if there were any.
pub fn confirm(index: &Index, user: &User<'_>, namespace: &str, rules: &[Rule]) -> Result<(), Error> {
    let held = index.rules_for(user, namespace);
    let missing = cover::uncovered(held.rules.iter().copied(), rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = cover::compact(&missing).iter().map(Rule::to_string).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(user.groups),
        lines.join("\n"),
    );
    if !held.faults.is_empty() {
        text.push_str(&format!("; resolution errors: [{}]", Error::list(&held.faults)));
    }
    Err(Error::Escalation(text))
}

/// Whether an explicit permission lets the writer bind the role, whatever is in it.
fn may_bind(write: &Write<'_>, role: &RoleRef, authorized: impl FnOnce(&Attributes<'_>) -> bool) -> bool {
    let plural = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        _ => return false,
    };
    // It is about the namespace of the binding: a cluster role may be bound in one namespace and not in another.
    let mut wanted = Attributes::of_role("bind", plural, write.namespace, &role.name);
    if let crate::Target::Resource { group, .. } = &mut wanted.target {
        *group = &role.group;
    }
    authorized(&wanted)
}

/// Whether an update changes nothing but what garbage collection changes; that must never be refused.
fn is_only_for_collection(old: &Value, new: &Value) -> bool {
    const KEPT: [&str; 4] = ["ownerReferences", "finalizers", "managedFields", "resourceVersion"];
    let rest = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| !KEPT.contains(&key.as_str()));
        }
        value
    };
    rest(old) == rest(new)
}

/// What an administrator of the whole cluster holds.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

fn forbidden(write: &Write<'_>, why: impl std::fmt::Display) -> Status {
    let name = write.new["metadata"]["name"].as_str().unwrap_or("");
    Status::forbidden(GROUP, write.kind.plural(), name, why)
}

#[cfg(test)]
mod tests {
    use objects::Key;
    use serde_json::json;

    use super::*;
    use crate::rule::tests::rule;

    fn rules(texts: &[&str]) -> Value {
        texts.iter().map(|text| rule(text).to_value()).collect()
    }

    /// Ann may read pods everywhere and write config maps in `n`.
    fn index() -> Index {
        let mut index = Index::default();
        let mut put = |kind: PolicyKind, namespace: &str, name: &str, value: Value| {
            index.insert(&Key::new(kind.resource(), namespace, name), &value).unwrap();
        };
        let to_ann = |kind: &str, role: &str| {
            json!({"roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
                   "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "ann"}]})
        };
        put(PolicyKind::ClusterRole, "", "reader", json!({"rules": rules(&["get,list - pods"])}));
        put(PolicyKind::ClusterRole, "", "owner", json!({"rules": rules(&["* * *", "* url *"])}));
        put(PolicyKind::Role, "n", "writer", json!({"rules": rules(&["get,update - configmaps"])}));
        put(PolicyKind::ClusterRoleBinding, "", "readers", to_ann("ClusterRole", "reader"));
        put(PolicyKind::RoleBinding, "n", "writers", to_ann("Role", "writer"));
        index
    }

    fn check_as(
        user: &str,
        groups: &[&str],
        write: &Write<'_>,
        may: impl FnOnce(&Attributes<'_>) -> bool,
    ) -> Result<(), String> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        check(&index(), &User { name: user, groups: &groups }, write, may).map_err(|status| {
            assert!([403, 404].contains(&status.code), "{status}");
            status.message
        })
    }

    fn write<'a>(kind: PolicyKind, namespace: &'a str, new: &'a Value) -> Write<'a> {
        Write { kind, namespace, name: "", old: None, new }
    }

    fn role(name: &str, texts: &[&str]) -> Value {
        json!({"metadata": {"name": name}, "rules": rules(texts)})
    }

    fn binding(kind: &str, name: &str) -> Value {
        json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}})
    }

    const NEVER: fn(&Attributes<'_>) -> bool = |_| false;

    #[test]
    fn nobody_gives_what_they_do_not_hold() {
        let small = role("r", &["get - pods", "update - configmaps a"]);
        let large = role("r", &["get,watch,delete - pods", "get url /x", "delete - secrets a,b"]);
        assert_eq!(check_as("ann", &[], &write(PolicyKind::Role, "n", &small), NEVER), Ok(()));
        // What is held in a namespace is not held in another, nor everywhere.
        for (kind, namespace) in [(PolicyKind::Role, "m"), (PolicyKind::ClusterRole, "")] {
            assert_eq!(
                check_as("ann", &["g", "system:authenticated"], &write(kind, namespace, &small), NEVER),
                Err(format!(
                    "{}.rbac.authorization.k8s.io \"r\" is forbidden: \
                     user \"ann\" (groups=[\"g\" \"system:authenticated\"]) \
                     is attempting to grant RBAC permissions not currently held:\n\
                     {{APIGroups:[\"\"], Resources:[\"configmaps\"], ResourceNames:[\"a\"], Verbs:[\"update\"]}}",
                    kind.plural()
                ))
            );
        }
        let refused = check_as("ann", &[], &write(PolicyKind::ClusterRole, "", &large), NEVER).unwrap_err();
        assert_eq!(
            refused.lines().skip(1).collect::<Vec<_>>(),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["delete"]}"#,
                r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
            ]
        );
        assert_eq!(check_as("root", &["system:masters"], &write(PolicyKind::ClusterRole, "", &large), NEVER), Ok(()));
    }

    #[test]
    fn unreadable_roles_are_named_in_the_refusal() {
        let mut index = index();
        let lost =
            json!({"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "bob"}]});
        index.insert(&Key::new(PolicyKind::ClusterRoleBinding.resource(), "", "x"), &lost).unwrap();
        let error = confirm(&index, &User { name: "bob", groups: &[] }, "", &[rule("get - pods")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "user \"bob\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}; \
             resolution errors: [clusterrole.rbac.authorization.k8s.io \"gone\" not found]"
        );
    }

    #[test]
    fn escalate_and_bind_are_asked_about_precisely() {
        let large = role("r", &["* * *"]);
        let asked = |write: &Write<'_>, answer: bool| {
            let mut seen = None;
            let result = check_as("ann", &[], write, |wanted| {
                seen = Some(format!("{wanted:?}"));
                answer
            });
            (seen, result.is_ok())
        };
        for (kind, namespace, name, new, wanted) in [
            (PolicyKind::Role, "n", "r", large.clone(), Attributes::of_role("escalate", "roles", "n", "r")),
            (PolicyKind::Role, "n", "", large.clone(), Attributes::of_role("escalate", "roles", "n", "")),
            (PolicyKind::ClusterRole, "", "r", large.clone(), Attributes::of_role("escalate", "clusterroles", "", "r")),
            (
                PolicyKind::RoleBinding,
                "n",
                "b",
                binding("ClusterRole", "owner"),
                Attributes::of_role("bind", "clusterroles", "n", "owner"),
            ),
            (
                PolicyKind::ClusterRoleBinding,
                "",
                "b",
                binding("ClusterRole", "owner"),
                Attributes::of_role("bind", "clusterroles", "", "owner"),
            ),
            (PolicyKind::RoleBinding, "n", "b", binding("Role", "x"), Attributes::of_role("bind", "roles", "n", "x")),
        ] {
            let write = Write { kind, namespace, name, old: None, new: &new };
            assert_eq!(asked(&write, true), (Some(format!("{wanted:?}")), true));
            assert_eq!(asked(&write, false), (Some(format!("{wanted:?}")), false));
        }
    }

    #[test]
    fn a_binding_needs_all_that_its_role_gives() {
        for (namespace, kind, name, expected) in [
            ("n", "ClusterRole", "reader", "ok"),
            ("m", "ClusterRole", "reader", "ok"),
            ("", "ClusterRole", "reader", "ok"),
            ("n", "Role", "writer", "ok"),
            ("n", "ClusterRole", "owner", "rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"ann\""),
            (
                "",
                "ClusterRole",
                "owner",
                "clusterrolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"ann\"",
            ),
            ("m", "Role", "writer", "roles.rbac.authorization.k8s.io \"writer\" not found"),
            ("n", "ClusterRole", "gone", "clusterroles.rbac.authorization.k8s.io \"gone\" not found"),
        ] {
            let kind_of_binding =
                if namespace.is_empty() { PolicyKind::ClusterRoleBinding } else { PolicyKind::RoleBinding };
            let new = binding(kind, name);
            let result = check_as("ann", &[], &write(kind_of_binding, namespace, &new), NEVER);
            match result {
                Ok(()) => assert_eq!("ok", expected, "{namespace:?} {name}"),
                Err(text) => assert!(text.starts_with(expected), "{text}"),
            }
        }
    }

    #[test]
    fn aggregation_needs_everything() {
        let aggregated = json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
        let plain = role("r", &["get - pods"]);
        for (old, new, allowed) in [
            (None, &aggregated, false),
            (Some(&plain), &aggregated, false),
            (Some(&aggregated), &plain, false),
            (Some(&plain), &plain, true),
        ] {
            let write = Write { kind: PolicyKind::ClusterRole, namespace: "", name: "r", old, new };
            let result = check_as("ann", &[], &write, NEVER);
            assert_eq!(result.is_ok(), allowed, "{old:?} {new}");
            if let Err(text) = result {
                assert!(text.ends_with("is forbidden: must have cluster-admin privileges to use the aggregationRule"));
            }
        }
        let mut owning = index();
        let to_ann =
            json!({"roleRef": {"kind": "ClusterRole", "name": "owner"}, "subjects": [{"kind": "User", "name": "ann"}]});
        owning.insert(&Key::new(PolicyKind::ClusterRoleBinding.resource(), "", "o"), &to_ann).unwrap();
        let user = User { name: "ann", groups: &[] };
        assert_eq!(check(&owning, &user, &write(PolicyKind::ClusterRole, "", &aggregated), NEVER), Ok(()));
    }

    #[test]
    fn upkeep_by_garbage_collection_passes() {
        let mut old = role("r", &["* * *"]);
        old["metadata"]["finalizers"] = json!(["x/y"]);
        old["metadata"]["managedFields"] = json!([{"manager": "m"}]);
        let mut new = role("r", &["* * *"]);
        new["metadata"]["ownerReferences"] = json!([{"name": "o"}]);
        let update = |new: &Value| {
            let write = Write { kind: PolicyKind::Role, namespace: "n", name: "r", old: Some(&old), new };
            check_as("ann", &[], &write, NEVER).is_ok()
        };
        assert!(update(&new));
        new["metadata"]["labels"] = json!({"a": "b"});
        assert!(!update(&new));
    }
}
