//! How built-in roles and bindings are kept up to date when a newer version of the server brings more of them.
//!
//! Follows upstream's `component-helpers/auth/rbac/reconciliation`, as its API server uses it at its start: what is
//! missing is added, what somebody added stays, and what says `autoupdate: "false"` is left alone.

use serde_json::{Map, Value, json};

use crate::bootstrap::AUTOUPDATE;
use crate::{Error, PolicyKind, Rule, cover};

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: all is there.
    Nothing,
    /// Nothing, although something is missing: the object is annotated not to be updated.
    Protected,
    /// Create the object.
    Create(Value),
    /// Write the object over the one that was looked at, on condition that it is still that one.
    Update(Value),
    /// Delete the object that was looked at, if it is still that one, and create this one: a binding keeps its role.
    Recreate(Value),
}

/// The step that brings one object up to date. `existing` is what is there, `expected` what [`crate::bootstrap`] has.
///
/// # Errors
/// [`Error::Malformed`] when the rules of either cannot be read.
pub fn step(kind: PolicyKind, existing: Option<&Value>, expected: &Value) -> Result<Step, Error> {
    let Some(existing) = existing else { return Ok(Step::Create(expected.clone())) };
    let is_protected = existing["metadata"]["annotations"][AUTOUPDATE] == "false";
    if kind.is_binding() && existing["roleRef"] != expected["roleRef"] {
        return Ok(if is_protected { Step::Protected } else { Step::Recreate(expected.clone()) });
    }
    let mut wanted = existing.clone();
    merge(&mut wanted, expected, "annotations");
    merge(&mut wanted, expected, "labels");
    if kind.is_binding() {
        append(&mut wanted, "subjects", missing(&existing["subjects"], &expected["subjects"]));
    } else {
        let held = Rule::parse_all(&existing["rules"])?;
        let lacking = cover::uncovered(&held, &Rule::parse_all(&expected["rules"])?);
        append(&mut wanted, "rules", lacking.iter().map(Rule::to_value).collect());
        aggregation(&mut wanted, &expected["aggregationRule"]);
    }
    if wanted == *existing {
        return Ok(Step::Nothing);
    }
    Ok(if is_protected { Step::Protected } else { Step::Update(wanted) })
}

/// Adds the annotations or labels that are not there; others, and other values, stay.
fn merge(wanted: &mut Value, expected: &Value, key: &str) {
    let Some(expected) = expected["metadata"][key].as_object() else { return };
    let mut merged: Map<String, Value> = expected.clone();
    if let Some(own) = wanted["metadata"][key].as_object() {
        merged.extend(own.clone());
    }
    if !merged.is_empty() {
        wanted["metadata"][key] = Value::Object(merged);
    }
}

/// The elements of `expected` that `existing` lacks.
fn missing(existing: &Value, expected: &Value) -> Vec<Value> {
    let held: Vec<&Value> = existing.as_array().into_iter().flatten().collect();
    expected.as_array().into_iter().flatten().filter(|one| !held.contains(one)).cloned().collect()
}

fn append(wanted: &mut Value, key: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match wanted[key].as_array_mut() {
        Some(list) => list.extend(more),
        None => wanted[key] = json!(more),
    }
}

/// Adds the selectors that are not there. A role that is not meant to gather rules must not: they would be more than it
/// is known for.
fn aggregation(wanted: &mut Value, expected: &Value) {
    const SELECTORS: &str = "clusterRoleSelectors";
    if expected.is_null() {
        if let Some(wanted) = wanted.as_object_mut() {
            wanted.remove("aggregationRule");
        }
        return;
    }
    let more = missing(&wanted["aggregationRule"][SELECTORS], &expected[SELECTORS]);
    if !more.is_empty() {
        if !wanted["aggregationRule"].is_object() {
            wanted["aggregationRule"] = json!({});
        }
        append(&mut wanted["aggregationRule"], SELECTORS, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::rule;

    fn role(texts: &[&str]) -> Value {
        let rules: Value = texts.iter().map(|text| rule(text).to_value()).collect();
        json!({"metadata": {"name": "r", "labels": {"l": "1"}, "annotations": {AUTOUPDATE: "true"}}, "rules": rules})
    }

    fn with(mut object: Value, change: impl FnOnce(&mut Value)) -> Value {
        change(&mut object);
        object
    }

    #[test]
    fn roles_get_what_is_missing_and_keep_the_rest() {
        let expected = role(&["get,list - pods", "get - secrets a"]);
        let kind = PolicyKind::ClusterRole;
        assert_eq!(step(kind, None, &expected), Ok(Step::Create(expected.clone())));
        assert_eq!(step(kind, Some(&expected), &expected), Ok(Step::Nothing));
        for (existing, wanted) in [
            // Held in another shape is held.
            (role(&["list - pods", "get - pods,secrets"]), None),
            (role(&["* * *"]), None),
            // What is missing comes in parts, behind what is there.
            (
                role(&["watch apps x", "list - pods"]),
                Some(role(&["watch apps x", "list - pods", "get - pods", "get - secrets a"])),
            ),
            (role(&[]), Some(role(&["get - pods", "list - pods", "get - secrets a"]))),
        ] {
            let expected_step = wanted.map_or(Step::Nothing, Step::Update);
            assert_eq!(step(kind, Some(&existing), &expected), Ok(expected_step), "{existing}");
            let protected = with(existing.clone(), |role| role["metadata"]["annotations"][AUTOUPDATE] = json!("false"));
            let found = step(kind, Some(&protected), &expected).unwrap();
            assert!(matches!(found, Step::Nothing | Step::Protected), "{protected}");
        }
        let emptied = with(role(&[]), |role| {
            role.as_object_mut().unwrap().remove("rules");
        });
        assert!(matches!(step(kind, Some(&emptied), &expected), Ok(Step::Update(_))));
    }

    #[test]
    fn labels_and_annotations_are_added_and_never_changed() {
        let expected = role(&[]);
        let existing = with(role(&[]), |role| {
            role["metadata"] = json!({"name": "r", "uid": "u", "labels": {"l": "2", "m": "3"}});
        });
        let wanted = with(existing.clone(), |role| role["metadata"]["annotations"] = json!({AUTOUPDATE: "true"}));
        assert_eq!(step(PolicyKind::Role, Some(&existing), &expected), Ok(Step::Update(wanted)));
    }

    #[test]
    fn selectors_are_added_and_unexpected_aggregation_is_removed() {
        let selecting = |labels: &[&str]| {
            with(role(&[]), |role| {
                let selectors: Value = labels.iter().map(|label| json!({"matchLabels": {*label: "true"}})).collect();
                role["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
                role.as_object_mut().unwrap().remove("rules");
            })
        };
        let kind = PolicyKind::ClusterRole;
        let gathered = with(selecting(&["a"]), |role| role["rules"] = json!([rule("* * *").to_value()]));
        for (existing, expected, wanted) in [
            (gathered.clone(), selecting(&["a"]), None),
            (selecting(&["b"]), selecting(&["a"]), Some(selecting(&["b", "a"]))),
            (
                with(selecting(&["a"]), |role| {
                    role.as_object_mut().unwrap().remove("aggregationRule");
                }),
                selecting(&["a"]),
                Some(selecting(&["a"])),
            ),
            (gathered, role(&["get - pods"]), Some(role(&["* * *"]))),
        ] {
            let found = step(kind, Some(&existing), &expected);
            assert_eq!(found, Ok(wanted.map_or(Step::Nothing, Step::Update)), "{existing}");
        }
    }

    #[test]
    fn bindings_get_subjects_and_are_made_anew_for_another_role() {
        let subject = |name: &str| json!({"kind": "Group", "name": name});
        let binding = |role: &str, names: &[&str]| {
            let subjects: Vec<Value> = names.iter().map(|name| subject(name)).collect();
            let metadata = json!({"name": "b", "annotations": {AUTOUPDATE: "true"}});
            json!({"metadata": metadata, "roleRef": {"name": role}, "subjects": subjects})
        };
        let kind = PolicyKind::ClusterRoleBinding;
        let expected = binding("r", &["a", "b"]);
        for (existing, wanted) in [
            (binding("r", &["b", "c", "a"]), Step::Nothing),
            (binding("r", &["c", "b"]), Step::Update(binding("r", &["c", "b", "a"]))),
            (binding("q", &["a"]), Step::Recreate(expected.clone())),
        ] {
            let protected = with(existing.clone(), |it| it["metadata"]["annotations"][AUTOUPDATE] = json!("false"));
            let is_whole = wanted == Step::Nothing;
            assert_eq!(step(kind, Some(&existing), &expected), Ok(wanted), "{existing}");
            let left = if is_whole { Step::Nothing } else { Step::Protected };
            assert_eq!(step(kind, Some(&protected), &expected), Ok(left), "{protected}");
        }
        // A binding for nobody stays one.
        let nobody = with(binding("r", &[]), |it| {
            it.as_object_mut().unwrap().remove("subjects");
        });
        assert_eq!(step(kind, Some(&nobody), &nobody), Ok(Step::Nothing));
    }

    #[test]
    fn the_built_in_policy_is_up_to_date_with_itself() {
        for (kind, object) in crate::bootstrap::objects().unwrap() {
            assert_eq!(step(kind, Some(&object), &object), Ok(Step::Nothing), "{object}");
        }
    }
}
