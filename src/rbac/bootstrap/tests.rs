//! The built-in policy: that it is whole, valid, and lets people do what they can do elsewhere.

use std::collections::BTreeSet;

use objects::Key;

use super::*;
use crate::rule::tests::request;
use crate::{Index, User, aggregation, cover};

fn built_in() -> Vec<(PolicyKind, Value)> {
    objects().expect("the built-in policy is whole")
}

/// A cluster with the built-in policy and aggregated roles filled in.
fn cluster() -> Index {
    let mut objects = built_in();
    // The chain from view over edit to admin has three links.
    for _ in 0..3 {
        let roles: Vec<Value> =
            objects.iter().filter(|(kind, _)| *kind == PolicyKind::ClusterRole).map(|(_, role)| role.clone()).collect();
        for (_, object) in &mut objects {
            if let Some(rules) = aggregation::missing_change(object, &roles).unwrap() {
                object["rules"] = rules;
            }
        }
    }
    let mut index = Index::default();
    for (kind, object) in &objects {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
        index.insert(&Key::new(kind.resource(), &text("namespace"), &text("name")), object).unwrap();
    }
    index
}

#[test]
fn every_object_is_valid_and_there_once() {
    let objects = built_in();
    let mut seen = BTreeSet::new();
    for (kind, object) in &objects {
        let metadata = &object["metadata"];
        let served = objects::kind::by_kind(&format!("{GROUP}/v1"), kind.name()).unwrap();
        assert_eq!(objects::validation::create(served, object), [], "{object}");
        assert_eq!(object["kind"], kind.name());
        assert_eq!(metadata["labels"][LABEL.0], LABEL.1);
        assert_eq!(metadata["annotations"][AUTOUPDATE], "true");
        assert_eq!(metadata["namespace"].is_string(), kind.is_namespaced(), "{object}");
        let namespace = metadata["namespace"].as_str().unwrap_or("").to_owned();
        assert!(namespace.is_empty() || namespace.starts_with("kube-"), "{object}");
        assert!(seen.insert((*kind, namespace, metadata["name"].to_string())), "twice: {metadata}");
        let mut filled = object.clone();
        objects::defaulting::apply(served, &mut filled);
        assert_eq!(&filled, object);
        for rule in Rule::parse_all(&object["rules"]).unwrap() {
            for list in [&rule.verbs, &rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls]
            {
                assert!(list.is_sorted() && list.iter().collect::<BTreeSet<_>>().len() == list.len(), "{rule}");
            }
        }
    }
    assert!(objects.len() > 80, "{}", objects.len());
    // Roles come before the bindings that refer to them.
    let first_binding = objects.iter().position(|(kind, _)| kind.is_binding()).unwrap();
    assert!(objects[first_binding..].iter().all(|(kind, _)| kind.is_binding()));
}

#[test]
fn every_binding_finds_its_role() {
    let index = cluster();
    for (kind, object) in built_in().iter().filter(|(kind, _)| kind.is_binding()) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("");
        let rules = index.role_rules(&crate::RoleRef::parse(&object["roleRef"]), namespace);
        assert!(rules.is_ok_and(|rules| !rules.is_empty()), "{kind:?} {object}");
    }
}

#[test]
fn callers_may_do_what_they_may_do_elsewhere() {
    let index = cluster();
    let may = |user: &str, groups: &[&str], wanted: &str| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        index.authorize(&User { name: user, groups: &groups }, &request(wanted)).is_allowed()
    };
    for (groups, wanted, expected) in [
        (&["system:masters"][..], "delete - secrets n s", true),
        (&["system:masters"], "post /anything", true),
        (&["system:authenticated"], "get /openapi/v3/apis/apps/v1", true),
        (&["system:authenticated"], "get /apis", true),
        (&["system:authenticated"], "get /metrics", false),
        (&["system:authenticated"], "create authorization.k8s.io selfsubjectrulesreviews - -", true),
        (&["system:authenticated"], "create authentication.k8s.io selfsubjectreviews - -", true),
        (&["system:authenticated"], "create authorization.k8s.io subjectaccessreviews - -", false),
        (&["system:authenticated"], "get - pods n p", false),
        (&["system:unauthenticated"], "get /version", true),
        (&["system:unauthenticated"], "get /apis", false),
        (&["system:unauthenticated"], "create authorization.k8s.io selfsubjectaccessreviews - -", false),
        (&["system:monitoring"], "get /metrics", true),
        (&["system:monitoring"], "get /livez/ping", true),
        (&["system:serviceaccounts"], "get /openid/v1/jwks", true),
        // Nodes are the node authorizer's.
        (&["system:nodes"], "get - pods n p", false),
    ] {
        assert_eq!(may("u", groups, wanted), expected, "{groups:?} {wanted}");
    }
    assert!(may("system:serviceaccount:kube-system:deployment-controller", &[], "create apps replicasets n -"));
    assert!(!may("system:serviceaccount:default:deployment-controller", &[], "create apps replicasets n -"));
    assert!(may("system:kube-scheduler", &[], "create - pods/binding n p"));
    assert!(may("system:kube-scheduler", &[], "get - configmaps kube-system extension-apiserver-authentication"));
    assert!(!may("system:kube-scheduler", &[], "get - configmaps kube-system other"));
}

#[test]
fn admin_edit_and_view_hold_one_another() {
    let index = cluster();
    let rules = |name: &str| {
        let role = crate::RoleRef { group: GROUP.into(), kind: "ClusterRole".into(), name: name.into() };
        index.role_rules(&role, "").unwrap().to_vec()
    };
    let (admin, edit, view) = (rules("admin"), rules("edit"), rules("view"));
    assert_eq!(cover::uncovered(&edit, &view), []);
    assert_eq!(cover::uncovered(&admin, &edit), []);
    assert_ne!(cover::uncovered(&view, &edit), []);
    assert_ne!(cover::uncovered(&edit, &admin), []);
    for (role, wanted, expected) in [
        (&view, "list - pods n -", true),
        (&view, "get - pods/log n p", true),
        (&view, "get - secrets n s", false),
        (&view, "create - pods/exec n p", false),
        (&view, "get rbac.authorization.k8s.io roles n r", false),
        (&edit, "get - secrets n s", true),
        (&edit, "create - pods/exec n p", true),
        (&edit, "update apps deployments/scale n d", true),
        (&edit, "create rbac.authorization.k8s.io rolebindings n -", false),
        (&edit, "update - resourcequotas n q", false),
        (&admin, "create rbac.authorization.k8s.io rolebindings n -", true),
        (&admin, "bind rbac.authorization.k8s.io roles n r", false),
        (&admin, "delete - namespaces - n", false),
    ] {
        assert_eq!(role.iter().any(|rule| rule.allows(&request(wanted))), expected, "{wanted}");
    }
}

#[test]
fn damaged_lines_are_named() {
    for (text, line, reason) in [
        ("  get core pods", 1, "belongs to no object"),
        ("\nclusterrole a\n  get core\n", 3, "is neither rule nor subject of the object above it"),
        ("bind a\n  get core pods", 2, "is neither rule nor subject of the object above it"),
        ("# x\nclusterrol a", 2, "begins no object"),
        ("clusterrole a feed=b", 1, "begins no object"),
    ] {
        assert_eq!(parse(text).unwrap_err(), Error::Policy { line, reason: reason.into() }, "{text}");
    }
}
