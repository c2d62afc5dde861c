//! What bindings get that do not say it. Follows upstream's `pkg/apis/rbac/v1/defaults.go`.

use serde_json::{Value, json};

use crate::{GROUP, PolicyKind};

/// Fills in the API groups that a binding leaves out: of its `roleRef`, and of the users and groups among its subjects.
/// Other kinds have no defaults.
pub fn fill(kind: PolicyKind, value: &mut Value) {
    if !kind.is_binding() {
        return;
    }
    if let Some(role) = value.get_mut("roleRef").filter(|role| role.is_object()) {
        group(role);
    }
    for subject in value.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            group(subject);
        }
    }
}

fn group(reference: &mut Value) {
    if reference["apiGroup"].as_str().unwrap_or("").is_empty() {
        reference["apiGroup"] = json!(GROUP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_filled_in() {
        let mut binding = json!({
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [
                {"kind": "User", "name": "u"},
                {"kind": "Group", "name": "g", "apiGroup": "x"},
                {"kind": "ServiceAccount", "name": "s"},
            ],
        });
        fill(PolicyKind::RoleBinding, &mut binding);
        let expected = json!({
            "roleRef": {"kind": "Role", "name": "r", "apiGroup": GROUP},
            "subjects": [
                {"kind": "User", "name": "u", "apiGroup": GROUP},
                {"kind": "Group", "name": "g", "apiGroup": "x"},
                {"kind": "ServiceAccount", "name": "s"},
            ],
        });
        assert_eq!(binding, expected);
        fill(PolicyKind::ClusterRoleBinding, &mut binding);
        assert_eq!(binding, expected);
        let mut odd = json!({"roleRef": "x"});
        fill(PolicyKind::RoleBinding, &mut odd);
        assert_eq!(odd, json!({"roleRef": "x"}));
    }
}
