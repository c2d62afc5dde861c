//! What an aggregated cluster role allows: what the roles that it selects allow.
//!
//! Follows upstream's `pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go`.

use std::collections::HashSet;

use objects::selector::Labels;
use serde_json::Value;

use crate::{Error, Rule};

/// The rules that `role` is to have, or none if it does not aggregate. `all` are all cluster roles, in any order,
/// `role` itself and other aggregated ones included: a chain of those becomes right from the bottom up, one round each.
///
/// Selector by selector, and in each by name of the selected role, the rules come in their order; one that equals an
/// earlier one is left out. A role never gathers its own rules, or it could never lose any.
///
/// # Errors
/// [`Error::Selector`] for a selector that cannot be read, [`Error::Malformed`] for rules that cannot be. The role is
/// best left as it is then: anything else would be a guess.
pub fn aggregate<'a>(role: &Value, all: impl IntoIterator<Item = &'a Value>) -> Result<Option<Vec<Rule>>, Error> {
    if role["aggregationRule"].is_null() {
        return Ok(None);
    }
    let mut others: Vec<&Value> = all.into_iter().filter(|other| name(other) != name(role)).collect();
    others.sort_by(|one, other| name(one).cmp(name(other)));
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen = HashSet::new();
    for selector in role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten() {
        let selector = Labels::from_value(selector).map_err(|status| Error::Selector(status.message))?;
        for other in others.iter().filter(|other| selector.matches_value(&other["metadata"]["labels"])) {
            for rule in Rule::parse_all(&other["rules"])? {
                if seen.insert(rule.clone()) {
                    rules.push(rule);
                }
            }
        }
    }
    Ok(Some(rules))
}

/// The same, as `rules` to write; none if the role does not aggregate or has them already.
///
/// # Errors
/// As [`aggregate`].
pub fn missing_change<'a>(role: &Value, all: impl IntoIterator<Item = &'a Value>) -> Result<Option<Value>, Error> {
    let Some(rules) = aggregate(role, all)? else { return Ok(None) };
    if Rule::parse_all(&role["rules"]).is_ok_and(|current| current == rules) {
        return Ok(None);
    }
    Ok(Some(rules.iter().map(Rule::to_value).collect()))
}

fn name(role: &Value) -> &str {
    role["metadata"]["name"].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rule::tests::rule;

    fn role(name: &str, label: &str, rules: &[&str]) -> Value {
        let rules: Value = rules.iter().map(|text| rule(text).to_value()).collect();
        json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules})
    }

    fn aggregated(name: &str, selectors: Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"x": "true"}},
            "aggregationRule": {"clusterRoleSelectors": selectors},
        })
    }

    #[test]
    fn selected_roles_are_united_in_order_of_their_names() {
        let all = [
            role("b", "x", &["get - pods", "get - secrets"]),
            role("a", "x", &["list - pods", "get - secrets"]),
            role("c", "y", &["get apps deployments"]),
            role("d", "z", &["* * *"]),
        ];
        let select = |labels: &[&str]| -> Value {
            labels.iter().map(|label| json!({"matchLabels": {*label: "true"}})).collect()
        };
        for (selectors, expected) in [
            (select(&["x"]), vec!["list - pods", "get - secrets", "get - pods"]),
            (select(&["y", "x"]), vec!["get apps deployments", "list - pods", "get - secrets", "get - pods"]),
            (select(&["x", "x"]), vec!["list - pods", "get - secrets", "get - pods"]),
            (select(&["w"]), vec![]),
            (select(&[]), vec![]),
        ] {
            let expected: Vec<Rule> = expected.into_iter().map(rule).collect();
            let role = aggregated("r", selectors);
            assert_eq!(aggregate(&role, &all), Ok(Some(expected)), "{role}");
        }
        let everything = aggregated("r", json!([{}]));
        assert_eq!(aggregate(&everything, &all).unwrap().unwrap().len(), 5);
        assert_eq!(aggregate(&all[0], &all), Ok(None));
        assert!(matches!(
            aggregate(&aggregated("r", json!([{"matchExpressions": [{"key": "a", "operator": "x"}]}])), &all),
            Err(Error::Selector(_))
        ));
    }

    #[test]
    fn a_role_never_gathers_its_own_rules() {
        let mut own = aggregated("r", json!([{"matchLabels": {"x": "true"}}]));
        own["rules"] = json!([rule("* * *").to_value()]);
        let all = [own.clone(), role("a", "x", &["get - pods"])];
        assert_eq!(missing_change(&own, &all), Ok(Some(json!([rule("get - pods").to_value()]))));
        own["rules"] = json!([rule("get - pods").to_value()]);
        assert_eq!(missing_change(&own, &all), Ok(None));
        assert_eq!(missing_change(&own, &all[..1]), Ok(Some(json!([]))));
    }
}
