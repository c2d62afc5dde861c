//! What a user is told about their own rules: the status of a `SelfSubjectRulesReview`, shown by
//! `kubectl auth can-i --list`.
//!
//! Follows `RulesFor` of upstream's `plugin/pkg/auth/authorizer/rbac/rbac.go` and
//! `pkg/registry/authorization/selfsubjectrulesreview/rest.go`.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{Error, Index, Rule, User};

/// The status: what RBAC allows a user in a namespace, cluster-wide rules included. Each rule is there as it was
/// written, but once, however many bindings give it: clients take the list apart themselves.
///
/// `beyond` says why the list may be incomplete, when other authorizers allow the user more than rules can say; that is
/// so for nodes.
pub fn status(index: &Index, user: &User<'_>, namespace: &str, beyond: Option<&str>) -> Value {
    let found = index.rules_for(user, namespace);
    let mut seen = HashSet::new();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in found.rules {
        if !seen.insert(rule) {
            continue;
        }
        if !rule.resources.is_empty() {
            let only = Rule { non_resource_urls: Vec::new(), ..rule.clone() };
            resources.push(only.to_value());
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": beyond.is_some()});
    let mut faults: Vec<String> = beyond.map(str::to_owned).into_iter().collect();
    if !found.faults.is_empty() {
        faults.push(Error::list(&found.faults));
    }
    match faults.as_slice() {
        [] => {}
        [one] => status["evaluationError"] = json!(one),
        many => status["evaluationError"] = json!(format!("[{}]", many.join(", "))),
    }
    status
}

#[cfg(test)]
mod tests {
    use objects::Key;

    use super::*;
    use crate::PolicyKind;
    use crate::rule::tests::rule;

    #[test]
    fn rules_are_listed_once_and_apart() {
        let mut index = Index::default();
        let mut put = |kind: PolicyKind, namespace: &str, name: &str, value: Value| {
            index.insert(&Key::new(kind.resource(), namespace, name), &value).unwrap();
        };
        let (pods, paths) = (rule("get,list - pods a"), rule("get url /x"));
        let both = json!({"rules": [pods.to_value(), paths.to_value()]});
        let bind = |kind: &str, role: &str| {
            let subjects = json!([{"kind": "Group", "name": "g"}]);
            json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects})
        };
        put(PolicyKind::ClusterRole, "", "a", both.clone());
        put(PolicyKind::ClusterRole, "", "b", both);
        put(PolicyKind::Role, "n", "c", json!({"rules": [rule("get apps deployments").to_value()]}));
        put(PolicyKind::ClusterRoleBinding, "", "a", bind("ClusterRole", "a"));
        put(PolicyKind::ClusterRoleBinding, "", "b", bind("ClusterRole", "b"));
        put(PolicyKind::RoleBinding, "n", "c", bind("Role", "c"));
        put(PolicyKind::RoleBinding, "m", "d", bind("Role", "gone"));
        let groups = ["g".to_owned()];
        let user = User { name: "u", groups: &groups };
        assert_eq!(
            status(&index, &user, "n", None),
            json!({
                "resourceRules": [
                    {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
                    {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]},
                ],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}],
                "incomplete": false,
            })
        );
        let partial = status(&index, &user, "m", None);
        assert_eq!(partial["resourceRules"].as_array().unwrap().len(), 1);
        assert_eq!(partial["evaluationError"], "role.rbac.authorization.k8s.io \"gone\" not found");
        assert_eq!(partial["incomplete"], false);
        let node = status(&index, &User { name: "n", groups: &[] }, "n", Some("ask"));
        assert_eq!((&node["evaluationError"], &node["incomplete"]), (&json!("ask"), &json!(true)));
        assert_eq!(node["resourceRules"], json!([]));
    }
}
