//! Whether a role or binding may be stored: upstream's rules, paths and texts.
//!
//! Follows upstream's `pkg/apis/rbac/validation/validation.go`. Runs on values with defaults filled in, beside the
//! rules of `metadata`, which `objects::validation` has for all kinds; but names of these four follow [`path_segment`].

use objects::selector::Labels;
use objects::validation::{forbidden, invalid, names, required};
use objects::{Cause, Status};
use serde_json::{Value, json};

use crate::{GROUP, PolicyKind};

/// How many faults are reported, as in `objects::validation`.
const CAUSES_MAX: usize = 100;

/// What is wrong with a new object, beside its metadata; empty when nothing is.
pub fn create(kind: PolicyKind, value: &Value) -> Vec<Cause> {
    let mut faults = Vec::new();
    match kind {
        PolicyKind::Role => rules(&mut faults, &value["rules"], true),
        PolicyKind::ClusterRole => {
            rules(&mut faults, &value["rules"], false);
            aggregation(&mut faults, &value["aggregationRule"]);
        }
        PolicyKind::RoleBinding => binding(&mut faults, value, &["Role", "ClusterRole"], true),
        PolicyKind::ClusterRoleBinding => binding(&mut faults, value, &["ClusterRole"], false),
    }
    faults.truncate(CAUSES_MAX);
    faults
}

/// What is wrong with replacing `old` by `new`, beside its metadata; empty when nothing is. A binding keeps its role:
/// who may change its subjects was perhaps never allowed to bind another one.
pub fn update(kind: PolicyKind, old: &Value, new: &Value) -> Vec<Cause> {
    let mut faults = create(kind, new);
    if kind.is_binding() && old["roleRef"] != new["roleRef"] && faults.len() < CAUSES_MAX {
        // Shown with the names of upstream's internal type, which has no others.
        let role = &new["roleRef"];
        let shown = json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
        faults.push(invalid("roleRef", &shown, "field is immutable"));
    }
    faults
}

/// What is wrong with a name that is one step of a URL path; empty when nothing is. The four kinds allow all of them.
///
/// Follows upstream's `apimachinery/pkg/api/validation/path/name.go`.
pub fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"].into_iter().filter(|part| name.contains(part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// The 422 for faults, or nothing.
pub fn status(kind: PolicyKind, name: &str, faults: Vec<Cause>) -> Option<Status> {
    if faults.is_empty() { None } else { Some(Status::invalid(GROUP, kind.name(), name, faults)) }
}

fn rules(faults: &mut Vec<Cause>, rules: &Value, is_namespaced: bool) {
    for (path, rule) in list("rules", rules) {
        let empty = |key: &str| rule[key].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            faults.push(required(&format!("{path}.verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let field = format!("{path}.nonResourceURLs");
            if is_namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                faults.push(invalid(&field, &rule["nonResourceURLs"], why));
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                faults.push(invalid(&field, &rule["nonResourceURLs"], why));
            }
            continue;
        }
        if empty("apiGroups") {
            faults.push(required(&format!("{path}.apiGroups"), "resource rules must supply at least one api group"));
        }
        if empty("resources") {
            faults.push(required(&format!("{path}.resources"), "resource rules must supply at least one resource"));
        }
    }
}

fn aggregation(faults: &mut Vec<Cause>, aggregation: &Value) {
    const PATH: &str = "aggregationRule.clusterRoleSelectors";
    if aggregation.is_null() {
        return;
    }
    let selectors = &aggregation["clusterRoleSelectors"];
    if selectors.as_array().is_none_or(Vec::is_empty) {
        faults.push(required(PATH, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
    }
    for (path, one) in list(PATH, selectors) {
        selector(faults, &path, one);
    }
}

/// Follows upstream's `apimachinery/pkg/apis/meta/v1/validation/validation.go`.
fn selector(faults: &mut Vec<Cause>, path: &str, selector: &Value) {
    let mut named = |path: &str, text: &Value, grammar: fn(&str) -> Vec<String>| {
        let why = grammar(text.as_str().unwrap_or(""));
        faults.extend(why.into_iter().map(|why| invalid(path, text, why)));
    };
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        named(&format!("{path}.matchLabels"), &json!(key), names::label_key);
        named(&format!("{path}.matchLabels"), value, names::label_value);
    }
    for (path, expression) in list(&format!("{path}.matchExpressions"), &selector["matchExpressions"]) {
        named(&format!("{path}.key"), &expression["key"], names::label_key);
        for (path, value) in list(&format!("{path}.values"), &expression["values"]) {
            named(&path, value, names::label_value);
        }
    }
    for (path, expression) in list(&format!("{path}.matchExpressions"), &selector["matchExpressions"]) {
        let has_values = expression["values"].as_array().is_some_and(|values| !values.is_empty());
        let values = format!("{path}.values");
        match text(expression, "operator") {
            "In" | "NotIn" if !has_values => {
                faults.push(required(&values, "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if has_values => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                faults.push(forbidden(&values, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => faults.push(invalid(
                &format!("{path}.operator"),
                &expression["operator"],
                "not a valid selector operator",
            )),
        }
    }
    if Labels::from_value(selector).is_err() {
        faults.push(invalid(path, selector, "invalid label selector."));
    }
}

fn binding(faults: &mut Vec<Cause>, value: &Value, kinds: &[&str], is_namespaced: bool) {
    let role = &value["roleRef"];
    one_of(faults, "roleRef.apiGroup", text(role, "apiGroup"), &[GROUP]);
    one_of(faults, "roleRef.kind", text(role, "kind"), kinds);
    match text(role, "name") {
        "" => faults.push(required("roleRef.name", "")),
        name => {
            let why = path_segment(name);
            faults.extend(why.into_iter().map(|why| invalid("roleRef.name", &role["name"], why)));
        }
    }
    for (path, one) in list("subjects", &value["subjects"]) {
        subject(faults, &path, one, is_namespaced);
    }
}

fn subject(faults: &mut Vec<Cause>, path: &str, subject: &Value, is_namespaced: bool) {
    let field = |key: &str| format!("{path}.{key}");
    let name = text(subject, "name");
    if name.is_empty() {
        faults.push(required(&field("name"), ""));
    }
    let kind = text(subject, "kind");
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                let why = names::dns_subdomain(name);
                faults.extend(why.into_iter().map(|why| invalid(&field("name"), &subject["name"], why)));
            }
            one_of(faults, &field("apiGroup"), text(subject, "apiGroup"), &[""]);
            if !is_namespaced && text(subject, "namespace").is_empty() {
                faults.push(required(&field("namespace"), ""));
            }
        }
        "User" | "Group" => {
            one_of(faults, &field("apiGroup"), text(subject, "apiGroup"), &[GROUP]);
        }
        _ => one_of(faults, &field("kind"), kind, &["ServiceAccount", "User", "Group"]),
    }
}

/// Unlike elsewhere, an absent value is not supported either.
fn one_of(faults: &mut Vec<Cause>, field: &str, text: &str, supported: &[&str]) {
    if supported.contains(&text) {
        return;
    }
    let list: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
    faults.push(Cause {
        reason: "FieldValueNotSupported".into(),
        message: format!("Unsupported value: {text:?}: supported values: {}", list.join(", ")),
        field: field.into(),
    });
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// The elements of a list with their paths.
fn list<'a>(path: &str, value: &'a Value) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
    let path = path.to_owned();
    let elements = value.as_array().into_iter().flatten().enumerate();
    elements.map(move |(index, element)| (format!("{path}[{index}]"), element))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(faults: &[Cause]) -> Vec<String> {
        faults.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn rules_are_checked_as_upstream_does() {
        let whole = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/a"]});
        let many = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["a", "b"], "resourceNames": ["x"]});
        for (kind, rules, expected) in [
            (PolicyKind::Role, json!([whole, many]), vec![]),
            (PolicyKind::ClusterRole, json!([whole, urls, many]), vec![]),
            (PolicyKind::Role, Value::Null, vec![]),
            (
                PolicyKind::Role,
                json!([whole, urls]),
                vec![
                    "rules[1].nonResourceURLs: Invalid value: [\"/a\"]: \
                     namespaced rules cannot apply to non-resource URLs",
                ],
            ),
            (
                PolicyKind::ClusterRole,
                json!([{"apiGroups": [], "verbs": []}]),
                vec![
                    "rules[0].verbs: Required value: verbs must contain at least one value",
                    "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                    "rules[0].resources: Required value: resource rules must supply at least one resource",
                ],
            ),
            (
                PolicyKind::ClusterRole,
                json!([{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}]),
                vec![
                    "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: \
                     rules cannot apply to both regular resources and non-resource URLs",
                ],
            ),
        ] {
            assert_eq!(shown(&create(kind, &json!({ "rules": rules }))), expected, "{kind:?} {rules}");
        }
        let bare = json!({"rules": vec![json!({}); 200]});
        assert_eq!(create(PolicyKind::Role, &bare).len(), CAUSES_MAX);
    }

    #[test]
    fn aggregations_are_checked_as_upstream_does() {
        let good = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}, {}]});
        for (aggregation, faults) in [
            (Value::Null, 0),
            (good, 0),
            (json!({}), 1),
            (json!({"clusterRoleSelectors": []}), 1),
            (json!({"clusterRoleSelectors": [{"matchLabels": {"-": "b"}}]}), 1),
            (json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]}), 2),
            (json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}), 2),
        ] {
            let found = create(PolicyKind::ClusterRole, &json!({ "aggregationRule": aggregation }));
            assert_eq!(found.len(), faults, "{aggregation}: {found:?}");
        }
        let found = create(PolicyKind::ClusterRole, &json!({"aggregationRule": {}}));
        assert_eq!(
            shown(&found),
            ["aggregationRule.clusterRoleSelectors: Required value: \
              at least one clusterRoleSelector required if aggregationRule is non-nil"]
        );
    }

    #[test]
    fn bindings_are_checked_as_upstream_does() {
        let binding = |kind: &str, subjects: Value| {
            let role = json!({"apiGroup": GROUP, "kind": kind, "name": "r:x"});
            json!({"roleRef": role, "subjects": subjects})
        };
        let account = json!({"kind": "ServiceAccount", "name": "s"});
        for (kind, value, expected) in [
            (PolicyKind::RoleBinding, binding("Role", json!([account])), vec![]),
            (PolicyKind::RoleBinding, binding("ClusterRole", Value::Null), vec![]),
            (
                PolicyKind::ClusterRoleBinding,
                binding("Role", json!([account])),
                vec![
                    "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                    "subjects[0].namespace: Required value",
                ],
            ),
            (
                PolicyKind::RoleBinding,
                json!({"roleRef": {"kind": "Pod", "name": "a/b"}}),
                vec![
                    "roleRef.apiGroup: Unsupported value: \"\": supported values: \"rbac.authorization.k8s.io\"",
                    "roleRef.kind: Unsupported value: \"Pod\": supported values: \"Role\", \"ClusterRole\"",
                    "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
                ],
            ),
            (
                PolicyKind::RoleBinding,
                binding("Role", json!([{"kind": "User", "apiGroup": GROUP}, {"kind": "Group", "name": "g"}])),
                vec![
                    "subjects[0].name: Required value",
                    "subjects[1].apiGroup: Unsupported value: \"\": supported values: \"rbac.authorization.k8s.io\"",
                ],
            ),
            (
                PolicyKind::RoleBinding,
                binding("Role", json!([{"kind": "Robot", "name": "r"}])),
                vec![
                    "subjects[0].kind: Unsupported value: \"Robot\": \
                     supported values: \"ServiceAccount\", \"User\", \"Group\"",
                ],
            ),
            (
                PolicyKind::RoleBinding,
                binding("Role", json!([{"kind": "ServiceAccount", "name": "s", "apiGroup": GROUP}])),
                vec!["subjects[0].apiGroup: Unsupported value: \"rbac.authorization.k8s.io\": supported values: \"\""],
            ),
        ] {
            assert_eq!(shown(&create(kind, &value)), expected, "{kind:?} {value}");
        }
        let bad = binding("Role", json!([{"kind": "ServiceAccount", "name": "S"}]));
        assert!(create(PolicyKind::RoleBinding, &bad)[0].message.contains("RFC 1123 subdomain"));
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let binding = |name: &str| json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}});
        for kind in [PolicyKind::RoleBinding, PolicyKind::ClusterRoleBinding] {
            assert_eq!(update(kind, &binding("a"), &binding("a")), []);
            let faults = update(kind, &binding("a"), &binding("b"));
            assert_eq!(
                shown(&faults),
                [concat!(
                    "roleRef: Invalid value: ",
                    r#"{"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"b"}: field is immutable"#
                )]
            );
            let status = status(kind, "x", faults).unwrap();
            assert_eq!((status.code, status.details.kind.as_str()), (422, kind.name()));
            assert!(status.message.starts_with(&format!("{}.{GROUP} \"x\" is invalid: roleRef: ", kind.name())));
        }
        assert_eq!(status(PolicyKind::Role, "x", Vec::new()), None);
    }

    #[test]
    fn names_are_steps_of_a_path() {
        for (name, expected) in [
            ("system:node", vec![]),
            ("A b", vec![]),
            (".", vec!["may not be '.'"]),
            ("..", vec!["may not be '..'"]),
            ("...", vec![]),
            ("a/b%c", vec!["may not contain '/'", "may not contain '%'"]),
        ] {
            assert_eq!(path_segment(name), expected, "{name}");
        }
    }
}
