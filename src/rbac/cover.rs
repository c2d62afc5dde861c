//! Whether some rules allow everything that others allow.
//!
//! Follows upstream's `component-helpers/auth/rbac/validation/policy_comparator.go` and
//! `pkg/registry/rbac/validation/policy_compact.go`.

use std::collections::HashMap;

use crate::Rule;
use crate::rule::{has, has_or_all, url_covers};

/// Into how many parts the rules of one check may fall before the next is judged as a whole: a rule of three lists of ten
/// thousand entries fits into a request, as do thousands of smaller ones, and their parts fit into no memory.
const PARTS_MAX: usize = 50_000;

/// The parts of a rule: each with one verb, and one resource of one group (with at most one name) or one URL.
pub fn breakdown(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = |names: Vec<String>| Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: names,
                    non_resource_urls: Vec::new(),
                };
                if rule.resource_names.is_empty() {
                    parts.push(part(Vec::new()));
                } else {
                    parts.extend(rule.resource_names.iter().map(|name| part(one(name))));
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            parts.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
        }
    }
    parts
}

/// The parts of `asked` that no single rule of `held` covers; none means that who holds `held` may give `asked` away.
///
/// A wildcard is covered by the wildcard only, never by a list of everything that exists today. A rule whose parts would
/// make more than 50 000 of this check is one part, which only a single rule can cover.
pub fn uncovered<'a>(held: impl IntoIterator<Item = &'a Rule>, asked: &[Rule]) -> Vec<Rule> {
    let held: Vec<&Rule> = held.into_iter().collect();
    let mut missing = Vec::new();
    let mut left = PARTS_MAX;
    for rule in asked {
        let is_mixed = !rule.non_resource_urls.is_empty() && !rule.resources.is_empty();
        // Most rules are held as they are; and no rule of a mixed kind gets past validation.
        if !is_mixed && held.iter().any(|own| covers(own, rule)) {
            continue;
        }
        let Some(rest) = left.checked_sub(parts(rule)) else {
            missing.push(rule.clone());
            continue;
        };
        left = rest;
        missing.extend(breakdown(rule).into_iter().filter(|part| !held.iter().any(|own| covers(own, part))));
    }
    missing
}

fn parts(rule: &Rule) -> usize {
    let resources = rule.api_groups.len().saturating_mul(rule.resources.len());
    let named = resources.saturating_mul(rule.resource_names.len().max(1));
    named.saturating_add(rule.non_resource_urls.len()).saturating_mul(rule.verbs.len())
}

/// Whether one rule allows everything that another one allows.
fn covers(own: &Rule, other: &Rule) -> bool {
    let names = if other.resource_names.is_empty() {
        own.resource_names.is_empty()
    } else {
        own.resource_names.is_empty() || other.resource_names.iter().all(|name| has(&own.resource_names, name))
    };
    names
        && other.verbs.iter().all(|verb| has_or_all(&own.verbs, verb))
        && other.api_groups.iter().all(|group| has_or_all(&own.api_groups, group))
        && other.resources.iter().all(|resource| resource_covered(&own.resources, resource))
        && other.non_resource_urls.iter().all(|url| own.non_resource_urls.iter().any(|own| url_covers(own, url)))
}

fn resource_covered(own: &[String], resource: &str) -> bool {
    has_or_all(own, resource)
        || resource.split_once('/').is_some_and(|(_, subresource)| has(own, &format!("*/{subresource}")))
}

/// Merges the rules that differ only in their verbs and are about one resource of one group, whatever its names; the
/// others come first, as they are. Made for what [`uncovered`] returns.
pub fn compact(rules: &[Rule]) -> Vec<Rule> {
    let (simple, others): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| rule.is_simple());
    let mut compacted: Vec<Rule> = others.into_iter().cloned().collect();
    let mut places = HashMap::new();
    for rule in simple {
        match places.get(&(&rule.api_groups[0], &rule.resources[0])) {
            Some(&place) => {
                let merged: &mut Rule = &mut compacted[place];
                merged.verbs.extend(rule.verbs.iter().cloned());
            }
            None => {
                places.insert((&rule.api_groups[0], &rule.resources[0]), compacted.len());
                compacted.push(rule.clone());
            }
        }
    }
    compacted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::rule;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| rule(text)).collect()
    }

    #[test]
    fn a_rule_falls_into_its_parts() {
        assert_eq!(
            breakdown(&rule("get,list -,apps pods x")),
            rules(&["get - pods x", "list - pods x", "get apps pods x", "list apps pods x"])
        );
        assert_eq!(breakdown(&rule("get,put url /a,/b")).len(), 4);
        assert_eq!(parts(&rule("get,list -,apps pods,services x,y,z")), 24);
        assert_eq!(breakdown(&Rule::default()), []);
    }

    #[test]
    fn rules_cover_as_upstream_says() {
        for (held, asked, missing) in [
            (vec!["* * *", "* url *"], vec!["get - pods", "* * *", "* url *", "get url /a"], vec![]),
            (vec!["get,list - pods"], vec!["get - pods"], vec![]),
            (vec!["get - pods"], vec!["get,list - pods"], vec!["list - pods"]),
            // Parts may be held in several rules.
            (vec!["get - pods", "list - pods"], vec!["get,list - pods"], vec![]),
            (vec!["get - pods", "get apps pods"], vec!["get -,apps pods"], vec![]),
            // A wildcard is more than all that it stands for.
            (vec!["get,list,watch - pods"], vec!["* - pods"], vec!["* - pods"]),
            (vec!["get -,apps pods"], vec!["get * pods"], vec!["get * pods"]),
            (vec!["get - pods,pods/log"], vec!["get - *"], vec!["get - *"]),
            (vec!["get - */scale"], vec!["get - pods/scale"], vec![]),
            (vec!["get - */scale"], vec!["get - pods"], vec!["get - pods"]),
            (vec!["get - pods/scale"], vec!["get - */scale"], vec!["get - */scale"]),
            (vec!["get - pods"], vec!["get - pods/log"], vec!["get - pods/log"]),
            // Names.
            (vec!["get - pods"], vec!["get - pods a,b"], vec![]),
            (vec!["get - pods a"], vec!["get - pods a,b"], vec!["get - pods b"]),
            (vec!["get - pods a"], vec!["get - pods"], vec!["get - pods"]),
            (vec!["get - pods a", "get - pods b"], vec!["get - pods a,b"], vec![]),
            // URLs.
            (vec!["get url /a/*"], vec!["get url /a/b,/a/b/*,/a"], vec!["get url /a"]),
            (vec!["get url /a"], vec!["get url /a*"], vec!["get url /a*"]),
            (vec!["* url *"], vec!["get - pods"], vec!["get - pods"]),
            (vec!["* * *"], vec!["get url /a"], vec!["get url /a"]),
            (vec![], vec![], vec![]),
        ] {
            assert_eq!(uncovered(&rules(&held), &rules(&asked)), rules(&missing), "{held:?} / {asked:?}");
        }
    }

    #[test]
    fn a_rule_of_too_many_parts_is_judged_as_a_whole() {
        let many = |count: usize| -> Vec<String> { (0..count).map(|number| format!("x{number}")).collect() };
        let mut huge = rule("get - pods");
        (huge.verbs, huge.api_groups, huge.resources) = (many(1000), many(1000), many(1000));
        assert_eq!(uncovered(&rules(&["* * *"]), std::slice::from_ref(&huge)), []);
        assert_eq!(uncovered(&rules(&["get - pods"]), std::slice::from_ref(&huge)), [huge]);
        // Nor may many rules be together what one may not be.
        let mut large = rule("get - pods");
        (large.verbs, large.api_groups, large.resources) = (many(30), many(30), many(30));
        let missing = uncovered(&rules(&["get - pods"]), &vec![large.clone(); 100]);
        assert_eq!(missing.len(), 27_000 + 99);
        assert_eq!(missing.last(), Some(&large));
    }

    #[test]
    fn only_rules_of_one_resource_are_merged() {
        assert_eq!(
            compact(&rules(&[
                "get - pods",
                "get - pods a",
                "get apps pods",
                "list - pods",
                "get url /a",
                "get -,apps pods",
                "watch - pods",
            ])),
            rules(&["get - pods a", "get url /a", "get -,apps pods", "get,list,watch - pods", "get apps pods"])
        );
    }
}
