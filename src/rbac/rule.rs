//! A rule: which verbs it allows on which resources or paths.
//!
//! Follows upstream's `pkg/apis/rbac/v1/evaluation_helpers.go` and `plugin/pkg/auth/authorizer/rbac/rbac.go`.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::{Attributes, Error, Target};

/// One `PolicyRule`. All lists are in the order in which they were written; an absent list is an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What may be done; `*` is anything.
    pub verbs: Vec<String>,
    /// API groups; the core group is empty, `*` is any.
    pub api_groups: Vec<String>,
    /// Resources: `pods`, `pods/log`, `*/scale` (that subresource of any resource), `*` (everything, subresources too).
    /// `pods/*` means nothing: it is compared as it is.
    pub resources: Vec<String>,
    /// Object names; empty allows every name, and requests without one. There is no wildcard.
    pub resource_names: Vec<String>,
    /// Paths that are no resource; one that ends in `*` allows everything that starts so.
    pub non_resource_urls: Vec<String>,
}

/// The lists with their names in manifests, in the order in which they are shown there.
const LISTS: [&str; 5] = ["apiGroups", "nonResourceURLs", "resourceNames", "resources", "verbs"];

impl Rule {
    /// Reads a `PolicyRule`; `path` is where it stands, for the error.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no object or one of the lists is no list of strings.
    pub fn parse(path: &str, value: &Value) -> Result<Self, Error> {
        if !value.is_object() {
            return Err(Error::Malformed { path: path.into(), wanted: "an object" });
        }
        let mut rule = Self::default();
        for key in LISTS {
            *rule.list_mut(key) = texts(&format!("{path}.{key}"), &value[key])?;
        }
        Ok(rule)
    }

    /// Reads the `rules` of a Role or ClusterRole; absent ones are none.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no list of rules.
    pub fn parse_all(rules: &Value) -> Result<Vec<Self>, Error> {
        match rules {
            Value::Null => Ok(Vec::new()),
            Value::Array(rules) => {
                rules.iter().enumerate().map(|(index, rule)| Self::parse(&format!("rules[{index}]"), rule)).collect()
            }
            _ => Err(Error::Malformed { path: "rules".into(), wanted: "a list" }),
        }
    }

    /// The rule as manifests have it, without empty lists.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for key in LISTS {
            let list = self.list(key);
            if !list.is_empty() {
                map.insert(key.into(), json!(list));
            }
        }
        Value::Object(map)
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, wanted.verb) {
            return false;
        }
        match wanted.target {
            Target::Path(path) => self.non_resource_urls.iter().any(|url| url_allows(url, path)),
            Target::Resource { group, resource, subresource, name, .. } => {
                has_or_all(&self.api_groups, group)
                    && self.resources.iter().any(|own| resource_allows(own, resource, subresource))
                    && (self.resource_names.is_empty() || has(&self.resource_names, name))
            }
        }
    }

    /// Whether the rule is about resources of one group and one kind, whatever their names: only such ones are merged.
    pub(crate) fn is_simple(&self) -> bool {
        self.resource_names.is_empty()
            && self.non_resource_urls.is_empty()
            && self.api_groups.len() == 1
            && self.resources.len() == 1
    }

    fn list(&self, key: &str) -> &Vec<String> {
        match key {
            "apiGroups" => &self.api_groups,
            "nonResourceURLs" => &self.non_resource_urls,
            "resourceNames" => &self.resource_names,
            "resources" => &self.resources,
            _ => &self.verbs,
        }
    }

    fn list_mut(&mut self, key: &str) -> &mut Vec<String> {
        match key {
            "apiGroups" => &mut self.api_groups,
            "nonResourceURLs" => &mut self.non_resource_urls,
            "resourceNames" => &mut self.resource_names,
            "resources" => &mut self.resources,
            _ => &mut self.verbs,
        }
    }
}

/// As messages about missing permissions show a rule: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
        write!(out, "{{{}}}", shown.join(", "))
    }
}

/// A list of texts as Go prints it with `%q`: `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// A list of strings; null is an empty one.
pub(crate) fn texts(path: &str, value: &Value) -> Result<Vec<String>, Error> {
    let fault = || Error::Malformed { path: path.into(), wanted: "a list of strings" };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => {
            list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(fault)).collect::<Result<_, _>>()
        }
        _ => Err(fault()),
    }
}

pub(crate) fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|own| own == text)
}

pub(crate) fn has_or_all(list: &[String], text: &str) -> bool {
    list.iter().any(|own| own == "*" || own == text)
}

fn resource_allows(own: &str, resource: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    if subresource.is_empty() {
        return own == resource;
    }
    // Subresources may hold further slashes; so the resource is taken off the front, not split off.
    let exact = own.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/'));
    exact == Some(subresource) || own.strip_prefix("*/") == Some(subresource)
}

/// Whether the URL of a rule allows a path.
fn url_allows(own: &str, path: &str) -> bool {
    own == path || (own.ends_with('*') && path.starts_with(own.trim_end_matches('*')))
}

/// Whether the URL of a rule allows everything that another one allows.
pub(crate) fn url_covers(own: &str, other: &str) -> bool {
    url_allows(own, other)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads `VERBS GROUPS RESOURCES [NAMES]` or `VERBS url URLS`; lists are split at commas, `-` is empty text.
    pub(crate) fn rule(text: &str) -> Rule {
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(|item| if item == "-" { String::new() } else { item.to_owned() }).collect()
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [verbs, "url", urls] => Rule { verbs: list(verbs), non_resource_urls: list(urls), ..Rule::default() },
            [verbs, groups, resources, names @ ..] => Rule {
                verbs: list(verbs),
                api_groups: list(groups),
                resources: list(resources),
                resource_names: names.iter().flat_map(|names| list(names)).collect(),
                non_resource_urls: Vec::new(),
            },
            _ => panic!("{text} is no rule"),
        }
    }

    /// Reads `VERB GROUP RESOURCE NAMESPACE NAME`, where `-` is empty, or `VERB /PATH`.
    pub(crate) fn request(text: &str) -> Attributes<'_> {
        let words: Vec<&str> = text.split_whitespace().map(|word| if word == "-" { "" } else { word }).collect();
        match *words.as_slice() {
            [verb, path] => Attributes { verb, target: Target::Path(path) },
            [verb, group, full, namespace, name] => {
                let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
                Attributes { verb, target: Target::Resource { group, resource, subresource, namespace, name } }
            }
            _ => panic!("{text} is no request"),
        }
    }

    #[test]
    fn requests_match_as_upstream_says() {
        for (own, wanted, expected) in [
            ("get - pods", "get - pods n p", true),
            ("get - pods", "list - pods n -", false),
            ("* - pods", "list - pods n -", true),
            ("get - pods", "get apps pods n p", false),
            ("get * pods", "get apps pods n p", true),
            ("get -,apps pods", "get apps pods n p", true),
            // A resource is not its subresources, nor the other way round.
            ("get - pods", "get - pods/log n p", false),
            ("get - pods/log", "get - pods/log n p", true),
            ("get - pods/log", "get - pods n p", false),
            ("get - *", "get - pods/log n p", true),
            ("get - */log", "get - pods/log n p", true),
            ("get - */log", "get - pods n p", false),
            ("get - */log", "get - pods/xlog n p", false),
            ("get - */log", "get - log n p", false),
            ("get - pods/*", "get - pods/log n p", false),
            ("get - pods/*", "get - pods n p", false),
            ("get - */*", "get - pods/log n p", false),
            ("get - po", "get - pods n p", false),
            ("get - services/proxy", "get - services/proxy n p", true),
            // Names: none means all, and a request without a name is only allowed by a rule without names.
            ("get - pods a,b", "get - pods n b", true),
            ("get - pods a,b", "get - pods n c", false),
            ("create - pods a", "create - pods n -", false),
            ("list - pods a", "list - pods n a", true),
            ("get - pods *", "get - pods n a", false),
            // Paths.
            ("get url /version", "get /version", true),
            ("get url /version", "get /version/", false),
            ("get url /version", "post /version", false),
            ("* url /version", "post /version", true),
            ("get url /apis/*", "get /apis/apps", true),
            ("get url /apis/*", "get /apis", false),
            ("get url /apis*", "get /apis", true),
            ("get url /apis/**", "get /apis/apps", true),
            ("get url *", "get /anything", true),
            ("get url /a*/b", "get /a/b", false),
            ("get url /a*/b", "get /a*/b", true),
            // Neither sort of rule allows the other sort of request.
            ("* * *", "get /version", false),
            ("* url *", "get - pods n p", false),
        ] {
            assert_eq!(rule(own).allows(&request(wanted)), expected, "{own} / {wanted}");
        }
    }

    #[test]
    fn rules_are_read_written_and_shown() {
        let value = json!([
            {"apiGroups": ["", "apps"], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get", "list"]},
            {"nonResourceURLs": ["/a"], "verbs": ["get"], "resources": null},
        ]);
        let rules = Rule::parse_all(&value).unwrap();
        assert_eq!(rules, [rule("get,list -,apps pods a"), rule("get url /a")]);
        assert_eq!(rules[0].to_value(), value[0]);
        assert_eq!(rules[1].to_value(), json!({"nonResourceURLs": ["/a"], "verbs": ["get"]}));
        assert_eq!(
            rules[0].to_string(),
            r#"{APIGroups:["" "apps"], Resources:["pods"], ResourceNames:["a"], Verbs:["get" "list"]}"#
        );
        assert_eq!(rules[1].to_string(), r#"{NonResourceURLs:["/a"], Verbs:["get"]}"#);
        assert_eq!(Rule::parse_all(&Value::Null), Ok(Vec::new()));
        for (value, text) in [
            (json!({}), "rules is not a list"),
            (json!(["x"]), "rules[0] is not an object"),
            (json!([{"verbs": "get"}]), "rules[0].verbs is not a list of strings"),
            (json!([{}, {"resources": [1]}]), "rules[1].resources is not a list of strings"),
        ] {
            assert_eq!(Rule::parse_all(&value).unwrap_err().to_string(), text);
        }
    }
}
