//! Roles and their bindings: who may do what.
//!
//! Follows `pkg/apis/rbac/v1/defaults.go`, `pkg/apis/rbac/validation/validation.go` and `pkg/registry/rbac/*/strategy.go`.

use serde_json::{Map, Value, json};

use super::Declaration;
use super::workload::label_selector;
use crate::columns::{self, AGE, CREATED_AT, Column, NAME};
use crate::defaulting::{object, objects, or_set};
use crate::validation::{Faults, is_empty, list, names, text};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static ROLE: Declaration = Declaration {
    named: names::path_segment,
    rules: Some(|faults, role| policies(faults, role, true)),
    columns: &[NAME, CREATED_AT],
    ..Declaration::plain(GROUP, "v1", "Role", "roles")
};

pub(super) static CLUSTER_ROLE: Declaration = Declaration {
    rules: Some(|faults, role| {
        policies(faults, role, false);
        let selectors = &role["aggregationRule"]["clusterRoleSelectors"];
        if !role["aggregationRule"].is_null() && is_empty(selectors) {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            faults.required("aggregationRule.clusterRoleSelectors", detail);
        }
        for (path, selector) in list("aggregationRule.clusterRoleSelectors", selectors) {
            label_selector(faults, &path, selector);
        }
    }),
    named: names::path_segment,
    columns: &[NAME, CREATED_AT],
    ..Declaration::cluster(GROUP, "v1", "ClusterRole", "clusterroles")
};

pub(super) static ROLE_BINDING: Declaration = Declaration {
    named: names::path_segment,
    fill: Some(fill),
    rules: Some(|faults, binding| bindings(faults, binding, &["Role", "ClusterRole"])),
    changed: Some(|faults, old, new| {
        bindings(faults, new, &["Role", "ClusterRole"]);
        same_role(faults, old, new);
    }),
    columns: BINDING,
    ..Declaration::plain(GROUP, "v1", "RoleBinding", "rolebindings")
};

pub(super) static CLUSTER_ROLE_BINDING: Declaration = Declaration {
    named: names::path_segment,
    fill: Some(fill),
    rules: Some(|faults, binding| bindings(faults, binding, &["ClusterRole"])),
    changed: Some(|faults, old, new| {
        bindings(faults, new, &["ClusterRole"]);
        same_role(faults, old, new);
    }),
    columns: BINDING,
    ..Declaration::cluster(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings")
};

const BINDING: &[Column] = &[
    NAME,
    Column::text("Role", "The role that is bound.").made(|object, _| {
        let role = &object["roleRef"];
        json!(format!("{}/{}", columns::text(&role["kind"]), columns::text(&role["name"])))
    }),
    AGE,
    Column::wide("Users", "Users in the binding").made(|object, _| json!(subjects(object, "User"))),
    Column::wide("Groups", "Groups in the binding").made(|object, _| json!(subjects(object, "Group"))),
    Column::wide("ServiceAccounts", "ServiceAccounts in the binding")
        .made(|object, _| json!(subjects(object, "ServiceAccount"))),
];

fn fill(map: &mut Map<String, Value>) {
    if let Some(role) = object(map.get_mut("roleRef")) {
        or_set(role, "apiGroup", GROUP);
    }
    for subject in objects(map.get_mut("subjects")) {
        // Service accounts are of the core group, whose name is empty.
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            or_set(subject, "apiGroup", GROUP);
        }
    }
}

fn policies(faults: &mut Faults, role: &Value, namespaced: bool) {
    for (path, rule) in list("rules", &role["rules"]) {
        let at = |field: &str| format!("{path}.{field}");
        if is_empty(&rule["verbs"]) {
            faults.required(&at("verbs"), "verbs must contain at least one value");
        }
        if !is_empty(&rule["nonResourceURLs"]) {
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                faults.invalid(&at("nonResourceURLs"), &rule["nonResourceURLs"], detail);
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|key| !is_empty(&rule[*key])) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                faults.invalid(&at("nonResourceURLs"), &rule["nonResourceURLs"], detail);
            }
            continue;
        }
        if is_empty(&rule["apiGroups"]) {
            faults.required(&at("apiGroups"), "resource rules must supply at least one api group");
        }
        if is_empty(&rule["resources"]) {
            faults.required(&at("resources"), "resource rules must supply at least one resource");
        }
    }
}

fn bindings(faults: &mut Faults, binding: &Value, kinds: &[&str]) {
    let role = &binding["roleRef"];
    faults.supported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]);
    faults.supported("roleRef.kind", &role["kind"], kinds);
    faults.needs_name("roleRef.name", &role["name"], names::path_segment);
    let namespaced = kinds.len() > 1;
    for (path, subject) in list("subjects", &binding["subjects"]) {
        let at = |field: &str| format!("{path}.{field}");
        faults.needs(&at("name"), &subject["name"]);
        match text(subject, "kind") {
            "ServiceAccount" => {
                faults.may_be_named(&at("name"), &subject["name"], names::dns_subdomain);
                if !is_empty(&subject["apiGroup"]) {
                    faults.one_of(&at("apiGroup"), &subject["apiGroup"], &[""]);
                }
                if !namespaced {
                    faults.needs(&at("namespace"), &subject["namespace"]);
                }
            }
            "User" | "Group" => faults.one_of(&at("apiGroup"), &json!(text(subject, "apiGroup")), &[GROUP]),
            _ => faults.supported(&at("kind"), &json!(text(subject, "kind")), &["ServiceAccount", "User", "Group"]),
        }
    }
}

fn same_role(faults: &mut Faults, old: &Value, new: &Value) {
    if old["roleRef"] != new["roleRef"] {
        faults.invalid("roleRef", &new["roleRef"], "cannot change roleRef");
    }
}

fn subjects(binding: &Value, kind: &str) -> String {
    let subjects = columns::list(&binding["subjects"]).iter().filter(|subject| subject["kind"] == kind);
    let name = |subject: &Value| match (kind, text(subject, "namespace")) {
        ("ServiceAccount", namespace) if !namespace.is_empty() => format!("{namespace}/{}", text(subject, "name")),
        _ => text(subject, "name").to_owned(),
    };
    subjects.map(name).collect::<Vec<_>>().join(", ")
}
